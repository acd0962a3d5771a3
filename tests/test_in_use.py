"""A data directory on disk: does an etcd use it, and what does it say without one?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from conftest import each_line
from dcos_etcd import _core
from dcos_etcd.models import Inspection

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory


def holder(data_dir: Path, wal_dir: Path | None = None) -> str | None:
    return _core.in_use(str(data_dir), wal_dir=None if wal_dir is None else str(wal_dir))


def inspect(data_dir: Path) -> Inspection:
    return Inspection._from_json(_core.inspect(str(data_dir), wal_dir=None, pages=True, progress=None))


@each_line
def test_a_running_member_of_every_line_is_seen_and_a_stopped_or_killed_one_is_not(
    etcd_cluster: ClusterFactory,
) -> None:
    cluster = etcd_cluster(1)
    [member] = cluster.members
    assert holder(member.data_dir) is None
    cluster.start()

    assert holder(member.data_dir) == f"etcd (pid {member.pid})"

    cluster.stop()
    assert holder(member.data_dir) is None
    cluster.start()
    member.kill()
    assert holder(member.data_dir) is None


def test_the_log_alone_tells_wherever_it_lies(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = etcd_cluster(1, extra_args=[f"--wal-dir={tmp_path / 'wal'}"])
    cluster.start()
    [member] = cluster.members
    database = member.data_dir / "member/snap/db"
    database.rename(database.with_name("elsewhere"))

    assert holder(member.data_dir) is None
    assert holder(member.data_dir, tmp_path / "wal") == "a process"


def test_looking_disturbs_neither_a_running_member_nor_one_that_starts(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    [member] = cluster.members
    for number in range(3):
        cluster.start()
        for _ in range(200):
            assert holder(member.data_dir) is not None
        cluster.etcdctl("put", "key", str(number))
        assert cluster.etcdctl("get", "key", "--print-value-only") == f"{number}\n"
        cluster.stop()


@each_line
def test_a_stopped_member_of_every_line_tells_what_it_told_when_it_ran(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3)
    cluster.start()
    for number in range(20):
        cluster.etcdctl("put", f"key{number % 5}", str(number))
    listed = dcos_etcd.member_list(**cluster.access)
    told = {facts.name: facts for facts in dcos_etcd.diagnose(**cluster.access).endpoints}
    cluster.stop()

    for member in cluster.members:
        found = inspect(member.data_dir)

        facts = told[member.name]
        assert (found.exists, found.in_use, found.defects) == (True, None, ())
        assert (found.name, found.member_id, found.cluster_id) == (member.name, facts.member_id, facts.cluster_id)
        # It may have told of itself before the last write; the linearizable read behind that waited for it.
        assert (found.revision, found.total_key) == (21, 5)
        assert found.database_size == (member.data_dir / "member/snap/db").stat().st_size
        expected = {(one.id, one.name, one.peer_urls) for one in listed.members}
        assert {(one.id, one.name, one.peer_urls) for one in found.members} == expected
        assert {(one.id, one.peer_urls) for one in found.log_members} == {(i, urls) for i, _, urls in expected}
        assert found.term is not None
        assert facts.raft_index is not None
        assert found.last_index is not None
        assert found.last_index >= facts.raft_index
        assert found.commit is not None
        assert found.commit <= found.last_index


def test_a_removed_member_is_gone_from_both_lists(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3, extra_args=["--strict-reconfig-check=false"])
    cluster.start()
    removed, kept, _ = cluster.members
    gone = f"{removed.id:x}"
    cluster.remove_member(removed)
    cluster.etcdctl("put", "a", "b")
    cluster.stop()

    found = inspect(kept.data_dir)

    for listed in (found.members, found.log_members):
        assert len(listed) == 2
        assert gone not in {member.id for member in listed}


@pytest.mark.damages
def test_damage_is_told_and_is_no_error(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    cluster.stop()
    [member] = cluster.members
    database = member.data_dir / "member/snap/db"
    whole = database.read_bytes()
    database.write_bytes(whole[: len(whole) // 3])
    found = inspect(member.data_dir)

    assert [defect.code for defect in found.defects] == ["database-truncated"]
    assert found.cluster_id is not None

    database.unlink()
    assert [defect.code for defect in inspect(member.data_dir).defects] == ["database-missing"]
