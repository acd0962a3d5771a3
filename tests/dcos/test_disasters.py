"""What a backup is for: the state comes back on every master, whatever was lost and whoever is down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from dcos.bed import BACKUPS, CLUSTER_STATE, DATA_DIR, NODES, STATE, Master
from dcos.procedures import (
    ARCHIVE,
    check_cluster,
    check_diagnostic,
    check_members,
    check_owners,
    kept_data,
    restore_all,
    tree,
)
from scenario import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos.bed import Bed
    from dcos.procedures import Past

    Resume = Callable[..., tuple[Bed, Past]]


def test_a_restore_on_all_masters_brings_exactly_the_state_of_the_backup_back(resume: Resume) -> None:
    bed, past = resume(3)
    bed.start()
    assert capture(bed.leader) == past.later
    assert past.later != past.state

    bed.stop()
    before = bed.each(lambda master: tree(master, DATA_DIR))
    restore_all(bed)
    bed.each(check_owners)
    nodes = ",".join(f"{master.name}={master.peer_url}" for master in bed.masters)
    for master, old in zip(bed.masters, before, strict=True):
        assert [nodes, "new"] == [master.path(path).read_text() for path in (NODES, CLUSTER_STATE)]
        [kept] = kept_data(master)
        assert tree(master, kept) == old
        # etcd made these certificates for its peers, and goes on with them.
        assert tree(master, f"{DATA_DIR}/fixtures") == tree(master, f"{kept}/fixtures")
        assert master.path(f"{DATA_DIR}/fixtures/peer/key.pem").exists()
    bed.start()

    check_cluster(bed, past.state)
    assert {m["ID"] for m in past.members}.isdisjoint(m["ID"] for m in bed.leader.member_list())
    for said in bed.each(lambda master: check_diagnostic(master, healthy=True)):
        assert bed.ips == said["masters"]
        assert [m.name for m in bed.masters] == sorted(member["name"] for member in said["members"])
        assert bed.leader.member_list() == sorted(said["members"], key=lambda member: str(member["name"]))


def test_a_second_restore_keeps_the_first_ones_data_too_or_discards_what_it_replaces(resume: Resume) -> None:
    bed, past = resume(3)
    restore_all(bed)
    restore_all(bed)
    assert [2, 2, 2] == [len(kept_data(master)) for master in bed.masters]
    restore_all(bed, ARCHIVE, "--discard-old")

    for master in bed.masters:
        assert len(kept_data(master)) == 2
        names = {path.name for path in master.path(STATE).iterdir()} - {
            path.rpartition("/")[2] for path in kept_data(master)
        }
        assert names == {"default.etcd", "initial-nodes", "initial-state"}
    bed.start()
    check_cluster(bed, past.state)


@pytest.mark.parametrize("lost", [1, 3], ids=["one", "all"])
def test_masters_that_lost_their_data_get_it_back(resume: Resume, lost: int) -> None:
    bed, past = resume(3)
    losers = bed.masters[3 - lost :]
    bed.each(Master.lose_data, losers)

    restore_all(bed)
    bed.each(check_owners)
    bed.start()

    check_cluster(bed, past.state)
    assert [len(kept_data(master)) for master in bed.masters] == [0 if m in losers else 1 for m in bed.masters]
    check_diagnostic(bed.masters[-1], healthy=True)


def test_everything_of_etcd_may_be_lost_its_directory_too(resume: Resume) -> None:
    bed, past = resume(3)
    for master in bed.masters:
        master.machine.must("sh", "-c", f"rm -rf {STATE}/* {STATE}/.??*")

    restore_all(bed)
    bed.each(check_owners)
    bed.start()

    check_cluster(bed, past.state)


def test_five_masters(resume: Resume) -> None:
    bed, past = resume(5)

    restore_all(bed)
    bed.start()

    check_cluster(bed, past.state)
    bed.stop(bed.masters[:2])
    # The one that led may be among them; a read is tried again until there is another.
    bed.masters[2].etcdctl("get", "with two of five down")
    for master in bed.masters[2:]:
        master.etcdctl("put", "with two of five down", master.ip)
    said = check_diagnostic(bed.masters[4], healthy=False)
    silent = {finding["endpoint"] for finding in said["findings"] if finding["severity"] == "critical"}
    assert silent >= {master.client_url for master in bed.masters[:2]}


class TestTheLeaderIsDownAtTheBackup:
    @pytest.mark.parametrize("how", ["etcd stopped", "machine gone", "name unknown"])
    def test_the_local_member_gives_the_backup(self, resume: Resume, how: str) -> None:
        bed, past = resume(3)
        bed.start()
        if how == "etcd stopped":
            bed.leader.stop()
        elif how == "machine gone":
            bed.switch.cut(bed.leader.wire)
        else:
            bed.masters[1].forget_leader()
        # A new leader of the raft, when it was that one.
        bed.masters[1].wait()
        archive = f"{BACKUPS}/second.tar.gz"

        done = bed.masters[1].cli("backup", archive)

        assert done.returncode == 0, done.stderr
        assert bed.masters[1].client_url in done.stderr + done.stdout
        assert "master.dcos.thisdcos.directory" in done.stderr
        manifest = dcos_etcd.verify(bed.masters[1].path(archive)).manifest
        assert manifest is not None
        assert (manifest.endpoint, manifest.revision) == (bed.masters[1].client_url, past.later.revision)
        if how == "etcd stopped":
            bed.stop()
            bed.spread(bed.masters[1], archive)
            restore_all(bed, archive)
            bed.start()
            check_cluster(bed, past.later)

    def test_with_no_etcd_anywhere_there_is_no_backup(self, resume: Resume) -> None:
        bed, _ = resume(3)

        done = bed.masters[1].cli("backup", f"{BACKUPS}/second.tar.gz")

        assert done.returncode == 1
        for endpoint in (bed.masters[1].client_url, "http://master.dcos.thisdcos.directory:2379"):
            assert endpoint in done.stderr
        assert not bed.masters[1].path(f"{BACKUPS}/second.tar.gz").exists()


class TestMesosDnsIsDownAtTheRestore:
    def test_initial_nodes_that_names_all_masters_serves(self, resume: Resume) -> None:
        """As the discovery leaves it on the last master to join, and every restore on all of them."""
        bed, past = resume(3)
        for master in bed.masters:
            master.nodes(bed.masters, "existing")
            master.stop_mesos_dns()

        for said in bed.each(lambda master: master.cli("restore", ARCHIVE)):
            assert said.returncode == 0, said.stderr
            assert "Mesos-DNS" in said.stderr
        bed.start()

        check_cluster(bed, past.state)

    def test_initial_nodes_that_was_written_before_all_had_joined_is_an_error_that_masters_solves(
        self, resume: Resume
    ) -> None:
        bed, past = resume(3)
        bed.each(Master.stop_mesos_dns)
        before = bed.each(tree)

        first, second, third = bed.each(lambda master: master.cli("restore", ARCHIVE))

        assert [1, 1, 0] == [first.returncode, second.returncode, third.returncode], third.stderr
        for done, named in ((first, bed.ips[:1]), (second, bed.ips[:2])):
            assert f"{NODES} says {', '.join(named)};" in done.stderr
            assert f"{DATA_DIR} says {', '.join(bed.ips)};" in done.stderr
            assert "--masters" in done.stderr
        assert before[:2] == bed.each(tree)[:2]

        restore_all(bed, ARCHIVE, "--masters", ",".join(bed.ips), masters=bed.masters[:2])
        bed.start()
        check_cluster(bed, past.state)

    def test_without_data_to_compare_with_the_number_of_masters_tells(self, resume: Resume) -> None:
        bed, past = resume(3)
        bed.each(Master.stop_mesos_dns)
        bed.each(Master.lose_data)
        before = bed.each(tree)

        first, second, third = bed.each(lambda master: master.cli("restore", ARCHIVE))

        assert [1, 1, 0] == [first.returncode, second.returncode, third.returncode], second.stderr + third.stderr
        assert before[:2] == bed.each(tree)[:2]
        for done in (first, second):
            assert "3 masters" in done.stderr
            assert "--masters" in done.stderr
        restore_all(bed, ARCHIVE, "--masters", ",".join(bed.ips), masters=bed.masters[:2])
        bed.start()
        check_cluster(bed, past.state)

    def test_masters_that_nobody_tells_must_be_given(self, resume: Resume) -> None:
        bed, _ = resume(3)
        master = bed.masters[0]
        master.stop_mesos_dns()
        master.path(NODES).unlink()
        before = tree(master)

        done = master.cli("restore", ARCHIVE)

        assert done.returncode == 1
        assert "--masters" in done.stderr
        assert tree(master) == before


def test_two_sources_that_name_different_masters_are_an_error_that_shows_both(resume: Resume) -> None:
    bed, past = resume(3)
    third = bed.masters[2]
    third.stop_mesos_dns()
    third.start_mesos_dns([*bed.ips[1:], "172.16.0.99"])
    before = tree(third)

    done = third.cli("restore", ARCHIVE)

    assert done.returncode == 1
    assert f"Mesos-DNS says {', '.join([*bed.ips[1:], '172.16.0.99'])}" in done.stderr
    assert f"{NODES} says {', '.join(bed.ips)}" in done.stderr
    assert tree(third) == before

    restore_all(bed, ARCHIVE, f"--masters={','.join(bed.ips)}")
    bed.start()
    check_cluster(bed, past.state)
    check_members(bed.masters)
