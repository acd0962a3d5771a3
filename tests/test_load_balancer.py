"""An endpoint behind which the members of a cluster take turns."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from dcos_etcd.testing import CommandFailedError
from processes import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dcos_etcd.testing import Cluster, ClusterFactory

START_TIMEOUT = 30.0


def answers(cluster: Cluster, endpoint: str) -> bool:
    try:
        cluster.etcdctl("get", "key", endpoints=[endpoint])
    except CommandFailedError:
        return False
    return True


@contextmanager
def grpc_proxy(cluster: Cluster, directory: Path) -> Iterator[str]:
    """etcd's own proxy, which sends each request to the next member; gives its endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        *(str(cluster.binaries.etcd), "grpc-proxy", "start"),
        *(f"--endpoints={','.join(cluster.endpoints)}", f"--listen-addr={address}"),
    ]
    directory.mkdir()
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(command, cwd=directory, stdout=log, stderr=log) as proxy,
    ):
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not answers(cluster, address):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield f"http://{address}"
        finally:
            proxy.kill()


@pytest.fixture
def cluster(etcd_cluster: ClusterFactory) -> Cluster:
    cluster = etcd_cluster(3)
    cluster.start()
    cluster.etcdctl("put", "key", "value")
    return cluster


def test_a_backup_works_and_does_not_claim_to_know_its_sender(cluster: Cluster, tmp_path: Path) -> None:
    """Whichever members happen to be asked before and behind the stream."""
    ids = {f"{member.id:x}" for member in cluster.members}
    with grpc_proxy(cluster, tmp_path / "proxy") as endpoint:
        for number in range(6):
            report = dcos_etcd.backup(tmp_path / f"{number}.tar.gz", endpoints=endpoint)

            [warning] = report.warnings
            assert "members answer at this endpoint" in warning
            assert report.manifest.member_id not in ids
            assert report.manifest.cluster_id
            verified = dcos_etcd.verify(tmp_path / f"{number}.tar.gz")
            assert verified.manifest == report.manifest
            assert 1 < report.manifest.revision <= verified.status.revision


def test_no_archive_contradicts_its_manifest_while_members_lag_behind_each_other(
    cluster: Cluster, tmp_path: Path
) -> None:
    done = threading.Event()
    leader = cluster.leader()
    follower = next(member for member in cluster.members if member is not leader)

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            cluster.etcdctl("put", f"key{number}", "value", endpoints=[leader.client_url])

    writer = threading.Thread(target=write)
    with grpc_proxy(cluster, tmp_path / "proxy") as endpoint:
        writer.start()
        try:
            for number in range(6):
                with frozen(follower.pid):
                    time.sleep(0.25)
                report = dcos_etcd.backup(tmp_path / f"{number}.tar.gz", endpoints=endpoint)
                verified = dcos_etcd.verify(tmp_path / f"{number}.tar.gz")

                assert report.manifest.revision <= verified.status.revision
        finally:
            done.set()
            writer.join()
