"""What goes wrong while keys are put back: members that stop or stall, keys that are not to be written, new roles."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

import dcos_etcd
from conftest import AT_LEAST, release
from dcos_etcd import AccessDeniedError, PutBackStoppedError, Unanswered, changes
from dcos_etcd.testing import make_snapshot
from gateway import Gateway, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dcos_etcd import Progress
    from dcos_etcd.testing import Cluster, ClusterFactory

CAROL = ("carol", "secret")


def add_carol(cluster: Cluster, permission: str) -> None:
    """Adds a user with one role, for the keys that begin with /a/."""
    cluster.etcdctl("role", "add", "one")
    cluster.etcdctl("role", "grant-permission", "one", "--prefix=true", permission, "/a/")
    cluster.etcdctl("user", "add", ":".join(CAROL))
    cluster.etcdctl("user", "grant-role", CAROL[0], "one")


@pytest.mark.etcd(version=[AT_LEAST["3.5"], "3.7"])
def test_a_key_whose_lease_holds_what_the_user_may_not_write_is_named_and_keeps_no_other_back(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    archive = tmp_path / "etcd.tar.zst"
    names = [b"/a/%03d" % number for number in range(200)]
    make_snapshot(archive, dict.fromkeys(names, b"old"))
    with etcd_cluster(1) as cluster:
        gateway = connect(cluster)
        shared, second, own = (int(gateway.call("lease/grant", {"TTL": "3600"})["ID"]) for _ in range(3))
        leases = {b"/a/003": shared, b"/a/150": shared, b"/a/100": second, b"/a/004": own, b"/a/101": own}
        for first in (0, 100):
            gateway.transact([put(name, b"new", leases.get(name, 0)) for name in names[first : first + 100]])
        gateway.transact([put(b"/z/1", b"", shared), put(b"/z/2", b"", second)])
        cluster.enable_auth()
        add_carol(cluster, "readwrite")

        for planned in (200, 3):
            with pytest.raises(PutBackStoppedError) as stopped:
                dcos_etcd.put_back(archive, prefix="/a/", **{**cluster.access, "user": CAROL})
            assert (stopped.value.done, stopped.value.planned) == (planned - 3, planned)
            assert isinstance(stopped.value.__cause__, AccessDeniedError)
            assert f'key b"/a/003" on lease {shared:x}, every key of which' in str(stopped.value)
            assert "and 2 more keys" in str(stopped.value)
        found = {
            one["key"]: (one["value"], one.get("lease", 0))
            for one in cluster.etcdctl_json("get", "--prefix", "/a/")["kvs"]
        }
        assert len(found) == 200
        left = {key for key, (value, _) in found.items() if value == "bmV3"}
        assert left == {"L2EvMDAz", "L2EvMTAw", "L2EvMTUw"}
        assert sorted(lease for _, lease in found.values() if lease) == sorted(leases.values())

        report = dcos_etcd.put_back(archive, prefix="/a/", **cluster.access)
        assert (report.updated, report.planned.unchanged) == (3, 197)


def test_who_may_write_nothing_is_told_so_after_a_few_requests(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {f"/a/{number:04}": b"v" for number in range(3000)})
    with etcd_cluster(1, auth=True) as cluster:
        add_carol(cluster, "read")

        def proposals() -> float:
            lines = cluster.members[0].metrics().splitlines()
            return next(float(line.split()[1]) for line in lines if line.startswith("etcd_server_proposals_committed"))

        before = proposals()
        with pytest.raises(PutBackStoppedError, match=r'key b"/a/0000" and \d more keys') as stopped:
            dcos_etcd.put_back(archive, prefix="/a/", **{**cluster.access, "user": CAROL})
        assert isinstance(stopped.value.__cause__, AccessDeniedError)
        assert (stopped.value.done, stopped.value.planned) == (0, 3000)
        # Two tokens, sixteen transactions, and what the server does by itself.
        assert proposals() - before < 30
        assert cluster.etcdctl("get", "--prefix", "--keys-only", "/a/") == ""


def test_a_request_that_a_stopped_member_may_still_carry_out_is_told(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {"/a/1": b"v", "/b/1": b"v"})
    with etcd_cluster(3) as cluster, ExitStack() as stopped:
        cluster.etcdctl("put", "/b/1", "other")
        leader = cluster.leader()
        follower = next(member for member in cluster.members if member is not leader)
        others = [member.client_url for member in cluster.members if member is not follower]
        pid = follower.pid
        assert pid

        def stop(progress: Progress) -> None:
            if progress.stage == "write" and progress.done == 0:
                os.kill(pid, signal.SIGSTOP)

        stopped.callback(os.kill, pid, signal.SIGCONT)
        for prefix, unanswered in (
            ("/a/", (Unanswered(endpoint=follower.client_url, creates=1),)),
            # What changes a key that is there has a condition that never holds again.
            ("/b/", ()),
        ):
            plan = dcos_etcd.plan_put_back(archive, [follower.client_url, *others], prefix=prefix, command_timeout=1)
            report = plan.apply(progress=stop)
            assert (report.created + report.updated, report.transactions, report.unanswered) == (1, 1, unanswered)
            told = [f"a request to {one.endpoint} got no answer and may still be" for one in unanswered]
            assert [warning[: len(start)] for warning, start in zip(report.warnings, told, strict=True)] == told
            document = json.loads(changes.put_back_json(report))["summary"]
            assert document["unanswered"] == [{"endpoint": one.endpoint, "creates": 1} for one in unanswered]
            os.kill(pid, signal.SIGCONT)


@contextmanager
def deaf_relay(endpoint: str, deaf: threading.Event) -> Iterator[str]:
    """An endpoint that leads to this one, and gives back no answer any more when it is `deaf`."""
    target = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)

    def carry(source: socket.socket, sink: socket.socket, silenced: threading.Event | None) -> None:
        with source, sink:
            while data := _received(source):
                if silenced is None or not silenced.is_set():
                    sink.sendall(data)

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            there = socket.create_connection(target)
            for ends in ((client, there, None), (there, client, deaf)):
                threading.Thread(target=carry, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


def test_a_request_whose_answer_was_lost_is_no_danger_where_it_was_carried_out(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {f"/a/{number}": b"v" for number in range(5)})
    deaf = threading.Event()
    with etcd_cluster(1) as cluster, deaf_relay(cluster.endpoints[0], deaf) as relay:
        plan = dcos_etcd.plan_put_back(archive, [relay, *cluster.endpoints], prefix="/a/", command_timeout=1)
        report = plan.apply(progress=lambda one: deaf.set() if one.stage == "write" else None)
        assert deaf.is_set()
        assert (report.settled, report.created, report.unanswered, report.warnings) == (5, 0, (), ())
        rows = cluster.etcdctl_json("get", "--prefix", "/a/")["kvs"]
        assert [row["version"] for row in rows] == [1] * 5


def test_a_member_that_is_stopped_with_tls_and_users_ends_nothing(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {f"/a/{number:04}": b"v" for number in range(2000)})
    with etcd_cluster(3, binaries=release("3.4"), tls=True, auth=True) as cluster:
        leader = cluster.leader()
        others = [member.client_url for member in cluster.members if member is not leader]
        access = {**cluster.access, "endpoints": [leader.client_url, *others]}
        plan = dcos_etcd.plan_put_back(archive, prefix="/a/", **access)
        stopping: list[int] = []

        def stop(progress: Progress) -> None:
            if progress.stage == "write" and progress.done > 0 and leader.pid and not stopping:
                stopping.append(leader.pid)
                os.kill(leader.pid, signal.SIGTERM)

        report = plan.apply(progress=stop)
        assert stopping
        assert (report.created + report.settled, report.conflicts) == (2000, ())
        assert len(cluster.etcdctl("get", "--prefix", "--keys-only", "/a/", endpoints=others).split()) == 2000


@pytest.mark.etcd(version=["3.4", AT_LEAST["3.5"], "3.7"])
def test_signed_tokens_are_renewed_when_users_or_roles_change(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    archive, secret = tmp_path / "etcd.tar.zst", tmp_path / "secret"
    secret.write_bytes(b"0123456789abcdef" * 4)
    names = [b"/a/%03d" % number for number in range(300)]
    make_snapshot(archive, dict.fromkeys(names, b"old"))
    with etcd_cluster(1, extra_args=[f"--auth-token=jwt,sign-method=HS256,priv-key={secret},ttl=1h"]) as cluster:
        gateway = connect(cluster)
        for first in range(0, 300, 100):
            gateway.transact([put(name, b"new") for name in names[first : first + 100]])
        cluster.enable_auth()
        roles: set[str] = set()

        def change(progress: Progress) -> None:
            # A callback is not called more often than that; only of a cluster nobody knows how much there is.
            time.sleep(0.06)
            if (progress.total is None or progress.stage == "write") and len(roles) < most:
                roles.add(f"role-{len(roles)}")
                cluster.etcdctl("role", "add", f"role-{len(roles)}")

        most = 2
        plan = dcos_etcd.plan_put_back(archive, prefix="/a/", progress=change, **cluster.access)
        planned = len(roles)
        most += 2
        report = plan.apply(progress=change)
        written = len(roles)
        assert (report.updated, report.transactions, report.conflicts) == (300, 3, ())
        most += 2
        found = dcos_etcd.compare(archive, cluster.endpoints, user=cluster.user, progress=change, only_keys=True)
        assert (found.counts.rewritten, found.counts.value) == (300, 0)
        assert 0 < planned < written < len(roles)
