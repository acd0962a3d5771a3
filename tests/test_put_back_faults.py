"""What goes wrong while keys are put back: members that stop or stall, keys that are not to be written, new roles."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
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


class Relay:
    """Leads to an endpoint. The first connection that carries the mark ends there for its client: no answer comes back.

    What carries the mark is `held` until it is released, or goes through.
    """

    def __init__(self, endpoint: str, mark: bytes, *, holds: bool) -> None:
        self.mark, self.holds = mark, holds
        self.held: tuple[socket.socket, bytes] | None = None
        self.seen = threading.Event()
        self.target = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.opened: list[socket.socket] = [self.server]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            there = socket.create_connection(self.target)
            self.opened += [client, there]
            marked = threading.Event()
            threading.Thread(target=self.forward, args=(client, there, marked), daemon=True).start()
            threading.Thread(target=self.back, args=(there, client, marked), daemon=True).start()

    def forward(self, client: socket.socket, there: socket.socket, marked: threading.Event) -> None:
        while data := received(client):
            if marked.is_set():
                continue
            if self.mark in data and not self.seen.is_set():
                marked.set()
                self.held = (there, data)
                self.seen.set()
                if self.holds:
                    continue
            there.sendall(data)

    def back(self, there: socket.socket, client: socket.socket, marked: threading.Event) -> None:
        while data := received(there):
            if not marked.is_set():
                client.sendall(data)

    def release(self) -> None:
        assert self.held
        there, data = self.held
        there.sendall(data)

    def close(self) -> None:
        for one in self.opened:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


@pytest.fixture
def relay() -> Iterator[Callable[[Cluster, bytes, bool], Relay]]:
    """Makes relays to the first member of a cluster."""
    made: list[Relay] = []

    def to(cluster: Cluster, mark: bytes, holds: bool) -> Relay:  # noqa: FBT001 - a fixture has no keywords
        made.append(Relay(cluster.endpoints[0], mark, holds=holds))
        return made[-1]

    yield to
    for one in made:
        one.close()


def test_a_request_that_may_still_be_carried_out_is_told_where_it_creates_keys(
    etcd_cluster: ClusterFactory, tmp_path: Path, relay: Callable[[Cluster, bytes, bool], Relay]
) -> None:
    snapshot = tmp_path / "etcd.tar.zst"
    make_snapshot(snapshot, {"/a/1": b"mark-a", "/b/1": b"mark-b", "/b/2": b"v"})
    with etcd_cluster(1) as cluster:
        cluster.etcdctl("put", "/b/1", "other")
        creating, changing = relay(cluster, b"mark-a", True), relay(cluster, b"mark-b", True)
        # Where a key is changed with them, the condition of that never holds again.
        report = dcos_etcd.put_back(snapshot, changing.url, prefix="/b/", command_timeout=1)
        assert (report.created, report.updated, report.unanswered, report.warnings) == (1, 1, (), ())
        cluster.etcdctl("del", "/b/2")
        changing.release()

        report = dcos_etcd.put_back(snapshot, creating.url, prefix="/a/", command_timeout=1)
        assert (report.created, report.unanswered) == (1, (Unanswered(endpoint=creating.url, creates=1),))
        [warning] = report.warnings
        assert warning.startswith(f"a request to {creating.url} got no answer and may still be carried out: 1 keys")
        document = json.loads(changes.put_back_json(report))["summary"]
        assert document["unanswered"] == [{"endpoint": creating.url, "creates": 1}]
        cluster.etcdctl("del", "/a/1")
        creating.release()
        deadline = time.monotonic() + 30
        while not cluster.etcdctl("get", "/a/1") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert cluster.etcdctl("get", "--print-value-only", "/a/1").strip() == "mark-a"
        assert cluster.etcdctl("get", "/b/2") == ""


def test_a_request_whose_answer_was_lost_is_no_danger_where_it_was_carried_out(
    etcd_cluster: ClusterFactory, tmp_path: Path, relay: Callable[[Cluster, bytes, bool], Relay]
) -> None:
    snapshot = tmp_path / "etcd.tar.zst"
    make_snapshot(snapshot, {f"/a/{number}": b"mark" for number in range(5)})
    with etcd_cluster(1) as cluster:
        deaf = relay(cluster, b"mark", False)
        report = dcos_etcd.put_back(snapshot, deaf.url, prefix="/a/", command_timeout=1)
        assert deaf.seen.is_set()
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


@pytest.mark.etcd(version=["3.4", "3.7"])
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
