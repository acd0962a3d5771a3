"""What a loss of power leaves in a data directory that etcd mends by itself, told apart from damage."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from conftest import each_line
from dcos_etcd import _core
from dcos_etcd.dcos import _diagnostic, _profile
from dcos_etcd.models import Inspection
from dcos_etcd.testing import CommandFailedError
from dcos_profile.master import Machine
from log_files import Segment

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.models import Finding
    from dcos_etcd.testing import Cluster, ClusterFactory, Member

PUTS = 12
PAGE = 4096
META_FIELDS = 36
"""Offset in a meta page of the number of the root page: behind page header, magic, version, page size and flags."""


def inspect(member: Member) -> Inspection:
    return Inspection._from_json(_core.inspect(str(member.data_dir), wal_dir=None, pages=True, progress=None))


def codes(found: Inspection) -> tuple[list[str], list[str]]:
    """What is damaged, and what is not."""
    return [defect.code for defect in found.defects], [defect.code for defect in found.mended_at_start]


def put(cluster: Cluster, number: int = PUTS) -> None:
    for at in range(number):
        cluster.etcdctl("put", f"key{at}", stdin=b"x" * 3000)


def applied(member: Member) -> int:
    """Wait until the database holds all that was put, which etcd commits some 100 ms later; the index by then."""
    deadline = time.monotonic() + 10
    while (found := inspect(member)).revision != PUTS + 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found.revision == PUTS + 1
    assert found.applied_index is not None
    return found.applied_index


def revision(cluster: Cluster) -> int:
    return int(cluster.etcdctl_json("get", "key0", "-w", "json")["header"]["revision"])


def diagnosed(member: Member, tmp_path: Path) -> dict[str, Finding]:
    """What the diagnosis on a master says of these files."""
    machine = Machine(tmp_path / "root")
    machine.data_dir.symlink_to(member.data_dir)
    findings: list[Finding] = []
    _diagnostic._look_at_files(_profile.read(machine.root), findings)
    return {finding.id: finding for finding in findings if finding.id.startswith("data-dir")}


@each_line
def test_a_torn_end_of_the_log_is_no_damage_and_etcd_starts_with_what_stands_before_it(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    put(cluster)
    [member] = cluster.members
    member.kill()
    before = inspect(member)
    Segment(member.data_dir).tear()

    found = inspect(member)
    told = diagnosed(member, tmp_path)

    assert codes(before) == ([], [])
    assert codes(found) == ([], ["wal-torn-record"])
    assert (found.last_index, found.commit, found.revision) == (before.last_index, before.commit, before.revision)
    assert {(name, finding.severity) for name, finding in told.items()} == {("data-dir-write-cut-off", "info")}
    cluster.start()
    assert revision(cluster) == PUTS + 1
    assert list((member.data_dir / "member/wal").glob("*.wal.broken"))
    cluster.stop()
    assert codes(inspect(member)) == ([], [])


@each_line
def test_one_torn_meta_page_of_the_database_is_no_damage(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    put(cluster)
    [member] = cluster.members
    for page in (0, 1):
        member.kill()
        with (member.data_dir / "member/snap/db").open("r+b") as file:
            file.seek(page * PAGE + META_FIELDS)
            file.write(b"\xff\xff")

        found = inspect(member)
        told = diagnosed(member, tmp_path / str(page))

        assert codes(found) == ([], ["meta-checksum"])
        assert found.mended_at_start[0].page == page
        assert set(told) == {"data-dir-write-cut-off"}
        cluster.start()
        assert revision(cluster) == PUTS + 1


@pytest.mark.damages
@each_line
def test_what_was_acknowledged_and_is_gone_from_the_log_stays_damage(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    put(cluster)
    [member] = cluster.members
    index = applied(member)
    member.kill()
    segment = Segment(member.data_dir)

    segment.lose_sector(segment.large()[2])
    found = inspect(member)
    told = diagnosed(member, tmp_path)

    assert codes(found) == (["wal-torn-inside", "wal-behind-database"], [])
    assert f"the database holds what was applied up to {index}" in found.defects[-1].message
    assert {(name, finding.severity) for name, finding in told.items()} == {("data-dir-damaged", "critical")}
    assert "wal-torn-inside" in told["data-dir-damaged"].evidence

    # The same log, which now ends well, and too early: etcd starts, and passes over what it then takes in.
    segment.forget(segment.large()[2])
    assert codes(inspect(member)) == (["wal-behind-database"], [])
    member.start(wait=False)
    try:
        assert index_passed_over(member, index)
    finally:
        member.kill()


def index_passed_over(member: Member, index: int) -> bool:
    """Wait until the log has grown, while the database has not."""
    ended = inspect(member).last_index or 0
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = inspect(member)
        if (found.last_index or 0) > ended:
            return found.applied_index == index
        time.sleep(0.05)
    return False


def test_a_running_member_is_not_judged_by_files_that_it_writes(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    put(cluster)
    [member] = cluster.members
    segment = Segment(member.data_dir)
    offset, length = segment.frames[segment.large()[2]]
    kept = segment.read(offset + length // 2, 1)
    segment.write(offset + length // 2, b"?")

    try:
        assert codes(inspect(member))[0] == ["wal-crc-mismatch", "wal-entry-gap"]
        assert diagnosed(member, tmp_path / "running") == {}
        member.kill()
        assert set(diagnosed(member, tmp_path / "killed")) == {"data-dir-damaged"}
    finally:
        segment.write(offset + length // 2, kept)


@each_line
def test_the_log_tells_of_a_promotion_and_of_new_urls_as_the_server_does(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    learner = cluster.add_member(learner=True)
    promote(cluster, learner)
    [first, _] = cluster.members
    new = first.peer_url.replace("127.0.0.1", "localhost")
    cluster.etcdctl("member", "update", f"{first.id:x}", f"--peer-urls={new}", endpoints=cluster.endpoints[:1])
    if cluster.binaries.version.startswith("3.4."):
        # It leaves no trace of the commit of a change until something else is written.
        put(cluster, 2)
    listed = {
        (f"{one['ID']:x}", one["name"], tuple(one["peerURLs"]), bool(one.get("isLearner")))
        for one in cluster.member_list()
    }
    time.sleep(0.3)  # the database is committed 100 ms after a change
    for member in cluster.members:
        member.kill()

    for member in cluster.members:
        found = inspect(member)
        logged = {(one.id, one.peer_urls, one.is_learner) for one in found.log_members}

        assert logged == {(number, urls, is_learner) for number, _, urls, is_learner in listed}
        assert {(one.id, one.peer_urls, one.is_learner) for one in found.known_members} == logged
        assert not any(one.is_learner for one in found.known_members)
        assert new in {url for one in found.known_members for url in one.peer_urls}


def promote(cluster: Cluster, learner: Member) -> None:
    """Promote as soon as the leader takes it to be in step."""
    deadline = time.monotonic() + 15
    while not promoted(cluster, learner):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def promoted(cluster: Cluster, learner: Member) -> bool:
    try:
        cluster.etcdctl("member", "promote", f"{learner.id:x}", endpoints=cluster.endpoints[:1])
    except CommandFailedError as error:
        if "in sync" not in str(error):
            raise
        return False
    return True
