"""What a restore of a part takes, needs and tells, on snapshots that are made without a server."""

from __future__ import annotations

import html
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from command_line import run
from dcos_etcd.testing import make_snapshot
from small_disk import mounted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}

MIB = 1 << 20


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Revisions 2 to 7: `/a/1`, `/a/2`, `/b/1`, its deletion, `/c`, `/c` again."""
    path = tmp_path / "made.db"
    make_snapshot(path, {"/a/1": "1", "/a/2": "2", "/b/1": ["3", None], "/c": ["5", "6"]})
    return path


@pytest.fixture
def restore(snapshot: Path, tmp_path: Path) -> Callable[..., dcos_etcd.RestoreReport]:
    return lambda **options: dcos_etcd.restore(snapshot, data_dir=tmp_path / "m", **PLAN, **options, dry_run=True)


# Keys as callers spell them


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda key: key.decode()])
def test_a_prefix_is_one_key_or_several_of_any_type_of_bytes_and_text(
    kind: Callable[[bytes], Any], restore: Callable[..., dcos_etcd.RestoreReport]
) -> None:
    for prefixes, exclude_prefixes, keys in (
        (kind(b"/a/"), (), 2),
        ([kind(b"/a/"), kind(b"/c")], (), 3),
        ((), kind(b"/a/"), 1),
        ((), (kind(b"/a/2"), kind(b"/c")), 1),
        (iter([kind(b"/a/")]), (), 2),
    ):
        rewritten = restore(prefixes=prefixes, exclude_prefixes=exclude_prefixes).rewritten
        assert rewritten is not None
        assert rewritten.keys == keys


@pytest.mark.parametrize("wrong", [3, [b"/a", 3], None, [None], [b"/a", [b"/b"]], 1.5], ids=repr)
@pytest.mark.parametrize("argument", ["prefixes", "exclude_prefixes"])
def test_what_is_no_key_is_refused_by_the_name_of_its_argument(
    argument: str, wrong: object, restore: Callable[..., dcos_etcd.RestoreReport]
) -> None:
    with pytest.raises(dcos_etcd.InvalidArgumentError, match=f"^{argument}: .* is neither bytes nor str"):
        restore(**{argument: wrong})


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda key: key.decode()])
def test_readers_and_comparisons_take_a_key_of_any_type_of_bytes_and_text(
    kind: Callable[[bytes], Any], snapshot: Path
) -> None:
    with dcos_etcd.open(snapshot) as opened:
        assert kind(b"/a/1") in opened
        assert opened[kind(b"/a/1")].value == b"1"
        assert opened.get(kind(b"/none")) is None
        assert [entry.version for entry in opened.history(kind(b"/c"))] == [1, 2]
        assert [entry.key for entry in opened.range(prefix=kind(b"/a/"))] == [b"/a/1", b"/a/2"]
        assert [entry.key for entry in opened.range(start=kind(b"/a/2"), end=kind(b"/c"))] == [b"/a/2"]
        found = dcos_etcd.compare(opened.at(2), opened, prefix=kind(b"/a/"))
        assert (found.counts.same, [change.key for change in found.keys]) == (1, [b"/a/2"])


def test_readers_and_comparisons_refuse_what_is_no_key(snapshot: Path) -> None:
    with dcos_etcd.open(snapshot) as opened:
        assert 3 not in opened  # type: ignore[comparison-overlap]
        for refused in (
            lambda: opened.get(3),  # type: ignore[call-overload]
            lambda: list(opened.range(prefix=[b"/a"])),  # type: ignore[arg-type]
            lambda: dcos_etcd.compare(opened, opened, prefix=3),  # type: ignore[arg-type]
        ):
            with pytest.raises(dcos_etcd.InvalidArgumentError, match="is neither bytes nor str"):
                refused()


# What is told


def test_a_finished_restore_names_its_changes_wherever_it_is_shown(snapshot: Path, tmp_path: Path) -> None:
    options = (f"--data-dir={tmp_path / 'm'}", "--revision=6", "--prefix=/a/", "--prefix=/c", "--clear-alarms")
    done = run("restore", snapshot, *options, "--drop-leases", "--bump-revision=9", "--mark-compacted")

    assert done.returncode == 0, done.stderr
    told = [line.removeprefix("changed:").strip() for line in done.stdout.splitlines() if line.startswith("changed:")]
    assert told == [
        "go back to revision 6: drop 1 later versions",
        'keep keys that begin with "/a/" or "/c": drop 2 versions',
        "drop 0 leases, and take 0 versions off theirs",
        "clear 0 alarms",
        "move the revision on to 15 and mark everything up to it as compacted",
    ]
    report = dcos_etcd.restore(
        snapshot, data_dir=tmp_path / "n", **PLAN, revision=6, prefixes=["/a/", "/c"], disable_auth=True
    )
    assert report.changes == (*told[:2], "disable authentication (it was not enabled)")
    assert set(report.changes) < set(report.steps)
    shown = html.unescape(report._repr_html_())
    assert all(change in shown for change in report.changes)
    assert report.steps[0] not in shown


def test_a_plain_restore_names_no_step(snapshot: Path, tmp_path: Path) -> None:
    done = run("restore", snapshot, f"--data-dir={tmp_path / 'm'}")

    assert done.returncode == 0, done.stderr
    assert "changed:" not in done.stdout
    assert len(done.stdout.splitlines()) == 9


def test_the_version_that_a_bump_leaves_is_no_key(restore: Callable[..., dcos_etcd.RestoreReport]) -> None:
    report = restore(prefixes="/a/1", bump_revision=1, mark_compacted=True)

    assert report.rewritten is not None
    assert (report.rewritten.keys, report.rewritten.versions) == (1, 2)
    assert any(step.startswith("write 2 versions of which 1 keys live into") for step in report.steps)


@pytest.mark.parametrize(("by", "enough"), [(1, False), (2, False), (3, True)])
def test_a_bump_that_does_not_pass_the_newest_revision_is_told_with_the_numbers(
    by: int, restore: Callable[..., dcos_etcd.RestoreReport], *, enough: bool
) -> None:
    report = restore(revision=5, bump_revision=by, mark_compacted=True)

    assert (report.bumped_revision, report.revision) == (5 + by, 7)
    told = (
        f"--bump-revision takes revision 5 on to {5 + by}, not past 7, at which the snapshot is: clients that have "
        "seen that do not notice that it went back; give more than 2, such as 1000000000"
    )
    assert report.warnings == (() if enough else (told,))


def test_a_bump_without_a_revision_is_always_enough(restore: Callable[..., dcos_etcd.RestoreReport]) -> None:
    assert restore(bump_revision=1, mark_compacted=True).warnings == ()


def test_a_prefix_whose_keys_were_all_deleted_at_the_revision_is_told_of(
    restore: Callable[..., dcos_etcd.RestoreReport],
) -> None:
    report = restore(revision=5, prefixes=["/a/", "/b/", "/none"])

    deleted, never_there = report.warnings
    assert deleted == (
        'no live key that is restored begins with "/b/": those that were there are deleted at revision 5, only their '
        "history of 2 versions is restored"
    )
    assert never_there == 'no key that is restored begins with "/none"'
    assert restore(revision=4, prefixes=["/a/", "/b/"]).warnings == ()


def test_a_restore_without_any_live_key_is_told_of(restore: Callable[..., dcos_etcd.RestoreReport]) -> None:
    report = restore(revision=5, exclude_prefixes="/a/")

    assert report.rewritten is not None
    assert (report.rewritten.keys, report.rewritten.versions) == (0, 2)
    assert report.warnings == ("no live key is restored: at revision 5 there is none that was asked for",)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"prefixes": "zzz"}, r'--prefix "zzz" takes no live key of .*made\.db at revision 7'),
        ({"prefixes": ["/x", "/b/"]}, r'--prefix "/x" or "/b/" takes no live key'),
        ({"prefixes": "/c", "revision": 5}, r'--prefix "/c" takes no live key of .* at revision 5'),
        ({"prefixes": "/c", "exclude_prefixes": "/c"}, r'--prefix "/c" and --exclude-prefix "/c" takes no live key'),
        ({"prefixes": "z", "bump_revision": 9, "mark_compacted": True}, r'--prefix "z" takes no live key'),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_prefixes_that_leave_no_key_at_all_are_refused_before_anything_is_replaced(
    snapshot: Path, tmp_path: Path, options: dict[str, Any], told: str, *, dry_run: bool
) -> None:
    data_dir = tmp_path / "m"
    (data_dir / "member" / "snap").mkdir(parents=True)
    (data_dir / "precious").write_text("old")

    with pytest.raises(dcos_etcd.InvalidArgumentError, match=told):
        dcos_etcd.restore(snapshot, data_dir=data_dir, existing="discard", dry_run=dry_run, **PLAN, **options)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "made.db"]
    assert (data_dir / "precious").read_text() == "old"


@pytest.mark.parametrize("keys", [{}, {"/a": ["1", None]}], ids=["none", "deleted"])
def test_a_part_of_a_snapshot_that_is_empty_itself_is_taken(tmp_path: Path, keys: dict[str, Any]) -> None:
    make_snapshot(tmp_path / "empty.db", keys)

    report = dcos_etcd.restore(tmp_path / "empty.db", data_dir=tmp_path / "m", prefixes="/b", **PLAN)

    assert report.rewritten is not None
    assert report.rewritten.keys == 0
    assert report.warnings == ('no key that is restored begins with "/b"',)


# The derived token


def test_a_derived_token_tells_what_was_changed(restore: Callable[..., dcos_etcd.RestoreReport]) -> None:
    def identity(**options: Any) -> tuple[str, str]:
        report = restore(initial_cluster_token="t", derive_token=True, **options)
        return report.initial_cluster_token, report.cluster_id

    plain = identity()
    assert plain[0].removeprefix("t-") == restore().sha256
    assert identity(compact=True) == identity(revision=7) == plain
    bump = {"bump_revision": 1, "mark_compacted": True}
    changed = [
        identity(**options)
        for options in (
            {"revision": 6},
            {"revision": 5},
            {"prefixes": "/a/"},
            {"exclude_prefixes": "/a/"},
            {"drop_leases": True},
            {"disable_auth": True},
            {"clear_alarms": True},
            bump,
            {"revision": 6, **bump},
        )
    ]
    assert len({token for token, _ in [*changed, plain]}) == len({cluster for _, cluster in [*changed, plain]}) == 10
    assert all(token.startswith(f"{plain[0]}-") and len(token) == len(plain[0]) + 17 for token, _ in changed)
    one = identity(revision=6, prefixes=["/a/", "/c"], exclude_prefixes=["/a/1", "/x"])
    assert one == identity(revision=6, prefixes=["/c", b"/a/", "/c"], exclude_prefixes=["/x", "/a/1"], compact=True)


# Room


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of next to nothing with 40 MiB of database in it."""
    directory = tmp_path_factory.mktemp("large")
    make_snapshot(directory / "large.db", {f"/{n}": bytes(MIB) for n in range(40)})
    content = (directory / "large.db").read_bytes()
    # Of a bare tar the size is told ahead, and the tool of DC/OS had the database as its only entry.
    subprocess.run(
        [
            "tar",
            "-C",
            str(directory),
            "--transform=s/large.db/etcd_snapshot.db/",
            "-czf",
            str(directory / "large.tar.gz"),
            "large.db",
        ],
        check=True,
    )
    assert len(content) > 40 * MIB
    return directory / "large.tar.gz"


def announced(large: Path) -> int:
    """Bytes that the archive says it holds: the database and its hash."""
    return dcos_etcd.verify(large).database_size + 32


def test_an_archive_that_is_written_anew_needs_room_for_what_it_unpacks(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = announced(large)
    needed = size + 2 * 64_000_000 + 4 * MIB
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with mounted(tmp_path / "disk", f"{needed + 20 * MIB}") as disk:
        archive = disk / "large.tar.gz"
        archive.write_bytes(large.read_bytes())
        target = disk / "m"
        dcos_etcd.restore(archive, data_dir=target, **PLAN, dry_run=True)
        for dry_run in (False, True):
            with pytest.raises(dcos_etcd.NoSpaceError) as caught:
                dcos_etcd.restore(archive, data_dir=target, **PLAN, compact=True, dry_run=dry_run)
            assert caught.value.needed == needed + size
            assert str(caught.value.path) == str(target)
            assert [path.name for path in disk.iterdir()] == ["large.tar.gz"]

        # The archive elsewhere, and what it unpacks with it.
        report = dcos_etcd.restore(large, data_dir=target, **PLAN, compact=True)
        assert report.rewritten is not None
        assert report.rewritten.keys == 40


def test_what_an_archive_unpacks_goes_to_the_directory_for_temporary_files_where_there_is_no_room_beside_it(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = announced(large)
    with mounted(tmp_path / "disk", f"{size // 2}") as disk, mounted(tmp_path / "tmp", f"{size * 3 // 2}") as temporary:
        archive = disk / "large.tar.gz"
        archive.write_bytes(large.read_bytes())
        monkeypatch.setenv("TMPDIR", str(temporary))
        options: dict[str, Any] = {**PLAN, "data_dir": tmp_path / "m", "compact": True}

        # A dry run keeps what it unpacks and what it writes there, each as large as the database.
        with pytest.raises(dcos_etcd.NoSpaceError) as caught:
            dcos_etcd.restore(archive, **options, dry_run=True)
        assert (caught.value.needed, str(caught.value.path)) == (size, str(disk))
        report = dcos_etcd.restore(archive, **options)
        assert report.rewritten is not None

        monkeypatch.setenv("TMPDIR", str(disk))
        with pytest.raises(dcos_etcd.NoSpaceError) as caught:
            dcos_etcd.restore(archive, **{**options, "data_dir": tmp_path / "n"})
        assert (caught.value.needed, str(caught.value.path)) == (size, str(disk))


def test_a_dry_run_that_can_not_write_names_its_own_directory_and_not_the_snapshot(
    snapshot: Path, tmp_path: Path
) -> None:
    program = (
        "import resource, sys, dcos_etcd\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    dcos_etcd.restore(sys.argv[1], data_dir=sys.argv[2], compact=True, dry_run=True)\n"
        "except OSError as error:\n"
        "    print(error.filename)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, snapshot, tmp_path / "m"], capture_output=True, text=True, check=True
    )

    assert done.stdout == f"{tmp_path}\n"
