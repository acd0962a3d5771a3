"""Databases with changed bytes that `verify` accepts: real etcd boots on each, and says what the reader says."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
import trailer
from conftest import release
from dcos_etcd.testing import Cluster, EtcdBinaries
from evidence import kept
from scenario import b64, go_quoted, hash_kv, transact

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096

FILES = 6
CHANGES = 40
"""Bytes that differ in each file, of those that hold something."""

LONG = 600
"""Seconds of a lease that does not run out while it is looked at."""


@dataclass(frozen=True)
class Mutated:
    path: Path
    changed: int
    """Offsets in which it differs from the snapshot that it was."""


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> list[Mutated]:
    """A real database, its bytes changed at random in ways that verification has nothing against."""
    directory = tmp_path_factory.mktemp("mutated")
    binaries = EtcdBinaries.find()
    with Cluster(1, binaries=binaries, directory=directory / "source", extra_args=["--bcrypt-cost=4"]) as cluster:
        fill(cluster)
        saved = directory / "saved.db"
        cluster.etcdctl("snapshot", "save", str(saved))
    original = trailer.database(saved)
    return [mutate(original, directory / f"mutated{seed}.db", random.Random(seed)) for seed in range(FILES)]


def fill(cluster: Cluster) -> None:
    """Keys with versions, deletions, leases, users, and a compaction: more than one page of revisions."""
    for version in range(3):
        transact(
            cluster, (f"put {go_quoted(b'/k/%03d' % n)} {go_quoted(bytes([version, n, 0, 255]))}" for n in range(60))
        )
    transact(cluster, (f"del {go_quoted(b'/k/%03d' % n)}" for n in range(0, 60, 7)))
    lease = cluster.etcdctl_json("lease", "grant", "36000")["ID"]
    for n in range(5):
        cluster.etcdctl("put", f"leased/{n}", "x", f"--lease={lease:x}")
    cluster.etcdctl("role", "add", "reader")
    cluster.etcdctl("role", "grant-permission", "reader", "read", "/calico/", "--prefix")
    cluster.etcdctl("user", "add", "alice:wonderland")
    cluster.etcdctl("compact", "3")


def mutate(original: bytes, path: Path, chance: random.Random) -> Mutated:
    """Changes one byte after the other, and takes back what is refused or touches nothing that is read."""
    database = bytearray(original)
    held = [at for at in range(2 * PAGE, len(database)) if database[at]]
    path.write_bytes(trailer.hashed(database))
    content = dcos_etcd.verify(path).status.hash
    changed = 0
    while changed < CHANGES:
        at = chance.choice(held) + chance.randrange(2)
        if at >= len(database):
            continue
        before = database[at]
        database[at] = chance.choice(
            (before ^ (1 << chance.randrange(8)), 0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
        )
        path.write_bytes(trailer.hashed(database))
        with kept(path):
            found = judged(path)
        if found in (None, content):
            database[at] = before
            continue
        content = found
        changed += 1
    path.write_bytes(trailer.hashed(database))
    return Mutated(path, sum(one != other for one, other in zip(original, database, strict=True)))


def judged(path: Path) -> int | None:
    """The hash of what `verify` accepts, unless a server would not go on telling it."""
    try:
        found = dcos_etcd.verify(path).status.hash
    except dcos_etcd.CorruptSnapshotError:
        return None
    return found if lasts(path) else None


def lasts(path: Path) -> bool:
    """Whether no lease runs out, and no alarm keeps a server from answering."""
    with dcos_etcd.open(path) as snapshot:
        return not snapshot.alarms and all(lease.ttl >= LONG for lease in snapshot.leases)


@pytest.fixture(params=("3.5", "3.7"))
def line(request: pytest.FixtureRequest) -> EtcdBinaries:
    """A release with the membership in its v2 store, and one without."""
    return release(request.param)


def test_whatever_verify_accepts_real_etcd_boots_and_reads_as_the_reader_does(
    line: EtcdBinaries, mutated: list[Mutated], scratch: Path
) -> None:
    for number, file in enumerate(mutated):
        assert file.changed > CHANGES // 2
        with kept(file.path):
            boots_and_tells_the_same(file.path, line, scratch / str(number))


def boots_and_tells_the_same(path: Path, line: EtcdBinaries, directory: Path) -> None:
    with dcos_etcd.open(path) as snapshot, restored(path, line, directory) as cluster:
        answer = cluster.etcdctl_json("get", "", "--prefix")
        assert answer["header"]["revision"] == snapshot.revision
        told = [
            (
                b64(kv["key"]),
                b64(kv.get("value", "")),
                kv.get("create_revision", 0),
                kv.get("mod_revision", 0),
                kv.get("version", 0),
                kv.get("lease", 0),
            )
            for kv in answer.get("kvs", [])
        ]
        read = [
            (entry.key, entry.value, entry.create_revision, entry.mod_revision, entry.version, entry.lease)
            for entry in snapshot.values()
        ]
        assert told == read
        assert len(read) > 30
        [(hash_told, compacted)] = hash_kv(cluster, snapshot.revision).values()
        found = snapshot.hash_kv(etcd_version=line.version)
        assert (hash_told, compacted) == (found.hash, found.compact_revision)
        leases = {lease["id"] for lease in cluster.etcdctl_json("lease", "list").get("leases", [])}
        assert leases == {lease.id for lease in snapshot.leases}


def restored(path: Path, binaries: EtcdBinaries, directory: Path) -> Cluster:
    cluster = Cluster(1, binaries=binaries, directory=directory)
    [member] = cluster.members
    dcos_etcd.restore(path, **member.restore_arguments, disable_auth=True)
    return cluster
