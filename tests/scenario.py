"""A cluster that holds one of everything a snapshot can carry, and what to compare after it was restored."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dcos_etcd.testing import Cluster, EtcdBinaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

ROOT = ("root", "root")
ALICE = ("alice", "wonder&<land>")

MIB = 1 << 20
OPERATIONS = 128
"""Operations that etcd takes in one transaction by default."""

SETTLE_TIMEOUT = 60
"""Seconds until the members must have written down what they agree on."""

CHURN_ROUNDS = 24
"""Revisions of `OPERATIONS` entries each that the compaction under way has to go through."""


class Etcdctl(Protocol):
    """Whatever runs etcd's own client against a cluster."""

    def etcdctl(self, *args: str | bytes, stdin: bytes = b"") -> str: ...
    def etcdctl_json(self, *args: str | bytes) -> Any: ...


@dataclass(frozen=True)
class Key:
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True)
class Lease:
    granted_ttl: int
    keys: frozenset[bytes]


@dataclass(frozen=True)
class State:
    """All that etcd's own client can tell about a cluster's content."""

    revision: int
    keys: dict[bytes, Key]
    leases: dict[int, Lease]
    users: dict[str, tuple[str, ...]]
    roles: dict[str, str]


def capture(cluster: Etcdctl) -> State:
    """The content of a cluster, through etcdctl."""
    everything = cluster.etcdctl_json("get", "", "--prefix")
    keys = {
        b64(kv["key"]): Key(
            b64(kv.get("value", "")),
            kv["create_revision"],
            kv["mod_revision"],
            kv["version"],
            kv.get("lease", 0),
        )
        for kv in everything.get("kvs", [])
    }
    leases = {}
    for lease in cluster.etcdctl_json("lease", "list").get("leases", []):
        alive = cluster.etcdctl_json("lease", "timetolive", f"{lease['id']:x}", "--keys")
        leases[lease["id"]] = Lease(alive["granted-ttl"], frozenset(b64(key) for key in alive.get("keys") or []))
    users = {
        user: tuple(cluster.etcdctl_json("user", "get", user).get("roles", []))
        for user in cluster.etcdctl_json("user", "list").get("users", [])
    }
    roles = {
        role: json.dumps(cluster.etcdctl_json("role", "get", role).get("perm", []), sort_keys=True)
        for role in cluster.etcdctl_json("role", "list").get("roles", [])
        if role != "root"  # may do everything without a permission being stored; 3.6 and later show one
    }
    return State(everything["header"]["revision"], keys, leases, users, roles)


def b64(text: str) -> bytes:
    return base64.b64decode(text)


def hash_kv(cluster: Cluster, revision: int) -> dict[str, tuple[int, int]]:
    """Hash and compact revision of every member's key space up to a revision, by endpoint."""
    found = {}
    # One by one: a token that one member gave may not have reached another yet, and this call does not wait for it.
    for endpoint in cluster.endpoints:
        [entry] = cluster.etcdctl_json("endpoint", "hashkv", f"--rev={revision}", endpoints=[endpoint])
        found[endpoint] = (entry["HashKV"]["hash"], entry["HashKV"]["compact_revision"])
    return found


def settled(cluster: Cluster) -> None:
    """Wait until the members know the version of the cluster, and since 3.6 each database that of its storage.

    A young member infers a storage version and tells it as if it were written; when it cannot write it in the moment in
    which the members agree, it tries again only four seconds later.
    """
    line = cluster.binaries.line
    awaited = {f"{line[0]}.{line[1]}.0"}
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while (found := versions(cluster)) != awaited:
        assert time.monotonic() < deadline, f"{found} instead of {awaited} after {SETTLE_TIMEOUT} s"
        time.sleep(0.1)


def versions(cluster: Cluster) -> set[str]:
    """The versions of cluster and storage that the running members tell."""
    found = set()
    for endpoint in cluster.endpoints:
        with cluster.opener.open(f"{endpoint}/version", timeout=30) as response:
            found.add(str(json.load(response)["etcdcluster"]))
    if cluster.binaries.line >= (3, 6):
        for entry in cluster.etcdctl_json("endpoint", "status"):
            found.add(str(entry["Status"]["storageVersion"]))
    return found


# Making it


def go_quoted(raw: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in raw) + '"'


def transact(cluster: Etcdctl, operations: Iterable[str]) -> None:
    """Operations of `etcdctl txn` in one revision: its quoting takes any byte, a command line takes no NUL."""
    cluster.etcdctl("txn", stdin=("\n" + "\n".join(operations) + "\n\n\n").encode())


def gateway(cluster: Cluster, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A call of etcd's JSON gateway, for what etcdctl has no command for."""
    headers = {"Content-Type": "application/json"}
    if cluster.user and path != "/v3/auth/authenticate":
        name, password = cluster.user
        headers["Authorization"] = gateway(cluster, "/v3/auth/authenticate", {"name": name, "password": password})[
            "token"
        ]
    request = urllib.request.Request(cluster.endpoints[0] + path, json.dumps(body).encode(), headers)  # noqa: S310
    with cluster.opener.open(request, timeout=30) as response:
        return dict(json.load(response))


def raise_alarm(cluster: Cluster, kind: str = "NOSPACE") -> None:
    """What a member does that runs out of quota (NOSPACE) or differs from the others (CORRUPT)."""
    member = cluster.etcdctl_json("endpoint", "status")[0]["Status"]["header"]["member_id"]
    gateway(cluster, "/v3/maintenance/alarm", {"action": "ACTIVATE", "memberID": str(member), "alarm": kind})


def slow_compaction(binaries: EtcdBinaries) -> list[str]:
    """Flags with which a compaction takes long enough for a snapshot in the middle of it."""
    prefix = "" if binaries.line >= (3, 6) else "experimental-"
    flags = [f"--{prefix}compaction-batch-limit=2"]
    if binaries.line >= (3, 6):
        flags.append("--compaction-sleep-interval=50ms")
    return flags


def fill_keys(cluster: Etcdctl) -> None:
    """Keys and values of any bytes and sizes, versions above one, tombstones, leases with and without keys."""
    for start in (0, 128):
        transact(
            cluster,
            (
                f"put {go_quoted(bytes([n]))} {go_quoted(bytes([118, n, 0, 255 - n]))}"
                for n in range(start, start + 128)
            ),
        )
    transact(
        cluster, (f"put {go_quoted(key)} {go_quoted(key[::-1])}" for key in (b"\xff\xff\xff", b"\0\0", b"/a\nb\xc3"))
    )
    cluster.etcdctl("put", "empty", "")
    cluster.etcdctl("put", "large", stdin=bytes(range(256)) * (MIB // 256))
    for version in range(3):
        cluster.etcdctl("put", "/calico/versioned", f"version {version}")
    cluster.etcdctl("put", "deleted", "gone")
    cluster.etcdctl("del", "deleted")
    cluster.etcdctl("put", "back", "before")
    cluster.etcdctl("del", "back")
    cluster.etcdctl("put", "back", "again")
    for ttl in (3600, 90_000):
        lease = cluster.etcdctl_json("lease", "grant", str(ttl))["ID"]
        for n in range(2):
            cluster.etcdctl("put", f"leased/{ttl}/{n}", "x", f"--lease={lease:x}")
    cluster.etcdctl("lease", "grant", "7200")


def fill_users(cluster: Cluster) -> None:
    """Users and roles, and authentication enabled."""
    cluster.etcdctl("role", "add", "reader")
    cluster.etcdctl("role", "grant-permission", "reader", "read", "/calico/", "--prefix")
    cluster.etcdctl("role", "add", "writer")
    cluster.etcdctl("role", "grant-permission", "writer", "readwrite", "empty")
    cluster.etcdctl("role", "grant-permission", "writer", "write", "a", "z")
    cluster.etcdctl("user", "add", ":".join(ALICE))
    cluster.etcdctl("user", "grant-role", "alice", "reader")
    cluster.etcdctl("user", "grant-role", "alice", "writer")
    cluster.etcdctl("user", "add", "carol", "--no-password")
    cluster.enable_auth(*ROOT)


def churn(cluster: Cluster) -> None:
    """Many revisions of few keys, every third of them a tombstone."""
    for n in range(CHURN_ROUNDS):
        verb = "del" if n % 3 == 2 else "put"
        transact(cluster, (f"{verb} churn/{k:03}" + (f" {n}" if verb == "put" else "") for k in range(OPERATIONS)))


@dataclass(frozen=True)
class Source:
    """A snapshot of the rich cluster, and what the cluster said of itself when it was taken."""

    version: str
    archive: Path
    """As the tool under test backed it up."""
    db: Path
    """As etcdctl saved it, a moment later."""
    state: State
    compacted: int
    """The revision of the compaction that was under way."""
    hash: int
    """Hash of the key space at `state.revision`, the same in every member; every release line computes the same."""
    alarms: frozenset[tuple[int, int]]
    old_members: frozenset[int]
    """Ids of all members that the cluster ever had."""


def make_source(
    binaries: EtcdBinaries, directory: Path, backup: Callable[[Cluster, Path], object], suffix: str
) -> Source:
    """Build the rich cluster on one release, back it up in the middle of a compaction, and take it down.

    Args:
        binaries: The release.
        directory: Where the snapshots go.
        backup: Makes the archive.
        suffix: Of the archive's name.
    """
    flags = ["--strict-reconfig-check=false", "--bcrypt-cost=4", *slow_compaction(binaries)]
    with Cluster(3, binaries=binaries, extra_args=flags, directory=directory / "source", names="old") as cluster:
        old_members = frozenset(entry["ID"] for entry in cluster.member_list())
        for value in ("1", "2", "3"):
            cluster.etcdctl("put", "first", value)
        cluster.etcdctl("compact", "3", "--physical")  # one that gets done
        fill_keys(cluster)
        leader = cluster.leader()
        cluster.remove_member(next(member for member in cluster.members if member is not leader))
        fill_users(cluster)
        churn(cluster)
        settled(cluster)
        state = capture(cluster)
        raise_alarm(cluster)
        raised = alarms(cluster)
        assert raised
        compacted = state.revision - 1
        cluster.etcdctl("compact", str(compacted))
        archive, db = directory / f"backup{suffix}", directory / "etcdctl.db"
        backup(cluster, archive)
        cluster.etcdctl("snapshot", "save", str(db), endpoints=cluster.endpoints[:1])
        [(found, found_compacted)] = set(hash_kv(cluster, state.revision).values())
        assert found_compacted == compacted
        return Source(binaries.version, archive, db, state, compacted, found, frozenset(raised), old_members)


def alarms(cluster: Cluster) -> set[tuple[int, int]]:
    """Member id and kind (1 NOSPACE, 2 CORRUPT) of every alarm that is raised."""
    return {(alarm["memberID"], alarm["alarm"]) for alarm in cluster.etcdctl_json("alarm", "list").get("alarms", [])}
