"""A snapshot of a rich cluster, read: everything is as the cluster said of itself when it was taken."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from conftest import LINES
from dcos_etcd import (
    CorruptSnapshotError,
    DatabaseChangedError,
    InvalidArgumentError,
    KeyNotFoundError,
    NotASnapshotError,
    SnapshotClosedError,
    SnapshotWarning,
    StorageVersionError,
)
from gateway import Gateway
from oracle import bbolt
from scenario import Key, Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory

LINE = "3.6"


@pytest.fixture(params=LINES)
def rich(request: pytest.FixtureRequest, source: Callable[[str], Source]) -> Source:
    """A snapshot of the rich cluster of each release line."""
    return source(request.param)


@pytest.fixture
def one(source: Callable[[str], Source]) -> Source:
    return source(LINE)


def test_a_snapshot_holds_what_the_cluster_had(rich: Source) -> None:
    state = rich.state
    for path in (rich.archive, rich.db):
        with dcos_etcd.open(path) as snapshot:
            found = {
                key: Key(entry.value, entry.create_revision, entry.mod_revision, entry.version, entry.lease)
                for key, entry in snapshot.items()
            }
            assert state.keys == found
            assert (state.revision, rich.compacted) == (snapshot.revision, snapshot.compact_revision)
            assert {lease.id: (lease.ttl, frozenset(lease.keys)) for lease in snapshot.leases} == {
                number: (lease.granted_ttl, lease.keys) for number, lease in state.leases.items()
            }
            assert {user.name: user.roles for user in snapshot.users} == state.users
            assert {(int(alarm.member_id, 16), {"NOSPACE": 1}[alarm.name]) for alarm in snapshot.alarms} == rich.alarms
            assert {int(member.id, 16) for member in snapshot.members} < rich.old_members
            assert snapshot.auth_enabled
            hashed = snapshot.hash_kv()
            assert (rich.hash, rich.compacted) == (hashed.hash, hashed.compact_revision)
            assert not snapshot.warnings


def test_users_and_roles_tell_what_is_allowed(one: Source) -> None:
    with dcos_etcd.open(one.archive) as snapshot:
        roles = {role.name: role.permissions for role in snapshot.roles}
        carol = next(user for user in snapshot.users if user.name == "carol")

    assert [(one.kind, one.key, one.range_end) for one in roles["reader"]] == [("READ", b"/calico/", b"/calico0")]
    assert [(one.kind, one.key, one.range_end) for one in roles["writer"]] == [
        ("WRITE", b"a", b"z"),
        ("READWRITE", b"empty", b""),
    ]
    assert carol.no_password


def test_versions_are_those_in_the_database(rich: Source) -> None:
    meta = bbolt.read(rich.db)[b"meta"]
    with dcos_etcd.open(rich.db) as snapshot:
        expected = meta.get(b"storageVersion")
        assert snapshot.storage_version == (expected and expected.decode())
        assert snapshot.cluster_version == ".".join([*rich.version.split(".")[:2], "0"])
        assert snapshot.size == rich.db.stat().st_size - 32
        assert 0 < snapshot.size_in_use <= snapshot.size


def test_history_holds_deletions_and_what_came_after(one: Source) -> None:
    with dcos_etcd.open(one.db) as snapshot:
        read_through = snapshot.history("back")
        len(snapshot)  # builds the index
        looked_up = snapshot.history(b"back")

    assert read_through == looked_up
    assert looked_up[-1].value == b"again"
    assert [entry.deleted for entry in looked_up] in ([False, True, False], [True, False], [False])


def test_a_view_is_a_mapping_of_its_revision(one: Source) -> None:
    with dcos_etcd.open(one.db) as snapshot:
        newest = snapshot.revision
        view = snapshot.at(newest - 1)
        assert view.revision == newest - 1
        assert [*view] == sorted(view)
        assert view["empty"].value == b""
        assert "nothing" not in view  # type: ignore[comparison-overlap] # a mapping of bytes; text is taken too
        assert 5 not in view  # type: ignore[comparison-overlap]
        assert view.get("nothing") is None
        with pytest.raises(KeyNotFoundError) as missing:
            view["nothing"]
        assert (missing.value.key, missing.value.revision) == (b"nothing", newest - 1)


def test_what_makes_no_sense_is_refused(one: Source) -> None:
    with dcos_etcd.open(one.db) as snapshot:
        for wrong in (
            lambda: snapshot.at(0),
            lambda: snapshot.at(-1),
            lambda: snapshot.at(1 << 63),
            lambda: snapshot.at("5"),  # type: ignore[arg-type]
            lambda: snapshot.range(limit=-1),
            lambda: snapshot.range(limit="3"),  # type: ignore[arg-type]
            lambda: snapshot.stats("a"),  # type: ignore[arg-type]
            lambda: snapshot.range(prefix="a", start="b"),
            lambda: snapshot.get("\ud800"),
            lambda: snapshot.range(prefix="\ud800"),
            lambda: snapshot.hash_kv(etcd_version="new"),
            lambda: snapshot.stats(-1),
            lambda: snapshot.stats(1 << 63),
            lambda: snapshot.stats(top=1 << 64),
            lambda: snapshot.stats(spans=-1),
            lambda: snapshot.stats(spans=1 << 63),
        ):
            with pytest.raises(InvalidArgumentError):
                wrong()


def test_a_key_is_any_bytes_or_text_and_nothing_else(one: Source) -> None:
    with dcos_etcd.open(one.db) as snapshot:
        for spelling in ("back", b"back", bytearray(b"back"), memoryview(b"-back-")[1:-1]):
            assert spelling in snapshot
            assert snapshot[spelling] == snapshot.get(spelling) == snapshot.history(spelling)[-1]
            assert [entry.key for entry in snapshot.range(prefix=spelling)] == [b"back"]
            assert next(snapshot.range(start=spelling)).key == b"back"
            assert snapshot.stats(prefix=spelling).total.keys == 1
        # No key is called so.
        assert "\ud800" not in snapshot  # type: ignore[comparison-overlap]
        for use in (lambda key: snapshot[key], snapshot.history, lambda key: snapshot.range(prefix=key)):
            with pytest.raises(InvalidArgumentError, match="int is neither bytes nor str"):
                use(5)  # type: ignore[arg-type]


def test_a_closed_snapshot_says_so(one: Source) -> None:
    with dcos_etcd.open(one.archive) as snapshot:
        view = snapshot.at(snapshot.revision)
        assert view["empty"].value == b""
    snapshot.close()

    assert snapshot.closed
    for use in (lambda: len(snapshot), lambda: view["empty"], lambda: snapshot.members, snapshot.to_arrow):
        with pytest.raises(SnapshotClosedError, match="is closed"):
            use()


def test_threads_share_a_snapshot(one: Source) -> None:
    expected = {key: value.value for key, value in one.state.keys.items()}
    found: list[dict[bytes, bytes]] = []
    with dcos_etcd.open(one.archive) as snapshot:
        readers = [
            threading.Thread(target=lambda: found.append({key: entry.value for key, entry in snapshot.items()}))
            for _ in range(4)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()

    assert [expected] * 4 == found


def test_stats_count_what_is_there(one: Source) -> None:
    keys = one.state.keys
    with dcos_etcd.open(one.archive) as snapshot:
        stats = snapshot.stats(top=3)
        calico = snapshot.stats(2, prefix="/calico/")

    assert stats.total.keys == len(keys) == sum(group.keys for group in stats.prefixes)
    assert stats.total.key_bytes == sum(map(len, keys))
    assert stats.total.value_bytes == sum(len(key.value) for key in keys.values())
    assert (b"large", 1 << 20) == stats.largest[0]
    assert len(stats.largest) == len(stats.most_rewritten) == 3
    churned = next(group for group in stats.prefixes if group.prefix == b"churn/")
    assert churned.keys == sum(key.startswith(b"churn/") for key in keys)
    assert [group.prefix for group in stats.prefixes] == sorted(group.prefix for group in stats.prefixes)
    assert (calico.total.keys, calico.prefixes[0].prefix) == (1, b"/calico/")


# What files there are.


@pytest.fixture
def foreign(one: Source, scratch: Path) -> Path:
    """The snapshot as another tool would pack it: a stream without an index."""
    path = scratch / "foreign.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(one.db, "etcd_snapshot.db")
    return path


def test_spans_cover_every_revision_of_the_file_once(one: Source) -> None:
    with dcos_etcd.open(one.db) as snapshot:
        stats = snapshot.stats(spans=7)
        none = snapshot.stats(spans=0)
        oldest = min(version.mod_revision for key in snapshot for version in snapshot.history(key))

    assert 1 < len(stats.spans) <= 7
    assert stats.spans[0].first <= oldest
    assert stats.spans[-1].last == stats.revision
    assert all(this.last + 1 == following.first for this, following in pairwise(stats.spans))
    total = stats.total
    assert sum(span.versions for span in stats.spans) == total.versions
    assert sum(span.tombstones for span in stats.spans) == total.tombstones
    assert sum(span.version_bytes for span in stats.spans) == total.version_bytes
    assert none.spans == ()


def test_a_foreign_archive_is_inflated_and_says_so(foreign: Path, one: Source) -> None:
    before = sorted(foreign.parent.iterdir())
    with pytest.warns(SnapshotWarning, match="inflated into a temporary file"):
        snapshot = dcos_etcd.open(foreign)
    with snapshot:
        assert len(snapshot) == len(one.state.keys)
        assert len(snapshot.warnings) == 1
        assert before == sorted(foreign.parent.iterdir())


def test_code_without_a_name_is_warned_too(foreign: Path) -> None:
    with pytest.warns(SnapshotWarning, match="no index of its blocks"):
        exec("import dcos_etcd; dcos_etcd.open(path).close()", {"path": foreign})  # noqa: S102 - that is the matter


def test_a_bare_tar_and_a_compressed_database_are_read(one: Source, scratch: Path) -> None:
    bare = scratch / "bare.tar"
    with tarfile.open(bare, "w") as archive:
        archive.add(one.db, "etcd_snapshot.db")
    packed = scratch / "etcd.db.gz"
    packed.write_bytes(gzip.compress(one.db.read_bytes(), 1))

    with dcos_etcd.open(bare) as snapshot:
        assert snapshot.kind == "tar"
        assert len(snapshot) == len(one.state.keys)
    with pytest.warns(SnapshotWarning):
        inflated = dcos_etcd.open(packed)
    with inflated as snapshot:
        assert snapshot.kind == "db.gz"
        assert len(snapshot) == len(one.state.keys)


def test_nothing_is_unpacked_of_an_archive_of_ours(one: Source, scratch: Path) -> None:
    archive = scratch / one.archive.name
    shutil.copy(one.archive, archive)
    program = (
        "import sys, resource, dcos_etcd\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with dcos_etcd.open(sys.argv[1]) as snapshot:\n"
        "    print(len(list(snapshot.range())))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, archive], capture_output=True, text=True, timeout=60, check=True
    )

    assert result.stdout == f"{len(one.state.keys)}\n"


def test_a_snapshot_of_a_later_etcd_is_refused_with_both_versions(one: Source, scratch: Path) -> None:
    path = scratch / "later.db"
    database = one.db.read_bytes()
    later = database.replace(b"storageVersion3.6.0", b"storageVersion3.9.0")
    assert later != database
    path.write_bytes(later)

    with pytest.raises(StorageVersionError) as error:
        dcos_etcd.open(path)

    assert (error.value.found, error.value.supported) == ("3.9.0", "3.7.0")
    with pytest.raises(StorageVersionError):
        dcos_etcd.verify(path, skip_hash_check=True)


def test_what_is_no_snapshot_is_told(scratch: Path) -> None:
    path = scratch / "poem.txt"
    path.write_text("shall I compare thee\n" * 500, encoding="utf-8")

    with pytest.raises(NotASnapshotError):
        dcos_etcd.open(path)
    with pytest.raises(FileNotFoundError):
        dcos_etcd.open(scratch / "absent")


def test_a_damaged_block_of_an_archive_is_told_with_its_place(rich: Source, scratch: Path) -> None:
    path = scratch / rich.archive.name
    found = set()
    whole = rich.archive.read_bytes()
    for part in range(1, 8):
        place = len(whole) * part // 8
        path.write_bytes(whole[:place] + bytes(64) + whole[place + 64 :])
        try:
            with warnings.catch_warnings(), dcos_etcd.open(path) as snapshot:
                warnings.simplefilter("ignore", SnapshotWarning)
                assert len(list(snapshot.range())) == len(rich.state.keys)
        except CorruptSnapshotError as error:
            [defect] = error.defects
            assert defect.page is not None or defect.offset is not None
            found.add(defect.code)

    assert found & {"block-damaged", "zstd-data", "gzip-data"}


def test_a_damaged_page_is_told_with_its_place_and_the_rest_can_be_read(one: Source, scratch: Path) -> None:
    path = scratch / "damaged.db"
    page = bbolt.damage_leaf(one.db, b"back", path)

    with dcos_etcd.open(path) as snapshot:
        with pytest.raises(CorruptSnapshotError) as error:
            snapshot["back"]
        assert len(snapshot.members) == 2

    [defect] = error.value.defects
    assert defect.page == page
    assert defect.code == "page-type"


# A member's own database.


def test_the_database_of_a_running_etcd_is_read_without_a_lock_and_said_not_to_be_a_snapshot(
    etcd_cluster: ClusterFactory,
) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    cluster.etcdctl("put", "a", "1")
    [member] = cluster.members
    # What was put is committed to the file within 100 ms, and at the latest by a snapshot.
    cluster.etcdctl("snapshot", "save", str(member.db.parent / "forced"))
    with pytest.warns(SnapshotWarning, match="is not a snapshot but the database of a running etcd"):
        snapshot = dcos_etcd.open(member.db)
    with snapshot:
        assert snapshot["a"].value == b"1"
        gateway = Gateway(cluster.endpoints[0])
        for number in range(3):
            gateway.put(b"b", b"%d" % number)
            cluster.etcdctl("snapshot", "save", str(member.db.parent / f"forced{number}"))
        gateway.close()
        with pytest.raises(DatabaseChangedError) as error:
            snapshot["a"]
        assert error.value.before < error.value.now
    cluster.stop()
    with pytest.warns(SnapshotWarning, match="database of a member"):
        snapshot = dcos_etcd.open(member.db)
    with snapshot as stopped:
        assert stopped["b"].value == b"2"


def test_ctrl_c_ends_the_building_of_the_index(one: Source) -> None:
    program = (
        "import signal, sys, dcos_etcd\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)\n"
        "with dcos_etcd.open(sys.argv[1]) as snapshot:\n"
        "    while True:\n"
        "        snapshot.hash_kv()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, one.db], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.returncode == -signal.SIGINT
    assert result.stderr.endswith("KeyboardInterrupt\n")


# The command line.


def shell(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "dcos_etcd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def test_keys_in_json_are_text_or_base64_and_told_apart(one: Source) -> None:
    result = shell("keys", one.archive, "-w", "json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.returncode == 0
    assert result.stderr == b""
    assert len(rows) == len(one.state.keys)
    assert {row["key"].encode() for row in rows if "key" in row} == {
        key for key in one.state.keys if key.decode(errors="replace").encode() == key
    }
    assert all(("key" in row) != ("key_base64" in row) for row in rows)
    versioned = next(row for row in rows if row.get("key") == "/calico/versioned")
    assert (versioned["version"], versioned["size"]) == (3, len("version 2"))


def test_keys_are_listed_by_prefix_limit_and_revision(one: Source) -> None:
    listed = shell("keys", one.db, "--prefix", "leased/", "--limit", "3", "-w", "simple").stdout
    table = shell("keys", one.db, "--prefix", "leased/", "--revision", str(one.compacted)).stdout

    assert listed == b"leased/3600/0\nleased/3600/1\nleased/90000/0\n"
    assert table.splitlines()[0].split() == [b"REVISION", b"VERSION", b"SIZE", b"KEY"]
    assert len(table.splitlines()) == 5
    assert max(map(len, table.splitlines())) <= 80


def test_get_prints_the_value_its_history_or_json(one: Source) -> None:
    assert shell("get", one.db, "large", "--print-value-only").stdout == bytes(range(256)) * 4096
    document = json.loads(shell("get", one.db, "large", "-w", "json").stdout)
    assert set(document) == {"key", "value_base64", "create_revision", "mod_revision", "version", "lease"}
    assert b"again" in shell("get", one.db, "back").stdout
    history = shell("get", one.db, "back", "--history", "-w", "json").stdout
    assert json.loads(history.splitlines()[-1])["value"] == "again"
    for flags in ((), ("--history",)):
        missing = shell("get", one.db, "nothing", *flags)
        assert (missing.returncode, missing.stdout) == (1, b"")
        assert b"error: there is no " in missing.stderr
    for more in (("--history",), ("-w", "json")):
        assert shell("get", one.db, "back", "--print-value-only", *more).returncode == 2


def test_stats_write_a_page_of_what_they_print(one: Source, tmp_path: Path) -> None:
    page = tmp_path / "stats.html"
    printed = shell("stats", one.archive, "--html", page).stdout.decode()

    assert printed == shell("stats", one.archive).stdout.decode()
    [cells] = [line.split() for line in printed.splitlines() if line.endswith(" churn/")]
    html = page.read_text(encoding="utf-8")
    assert f'<td class="de-r">{cells[0]}</td>' in html
    assert '<td class="de-open">churn/</td>' in html


def test_stats_add_up_in_json_and_fit_a_terminal(one: Source) -> None:
    document = json.loads(shell("stats", one.archive, "-w", "json", "--depth", "1").stdout)
    table = shell("stats", one.archive).stdout.decode()

    assert document["total"]["keys"] == len(one.state.keys) == sum(group["keys"] for group in document["prefixes"])
    assert document["largest"][0] == {"key": "large", "value_bytes": 1 << 20}
    assert max(map(len, table.splitlines())) <= 80


def test_compacted_and_future_revisions_end_with_their_numbers(one: Source) -> None:
    for revision, word in ((one.compacted - 1, "compacted"), (one.state.revision + 1, "future")):
        result = shell("keys", one.db, "--revision", str(revision))
        assert result.returncode == 1
        assert word.encode() in result.stderr
        assert str(revision).encode() in result.stderr


def test_a_reader_that_has_seen_enough_ends_the_listing_quietly(one: Source) -> None:
    command = [sys.executable, "-m", "dcos_etcd", "get", str(one.db), "large", "-w", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(10) == b'{"key":"la'
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 128 + signal.SIGPIPE
