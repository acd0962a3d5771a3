"""`--max-rate`: the snapshot is read no faster, is whole, and can be stopped while it waits."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from dcos_etcd.testing import Cluster
from processes import open_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    """A member with some 8 MB."""
    with Cluster(members=1) as cluster:
        for number in range(8):
            cluster.etcdctl("put", f"/{number}", stdin=random.Random(number).randbytes(500_000).hex().encode())
        yield cluster


# The first message, of 32 KiB, comes before the rate is kept to.
FIRST = 1 << 15


@pytest.mark.parametrize("name", ["etcd.tar.gz", "etcd.tar.zst"])
def test_a_bounded_backup_takes_at_least_its_time_and_is_whole(member: Cluster, tmp_path: Path, name: str) -> None:
    rate = 4 << 20

    report = dcos_etcd.backup(tmp_path / name, **member.access, max_rate=rate)

    assert report.manifest.size > 8_000_000
    assert report.duration_seconds >= (report.manifest.size - FIRST) / rate
    assert dcos_etcd.verify(tmp_path / name).sha256 == report.manifest.sha256


def test_waiting_for_the_rate_is_no_stall(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    """Each message of 32 KiB is waited for twice as long as the server may be silent."""
    rate = 1 << 13
    with etcd_cluster(1) as cluster:
        cluster.etcdctl("put", "large", stdin=random.Random(0).randbytes(40_000))

        report = dcos_etcd.backup(tmp_path / "etcd.tar.gz", **cluster.access, max_rate=rate, stall_timeout=2)

    assert report.manifest.size >= 2 * FIRST
    assert report.duration_seconds >= (report.manifest.size - FIRST) / rate
    assert dcos_etcd.verify(tmp_path / "etcd.tar.gz").sha256 == report.manifest.sha256


def test_a_rate_that_is_never_reached_changes_nothing(member: Cluster, tmp_path: Path) -> None:
    report = dcos_etcd.backup(tmp_path / "etcd.tar.gz", **member.access, max_rate=(1 << 64) - 1)

    assert dcos_etcd.verify(tmp_path / "etcd.tar.gz").sha256 == report.manifest.sha256


class StopError(Exception):
    """Raised by a callback."""


def test_a_backup_that_waits_for_its_rate_is_stopped_by_its_callback(member: Cluster, tmp_path: Path) -> None:
    """A byte a second: the second message would come after nine hours."""

    def stop(progress: dcos_etcd.Progress) -> None:
        if progress.done:
            raise StopError

    with pytest.raises(StopError):
        dcos_etcd.backup(tmp_path / "etcd.tar.gz", **member.access, max_rate=1, progress=stop)

    assert list(tmp_path.iterdir()) == []


# A shell without job control starts its background jobs deaf to SIGINT, and children inherit that; hence the handler.
PROGRAM = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("dcos_etcd", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_ends_a_backup_that_waits_for_its_rate(member: Cluster, tmp_path: Path) -> None:
    arguments = ["backup", str(tmp_path / "etcd.tar.gz"), "--endpoints", member.endpoints[0], "--max-rate=1"]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stderr=subprocess.PIPE)
    while not open_files(process.pid, tmp_path):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [0, -1, True, 1.5, "20MiB", 1 << 64])
def test_a_rate_that_makes_no_sense_is_refused_before_anybody_is_asked(tmp_path: Path, rate: Any) -> None:
    with pytest.raises(dcos_etcd.InvalidArgumentError, match="max_rate: "):
        dcos_etcd.backup(tmp_path / "etcd.tar.gz", endpoints="http://127.0.0.1:1", max_rate=rate)

    assert list(tmp_path.iterdir()) == []
