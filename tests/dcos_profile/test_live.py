"""Backup, members and diagnosis: on a real etcd, which is this master's by its port, and on the files."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from dcos_etcd import dcos
from dcos_etcd.dcos import _diagnostic, _profile
from dcos_profile.master import MASTERS, Machine, MesosDns, as_root, restored
from scenario import raise_alarm

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import Cluster, ClusterFactory


@pytest.fixture
def master(
    tmp_path: Path, etcd_cluster: ClusterFactory, mesos_dns: MesosDns, monkeypatch: pytest.MonkeyPatch
) -> tuple[Machine, Cluster]:
    cluster = etcd_cluster(1)
    cluster.start()
    monkeypatch.setattr(_profile, "CLIENT_PORT", int(cluster.endpoints[0].rpartition(":")[2]))
    monkeypatch.setattr(_profile, "LEADER", "leader.invalid")
    mesos_dns.names("127.0.0.1")
    return Machine(tmp_path / "root", "127.0.0.1"), cluster


def test_a_backup_comes_from_this_master_when_the_leader_cannot_be_used(
    master: tuple[Machine, Cluster], tmp_path: Path
) -> None:
    machine, cluster = master
    cluster.etcdctl("put", "key", "value")

    report = dcos.backup(tmp_path / "etcd.tar.gz", root=machine.root)

    assert report.endpoint == cluster.endpoints[0]
    assert "the leading master's etcd was not used (http://leader.invalid:" in report.warnings[0]
    assert dcos_etcd.verify(tmp_path / "etcd.tar.gz").status.total_key == 1
    with pytest.raises(dcos_etcd.ArchiveExistsError):
        dcos.backup(tmp_path / "etcd.tar.gz", root=machine.root)


def test_the_leader_is_asked_first(
    master: tuple[Machine, Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, _ = master
    monkeypatch.setattr(_profile, "LEADER", "localhost")

    report = dcos.backup(tmp_path / "etcd.tar.gz", root=machine.root)

    assert report.endpoint.startswith("http://localhost:")
    assert report.warnings == ()


def test_a_leader_that_is_as_good_as_this_master_is_used_and_not_said_to_be_passed_over(
    master: tuple[Machine, Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, cluster = master
    monkeypatch.setattr(_profile, "LEADER", "localhost")
    raise_alarm(cluster, "CORRUPT")

    report = dcos.backup(tmp_path / "etcd.tar.gz", root=machine.root)

    assert report.endpoint.startswith("http://localhost:")
    assert [skipped.endpoint for skipped in report.skipped] == [cluster.endpoints[0]]
    assert not [warning for warning in report.warnings if "was not used" in warning]


def test_the_members_are_what_etcdctl_lists(master: tuple[Machine, Cluster]) -> None:
    machine, cluster = master

    assert dcos.member_list(root=machine.root) == json.loads(cluster.etcdctl("member", "list", "-w", "json"))


def test_a_healthy_master_is_diagnosed_as_such(master: tuple[Machine, Cluster]) -> None:
    machine, cluster = master

    found = dcos.diagnostic(root=machine.root)

    assert found.healthy
    assert (found.masters, found.masters_source, found.local) == (("127.0.0.1",), "Mesos-DNS", None)
    assert [member.name for member in found.diagnosis.members] == [cluster.members[0].name]


def test_the_own_etcd_is_asked_whoever_the_masters_are_said_to_be(
    master: tuple[Machine, Cluster], mesos_dns: MesosDns
) -> None:
    machine, cluster = master
    mesos_dns.names("127.93.0.9")

    found = dcos.diagnostic(root=machine.root)

    ids = {finding.id for finding in found.findings}
    assert "not-a-master" in ids
    assert not {"local-etcd-silent", "cluster-unreachable"} & ids
    assert (found.masters, found.local) == (("127.93.0.9",), None)
    reachable = {facts.endpoint for facts in found.diagnosis.endpoints if facts.reachable}
    assert reachable == set(cluster.endpoints)


@pytest.mark.parametrize("linked", [False, True], ids=["in its place", "behind a link"])
def test_what_a_killed_restore_left_is_found_beside_the_data_itself(
    machine: Machine, tmp_path: Path, *, linked: bool
) -> None:
    real = tmp_path / "disk" / "member [1]" if linked else machine.data_dir
    real.mkdir(parents=True)
    if linked:
        machine.data_dir.symlink_to(real)
    left = real.with_name(f".{real.name}.exchange-77")
    left.mkdir()

    [finding] = _diagnostic._left_over(_profile.read(machine.root))

    assert (finding.id, finding.evidence) == ("restore-unfinished", f"{left} may hold the old data")


def test_a_master_of_another_cluster_is_named(
    master: tuple[Machine, Cluster],
) -> None:
    """Three masters on three loopback addresses: two of one cluster and one that was forgotten."""
    machine, _ = master
    profile = _profile.read(machine.root)
    told = {host: (cluster, "") for host, cluster in zip(MASTERS, ("aa", "bb", "aa"), strict=True)}
    one, two, three = MASTERS

    [finding] = _diagnostic._strangers(profile, told)
    assert (finding.id, finding.severity) == ("master-not-restored", "critical")
    assert "10.93.0.2" in finding.message
    assert [finding.id for finding in _diagnostic._strangers(profile, {one: told[one], two: told[two]})] == [
        "masters-split"
    ]
    assert _diagnostic._strangers(profile, {one: told[one], three: told[three]}) == []


@as_root
def test_with_etcd_down_the_files_tell(machine: Machine, mesos_dns: MesosDns, archive: Path) -> None:
    mesos_dns.names("127.93.0.1")
    machine.write("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho 127.93.0.1\n", 0o755)
    report = restored(machine, archive)
    (machine.state_dir / "initial-state").unlink()

    found = dcos.diagnostic(root=machine.root)

    assert not found.healthy
    ids = [finding.id for finding in found.findings]
    assert {"cluster-unreachable", "local-etcd-silent", "start-file-missing"} <= set(ids)
    assert found.local is not None
    assert (found.local.cluster_id, found.local.member_id) == (report.cluster_id, report.member_id)
    assert (found.local.name, found.local.revision) == ("etcd-127.93.0.1", report.revision)
    assert found.local.defects == ()


@pytest.mark.usefixtures("no_mesos_dns")
def test_a_master_without_anything_has_a_diagnosis_too(machine: Machine) -> None:
    machine.write("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho 127.93.0.1\n", 0o755)
    shutil.rmtree(machine.state_dir)

    found = dcos.diagnostic(root=machine.root)

    ids = {finding.id for finding in found.findings}
    assert {"masters-unknown", "cluster-unreachable", "data-dir-missing", "start-file-missing"} <= ids
    assert not found.healthy


def test_a_certificate_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "root", variant="enterprise")

    found = dcos.diagnostic(root=machine.root)

    assert "certificate-unreadable" in {finding.id for finding in found.findings}
    assert not found.healthy
