"""Restores of another revision, of some keys, without free pages, and with repairs: booted on every line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from conftest import LINES, release
from dcos_etcd.testing import Cluster, CommandFailedError
from oracle import bbolt
from processes import gone
from scenario import ALICE, ROOT, Key, Source, alarms, b64, go_quoted, hash_kv, transact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory, EtcdBinaries
    from workshop import Workshop

PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}

BUMP = 1_000_000


@dataclass(frozen=True)
class History:
    """A cluster's history as it told it itself, and what is left of it."""

    archive: Path
    db: Path
    compacted: int
    last: int
    keys: dict[int, dict[bytes, Key]]
    """What every revision from `compacted` on held."""
    hashes: dict[int, tuple[int, int]]
    """Hash of the key space and compaction bound at those revisions."""
    revoked: int
    """The lease that was there until the end of `leased_at`."""
    leased_at: int
    deleted_at: int
    """The revision whose only change is a deletion."""


def keys_at(cluster: Cluster, revision: int = 0) -> dict[bytes, Key]:
    answer = cluster.etcdctl_json("get", "", "--prefix", f"--rev={revision}")
    return {
        b64(kv["key"]): Key(
            b64(kv.get("value", "")), kv["create_revision"], kv["mod_revision"], kv["version"], kv.get("lease", 0)
        )
        for kv in answer.get("kvs", [])
    }


def revision_of(cluster: Cluster) -> int:
    return int(cluster.etcdctl_json("get", "absent")["header"]["revision"])


def make_history(binaries: EtcdBinaries, directory: Path) -> History:
    with Cluster(1, binaries=binaries, directory=directory / "old") as cluster:
        for n in range(6):
            cluster.etcdctl("put", "/app/a", f"a{n}")
            cluster.etcdctl("put", f"/other/{n}", "x" * 3000)
        cluster.etcdctl("del", "/other/0")
        compacted = revision_of(cluster)
        cluster.etcdctl("compact", str(compacted), "--physical")
        transact(cluster, ("put /app/b b0", "put /other/t t0", f"put {go_quoted(bytes((255, 0)))} {go_quoted(b'z')}"))
        lease = cluster.etcdctl_json("lease", "grant", "3600")["ID"]
        kept = cluster.etcdctl_json("lease", "grant", "7200")["ID"]
        cluster.etcdctl("put", "/app/leased", "l", f"--lease={lease:x}")
        cluster.etcdctl("put", "/app/kept", "k", f"--lease={kept:x}")
        leased_at = revision_of(cluster)
        cluster.etcdctl("lease", "revoke", f"{lease:x}")
        transact(cluster, ("put /app/a a-late", "del /app/b", "put /other/t t1"))
        cluster.etcdctl("del", "/other/1")
        deleted_at = revision_of(cluster)
        cluster.etcdctl("put", "/app/b", "again")
        cluster.etcdctl("put", "/other/end", "end")
        last = revision_of(cluster)
        revisions = range(compacted, last + 1)
        keys = {revision: keys_at(cluster, revision) for revision in revisions}
        # Some lines give no hash at the bound itself.
        hashes = {revision: hash_kv(cluster, revision)[cluster.endpoints[0]] for revision in revisions[1:]}
        archive, db = directory / "history.tar.zst", directory / "history.db"
        dcos_etcd.backup(archive, **cluster.access)
        cluster.etcdctl("snapshot", "save", str(db))
        return History(archive, db, compacted, last, keys, hashes, lease, leased_at, deleted_at)


@pytest.fixture(scope="session")
def history(workshop: Workshop) -> Callable[[str], History]:
    """The history that one line wrote, made when first asked for."""
    return lambda line: workshop.get(f"history-{line}", lambda directory: make_history(release(line), directory))


@pytest.fixture
def some_history(history: Callable[[str], History]) -> History:
    return history("3.5")


@pytest.fixture
def restored(etcd_cluster: ClusterFactory) -> Callable[..., tuple[Cluster, dcos_etcd.RestoreReport]]:
    """Restores every member of a new cluster and starts it."""

    def restore(line: str, snapshot: Path, members: int = 1, **options: Any) -> tuple[Cluster, dcos_etcd.RestoreReport]:
        cluster = etcd_cluster(members, binaries=release(line), token="new", names="n")
        reports = [dcos_etcd.restore(snapshot, **member.restore_arguments, **options) for member in cluster.members]
        assert len({report.rewritten for report in reports}) == 1
        cluster.start()
        return cluster, reports[0]

    return restore


# A revision


@pytest.mark.parametrize("line", LINES)
def test_the_cluster_is_as_it_was_at_the_revision_with_the_history_before_it(
    line: str, history: Callable[[str], History], restored: Callable[..., Any]
) -> None:
    old = history(line)
    for revision in (old.compacted, old.leased_at, old.deleted_at, old.last):
        cluster, report = restored(line, old.archive, revision=revision)

        assert report.rewritten.revision == revision_of(cluster) == revision
        assert keys_at(cluster) == old.keys[revision]
        for earlier in range(old.compacted, revision + 1):
            assert keys_at(cluster, earlier) == old.keys[earlier]
            if earlier > old.compacted:
                assert hash_kv(cluster, earlier)[cluster.endpoints[0]] == old.hashes[earlier]
        with pytest.raises(CommandFailedError, match="required revision has been compacted"):
            keys_at(cluster, old.compacted - 1)
        with pytest.raises(CommandFailedError, match="required revision is a future revision"):
            keys_at(cluster, revision + 1)

        cluster.etcdctl("put", "probe", "x")
        cluster.etcdctl("compact", str(revision + 1), "--physical")
        cluster.restart()
        assert keys_at(cluster).keys() == {*old.keys[revision], b"probe"}
        assert keys_at(cluster)[b"probe"].mod_revision == revision + 1
        cluster.close()


def test_keys_that_hang_on_a_lease_that_is_gone_are_told_of_and_can_come_without_it(
    some_history: History, restored: Callable[..., tuple[Cluster, dcos_etcd.RestoreReport]]
) -> None:
    old = some_history
    assert old.keys[old.leased_at][b"/app/leased"].lease == old.revoked
    put = ("put", "/app/leased", "new", "--ignore-lease")

    cluster, report = restored("3.7", old.db, revision=old.leased_at)

    [warning] = [warning for warning in report.warnings if "hang on leases" in warning]
    assert warning.startswith("1 live keys hang on leases that are not stored: they never expire")
    assert all(word in warning for word in ("--ignore-lease", "panic", "--drop-leases (drop_leases=True)"))
    assert (
        f"go back to revision {old.leased_at}: drop {dropped_after(old, old.leased_at)} later versions" in report.steps
    )
    [member] = cluster.members
    first = member.pid
    with pytest.raises(CommandFailedError):
        cluster.etcdctl(*put)
    assert first
    assert gone([first])
    member.start(wait=False)
    again = member.pid
    assert again
    assert gone([again])
    assert member.log.read_text().count("unexpected error from lease Attach") >= 2
    cluster.close()

    cluster, report = restored("3.7", old.db, revision=old.leased_at, drop_leases=True)
    assert not any("leases" in warning for warning in report.warnings)
    cluster.etcdctl(*put)
    assert keys_at(cluster)[b"/app/leased"].value == b"new"


def dropped_after(old: History, revision: int) -> int:
    entries = bbolt.read(old.db)[b"key"]
    return sum(int.from_bytes(key[:8], "big") > revision for key in entries)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_revision_that_is_compacted_or_in_the_future_is_refused_with_the_numbers(
    some_history: History, scratch: Path, *, dry_run: bool
) -> None:
    old = some_history
    options = {**PLAN, "data_dir": scratch / "m", "dry_run": dry_run}

    with pytest.raises(dcos_etcd.CompactedError, match="required revision has been compacted") as compacted:
        dcos_etcd.restore(old.archive, **options, revision=old.compacted - 1)
    with pytest.raises(dcos_etcd.FutureRevisionError, match="required revision is a future revision") as future:
        dcos_etcd.restore(old.archive, **options, revision=old.last + 1)

    assert (compacted.value.revision, compacted.value.compact_revision) == (old.compacted - 1, old.compacted)
    assert (future.value.revision, future.value.current_revision) == (old.last + 1, old.last)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("line", LINES)
def test_a_compaction_that_was_under_way_is_carried_on(
    line: str, source: Callable[[str], Source], etcd_cluster: ClusterFactory, scratch: Path
) -> None:
    snapshot = source(line)
    for revision in (snapshot.compacted, snapshot.state.revision):
        cluster = etcd_cluster(1, binaries=release(line), auth=ROOT, names="n", token="new")
        [member] = cluster.members
        dcos_etcd.restore(snapshot.db, **member.restore_arguments, revision=revision, clear_alarms=True)
        meta = bbolt.read(member.db)[b"meta"]
        assert bbolt.revision(meta[b"finishedCompactRev"]) < bbolt.revision(meta[b"scheduledCompactRev"])
        cluster.start()
        assert revision_of(cluster) == revision
        with pytest.raises(CommandFailedError, match="required revision has been compacted"):
            keys_at(cluster, snapshot.compacted - 1)
        if revision == snapshot.state.revision:
            assert keys_at(cluster) == snapshot.state.keys
            assert hash_kv(cluster, revision)[cluster.endpoints[0]] == (snapshot.hash, snapshot.compacted)
        cluster.close()

    with pytest.raises(dcos_etcd.CompactedError) as caught:
        dcos_etcd.restore(snapshot.db, data_dir=scratch / "m", **PLAN, revision=snapshot.compacted - 1)
    assert caught.value.compact_revision == snapshot.compacted


@pytest.mark.parametrize("line", [*LINES, "3.5.1"])
def test_a_part_starts_at_the_revision_of_a_compaction_that_was_under_way(
    line: str, source: Callable[[str], Source], etcd_cluster: ClusterFactory
) -> None:
    snapshot = source("3.5")
    cluster = etcd_cluster(1, binaries=release(line), names="n", token="new")
    [member] = cluster.members
    dcos_etcd.restore(
        snapshot.db,
        **member.restore_arguments,
        revision=snapshot.compacted,
        prefixes="leased/",
        clear_alarms=True,
        disable_auth=True,
    )
    cluster.start()

    leased = {key: value for key, value in snapshot.state.keys.items() if key.startswith(b"leased/")}
    assert max(value.mod_revision for value in leased.values()) < snapshot.compacted == revision_of(cluster)
    assert keys_at(cluster) == leased
    cluster.etcdctl("put", "probe", "x")
    assert keys_at(cluster)[b"probe"].mod_revision == snapshot.compacted + 1


def test_a_bump_goes_on_from_the_revision(some_history: History, restored: Callable[..., Any]) -> None:
    old = some_history
    cluster, report = restored(
        "3.5", old.archive, revision=old.deleted_at, bump_revision=BUMP, mark_compacted=True, prefixes="/app/"
    )

    assert report.bumped_revision == revision_of(cluster) == old.deleted_at + BUMP
    expected = {key: value for key, value in old.keys[old.deleted_at].items() if key.startswith(b"/app/")}
    assert {key: value for key, value in keys_at(cluster).items() if key} == expected
    with pytest.raises(CommandFailedError, match="required revision has been compacted"):
        keys_at(cluster, old.deleted_at)


# Some keys


@pytest.mark.parametrize("line", LINES)
def test_only_the_keys_that_were_asked_for_come_with_their_history_and_their_revisions(
    line: str, history: Callable[[str], History], restored: Callable[..., Any]
) -> None:
    old = history(line)
    cluster, report = restored(
        line, old.archive, members=3, prefixes=["/app/", b"\xff"], exclude_prefixes=[b"/app/leased"]
    )

    def chosen(keys: dict[bytes, Key]) -> dict[bytes, Key]:
        return {
            key: value
            for key, value in keys.items()
            if key.startswith((b"/app/", b"\xff")) and not key.startswith(b"/app/leased")
        }

    assert b"\xff\0" in chosen(old.keys[old.last])
    assert report.rewritten.revision == revision_of(cluster) == old.last
    for revision in range(old.compacted, old.last + 1):
        assert keys_at(cluster, revision) == chosen(old.keys[revision])
    hashes = hash_kv(cluster, old.last)
    assert len(hashes) == 3
    assert len(set(hashes.values())) == 1
    assert b"/other/" not in b"".join(bbolt.read(cluster.members[0].db)[b"key"].values())

    cluster.etcdctl("put", "probe", "x")
    assert keys_at(cluster)[b"probe"].mod_revision == old.last + 1
    cluster.etcdctl("compact", str(old.last), "--physical")
    cluster.restart()
    assert keys_at(cluster).keys() == {*chosen(old.keys[old.last]), b"probe"}
    assert len(set(hash_kv(cluster, old.last + 1).values())) == 1
    assert cluster.etcdctl_json("lease", "list")["leases"] != []


def test_what_was_restored_of_some_keys_can_be_restored_from_at_a_revision_that_left_no_trace(
    some_history: History, scratch: Path, restored: Callable[..., Any]
) -> None:
    old = some_history
    cluster, _ = restored("3.5", old.archive, prefixes="/app/")
    dcos_etcd.backup(scratch / "part.tar.gz", **cluster.access)
    gap = old.deleted_at
    assert keys_at(cluster, gap) == keys_at(cluster, gap - 1)

    again, report = restored("3.5", scratch / "part.tar.gz", revision=gap)

    assert report.rewritten.revision == revision_of(again) == gap
    assert keys_at(again) == keys_at(cluster, gap)


def test_a_prefix_that_no_key_has_is_told_of(some_history: History, scratch: Path) -> None:
    report = dcos_etcd.restore(some_history.db, data_dir=scratch / "m", **PLAN, prefixes=["/app/", "/ap/", b"\xfe"])

    assert [warning for warning in report.warnings if "begins with" in warning] == [
        'no key that is restored begins with "/ap/"',
        'no key that is restored begins with b"\\xfe"',
    ]


@pytest.mark.parametrize(
    "options", [{"revision": 0}, {"revision": 1 << 63}, {"prefixes": [""]}, {"exclude_prefixes": b""}], ids=str
)
def test_what_makes_no_sense_is_refused(some_history: History, scratch: Path, options: dict[str, Any]) -> None:
    with pytest.raises(dcos_etcd.InvalidArgumentError):
        dcos_etcd.restore(some_history.db, data_dir=scratch / "m", **PLAN, **options)
    assert list(scratch.iterdir()) == []


# No free pages


@pytest.mark.parametrize("line", LINES)
def test_a_compact_database_holds_the_same_in_fewer_pages(
    line: str, source: Callable[[str], Source], etcd_cluster: ClusterFactory
) -> None:
    snapshot = source(line)
    cluster = etcd_cluster(1, binaries=release(line), auth=ROOT, names="n", token="new")
    [member] = cluster.members
    report = dcos_etcd.restore(snapshot.archive, **member.restore_arguments, compact=True)

    size = member.db.stat().st_size
    assert report.rewritten is not None
    assert size == report.rewritten.database_size < report.database_size
    pages = dcos_etcd.verify(member.db, skip_hash_check=True)
    assert pages.pages_free == 0
    before, after = bbolt.read(snapshot.db), bbolt.read(member.db)
    kept = {name: entries for name, entries in before.items() if name not in {b"members", b"cluster", b"meta"}}
    assert {name: after[name] for name in kept} == {**kept, b"members_removed": {}}
    cluster.start()
    assert keys_at(cluster) == snapshot.state.keys
    assert alarms(cluster) == snapshot.alarms
    hashed = hash_kv(cluster, snapshot.state.revision)
    assert set(hashed.values()) == {(snapshot.hash, snapshot.compacted)}


def test_an_archive_and_a_bare_database_give_the_same_bytes(some_history: History, scratch: Path) -> None:
    made = []
    for number, path in enumerate((some_history.archive, some_history.db)):
        target = scratch / str(number)
        dcos_etcd.restore(path, data_dir=target, **PLAN, revision=some_history.leased_at, drop_leases=True)
        made.append((target / "member" / "snap" / "db").read_bytes())

    assert made[0] == made[1]


# Repairs


@pytest.mark.parametrize("line", LINES)
def test_repairs_clear_alarms_disable_authentication_and_drop_leases(
    line: str, source: Callable[[str], Source], etcd_cluster: ClusterFactory
) -> None:
    snapshot = source(line)
    cluster = etcd_cluster(1, binaries=release(line), names="n", token="new")
    report = dcos_etcd.restore(
        snapshot.archive,
        **cluster.members[0].restore_arguments,
        clear_alarms=True,
        disable_auth=True,
        drop_leases=True,
    )
    leases = len(snapshot.state.leases)
    assert f"clear {len(snapshot.alarms)} alarms" in report.steps
    assert "disable authentication (users and roles stay)" in report.steps
    assert any(step.startswith(f"drop {leases} leases, and take ") for step in report.steps)
    assert not any("alarm" in warning or "authentication" in warning for warning in report.warnings)

    cluster.start()
    assert alarms(cluster) == set()
    assert cluster.etcdctl_json("lease", "list").get("leases", []) == []
    assert keys_at(cluster) == {key: dataclasses.replace(value, lease=0) for key, value in snapshot.state.keys.items()}
    assert set(cluster.etcdctl_json("user", "list")["users"]) == set(snapshot.state.users)
    cluster.etcdctl("put", "probe", "x")
    cluster.etcdctl("auth", "enable")
    with pytest.raises(CommandFailedError, match="user name is empty"):
        cluster.etcdctl("get", "probe")
    cluster.user = ROOT
    assert cluster.etcdctl("get", "/calico/versioned", "--print-value-only", user=ALICE) == "version 2\n"


def test_alarms_and_authentication_alone_leave_the_database_the_patched_copy(
    source: Callable[[str], Source], scratch: Path
) -> None:
    snapshot = source("3.5")
    report = dcos_etcd.restore(snapshot.db, data_dir=scratch / "m", **PLAN, clear_alarms=True, disable_auth=True)

    assert report.rewritten is None
    after = bbolt.read(scratch / "m" / "member" / "snap" / "db")
    assert after[b"alarm"] == {}
    assert after[b"auth"][b"authEnabled"] == b"\0"
    assert after[b"authUsers"] == bbolt.read(snapshot.db)[b"authUsers"]


def test_nothing_is_repaired_unasked(source: Callable[[str], Source], scratch: Path) -> None:
    snapshot = source("3.5")
    dcos_etcd.restore(snapshot.db, data_dir=scratch / "m", **PLAN, compact=True)

    before, after = bbolt.read(snapshot.db), bbolt.read(scratch / "m" / "member" / "snap" / "db")
    for bucket in (b"alarm", b"auth", b"authUsers", b"authRoles", b"lease", b"key"):
        assert after[bucket] == before[bucket] != {}


# Plans, and the command line


def test_a_dry_run_tells_what_the_restore_then_does(some_history: History, scratch: Path) -> None:
    options: dict[str, Any] = {
        **PLAN,
        "data_dir": scratch / "m",
        "revision": some_history.deleted_at,
        "prefixes": "/app/",
        "drop_leases": True,
        "clear_alarms": True,
    }
    planned = dcos_etcd.restore(some_history.archive, **options, dry_run=True)
    assert list(scratch.iterdir()) == []

    done = dcos_etcd.restore(some_history.archive, **options)

    assert dataclasses.replace(planned, dry_run=False) == done
    assert done.rewritten is not None
    assert (scratch / "m" / "member" / "snap" / "db").stat().st_size == done.rewritten.database_size


def test_the_command_line_takes_prefixes_of_any_bytes(some_history: History, scratch: Path) -> None:
    import json  # noqa: PLC0415

    from command_line import run  # noqa: PLC0415

    done = run(
        "restore",
        some_history.archive,
        f"--data-dir={scratch / 'm'}",
        f"--revision={some_history.leased_at}",
        "--prefix=/app/",
        b"--prefix=\xff",  # type: ignore[arg-type]
        "--exclude-prefix=/app/a",
        "--compact",
        "--drop-leases",
        "--write-out=json",
    )

    assert done.returncode == 0, done.stderr
    keys = some_history.keys[some_history.leased_at]
    expected = [key for key in keys if key.startswith((b"/app/", b"\xff")) and not key.startswith(b"/app/a")]
    assert json.loads(done.stdout)["rewritten"]["keys"] == len(expected) == 4


def test_the_command_line_tells_of_a_revision_that_is_compacted(some_history: History, scratch: Path) -> None:
    from command_line import run  # noqa: PLC0415

    done = run("restore", some_history.archive, f"--data-dir={scratch / 'm'}", "--revision=2")

    assert done.returncode == 1
    assert "required revision has been compacted" in done.stderr
    assert f"below {some_history.compacted}" in done.stderr
