"""Snapshots of every release line, restored as three members and booted on every release line: sixteen of sixteen.

etcd's own tools do not get there: `etcdctl` 3.4 leaves the old members behind, and a snapshot of 3.7 that any `etcdutl`
restored does not start on 3.6.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from conftest import LINES, release
from dcos_etcd.testing import Cluster, CommandFailedError
from oracle import bbolt
from scenario import ALICE, ROOT, Source, State, alarms, capture, hash_kv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CATCH_UP_TIMEOUT = 30.0

BUMP = 1_000_000


@pytest.mark.parametrize("target", LINES)
@pytest.mark.parametrize("origin", LINES)
def test_a_snapshot_of_one_line_comes_up_as_a_new_cluster_on_another(
    origin: str, target: str, source: Callable[[str], Source], scratch: Path
) -> None:
    binaries = release(target)
    snapshot = source(origin)
    cluster = Cluster(
        3,
        binaries=binaries,
        auth=ROOT,
        token=f"{origin}-to-{target}",
        names="new",
        directory=scratch / "cluster",
        extra_args=["--strict-reconfig-check=false"],
    )
    ids = restore(snapshot, cluster)
    with cluster:
        assert lists_exactly(cluster, ids)
        assert_content(capture(cluster), snapshot.state)
        assert_equal_hashes(cluster, snapshot)
        assert_access_is_as_it_was(cluster)
        # No write is tried before that: a restarted 3.4 can carry out after all what the alarm made it refuse, since it
        # commits the disarming without the raft index.
        assert alarms(cluster) == snapshot.alarms
        cluster.etcdctl("alarm", "disarm")
        assert not alarms(cluster)
        cluster.etcdctl("put", "probe", "x")

        cluster.stop()
        for member in cluster.members:
            assert_only_new_members(member.db, ids)
        cluster.start()
        assert cluster.etcdctl("get", "probe", "--print-value-only") == "x\n"
        assert_content(capture(cluster), snapshot.state)

        fourth = cluster.add_member()
        ids.add(fourth.id)
        assert lists_exactly(cluster, ids)
        assert_catches_up(cluster, fourth.client_url)
        assert_equal_hashes(cluster, snapshot)


@pytest.mark.parametrize("line", LINES)
def test_a_bumped_revision_is_the_new_clusters_and_what_was_before_is_compacted(
    line: str, source: Callable[[str], Source], scratch: Path
) -> None:
    snapshot = source(line)
    cluster = Cluster(3, binaries=release(line), auth=ROOT, names="new", directory=scratch / "cluster")
    for member in cluster.members:
        report = dcos_etcd.restore(
            snapshot.archive, **member.restore_arguments, bump_revision=BUMP, mark_compacted=True
        )
        assert report.bumped_revision == snapshot.state.revision + BUMP
    with cluster:
        found = capture(cluster)
        assert found.revision == snapshot.state.revision + BUMP
        assert found.keys == snapshot.state.keys
        with pytest.raises(CommandFailedError, match="required revision has been compacted"):
            cluster.etcdctl("get", "first", f"--rev={snapshot.state.revision}")
        cluster.etcdctl("alarm", "disarm")
        cluster.etcdctl("put", "probe", "x")
        probe = cluster.etcdctl_json("get", "probe")["kvs"][0]
        assert probe["mod_revision"] == snapshot.state.revision + BUMP + 1


def restore(snapshot: Source, cluster: Cluster) -> set[int]:
    """Restores every member; returns their ids."""
    ids = set()
    for member in cluster.members:
        report = dcos_etcd.restore(snapshot.archive, **member.restore_arguments)
        assert report.revision == snapshot.state.revision
        ids.add(int(report.member_id, 16))
        assert_only_new_members(member.db, {int(planned.id, 16) for planned in report.members})
        meta = bbolt.read(member.db)[b"meta"]
        finished = bbolt.revision(meta[b"finishedCompactRev"])
        assert finished < bbolt.revision(meta[b"scheduledCompactRev"]) == snapshot.compacted
    assert len(ids) == 3
    assert ids.isdisjoint(snapshot.old_members)
    return ids


def assert_only_new_members(db: Path, ids: set[int]) -> None:
    buckets = bbolt.read(db)
    assert {int(key, 16) for key in buckets[b"members"]} == ids
    assert not buckets[b"members_removed"]


def lists_exactly(cluster: Cluster, ids: set[int]) -> bool:
    """Whether every member says that these are the members."""
    return all({entry["ID"] for entry in cluster.member_list(url)} == ids for url in cluster.endpoints)


def assert_content(found: State, expected: State) -> None:
    keys = {key: value for key, value in found.keys.items() if key != b"probe"}
    assert keys == expected.keys
    assert found.leases == expected.leases
    assert found.users == expected.users
    assert found.roles == expected.roles
    assert found.revision == expected.revision + (b"probe" in found.keys)


def assert_equal_hashes(cluster: Cluster, snapshot: Source) -> None:
    """At the snapshot's revision every member has the hash that the source's members had."""
    hashes = hash_kv(cluster, snapshot.state.revision)
    assert len(hashes) == len(cluster.members)
    assert set(hashes.values()) == {(snapshot.hash, snapshot.compacted)}


def assert_access_is_as_it_was(cluster: Cluster) -> None:
    """Authentication is enabled, and passwords and permissions are the same."""
    read = ("get", "/calico/versioned", "--print-value-only")
    assert cluster.etcdctl(*read, user=ALICE) == "version 2\n"
    with pytest.raises(CommandFailedError, match="permission denied"):
        cluster.etcdctl("get", "first", user=ALICE)
    with pytest.raises(CommandFailedError, match="authentication failed"):
        cluster.etcdctl(*read, user=(ALICE[0], "wrong"))
    anonymous = cluster.user
    cluster.user = None
    try:
        with pytest.raises(CommandFailedError, match="user name is empty"):
            cluster.etcdctl(*read)
    finally:
        cluster.user = anonymous


def assert_catches_up(cluster: Cluster, url: str) -> None:
    """The member's own copy gets to hold what the others do."""
    latest = cluster.etcdctl_json("get", "probe")["kvs"][0]["mod_revision"]
    deadline = time.monotonic() + CATCH_UP_TIMEOUT
    while True:
        own = cluster.etcdctl_json("get", "probe", "--consistency=s", endpoints=[url])
        if own.get("count") == 1 and own["kvs"][0]["mod_revision"] == latest:
            return
        assert time.monotonic() < deadline, "the fourth member did not catch up"
        time.sleep(0.1)
