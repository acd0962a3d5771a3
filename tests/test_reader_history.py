"""Whatever was written, the reader answers for any revision what a live server of every release line answered."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from conftest import each_line
from dcos_etcd import CompactedError, FutureRevisionError
from gateway import Gateway, GatewayError, delete, put
from scenario import hash_kv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dcos_etcd.models import Entry
    from dcos_etcd.testing import Cluster, ClusterFactory

pytestmark = each_line

KEYS = (
    b"\0",
    b"/",
    b"/a",
    b"/a/",
    b"/a/1",
    b"/a/2",
    b"/a\xff",
    b"/b",
    b"a",
    b"a\0",
    b"b\xff\xff",
    b"\xff",
    b"\xff\xff",
)

# Key, range end, and the same for the reader.
RANGES: tuple[tuple[bytes, bytes, dict[str, Any]], ...] = (
    (b"\0", b"\0", {}),
    (b"\0", b"\0", {"prefix": b""}),
    (b"/a", b"/b", {"prefix": b"/a"}),
    (b"/a\xff", b"/b", {"prefix": b"/a\xff"}),
    (b"\xff", b"\0", {"prefix": b"\xff"}),
    (b"/a/1", b"a\0", {"start": b"/a/1", "end": b"a\0"}),
    (b"/b", b"\0", {"start": b"/b"}),
    (b"/b", b"\0", {"start": b"/b", "end": b"\0"}),
    (b"b", b"a", {"start": b"b", "end": b"a"}),
)


@pytest.fixture(params=["tar.gz", "tar.zst"])
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def written(etcd_cluster: ClusterFactory) -> Iterator[tuple[Cluster, Gateway]]:
    cluster = etcd_cluster(1)
    cluster.start()
    gateway = Gateway(cluster.endpoints[0])
    yield cluster, gateway
    gateway.close()


def test_ranges_and_hashes_at_every_revision_are_those_of_the_server(
    written: tuple[Cluster, Gateway], suffix: str, scratch: Path
) -> None:
    cluster, gateway = written
    chance = random.Random(f"{cluster.binaries.version} {suffix}")
    compacted = -1
    for number in range(3):
        newest, compacted = write_at_random(gateway, chance, compacted)
        path = scratch / f"{number}.{suffix}"
        dcos_etcd.backup(path, **cluster.access)
        with dcos_etcd.open(path) as snapshot:
            assert (newest, max(compacted, 0)) == (snapshot.revision, snapshot.compact_revision)
            for revision in range(max(compacted, 1), newest + 1):
                assert_ranges_are_equal(snapshot, gateway, revision, chance)
            for revision in {
                newest,
                max(compacted, 1) + 1,
                *chance.sample(range(max(compacted, 1) + 1, newest + 1), 5),
            }:
                [(expected, at)] = hash_kv(cluster, revision).values()
                found = snapshot.hash_kv(revision, etcd_version=cluster.binaries.version)
                assert (expected, at, revision) == (found.hash, found.compact_revision, found.revision)
            for revision in (compacted - 1, newest + 1):
                if revision > 0:
                    assert_refused_alike(snapshot, gateway, revision)


def test_a_deletion_at_the_compaction_is_hashed_as_the_server_does(
    written: tuple[Cluster, Gateway], scratch: Path
) -> None:
    cluster, gateway = written
    gateway.put(b"a", b"1")
    deleted = int(gateway.transact([delete(b"a")])["header"]["revision"])
    gateway.call("kv/compaction", {"revision": str(deleted), "physical": True})
    path = scratch / "etcd.tar.gz"
    dcos_etcd.backup(path, **cluster.access)
    # Without a revision, since earlier servers count that of the compaction as gone.
    [(expected, compacted)] = hash_kv(cluster, 0).values()

    with dcos_etcd.open(path) as snapshot:
        found = snapshot.hash_kv(etcd_version=cluster.binaries.version)
        assert (expected, compacted, deleted) == (found.hash, found.compact_revision, found.revision)
        assert list(snapshot.range(revision=deleted)) == []


def write_at_random(gateway: Gateway, chance: random.Random, compacted: int, changes: int = 60) -> tuple[int, int]:
    """Returns the newest revision and that of the last compaction, -1 where there was none."""
    leases = [int(gateway.call("lease/grant", {"TTL": "3600"})["ID"]) for _ in range(2)]
    revision = 1
    for number in range(changes):
        answer: dict[str, Any]
        match chance.choice(("put", "put", "put", "delete", "delete range", "transaction", "transaction")):
            case "put":
                answer = gateway.put(
                    chance.choice(KEYS), chance.randbytes(chance.choice((0, 3, 700))), lease(chance, leases)
                )
            case "delete":
                answer = gateway.transact([delete(chance.choice(KEYS))])
            case "delete range":
                answer = gateway.transact([delete(b"/a", b"/b")])
            case _:
                keys = chance.sample(KEYS, chance.randint(1, len(KEYS)))
                operations = [
                    delete(key) if chance.random() < 0.3 else put(key, b"%d" % number, lease(chance, leases))
                    for key in keys
                ]
                answer = gateway.transact(operations)
        revision = int(answer["header"]["revision"])
        if number == changes // 2 and revision > 2:
            compacted = chance.randint(max(compacted + 1, 2), revision)
            gateway.call("kv/compaction", {"revision": str(compacted), "physical": True})
    return revision, compacted


def lease(chance: random.Random, leases: list[int]) -> int:
    return chance.choice((0, 0, *leases))


def assert_ranges_are_equal(
    snapshot: dcos_etcd.Snapshot, gateway: Gateway, revision: int, chance: random.Random
) -> None:
    view = snapshot.at(revision)
    for key, end, arguments in RANGES:
        assert gateway.range(key, end, revision=str(revision)) == list(view.range(**arguments))
    limit = chance.randint(1, len(KEYS))
    expected = gateway.range(b"\0", b"\0", revision=str(revision), limit=str(limit), keys_only=True)
    found = list(snapshot.range(revision=revision, limit=limit, keys_only=True))
    # 3.7 answers out of its index, which knows no leases.
    assert expected in (found, [entry._replace(lease=0) for entry in found])
    everything = list(view.range())
    assert len(view) == len(everything)
    assert list(view) == [entry.key for entry in everything]
    assert dict(view.items()) == {entry.key: entry for entry in everything}
    assert everything == list(view.values())
    for key in KEYS:
        expected_entry = next(iter(gateway.range(key, revision=str(revision))), None)
        assert expected_entry == view.get(key)
        assert (expected_entry is not None) == (key in view)
        assert_history_ends_in(view.history(key), expected_entry)


def assert_history_ends_in(history: list[Entry], live: Entry | None) -> None:
    assert [entry.mod_revision for entry in history] == sorted({entry.mod_revision for entry in history})
    if live is None:
        assert history == [] or history[-1].deleted
    else:
        assert history[-1] == live


def assert_refused_alike(snapshot: dcos_etcd.Snapshot, gateway: Gateway, revision: int) -> None:
    with pytest.raises(GatewayError) as refused:
        gateway.range(b"a", revision=str(revision))
    with pytest.raises((CompactedError, FutureRevisionError)) as error:
        snapshot.range(revision=revision)
    assert str(error.value).split(":")[0] in str(refused.value)
    assert getattr(error.value, "revision", None) == revision
    with pytest.raises(type(error.value)):
        snapshot.at(revision)
    with pytest.raises(type(error.value)):
        snapshot.hash_kv(revision)
