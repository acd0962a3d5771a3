"""The members that every other test relies on: they come up, are told apart, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from conftest import each_line
from dcos_etcd.testing import BinariesNotFoundError, Cluster, CommandFailedError, EtcdBinaries, NotReadyError

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory

DEATH_TIMEOUT = 20.0

A_PROCESS_THAT_IS_KILLED = """
import sys, threading, time
from dcos_etcd.testing import Cluster
cluster = Cluster(members=2)
starter = threading.Thread(target=cluster.start)
starter.start()
starter.join()
print(cluster.directory, *(member.pid for member in cluster.members), flush=True)
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + DEATH_TIMEOUT
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_running, pids))


def test_servers_die_with_a_process_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", A_PROCESS_THAT_IS_KILLED], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        directory, *pids = process.stdout.readline().split()
        servers = [int(pid) for pid in pids]
        assert len(servers) == 2
        assert all(map(is_running, servers))
        process.kill()
    assert gone(servers)
    subprocess.run(["rm", "-r", directory], check=True)


def test_servers_outlive_the_thread_that_started_them(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    starter = threading.Thread(target=cluster.start)
    starter.start()
    starter.join()
    cluster.etcdctl("put", "a", "b")
    assert cluster.etcdctl("get", "a", "--print-value-only") == "b\n"
    assert cluster.members[0].running


def test_a_server_is_gone_when_its_cluster_is_closed() -> None:
    with Cluster(members=1) as cluster:
        pid = cluster.members[0].pid
        assert pid
        assert cluster.directory.is_dir()
    assert not is_running(pid)
    assert not cluster.directory.exists()


def test_ports_stay_reserved_while_their_member_is_down(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    port = int(cluster.members[0].client_url.rpartition(":")[2])
    with socket.socket() as intruder, pytest.raises(OSError, match="in use"):
        intruder.bind(("127.0.0.1", port))
    cluster.start()
    cluster.restart()
    assert cluster.members[0].running


def test_a_member_that_does_not_start_shows_its_log(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1, extra_args=["--no-such-flag"])
    with pytest.raises(NotReadyError, match="no-such-flag"):
        cluster.start()


def test_a_release_that_is_not_here_is_named() -> None:
    with pytest.raises(BinariesNotFoundError, match=r"no etcd 9\.9 in "):
        EtcdBinaries.find("9.9")


def test_releases_are_found_by_directory_and_the_newest_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("99.1.9", "99.1.10", "99.2.0"):
        (tmp_path / version).mkdir()
        for program in ("etcd", "etcdctl"):
            (tmp_path / version / program).touch(0o755)
    monkeypatch.setenv("DCOS_ETCD_BINARIES", str(tmp_path))
    assert EtcdBinaries.find().version == "99.2.0"
    assert EtcdBinaries.find("99.1").version == "99.1.10"
    assert EtcdBinaries.find("99.1.9").etcdutl is None


@each_line
def test_a_cluster_with_certificates_and_users_takes_only_those(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1, tls=True, auth=("admin", "secret"))
    cluster.start()
    cluster.etcdctl("put", b"\xff", "b")
    cluster.etcdctl("user", "add", "other:other")
    with pytest.raises(CommandFailedError, match="permission denied"):
        cluster.etcdctl("get", "a", user=("other", "other"))
    assert cluster.access["tls"].cacert == cluster.certificates.ca  # type: ignore[union-attr]


@each_line
def test_members_come_and_go(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3, extra_args=["--strict-reconfig-check=false"])
    cluster.start()
    cluster.etcdctl("put", "a", "b")
    leader = cluster.leader()
    follower = next(member for member in cluster.members if member is not leader)
    follower.kill()
    assert not follower.running
    assert follower.client_url not in cluster.endpoints
    cluster.etcdctl("put", "a", "c")
    follower.start()
    joined = cluster.add_member()
    assert len(cluster.member_list(joined.client_url)) == 4
    cluster.remove_member(follower)
    assert {entry["name"] for entry in cluster.member_list()} == {member.name for member in cluster.members}
    cluster.restart()
    assert cluster.etcdctl("get", "a", "--print-value-only") == "c\n"


def test_a_stopped_server_ends_by_itself(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    pid = cluster.members[0].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + DEATH_TIMEOUT
    while cluster.members[0].running and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(NotReadyError, match="stopped by itself with -9"):
        cluster.wait()
