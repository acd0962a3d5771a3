"""What a restore leaves, and what it refuses."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from dcos_etcd.dcos import _service
from dcos_profile.master import MASTERS, OWNER, Machine, MesosDns, as_root, restored

if TYPE_CHECKING:
    from dcos_etcd.testing import ClusterFactory


@as_root
def test_a_restore_leaves_a_member_that_the_start_script_starts(machine: Machine, archive: Path) -> None:
    machine.member()
    old = {name: value for name, value in machine.state().items() if name.startswith("default.etcd/")}

    report = restored(machine, archive)

    assert machine.read("initial-nodes") == ",".join(f"etcd-{ip}=https://{ip}:2380" for ip in MASTERS)
    assert machine.read("initial-state") == "new"
    assert [(member.name, member.peer_urls) for member in report.members if member.id == report.member_id] == [
        ("etcd-10.93.0.1", ("https://10.93.0.1:2380",))
    ]
    assert {member.name for member in report.members} == {f"etcd-{ip}" for ip in MASTERS}
    assert report.initial_cluster_token == f"etcd-dcos-{dcos_etcd.verify(archive).sha256}"
    assert report.replaced is not None
    [kept] = machine.kept()
    assert report.replaced == machine.state_dir / kept
    after = machine.state()
    assert {name.replace(kept, "default.etcd", 1): v for name, v in after.items() if name.startswith(f"{kept}/")} == old
    assert after["default.etcd/fixtures/client/key.pem"] == (0o100600, *OWNER, b"old fixtures/client/key.pem")
    ours = {name: value for name, value in after.items() if not name.startswith("default.etcd.old-")}
    assert {(user, group) for _, user, group, _ in ours.values()} == {OWNER}
    assert {after[name][0] for name in ("initial-nodes", "initial-state")} == {0o100644}
    assert after["default.etcd"][0] == 0o40700
    assert after["default.etcd/member/snap/db"][0] == 0o100600
    assert sorted(path.name for path in machine.state_dir.iterdir()) == sorted(
        ["default.etcd", kept, "initial-nodes", "initial-state"]
    )


@as_root
def test_all_masters_get_one_identity_and_the_token_can_be_given(tmp_path: Path, archive: Path) -> None:
    reports = [restored(Machine(tmp_path / ip, ip), archive) for ip in MASTERS]

    assert len({report.cluster_id for report in reports}) == 1
    assert len({report.member_id for report in reports}) == 3
    given = restored(Machine(tmp_path / "given", MASTERS[0]), archive, initial_cluster_token="etcd-dcos")
    assert given.cluster_id != reports[0].cluster_id
    assert given.initial_cluster_token == "etcd-dcos"


@as_root
def test_masters_that_were_restored_in_different_ways_are_not_of_one_cluster(tmp_path: Path, archive: Path) -> None:
    part = {"revision": 2, "prefixes": ["key", "other"]}
    ways: list[dict[str, Any]] = [
        {},
        {**part, "drop_leases": True},
        part,
        {**part, "prefixes": ["other", b"key", "key"], "compact": True},
    ]
    masters = (MASTERS[0], MASTERS[1], MASTERS[1], MASTERS[2])
    whole, dropped, one, other = (
        restored(Machine(tmp_path / str(n), ip), archive, **options)
        for n, (ip, options) in enumerate(zip(masters, ways, strict=True))
    )

    assert one.revision == 2
    assert len({whole.cluster_id, dropped.cluster_id, one.cluster_id}) == 3
    assert (one.cluster_id, one.initial_cluster_token) == (other.cluster_id, other.initial_cluster_token)
    assert one.initial_cluster_token.startswith(f"{whole.initial_cluster_token}-")


@as_root
def test_the_same_archive_a_second_time_is_told(machine: Machine, archive: Path) -> None:
    first = restored(machine, archive, discard_old=True)
    second = restored(machine, archive, discard_old=True)

    assert not any("same cluster" in warning for warning in first.warnings)
    assert any("the old data was of the same cluster" in warning for warning in second.warnings)
    assert machine.kept() == []


@as_root
def test_the_archive_in_the_old_data_is_not_discarded_and_where_it_moves_is_told(
    machine: Machine, archive: Path
) -> None:
    machine.member()
    only = Path(shutil.copy(archive, machine.data_dir / archive.name))
    before = machine.state()

    with pytest.raises(dcos_etcd.InvalidArgumentError, match="which --discard-old would delete"):
        restored(machine, only, discard_old=True)
    assert machine.state() == before

    report = restored(machine, only)

    assert report.replaced is not None
    moved = report.replaced / archive.name
    assert f"the snapshot moved with the old data directory, and lies in {moved}" in report.warnings
    assert moved.read_bytes() == archive.read_bytes()


@as_root
def test_old_data_of_certificates_alone_may_be_discarded_and_of_something_else_not(
    machine: Machine, archive: Path
) -> None:
    machine.write("var/lib/dcos/etcd/default.etcd/fixtures/client/key.pem", "key")
    machine.write("var/lib/dcos/etcd/default.etcd/thesis", "years")
    before = machine.state()

    with pytest.raises(dcos_etcd.DataDirNotEmptyError, match="holds thesis and no etcd member"):
        restored(machine, archive, discard_old=True)
    assert machine.state() == before

    (machine.data_dir / "thesis").unlink()
    restored(machine, archive, discard_old=True)
    assert machine.kept() == []
    assert machine.read("default.etcd/fixtures/client/key.pem") == "key"


@as_root
@pytest.mark.parametrize("state", ["active", "activating", "deactivating", "reloading"])
def test_a_unit_that_runs_or_will_is_refused(machine: Machine, archive: Path, state: str) -> None:
    machine.member()
    machine.unit(state)
    before = machine.state()

    with pytest.raises(dcos_etcd.DataDirInUseError, match=f"the unit dcos-etcd is {state}; stop it"):
        restored(machine, archive)
    assert machine.state() == before


@as_root
@pytest.mark.parametrize("state", ["inactive", "failed", "unknown", ""])
def test_a_unit_that_is_stopped_or_not_known_is_no_obstacle(machine: Machine, archive: Path, state: str) -> None:
    machine.unit(state)

    restored(machine, archive)

    assert machine.read("initial-state") == "new"


@as_root
def test_an_etcd_that_somebody_else_started_is_refused_by_its_locks(
    machine: Machine, archive: Path, etcd_cluster: ClusterFactory
) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    machine.data_dir.symlink_to(cluster.members[0].data_dir)

    with pytest.raises(dcos_etcd.DataDirInUseError, match=r"is locked by etcd \(pid \d+\)"):
        restored(machine, archive)


@as_root
def test_a_listener_on_the_port_of_etcd_is_refused(
    machine: Machine, mesos_dns: MesosDns, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_service, "CLIENT_PORT", mesos_dns.server.server_port)

    with pytest.raises(dcos_etcd.DataDirInUseError, match=r"something listens on 127\.0\.0\.1:"):
        restored(machine, archive)


@as_root
def test_a_master_that_is_not_among_the_masters_is_refused(tmp_path: Path, archive: Path) -> None:
    stranger = Machine(tmp_path / "root", "10.93.0.9")
    stranger.member()
    (stranger.state_dir / "initial-nodes").unlink()
    before = stranger.state()

    with pytest.raises(dcos_etcd.DcosError, match=r"10\.93\.0\.9, is not among the masters 10\.93\.0\.1"):
        restored(stranger, archive)
    assert stranger.state() == before


@as_root
def test_nobody_but_root_may(machine: Machine, archive: Path) -> None:
    machine.member()
    before = machine.state()
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match="only root may restore"):
            restored(machine, archive)
    finally:
        os.seteuid(0)
    assert machine.state() == before


def corrupt(archive: Path, into: Path, how: str) -> Path:
    content = bytearray(archive.read_bytes())
    if how == "truncated":
        del content[len(content) // 2 :]
    elif how == "flipped":
        # One bit may be harmless: that of a distance among zeros, say.
        for at in range(len(content) // 2, len(content) // 2 + 16):
            content[at] ^= 0xFF
    else:
        content = bytearray(b"-----BEGIN CERTIFICATE-----\n" * 50)
    path = into / f"{how}.tar.gz"
    path.write_bytes(content)
    return path


@as_root
@pytest.mark.parametrize("how", ["truncated", "flipped", "of the wrong kind"])
@pytest.mark.parametrize("lost", [False, True], ids=["member there", "data lost"])
def test_an_archive_that_is_no_good_changes_nothing(
    machine: Machine, archive: Path, tmp_path: Path, how: str, *, lost: bool
) -> None:
    machine.member()
    if lost:
        shutil.rmtree(machine.data_dir)
        machine.write("var/lib/dcos/etcd/initial-state", "new")
    before = machine.state()

    with pytest.raises(dcos_etcd.SnapshotError):
        restored(machine, corrupt(archive, tmp_path, how))
    assert machine.state() == before


@as_root
def test_a_dry_run_changes_nothing(machine: Machine, archive: Path) -> None:
    machine.member()
    before = machine.state()

    report = restored(machine, archive, dry_run=True)

    assert report.dry_run
    assert any("initial-nodes" in step for step in report.steps)
    assert machine.state() == before
