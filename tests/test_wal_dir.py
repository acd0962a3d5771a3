"""`--wal-dir`: the log goes to a place of its own, however it is spelled, and a log in use is no left-over."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory

PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}
MARK = ".restore-unfinished"
SEGMENT = "0000000000000000-0000000000000000.wal"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


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


@pytest.mark.parametrize("existing", [False, True], ids=["absent", "empty"])
def test_the_log_of_a_restore_that_was_killed_half_way_is_in_nobodys_way(
    archive: Path, tmp_path: Path, *, existing: bool
) -> None:
    wal_dir, data_dir = tmp_path / "wal", tmp_path / "data"
    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, **PLAN)
    shutil.rmtree(data_dir)
    (wal_dir / MARK).touch()
    if existing:  # the mark was in place, the segment was not
        (wal_dir / ".restore-0123456789abcdef").mkdir()
        (wal_dir / SEGMENT).rename(wal_dir / ".restore-0123456789abcdef" / SEGMENT)

    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, dry_run=True, **PLAN)
    assert MARK in names(wal_dir)
    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir, **PLAN)

    assert names(wal_dir) == [SEGMENT]


def test_the_log_of_a_member_that_ran_is_not_taken_for_a_left_over(
    archive: Path, etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    """A restore that is killed in its last moment leaves its mark in a log with which etcd starts."""
    wal_dir = tmp_path / "wal"
    cluster = etcd_cluster(1, extra_args=[f"--wal-dir={wal_dir}"])
    [member] = cluster.members
    dcos_etcd.restore(archive, wal_dir=wal_dir, **member.restore_arguments)
    (wal_dir / MARK).touch()
    cluster.start()
    cluster.etcdctl("put", "key", "precious")
    cluster.stop()
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
