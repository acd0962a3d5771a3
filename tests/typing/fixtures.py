"""What a test author writes over the fixtures; it must pass a strict type checker, and nothing runs it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from dcos_etcd.testing import Cluster, make_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcos_etcd.testing import ClusterFactory, EtcdBinaries, Releases, RestoredFactory, SnapshotFactory


@pytest.fixture(scope="module")
def shared(etcd_releases: Releases) -> Iterator[Cluster]:
    with Cluster(3, binaries=etcd_releases.find(">=3.5,<3.7")) as cluster:
        yield cluster


@pytest.fixture
def etcd_state_snapshot() -> dict[str, str | list[str | None]]:
    return {"/a": "1", "/b": ["old", None]}


@pytest.mark.etcd(version=[">=3.5", "3.4"], members=3, tls=True, auth=("root", "root"))
def test_a_member(etcd: Cluster, etcd_binaries: EtcdBinaries, tmp_path: Path) -> None:
    report = dcos_etcd.backup(tmp_path / "etcd.tar.gz", **etcd.access)
    endpoints: list[str] = etcd.endpoints
    value: str = etcd.etcdctl("get", "/a", endpoints=endpoints[:1])
    print(value, report.path, etcd_binaries.line >= (3, 5))


def test_clusters(etcd_cluster: ClusterFactory, shared: Cluster) -> None:
    with etcd_cluster(members=3, version="3.5", tls=True, auth=True, extra_args=["--max-txn-ops=16"]) as cluster:
        pid: int | None = cluster.leader().pid
        print(pid, shared.initial_cluster)


def test_snapshots(etcd_snapshot: SnapshotFactory, restored_etcd: RestoredFactory, etcd_state: Cluster) -> None:
    path: Path = etcd_snapshot({"/a": "1", b"/b": [b"old", "new", None], "/c": b""})
    revision: int = make_snapshot(Path("made.db"), {b"/a": b"1"})
    etcd_state.reset(path)
    etcd_state.reset({"/a": ["1", "2"]})
    print(revision, restored_etcd(path, members=3).members[0].restore_arguments)


async def without_pytest() -> None:
    async with Cluster(1, "3.6") as cluster:
        print(cluster.endpoints)
    restored: Cluster = Cluster.restored("etcd.tar.gz", 3)
    async with restored as again:
        await asyncio.sleep(1)
        print(again.member_list())
