"""A restore into a directory that holds a member: the new one takes its place in one step, and the old one is kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

import dcos_etcd
from command_line import run
from small_disk import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcos_etcd import Progress
    from dcos_etcd.testing import Cluster, ClusterFactory

KILLS = 20
NOBODY = (65534, 65534)


@pytest.fixture
def stopped(etcd_cluster: ClusterFactory) -> Cluster:
    """A member in whose data `key` is `old`, with certificates of etcd's own."""
    cluster = etcd_cluster(1)
    cluster.start()
    cluster.etcdctl("put", "key", "old")
    cluster.stop()
    fixtures = cluster.members[0].data_dir / "fixtures" / "client"
    fixtures.mkdir(parents=True)
    (fixtures / "key.pem").write_text("key")
    (fixtures / "key.pem").chmod(0o600)
    return cluster


def plan(cluster: Cluster) -> dict[str, Any]:
    return {"existing": "keep", "carry_over": ["fixtures"], **cluster.members[0].restore_arguments}


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a directory, by mode and content."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): (path.stat().st_mode, path.read_bytes()) for path in files}


def beside(data_dir: Path) -> list[str]:
    """What lies around a data directory and has its name in its own."""
    around = (path.name for path in data_dir.parent.iterdir() if path.name != f"{data_dir.name}.log")
    return sorted(name for name in around if data_dir.name in name)


def value(cluster: Cluster) -> str:
    cluster.start()
    found = cluster.etcdctl("get", "key", "--print-value-only").strip()
    cluster.stop()
    return found


def test_the_new_member_starts_and_the_old_one_is_kept_whole(archive: Path, stopped: Cluster) -> None:
    data_dir = stopped.members[0].data_dir
    old = tree(data_dir)

    report = dcos_etcd.restore(archive, **plan(stopped))

    assert report.replaced is not None
    assert report.replaced.parent == data_dir.parent
    assert report.replaced.name.startswith(f"{data_dir.name}.old-20")
    assert beside(data_dir) == [data_dir.name, report.replaced.name]
    assert tree(report.replaced) == old
    assert (data_dir / "fixtures/client/key.pem").read_text() == "key"
    assert (data_dir / "fixtures/client/key.pem").stat().st_mode & 0o777 == 0o600
    assert value(stopped) == "restored"

    data_dir.rename(data_dir.with_name("aside"))
    report.replaced.rename(data_dir)
    assert value(stopped) == "old"


def test_the_old_one_is_deleted_only_when_asked(archive: Path, stopped: Cluster) -> None:
    data_dir = stopped.members[0].data_dir

    report = dcos_etcd.restore(archive, **{**plan(stopped), "existing": "discard"})

    assert report.replaced is None
    assert beside(data_dir) == [data_dir.name]
    assert value(stopped) == "restored"


@pytest.mark.parametrize("existing", [False, True], ids=["absent", "empty"])
def test_where_there_is_nothing_to_replace_it_is_a_plain_restore(
    archive: Path, etcd_cluster: ClusterFactory, *, existing: bool
) -> None:
    cluster = etcd_cluster(1)
    data_dir = cluster.members[0].data_dir
    if existing:
        data_dir.mkdir()

    report = dcos_etcd.restore(archive, **plan(cluster))

    assert report.replaced is None
    assert value(cluster) == "restored"


def test_a_directory_that_an_etcd_uses_is_refused_and_left_alone(archive: Path, etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    cluster.etcdctl("put", "key", "old")
    data_dir = cluster.members[0].data_dir

    for dry_run in (True, False):
        with pytest.raises(dcos_etcd.DataDirInUseError, match=r"is locked by etcd \(pid \d+\): stop") as caught:
            dcos_etcd.restore(archive, dry_run=dry_run, **plan(cluster))
        assert caught.value.errno == 16

    assert beside(data_dir) == [data_dir.name]
    assert cluster.etcdctl("get", "key", "--print-value-only") == "old\n"


def test_an_etcd_that_starts_while_the_restore_runs_is_seen_before_the_swap(archive: Path, stopped: Cluster) -> None:
    class Starting:
        def before(self) -> None:
            stopped.start()

        def after(self) -> None:
            pytest.fail("the directories were exchanged under a running etcd")

    with pytest.raises(dcos_etcd.DataDirInUseError):
        dcos_etcd.restore(archive, handover=Starting(), **plan(stopped))

    data_dir = stopped.members[0].data_dir
    assert beside(data_dir) == [data_dir.name]
    assert stopped.etcdctl("get", "key", "--print-value-only") == "old\n"


class Failing(Exception):
    pass


class FailsAt:
    def __init__(self, moment: str) -> None:
        self.moment = moment

    def before(self) -> None:
        if self.moment == "before":
            raise Failing

    def after(self) -> None:
        if self.moment == "after":
            raise Failing


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("state", ["absent", "empty", "filled"])
def test_an_error_around_the_swap_undoes_all_of_it(archive: Path, tmp_path: Path, moment: str, state: str) -> None:
    data_dir = tmp_path / "m.etcd"
    if state != "absent":
        data_dir.mkdir()
    if state == "filled":
        (data_dir / "file").write_text("old")
    inode = data_dir.stat().st_ino if data_dir.exists() else None

    with pytest.raises(Failing):
        dcos_etcd.restore(archive, data_dir=data_dir, existing="keep", handover=FailsAt(moment))

    assert [path.name for path in tmp_path.iterdir()] == ([] if state == "absent" else ["m.etcd"])
    assert (data_dir.stat().st_ino if data_dir.exists() else None) == inode
    assert tree(data_dir) == ({} if state != "filled" else tree(data_dir))
    if state == "filled":
        assert (data_dir / "file").read_text() == "old"
    else:
        assert not data_dir.exists() or list(data_dir.iterdir()) == []


KILLED = """
import os, signal, sys, dcos_etcd
class Killed:
    def before(self): pass
    def after(self): os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[3] == "before": before = after
dcos_etcd.restore(sys.argv[1], data_dir=sys.argv[2], existing="keep", handover=Killed())
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_the_swap_the_next_run_knows_old_from_new(archive: Path, tmp_path: Path, moment: str) -> None:
    data_dir = tmp_path / "m.etcd"
    data_dir.mkdir()
    (data_dir / "precious").write_text("old")

    killed = subprocess.run([sys.executable, "-c", KILLED, archive, data_dir, moment], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert (data_dir / "precious").exists() == (moment == "before")
    assert (data_dir / "member/snap/db").exists() == (moment == "after")
    assert len(beside(data_dir)) == 2

    report = dcos_etcd.restore(archive, data_dir=data_dir, existing="keep")

    kept = [tmp_path / name for name in beside(data_dir) if name != "m.etcd"]
    assert all(path.name.startswith("m.etcd.old-") for path in kept)
    assert [path.name for path in kept if (path / "precious").exists()] != []
    assert len(kept) == (1 if moment == "before" else 2)
    assert any("a restore that was killed lies in" in warning for warning in report.warnings) == (moment == "after")
    dcos_etcd.verify(data_dir / "member/snap/db", skip_hash_check=True)


def test_killed_at_any_moment_a_whole_member_stands(archive: Path, stopped: Cluster) -> None:
    """SIGKILL at moments spread over the whole of a restore; there is never no directory, and the old data is never
    lost."""
    [member] = stopped.members
    data_dir = member.data_dir
    (data_dir / "precious").write_text("old")
    flags = [f"--data-dir={data_dir}", f"--name={member.name}", f"--initial-cluster={member.name}={member.peer_url}"]
    flags += [f"--initial-advertise-peer-urls={member.peer_url}", "--replace"]
    command = [sys.executable, "-m", "dcos_etcd", "restore", str(archive), *flags]
    begun = time.monotonic()
    subprocess.run([*command, "--dry-run"], check=True, stdout=subprocess.DEVNULL)
    lasts = (time.monotonic() - begun) * 1.5
    for number in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + lasts * number / KILLS
        while time.monotonic() < end:
            assert (data_dir / "member/snap/db").exists()
        process.kill()
        process.wait()
        assert (data_dir / "member/wal").is_dir()
        assert len(list(data_dir.parent.glob(f"*{data_dir.name}*/precious"))) == 1

    assert run("restore", archive, *flags).returncode == 0

    assert len(list(data_dir.parent.glob(f"{data_dir.name}.old-*/precious"))) == 1
    assert not [name for name in beside(data_dir) if name.startswith(".")]
    assert value(stopped) == "restored"


def test_two_at_once_do_not_meet(archive: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "m.etcd"
    data_dir.mkdir()
    (data_dir / "file").write_text("old")

    class Second:
        def before(self) -> None:
            with pytest.raises(dcos_etcd.DataDirInUseError, match="another restore is replacing"):
                dcos_etcd.restore(archive, data_dir=data_dir, existing="keep")

        after = before

    report = dcos_etcd.restore(archive, data_dir=data_dir, existing="keep", handover=Second())

    assert report.replaced is not None
    assert (report.replaced / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MB."""
    with mounted(tmp_path / "small", "100m") as mount:
        yield mount


def test_want_of_room_is_told_before_anything_is_written(archive: Path, small_disk: Path) -> None:
    data_dir = small_disk / "m.etcd"
    data_dir.mkdir()
    (data_dir / "file").write_text("old")

    with pytest.raises(dcos_etcd.NoSpaceError, match=r"it needs \d+ bytes and \d+ are free") as caught:
        dcos_etcd.restore(archive, data_dir=data_dir, existing="keep")

    assert caught.value.errno == 28
    assert 128_000_000 < caught.value.needed < 140_000_000
    assert 90 << 20 < caught.value.free <= 100 << 20
    assert tree(small_disk) == {"m.etcd/file": (0o100644, b"old")}


def test_a_mount_point_that_holds_something_is_refused(archive: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    (small_disk / "file").write_text("old")

    with pytest.raises(dcos_etcd.DataDirNotEmptyError, match="is a mount point that holds something"):
        dcos_etcd.restore(archive, data_dir=small_disk, existing="keep")

    assert [path.name for path in small_disk.iterdir()] == ["file"]


def test_what_is_mounted_below_is_not_taken_along(archive: Path, tmp_path: Path) -> None:
    """At the next boot the old log would come back over the new one."""
    data_dir = tmp_path / "m etcd"
    (data_dir / "member").mkdir(parents=True)
    with mounted(data_dir / "member" / "wal", "1m") as mount:
        (mount / "log").write_text("old")

        for existing in ("keep", "discard"):
            with pytest.raises(dcos_etcd.DataDirNotEmptyError, match="member/wal mounted below it"):
                dcos_etcd.restore(archive, data_dir=data_dir, existing=existing)

        assert (mount / "log").read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["m etcd"]


class MountsBeforeTheSwap:
    """Binds a directory into the old data while the restore runs."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source = source
        self.target = target

    def before(self) -> None:
        subprocess.run(["mount", "--bind", str(self.source), str(self.target)], check=True)

    def after(self) -> None:
        pytest.fail("a mount went along with the old data")


def test_what_is_mounted_while_the_restore_runs_is_not_taken_along_either(archive: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    elsewhere, data_dir = small_disk / "elsewhere", small_disk / "m.etcd"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    (data_dir / "member" / "snap").mkdir(parents=True)
    (data_dir / "extra").mkdir()
    try:
        for existing in ("keep", "discard"):
            with pytest.raises(dcos_etcd.DataDirNotEmptyError, match="extra mounted below it"):
                dcos_etcd.restore(
                    archive,
                    data_dir=data_dir,
                    existing=existing,
                    handover=MountsBeforeTheSwap(elsewhere, data_dir / "extra"),
                )
            subprocess.run(["umount", str(data_dir / "extra")], check=True)
            assert beside(data_dir) == ["m.etcd"]
    finally:
        subprocess.run(["umount", str(data_dir / "extra")], check=False, capture_output=True)
    assert (elsewhere / "file").read_text() == "precious"


def test_old_data_in_which_something_is_mounted_at_the_last_moment_is_kept(archive: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    elsewhere, data_dir = small_disk / "elsewhere", small_disk / "m.etcd"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    (data_dir / "member" / "snap").mkdir(parents=True)
    (data_dir / "extra").mkdir()

    class MountsAfterTheSwap:
        def before(self) -> None:
            pass

        def after(self) -> None:
            [aside] = small_disk.glob(".m.etcd.exchange-*")
            MountsBeforeTheSwap(elsewhere, aside / "extra").before()

    report = dcos_etcd.restore(archive, data_dir=data_dir, existing="discard", handover=MountsAfterTheSwap())

    assert report.replaced is not None
    try:
        assert (elsewhere / "file").read_text() == "precious"
        [warning] = report.warnings
        assert f"the old data in {report.replaced} was not deleted" in warning
        assert "extra is mounted" in warning
        assert (report.replaced / "member" / "snap").is_dir()
    finally:
        subprocess.run(["umount", str(report.replaced / "extra")], check=True)


def test_a_deletion_that_is_stopped_is_over_and_told(archive: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "m.etcd"
    (data_dir / "member" / "snap").mkdir(parents=True)
    (data_dir / "precious").write_text("old")

    def stop(_: Progress) -> None:
        if (data_dir / "member/snap/db").exists():
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        dcos_etcd.restore(archive, data_dir=data_dir, existing="discard", progress=stop)

    assert (data_dir / "member/snap/db").exists()
    [kept] = tmp_path.glob("m.etcd.old-*")
    assert (kept / "precious").read_text() == "old"


@pytest.mark.parametrize("existing", ["refuse", "keep"])
def test_nobody_is_asked_any_more_when_the_member_stands(
    archive: Path, tmp_path: Path, existing: Literal["refuse", "keep"]
) -> None:
    data_dir = tmp_path / "m.etcd"
    if existing == "keep":
        data_dir.mkdir()
        (data_dir / "precious").write_text("old")
    told: list[Progress] = []

    def listen(progress: Progress) -> None:
        told.append(progress)
        if (data_dir / "member/snap/db").exists():
            raise Failing

    report = dcos_etcd.restore(archive, data_dir=data_dir, existing=existing, progress=listen)

    assert (report.replaced is not None) == (existing == "keep")
    assert (told[-1].stage, told[-1].done) == ("sync", told[-1].total)


# What is restored from, and what is no member's


def old_member(data_dir: Path, archive: Path) -> Path:
    """A member that holds the only archive."""
    dcos_etcd.restore(archive, data_dir=data_dir)
    (data_dir / "backups").mkdir()
    return Path(shutil.copy(archive, data_dir / "backups" / archive.name))


@pytest.mark.parametrize("way", ["plain", "link", "detour", "database"])
def test_what_is_restored_from_is_never_discarded(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    data_dir = tmp_path / "m.etcd"
    only = old_member(data_dir, archive)
    (tmp_path / "link").symlink_to(only)
    (tmp_path / "dir").symlink_to(data_dir)
    source, destination = {
        "plain": (only, data_dir),
        "link": (tmp_path / "link", Path("dir")),
        "detour": (Path("dir/member/../backups") / only.name, Path("./m.etcd")),
        "database": (data_dir / "member/snap/db", data_dir),
    }[way]
    before = tree(data_dir)

    for dry_run in (True, False):
        with pytest.raises(dcos_etcd.InvalidArgumentError, match=r"lies in .*, which --discard-old would delete"):
            dcos_etcd.restore(
                source, data_dir=destination, existing="discard", skip_hash_check=True, prefixes="zzz", dry_run=dry_run
            )

    assert tree(data_dir) == before
    assert beside(data_dir) == ["m.etcd"]


@pytest.mark.parametrize("bound", ["m.etcd", "m.etcd/backups"])
def test_what_is_restored_from_is_known_behind_a_mount(archive: Path, small_disk: Path, bound: str) -> None:
    subprocess.run(["mount", "-o", "remount,size=1g", str(small_disk)], check=True)
    data_dir, window = small_disk / "m.etcd", small_disk / "window"
    only = old_member(data_dir, archive)
    window.mkdir()
    subprocess.run(["mount", "--bind", str(small_disk / bound), str(window)], check=True)
    try:
        [source] = window.rglob(only.name)
        with pytest.raises(dcos_etcd.InvalidArgumentError, match="--discard-old would delete"):
            dcos_etcd.restore(source, data_dir=data_dir, existing="discard")
        assert only.exists()
    finally:
        subprocess.run(["umount", str(window)], check=True)


def test_a_snapshot_that_has_a_name_elsewhere_may_be_discarded_here(archive: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "m.etcd"
    (tmp_path / "kept.tar").hardlink_to(old_member(data_dir, archive))

    report = dcos_etcd.restore(tmp_path / "kept.tar", data_dir=data_dir, existing="discard")

    assert (report.replaced, report.warnings) == (None, ())
    assert (tmp_path / "kept.tar").read_bytes() == archive.read_bytes()


def test_a_snapshot_in_the_old_data_moves_with_it_and_that_is_told(archive: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "m.etcd"
    only = old_member(data_dir, archive)

    report = dcos_etcd.restore(only, data_dir=data_dir, existing="keep")

    assert report.replaced is not None
    moved = report.replaced / "backups" / only.name
    assert report.warnings == (f"the snapshot moved with the old data directory, and lies in {moved}",)
    assert not only.exists()
    assert dcos_etcd.restore(moved, data_dir=data_dir, existing="keep").warnings == ()


def test_what_a_killed_restore_left_is_not_restored_from_while_it_is_cleared_up(archive: Path, tmp_path: Path) -> None:
    data_dir, left = tmp_path / "m.etcd", tmp_path / ".m.etcd.restore-0123456789abcdef"
    left.mkdir()
    only = Path(shutil.copy(archive, left))

    for destination in (data_dir, left):
        source = only
        if destination == left:
            (left / ".restore-0123456789abcdef").mkdir()
            source = only.rename(left / ".restore-0123456789abcdef" / only.name)
        with pytest.raises(dcos_etcd.InvalidArgumentError, match="move it elsewhere"):
            dcos_etcd.restore(source, data_dir=destination)
        assert source.exists()


def test_a_directory_that_is_no_members_is_not_discarded(archive: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "docs").mkdir(parents=True)
    (home / "docs" / "thesis").write_text("years")

    for dry_run in (True, False):
        with pytest.raises(dcos_etcd.DataDirNotEmptyError, match=r"holds docs and no etcd member.*--replace keeps"):
            dcos_etcd.restore(archive, data_dir=home, existing="discard", dry_run=dry_run)
    assert tree(tmp_path) == {"home/docs/thesis": (0o100644, b"years")}

    report = dcos_etcd.restore(archive, data_dir=home, existing="discard", carry_over=["docs"])
    assert report.replaced is None
    assert (home / "docs" / "thesis").read_text() == "years"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("state", ["absent", "empty", "filled"])
def test_everything_is_given_to_its_owner(archive: Path, tmp_path: Path, state: str) -> None:
    data_dir = tmp_path / "made" / "m.etcd"
    if state != "absent":
        data_dir.mkdir(parents=True)
    if state == "filled":
        (data_dir / "fixtures").mkdir()
        (data_dir / "fixtures" / "key.pem").write_text("key")

    result = run("restore", archive, f"--data-dir={data_dir}", "--replace", "--owner=65534:65534")

    assert result.returncode == 0, result.stderr
    for path in (data_dir, *data_dir.rglob("*")):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == NOBODY, path
        assert status.st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    parent = data_dir.parent.stat()
    assert (parent.st_uid, parent.st_gid) == (NOBODY if state == "absent" else (0, 0))


def test_a_derived_token_is_the_same_for_all_members_and_another_for_another_snapshot(
    archive: Path, tmp_path: Path, etcd_cluster: ClusterFactory
) -> None:
    members = {"a": "http://127.0.0.1:1", "b": "http://127.0.0.1:2"}

    def identity(path: Path, name: str, **options: Any) -> tuple[str, str]:
        report = dcos_etcd.restore(
            path, data_dir=tmp_path / "x", name=name, initial_cluster=members, dry_run=True, **options
        )
        return report.cluster_id, report.initial_cluster_token

    cluster = etcd_cluster(1)
    cluster.start()
    dcos_etcd.backup(tmp_path / "other.tar.gz", **cluster.access)
    sha256 = dcos_etcd.verify(archive).sha256

    one, token = identity(archive, "a", initial_cluster_token="t", derive_token=True)

    assert token == f"t-{sha256}"
    assert identity(archive, "b", initial_cluster_token="t", derive_token=True) == (one, token)
    assert identity(archive, "b", initial_cluster_token=token) == (one, token)
    assert identity(archive, "a", initial_cluster_token="t")[0] != one
    assert identity(tmp_path / "other.tar.gz", "a", initial_cluster_token="t", derive_token=True)[0] != one


@pytest.mark.parametrize("name", ["member", "", "..", "a/b", "/etc"])
def test_only_plain_names_beside_the_member_are_carried_over(archive: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(dcos_etcd.InvalidArgumentError, match="carry_over"):
        dcos_etcd.restore(archive, data_dir=tmp_path / "m.etcd", existing="keep", carry_over=[name])
