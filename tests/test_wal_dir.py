"""`--wal-dir`: the log goes to a place of its own, however it is spelled, and a log in use is no left-over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from conftest import each_line
from dcos_etcd.testing import NotReadyError

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory

PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}
SEALED = ".restore-unfinished.wal"
SEGMENT = "0000000000000000-0000000000000000.wal"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def value(data_dir: Path) -> bytes | None:
    """Of `key`, in a database whose server is stopped."""
    path = data_dir / "member" / "snap" / "db"
    if not path.exists():
        return None
    with pytest.warns(dcos_etcd.SnapshotWarning), dcos_etcd.open(path) as snapshot:
        return snapshot["key"].value


@pytest.mark.parametrize("existing", [False, True], ids=["absent", "empty"])
def test_a_member_starts_from_a_log_of_its_own_place(
    archive: Path, etcd_cluster: ClusterFactory, tmp_path: Path, *, existing: bool
) -> None:
    wal_dir = tmp_path / "wal"
    if existing:
        wal_dir.mkdir()  # a mount point, say
    cluster = etcd_cluster(1, extra_args=[f"--wal-dir={wal_dir}"])
    dcos_etcd.restore(archive, wal_dir=wal_dir, **cluster.members[0].restore_arguments)

    assert names(wal_dir) == [SEGMENT]
    cluster.start()
    assert cluster.etcdctl("get", "key", "--print-value-only") == "restored\n"


@pytest.mark.parametrize(
    "spelling", ["{0}/data/member/wal2", "./data/member/wal2", "x/../data/member/wal2", "link/data/member/wal2"]
)
def test_a_log_inside_the_data_directory_may_be_spelled_in_any_way(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(".")

    dcos_etcd.restore(archive, data_dir="data", wal_dir=spelling.format(tmp_path), **PLAN)

    assert names(tmp_path / "data" / "member") == ["snap", "wal2"]
    assert names(tmp_path) == ["data", "link"]


KILLED = """
import json, os, signal, sys, dcos_etcd
class Killed:
    def before(self): pass
    def after(self): os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[2] == "before": before = after
dcos_etcd.restore(sys.argv[1], handover=Killed(), **json.loads(sys.argv[3]))
"""


@each_line
@pytest.mark.parametrize("old", [False, True], ids=["lost", "replaced"])
def test_killed_before_the_database_stands_no_server_starts_with_the_log(
    archive: Path, etcd_cluster: ClusterFactory, tmp_path: Path, *, old: bool
) -> None:
    """Not with an old database either, which stands while it is being replaced."""
    wal_dir = tmp_path / "wal"
    cluster = etcd_cluster(1, extra_args=[f"--wal-dir={wal_dir}"])
    [member] = cluster.members
    if old:
        cluster.start()
        cluster.etcdctl("put", "key", "old")
        cluster.stop()
        wal_dir.rename(tmp_path / "aside")
    existing = "keep" if old else "discard"  # what a server begins there is no whole database
    options = {"wal_dir": str(wal_dir), "existing": existing, **member.restore_arguments}
    options["data_dir"] = str(member.data_dir)

    killed = subprocess.run([sys.executable, "-c", KILLED, archive, "before", json.dumps(options)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert (names(wal_dir), value(member.data_dir)) == ([SEALED], b"old" if old else None)
    with pytest.raises(NotReadyError):
        member.start()
    assert names(wal_dir) == [SEALED]
    if old:
        assert value(member.data_dir) == b"old"
    dcos_etcd.restore(archive, **options)
    assert names(wal_dir) == [SEGMENT]
    cluster.start()
    assert cluster.etcdctl("get", "key", "--print-value-only") == "restored\n"


def test_killed_when_the_database_stands_the_next_restore_replaces_both_or_neither(
    archive: Path, etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    wal_dir, damaged = tmp_path / "wal", tmp_path / "damaged.tar.gz"
    cluster = etcd_cluster(1, extra_args=[f"--wal-dir={wal_dir}"])
    [member] = cluster.members
    dcos_etcd.restore(archive, wal_dir=wal_dir, **member.restore_arguments)
    (wal_dir / SEGMENT).rename(wal_dir / SEALED)
    segment = (wal_dir / SEALED).read_bytes()
    content = archive.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])

    with pytest.raises(dcos_etcd.CorruptSnapshotError):
        dcos_etcd.restore(damaged, wal_dir=wal_dir, existing="keep", **member.restore_arguments)
    assert (names(wal_dir), (wal_dir / SEALED).read_bytes()) == ([SEALED], segment)

    dcos_etcd.restore(archive, wal_dir=wal_dir, existing="keep", **member.restore_arguments)
    cluster.start()
    assert cluster.etcdctl("get", "key", "--print-value-only") == "restored\n"


class Fails:
    """A handover that fails before the member has its place, or else after it."""

    def __init__(self, moment: str) -> None:
        self._moment = moment

    def before(self) -> None:
        if self._moment == "before":
            raise OSError(5, "broken")

    def after(self) -> None:
        raise OSError(5, "broken")


@pytest.mark.parametrize("existing", [False, True], ids=["absent", "empty"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_error_around_the_swap_leaves_no_log_that_a_server_takes(
    archive: Path, tmp_path: Path, moment: str, *, existing: bool
) -> None:
    wal_dir, data_dir = tmp_path / "wal", tmp_path / "data"
    if existing:
        wal_dir.mkdir()

    with pytest.raises(OSError, match="broken"):
        dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, handover=Fails(moment), **PLAN)

    assert not data_dir.exists()
    if moment == "after":
        assert names(wal_dir) == [SEALED]
    else:
        assert (wal_dir.exists(), list(tmp_path.glob("wal/*"))) == (existing, [])
    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, **PLAN)
    assert names(wal_dir) == [SEGMENT]


@pytest.mark.parametrize("existing", [False, True], ids=["absent", "empty"])
def test_the_log_of_a_restore_that_was_killed_half_way_is_in_nobodys_way(
    archive: Path, tmp_path: Path, *, existing: bool
) -> None:
    wal_dir, data_dir = tmp_path / "wal", tmp_path / "data"
    wal_dir.mkdir()
    if existing:  # the segment was not in place
        (wal_dir / ".restore-0123456789abcdef").mkdir()
        (wal_dir / ".restore-0123456789abcdef" / SEALED).touch()
    else:
        (wal_dir / SEALED).touch()

    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, dry_run=True, **PLAN)
    assert len(names(wal_dir)) == 1
    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, **PLAN)

    assert names(wal_dir) == [SEGMENT]


def test_the_log_of_a_member_that_ran_is_not_taken_for_a_left_over(
    archive: Path, etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    wal_dir = tmp_path / "wal"
    cluster = etcd_cluster(1, extra_args=[f"--wal-dir={wal_dir}"])
    [member] = cluster.members
    dcos_etcd.restore(archive, wal_dir=wal_dir, **member.restore_arguments)
    cluster.start()
    cluster.etcdctl("put", "key", "precious")
    cluster.stop()
    (wal_dir / SEALED).touch()
    aside = member.data_dir.rename(tmp_path / "aside")
    before = (wal_dir / SEGMENT).read_bytes()

    for dry_run in (True, False):
        with pytest.raises(dcos_etcd.DataDirNotEmptyError, match="wal-dir"):
            dcos_etcd.restore(archive, wal_dir=wal_dir, dry_run=dry_run, **member.restore_arguments)

    assert (wal_dir / SEGMENT).read_bytes() == before
    assert not member.data_dir.exists()
    aside.rename(member.data_dir)
    cluster.start()
    assert cluster.etcdctl("get", "key", "--print-value-only") == "precious\n"


def contents(*directories: Path) -> dict[str, bytes]:
    files = (path for directory in directories for path in directory.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize("existing", [False, True], ids=["absent", "empty"])
@pytest.mark.parametrize("token", ["etcd-cluster", "another"])
def test_the_half_of_a_restore_that_was_killed_is_in_nobodys_way(
    archive: Path, etcd_cluster: ClusterFactory, tmp_path: Path, token: str, *, existing: bool
) -> None:
    """Between the rename of the data directory and that of the segment."""
    wal_dir, damaged = tmp_path / "wal", tmp_path / "damaged.tar.gz"
    damaged.write_bytes(archive.read_bytes()[:-1000])
    cluster = etcd_cluster(1, extra_args=[f"--wal-dir={wal_dir}"])
    [member] = cluster.members
    if existing:
        member.data_dir.mkdir()
    dcos_etcd.restore(archive, wal_dir=wal_dir, **member.restore_arguments)
    (wal_dir / SEGMENT).rename(wal_dir / SEALED)
    if existing:
        (member.data_dir / ".restore-0123456789abcdef").mkdir()
    options = {"wal_dir": wal_dir, **member.restore_arguments, "initial_cluster_token": token}
    half = contents(member.data_dir, wal_dir)

    dcos_etcd.restore(archive, dry_run=True, **options)
    with pytest.raises(dcos_etcd.CorruptSnapshotError):
        dcos_etcd.restore(damaged, **options)
    with pytest.raises(dcos_etcd.InvalidArgumentError, match="is the half of a restore that was killed"):
        dcos_etcd.restore(member.data_dir / "member/snap/db", skip_hash_check=True, **options)
    assert contents(member.data_dir, wal_dir) == half

    dcos_etcd.restore(archive, **options)

    assert (names(member.data_dir), names(wal_dir)) == (["member"], [SEGMENT])
    cluster.start()
    assert cluster.etcdctl("get", "key", "--print-value-only") == "restored\n"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_error_while_a_half_gives_way_leaves_nothing_that_blocks_the_next_try(
    archive: Path, tmp_path: Path, moment: str
) -> None:
    wal_dir, data_dir = tmp_path / "wal", tmp_path / "data"
    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, **PLAN)
    (wal_dir / SEGMENT).rename(wal_dir / SEALED)

    with pytest.raises(OSError, match="broken"):
        dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, handover=Fails(moment), **PLAN)

    assert (names(data_dir), names(wal_dir)) == ([], [] if moment == "before" else [SEALED])
    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, **PLAN)
    assert (names(data_dir), names(wal_dir)) == (["member"], [SEGMENT])


@pytest.mark.parametrize("what", ["beside", "inside", "ran", "other log", "old member", "link"])
def test_what_is_not_exactly_a_half_is_refused_and_left_alone(
    archive: Path, etcd_cluster: ClusterFactory, tmp_path: Path, what: str
) -> None:
    wal_dir = tmp_path / "wal"
    cluster = etcd_cluster(1, extra_args=[f"--wal-dir={tmp_path / 'elsewhere'}"])
    [member] = cluster.members
    options = {"wal_dir": wal_dir, **member.restore_arguments}
    dcos_etcd.restore(archive, **options)
    snap_dir = member.data_dir / "member" / "snap"
    if what in {"ran", "old member"}:  # with the log of another place; then the log of a later restore lies there
        wal_dir.rename(tmp_path / "elsewhere")
        cluster.start()
        if what == "old member":
            cluster.etcdctl("put", "key", "precious")
        cluster.stop()
        dcos_etcd.restore(archive, **{**options, "data_dir": tmp_path / "other"})
    if what == "other log":
        wal_dir.rename(tmp_path / "elsewhere")
        dcos_etcd.restore(archive, **{**options, "data_dir": tmp_path / "other", "initial_cluster_token": "other"})
    (wal_dir / SEGMENT).rename(wal_dir / SEALED)
    if what == "beside":
        (member.data_dir / "notes").write_text("precious")
    if what == "inside":
        (snap_dir / "notes").write_text("precious")
    if what == "link":
        db = (snap_dir / "db").rename(tmp_path / "db")
        (snap_dir / "db").symlink_to(db)
    before = contents(member.data_dir, wal_dir)

    for dry_run in (True, False):
        with pytest.raises(dcos_etcd.DataDirNotEmptyError, match=r"lies sealed in .*wal.* --replace") as caught:
            dcos_etcd.restore(archive, dry_run=dry_run, **options)
        assert str(caught.value).startswith(f'data-dir "{member.data_dir}" not empty or could not be read')

    assert contents(member.data_dir, wal_dir) == before


def test_killed_when_all_stands_the_old_data_gets_its_dated_name_and_is_told_of(archive: Path, tmp_path: Path) -> None:
    wal_dir, data_dir = tmp_path / "wal", tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "precious").write_text("old")
    options = {"data_dir": str(data_dir), "wal_dir": str(wal_dir), "existing": "keep", **PLAN}

    killed = subprocess.run([sys.executable, "-c", KILLED, archive, "after", json.dumps(options)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert names(wal_dir) == [SEGMENT]
    hidden = names(tmp_path)
    assert [name for name in hidden if name.startswith(".data.exchange-")] != []
    new = contents(data_dir, wal_dir)
    with pytest.raises(dcos_etcd.DataDirNotEmptyError, match="wal-dir"):
        dcos_etcd.restore(archive, dry_run=True, **options)
    assert names(tmp_path) == hidden

    with pytest.raises(dcos_etcd.DataDirNotEmptyError, match="wal-dir") as caught:
        dcos_etcd.restore(archive, **options)

    [old] = tmp_path.glob("data.old-*")
    assert str(caught.value).endswith(f"; the old data of a restore that was killed lies in {old}")
    assert (old / "precious").read_text() == "old"
    assert names(tmp_path) == ["data", old.name, "wal"]
    assert contents(data_dir, wal_dir) == new
