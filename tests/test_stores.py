"""Stores of unusual history, backed up and brought up again."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
import trailer
from conftest import LINES, each_line, release
from oracle import bbolt
from scenario import hash_kv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dcos_etcd.testing import Cluster, ClusterFactory

BUMP = 1_000_000

GRANTED = 9_000_000_000
"""The longest time to live, in seconds, that etcd grants."""

OVERLONG = (1 << 35) - 1
"""One that takes as many bytes, and that nanoseconds of 63 bits do not hold."""


def revision(cluster: Cluster, *command: str) -> int:
    return int(cluster.etcdctl_json(*command)["header"]["revision"])


def compacted_at(cluster: Cluster, since: int) -> int:
    """The compact revision with which a watch from `since` on is cancelled."""
    command = [str(cluster.binaries.etcdctl), f"--endpoints={cluster.endpoints[0]}", "watch", "key", f"--rev={since}"]
    watched = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    [line] = [line for line in watched.stderr.splitlines() if "watch was canceled" in line]
    assert "required revision has been compacted" in line
    return int(cluster.etcdctl_json("endpoint", "hashkv")[0]["HashKV"]["compact_revision"])


@pytest.mark.parametrize("bump", [None, BUMP], ids=["as it is", "bumped"])
@each_line
def test_a_cluster_to_which_nothing_was_ever_written(
    etcd_cluster: ClusterFactory, tmp_path: Path, bump: int | None
) -> None:
    with etcd_cluster(1) as source:
        dcos_etcd.backup(tmp_path / "etcd.tar.gz", **source.access)
    assert dcos_etcd.verify(tmp_path / "etcd.tar.gz").status.total_key == 0

    restored = etcd_cluster(1)
    report = dcos_etcd.restore(
        tmp_path / "etcd.tar.gz",
        **restored.members[0].restore_arguments,
        bump_revision=bump,
        mark_compacted=bump is not None,
    )

    assert report.revision == 1
    with restored:
        assert revision(restored, "put", "key", "value") == 1 + (bump or 0) + 1


@each_line
def test_revisions_go_on_behind_a_bump_though_compaction_had_removed_the_last_key(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    """As etcd's own end-to-end tests ask of `--bump-revision`; twice, and each time a client with an old watch."""
    with etcd_cluster(1) as source:
        source.etcdctl("put", "key", "value")
        source.etcdctl("del", "key")
        current = revision(source, "get", "key")
        source.etcdctl("compact", str(current), "--physical")
        dcos_etcd.backup(tmp_path / "0.tar.gz", **source.access)

    for number in range(2):
        bumped = etcd_cluster(1)
        report = dcos_etcd.restore(
            tmp_path / f"{number}.tar.gz",
            **bumped.members[0].restore_arguments,
            bump_revision=BUMP,
            mark_compacted=True,
        )
        bumped_to = current + BUMP
        assert (report.revision, report.bumped_revision) == (current, bumped_to)
        with bumped:
            assert compacted_at(bumped, since=2) == bumped_to
            assert compacted_at(bumped, since=current) == bumped_to
            current = revision(bumped, "put", "other", "value")
            assert current == bumped_to + 1
            dcos_etcd.backup(tmp_path / f"{number + 1}.tar.gz", **bumped.access)


def edited(saved: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a database in place, which keeps its length, and put its hash right."""
    database = trailer.database(saved)
    changed = change(database)
    assert len(changed) == len(database)
    assert changed != database
    saved.write_bytes(trailer.hashed(changed))


def at(revision: int) -> bytes:
    """A revision as a compaction's bound."""
    return revision.to_bytes(8, "big") + b"_" + bytes(8)


@pytest.fixture
def nearly_compacted(etcd_cluster: ClusterFactory, tmp_path: Path) -> tuple[Path, int]:
    """What a compaction by etcd 3.4 leaves until it is told to be finished: its last entry, a deletion, is gone."""
    with etcd_cluster(1, binaries=release("3.4")) as source:
        for command in (["put", "kept", "value"], ["put", "key", "value"], ["del", "key"]):
            source.etcdctl(*command)
        current = revision(source, "get", "key")
        source.etcdctl("compact", str(current), "--physical")
        source.etcdctl("snapshot", "save", str(tmp_path / "saved.db"))
    name = b"finishedCompactRev"
    edited(tmp_path / "saved.db", lambda database: database.replace(name + at(current), name + at(1)))
    return tmp_path / "saved.db", current


@pytest.mark.parametrize("how", [{}, {"compact": True}], ids=["patched", "written anew"])
@pytest.mark.parametrize("line", [*LINES, "3.5.1"])
def test_revisions_go_on_behind_a_compaction_that_had_removed_the_last_key_and_was_not_finished(
    line: str, how: dict[str, Any], nearly_compacted: tuple[Path, int], etcd_cluster: ClusterFactory
) -> None:
    """Servers before 3.4.32 and 3.5.14 would hand out revisions twice."""
    saved, current = nearly_compacted
    restored = etcd_cluster(1, binaries=release(line))
    [member] = restored.members

    report = dcos_etcd.restore(saved, **member.restore_arguments, **how)

    assert report.revision == current
    assert [step for step in report.steps if f"compaction to {current} as finished" in step]
    before, after = (bbolt.read(file) for file in (saved, member.db))
    assert after[b"key"] == before[b"key"]
    assert before[b"meta"][b"finishedCompactRev"] < after[b"meta"][b"finishedCompactRev"] == at(current)
    with restored:
        assert revision(restored, "get", "kept") == current
        assert [kv["mod_revision"] for kv in restored.etcdctl_json("get", "", "--prefix")["kvs"]] == [current - 2]
        with dcos_etcd.open(saved) as snapshot:
            found = snapshot.hash_kv(etcd_version=restored.binaries.version)
        # Without a revision, since earlier servers count that of the compaction as gone.
        assert hash_kv(restored, 0) == {restored.endpoints[0]: (found.hash, found.compact_revision)}
        member.kill()
        member.start()
        assert revision(restored, "put", "key", "value") == current + 1


def test_a_lease_that_no_etcd_grants_is_told_and_may_be_dropped(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    """etcd reckons its end in 63 bits, and finds it in the past."""
    saved = tmp_path / "saved.db"
    with etcd_cluster(1) as source:
        lease = source.etcdctl_json("lease", "grant", str(GRANTED))["ID"]
        source.etcdctl("put", "leased", "value", f"--lease={lease:x}")
        source.etcdctl("snapshot", "save", str(saved))
    assert not dcos_etcd.verify(saved).warnings
    granted, overlong = varint(GRANTED), varint(OVERLONG)
    edited(saved, lambda database: database.replace(b"\x10" + granted, b"\x10" + overlong))

    [warning] = dcos_etcd.verify(saved).warnings
    assert "--drop-leases" in warning
    for drop, there in ((False, 0), (True, 1)):
        restored = etcd_cluster(1)
        report = dcos_etcd.restore(saved, **restored.members[0].restore_arguments, drop_leases=drop)
        assert (warning in report.warnings) is not drop
        with restored:
            deadline = time.monotonic() + 20
            while (found := restored.etcdctl_json("get", "leased").get("count", 0)) != there:
                assert time.monotonic() < deadline, found
                time.sleep(0.1)


def varint(number: int) -> bytes:
    """As protobuf writes it."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])
