"""A DC/OS master below a root of its own: what the profile finds, does, refuses and puts back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from command_line import environment, run
from dcos_etcd import dcos
from dcos_etcd.dcos import _diagnostic, _files, _masters, _profile, _restore, _service
from dcos_etcd.testing import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dcos_etcd.testing import ClusterFactory

MASTERS = ("10.93.0.1", "10.93.0.2", "10.93.0.3")
OWNER = (4242, 4343)
NOWHERE = "http://127.0.0.1:9/"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a restore on a DC/OS master gives files away, as root")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "etcd.tar.gz"
    with Cluster(members=1) as cluster:
        cluster.etcdctl("put", "key", "value")
        dcos_etcd.backup(path, **cluster.access)
    return path


class MesosDns:
    """Answers on loopback with what a test says."""

    def __init__(self) -> None:
        self.answer = "[]"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer.answer.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/hosts/master.mesos"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def names(self, *addresses: str) -> None:
        self.answer = json.dumps([{"host": "master.mesos.", "ip": address} for address in addresses])


@pytest.fixture(autouse=True)
def mesos_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[MesosDns]:
    serving = MesosDns()
    monkeypatch.setattr(_profile, "MESOS_DNS", serving.url)
    # A proxy that is not there: who asks it gets nothing.
    monkeypatch.setenv("http_proxy", NOWHERE)
    serving.names(*MASTERS)
    yield serving
    serving.server.shutdown()
    serving.server.server_close()


@pytest.fixture
def no_mesos_dns(mesos_dns: MesosDns, monkeypatch: pytest.MonkeyPatch) -> None:
    mesos_dns.answer = ""
    monkeypatch.setattr(_profile, "MESOS_DNS", NOWHERE)


class Machine:
    """The files of a master below a root."""

    def __init__(self, root: Path, address: str = MASTERS[0], variant: str = "open") -> None:
        self.root = root
        self.write("opt/mesosphere/bin/detect_ip", f"#!/bin/sh\necho {address}\n", 0o755)
        self.write("opt/mesosphere/etc/expanded.config.json", json.dumps({"dcos_variant": variant}))
        self.write("etc/passwd", f"root:x:0:0::/:/bin/sh\ndcos_etcd:x:{OWNER[0]}:99::/:/bin/false\n")
        self.write("etc/group", f"root:x:0:\ndcos_etcd:x:{OWNER[1]}:\n")
        self.unit("inactive")
        self.state_dir = root / "var/lib/dcos/etcd"
        self.data_dir = self.state_dir / "default.etcd"
        self.state_dir.mkdir(parents=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def unit(self, state: str) -> None:
        self.write("usr/bin/systemctl", f"#!/bin/sh\necho {state}\ntest {state} = active\n", 0o755)

    def nodes(self, *addresses: str) -> None:
        text = ",".join(f"etcd-{address}=https://{address}:2380" for address in addresses)
        self.write("var/lib/dcos/etcd/initial-nodes", text)

    def member(self) -> None:
        """An old member: a log whose only fault is that it is empty, certificates, and both files."""
        self.nodes(*MASTERS)
        self.write("var/lib/dcos/etcd/initial-state", "existing")
        for path in ("member/snap/db", "member/wal/0000000000000000-0000000000000000.wal", "fixtures/client/key.pem"):
            self.write(f"var/lib/dcos/etcd/default.etcd/{path}", f"old {path}", 0o600)

    def state(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Everything below etcd's home: permissions, owner, content."""
        found = {}
        for path in sorted(self.state_dir.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            name = str(path.relative_to(self.state_dir))
            found[name] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found

    def read(self, name: str) -> str:
        return (self.state_dir / name).read_text()

    def kept(self) -> list[str]:
        return sorted(path.name for path in self.state_dir.iterdir() if path.name.startswith("default.etcd.old-"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


# What the machine is.


def test_the_machine_tells_address_variant_and_certificates(tmp_path: Path) -> None:
    profile = _profile.read(Machine(tmp_path, "10.93.0.7", "enterprise").root)

    assert (profile.address, profile.enterprise) == ("10.93.0.7", True)
    assert profile.endpoint("10.93.0.7") == "https://10.93.0.7:2379"
    assert profile.tls == dcos_etcd.Tls(
        cacert=tmp_path / "run/dcos/pki/CA/ca-bundle.crt",
        cert=tmp_path / "run/dcos/pki/tls/certs/etcd-client-root.crt",
        key=tmp_path / "run/dcos/pki/tls/private/etcd-client-root.key",
    )
    assert _profile.owner(profile) == OWNER


def test_by_default_the_paths_are_those_of_dcos(tmp_path: Path) -> None:
    open_one = _profile.Profile(
        root=Path("/"), address="10.0.0.1", enterprise=False, number=None, mesos_dns=_profile.MESOS_DNS
    )

    assert open_one.tls is None
    assert open_one.endpoint(_profile.LEADER) == "http://master.dcos.thisdcos.directory:2379"
    assert [str(path) for path in (open_one.data_dir, open_one.initial_nodes, open_one.initial_state)] == [
        "/var/lib/dcos/etcd/default.etcd",
        "/var/lib/dcos/etcd/initial-nodes",
        "/var/lib/dcos/etcd/initial-state",
    ]
    assert not dcos.is_master(tmp_path)


@pytest.mark.parametrize(
    ("path", "content", "complaint"),
    [
        ("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho fd00::1\n", "IPv4 addresses alone"),
        ("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho none\n", "'none', which is no IP address"),
        ("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho broken >&2; exit 3\n", "ended with status 3: broken"),
        ("opt/mesosphere/etc/expanded.config.json", "{}", "does not tell dcos_variant"),
        ("opt/mesosphere/etc/expanded.config.json", '{"dcos_variant": "odd"}', "neither open nor enterprise"),
    ],
)
def test_a_machine_that_does_not_say_what_it_must_is_an_error(
    machine: Machine, path: str, content: str, complaint: str
) -> None:
    machine.write(path, content, 0o755)

    with pytest.raises(dcos_etcd.DcosError, match=complaint):
        _profile.read(machine.root)


# Who the masters are.


def found(machine: Machine, given: str | None = None) -> _masters.Masters:
    return _masters.find(_profile.read(machine.root), given)


def test_mesos_dns_and_the_file_agree_in_whatever_order(machine: Machine, mesos_dns: MesosDns) -> None:
    machine.nodes(*MASTERS)
    mesos_dns.names(*reversed(MASTERS))

    assert found(machine) == _masters.Masters(addresses=MASTERS, source="Mesos-DNS")


def test_mesos_dns_alone_is_enough(machine: Machine, mesos_dns: MesosDns) -> None:
    mesos_dns.names("10.93.0.10", "10.93.0.9")

    assert found(machine).addresses == ("10.93.0.9", "10.93.0.10")


def test_a_file_from_before_the_others_joined_is_no_contradiction(machine: Machine) -> None:
    machine.nodes(MASTERS[0])
    known = found(machine)

    assert known.addresses == MASTERS
    assert "names 10.93.0.1 alone, Mesos-DNS 10.93.0.1, 10.93.0.2, 10.93.0.3" in known.warnings[0]


@pytest.mark.parametrize(
    "noted", [("10.93.0.1", "10.93.0.2", "10.93.0.4"), ("10.93.0.2", "10.93.0.3"), (*MASTERS, "10.93.0.4")]
)
def test_two_sources_that_disagree_are_an_error_that_shows_both(machine: Machine, noted: tuple[str, ...]) -> None:
    machine.nodes(*noted)

    with pytest.raises(dcos_etcd.DcosError, match="not clear who the masters are") as caught:
        found(machine)

    assert f"Mesos-DNS says {', '.join(MASTERS)}" in str(caught.value)
    assert f"initial-nodes says {', '.join(noted)}" in str(caught.value)
    assert "--masters" in str(caught.value)


def test_what_the_operator_says_decides_and_what_others_say_is_told(machine: Machine) -> None:
    machine.nodes("10.93.0.1")
    known = found(machine, "10.93.0.1, 10.93.0.5")

    assert (known.addresses, known.source) == (("10.93.0.1", "10.93.0.5"), "--masters")
    assert len(known.warnings) == 2
    assert found(machine, ",".join(MASTERS)).warnings == (
        f"--masters says {', '.join(MASTERS)}, {machine.state_dir / 'initial-nodes'} says 10.93.0.1: --masters decides",
    )


@pytest.mark.parametrize("given", ["", "10.93.0.1,host", "fd00::1"])
def test_what_the_operator_says_must_be_addresses(machine: Machine, given: str) -> None:
    with pytest.raises(dcos_etcd.InvalidArgumentError, match="--masters"):
        found(machine, given)


@pytest.mark.parametrize("answer", ["[]", '[{"host":"","ip":""}]', "not json", '{"ip": 3}', '[{"ip": "x"}]'])
def test_the_file_stands_in_for_a_mesos_dns_that_does_not_tell(
    machine: Machine, mesos_dns: MesosDns, answer: str
) -> None:
    machine.nodes(*MASTERS)
    mesos_dns.answer = answer
    known = found(machine)

    assert (known.addresses, known.source) == (MASTERS, str(machine.state_dir / "initial-nodes"))
    assert "Mesos-DNS did not tell the masters" in known.warnings[0]


@pytest.mark.usefixtures("no_mesos_dns")
def test_with_nobody_to_tell_the_operator_is_asked(machine: Machine) -> None:
    with pytest.raises(dcos_etcd.DcosError, match=r"Connection refused.*initial-nodes.*give --masters"):
        found(machine)
    machine.write("var/lib/dcos/etcd/initial-nodes", "rubbish")
    with pytest.raises(dcos_etcd.DcosError, match="holds 'rubbish'"):
        found(machine)


@pytest.mark.usefixtures("no_mesos_dns")
def test_a_file_that_the_old_data_contradicts_is_an_error(machine: Machine, archive: Path) -> None:
    dcos_etcd.restore(
        archive,
        data_dir=machine.data_dir,
        name="etcd-10.93.0.1",
        initial_cluster={f"etcd-{ip}": f"https://{ip}:2380" for ip in MASTERS},
    )
    machine.nodes(MASTERS[0])

    with pytest.raises(dcos_etcd.DcosError, match="not clear who the masters are") as caught:
        found(machine)
    assert f"default.etcd says {', '.join(MASTERS)}" in str(caught.value)

    machine.nodes(*MASTERS)
    assert found(machine).addresses == MASTERS


# Restore.


def restored(machine: Machine, archive: Path, **options: Any) -> dcos_etcd.RestoreReport:
    return dcos.restore(archive, root=machine.root, **options)


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
def test_the_same_archive_a_second_time_is_told(machine: Machine, archive: Path) -> None:
    first = restored(machine, archive, discard_old=True)
    second = restored(machine, archive, discard_old=True)

    assert not any("same cluster" in warning for warning in first.warnings)
    assert any("the old data was of the same cluster" in warning for warning in second.warnings)
    assert machine.kept() == []


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


STEPS = 6
"""Calls that write or rename one of the two files in a restore of a master that has a member."""


@as_root
@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "^C"])
def test_each_step_is_undone_if_a_later_one_fails(
    machine: Machine,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    failure: BaseException,
) -> None:
    machine.member()
    before = machine.state()
    calls = 0

    def counted(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **options: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise failure
            real(*arguments, **options)

        return call

    for name in ("prepare", "put_in_place"):
        monkeypatch.setattr(_files, name, counted(getattr(_files, name)))

    with pytest.raises(type(failure)):
        restored(machine, archive)

    after = machine.state()
    assert after == before
    assert signal.getsignal(signal.SIGINT) is not _restore._pass_over


KILLED = """
import os, signal, sys
from dcos_etcd import dcos
from dcos_etcd.dcos import _files, _profile, _restore
archive, root, url, step = sys.argv[1:]
_profile.MESOS_DNS = url
left = int(step)
def counted(real):
    def call(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*arguments, **options)
    return call
for name in ("prepare", "put_in_place"):
    setattr(_files, name, counted(getattr(_files, name)))
dcos.restore(archive, root=root)
if left == 0:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@as_root
@pytest.mark.parametrize("step", range(STEPS + 1))
@pytest.mark.parametrize("lost", [False, True], ids=["member there", "data lost"])
def test_killed_at_each_step_no_start_founds_an_empty_cluster_and_a_second_try_succeeds(
    machine: Machine, mesos_dns: MesosDns, archive: Path, step: int, *, lost: bool
) -> None:
    machine.member()
    if lost:
        shutil.rmtree(machine.data_dir)
    steps = step + (2 if lost and step else 0)

    command = [sys.executable, "-c", KILLED, str(archive), str(machine.root), mesos_dns.url, str(steps)]
    killed = subprocess.run(command, check=False, capture_output=True)

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    new = (machine.data_dir / "member/snap/db").exists() and machine.data_dir.stat().st_uid == OWNER[0]
    assert new == (step == STEPS or step == STEPS - 1)
    assert machine.read("initial-state") == ("new" if step == STEPS else "existing")
    assert len(machine.read("initial-nodes").split(",")) == 3
    if not lost:
        assert machine.data_dir.is_dir()
        assert len(list(machine.state_dir.glob("*default.etcd*/fixtures/client/key.pem"))) == 2

    report = restored(machine, archive)

    assert machine.read("initial-state") == "new"
    assert [name for name in machine.state() if name.startswith(".")] == []
    assert len(machine.kept()) == (0 if lost and not new else 1 if lost or not new else 2)
    assert dcos_etcd.verify(machine.data_dir / "member/snap/db", skip_hash_check=True).sha256 != report.sha256


@as_root
def test_without_a_member_the_state_is_existing_until_the_directory_stands(machine: Machine, archive: Path) -> None:
    machine.write("var/lib/dcos/etcd/initial-state", "new")
    seen = []

    def look(_progress: dcos_etcd.Progress) -> None:
        seen.append((machine.data_dir.exists(), machine.read("initial-state")))

    restored(machine, archive, progress=look)

    assert seen[:-1] == [(False, "existing")] * (len(seen) - 1)
    assert seen[-1] == (True, "new")


# Backup, members, diagnosis: on a real etcd, which is this master's by its port.


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


def test_the_members_are_what_etcdctl_lists(master: tuple[Machine, Cluster]) -> None:
    machine, cluster = master

    assert dcos.member_list(root=machine.root) == json.loads(cluster.etcdctl("member", "list", "-w", "json"))


def test_a_healthy_master_is_diagnosed_as_such(master: tuple[Machine, Cluster]) -> None:
    machine, cluster = master

    found = dcos.diagnostic(root=machine.root)

    assert found.healthy
    assert (found.masters, found.masters_source, found.local) == (("127.0.0.1",), "Mesos-DNS", None)
    assert [member.name for member in found.diagnosis.members] == [cluster.members[0].name]


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


# The command line.


def command(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return run(*words, env=environment(PYTHONPATH=os.environ.get("PYTHONPATH", "")), **options)


def test_a_path_that_exists_or_has_no_parent_is_wrong_usage(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    for path, complaint in (("there", "already exists"), ("no/such", "parent directory of")):
        result = command("backup", tmp_path / path, "--root", machine.root)

        assert result.returncode == 2
        assert complaint in result.stderr
    result = command("restore", tmp_path / "absent", "--root", machine.root)
    assert (result.returncode, "is no file" in result.stderr) == (2, True)


def test_flags_of_the_profile_and_of_the_plain_verb_exclude_each_other(machine: Machine) -> None:
    for words in (
        ["restore", "x", "--masters=10.0.0.1", "--data-dir=d"],
        ["restore", "x", f"--root={machine.root}", "--initial-cluster=a=http://b:1"],
        ["diagnostic", "--masters=10.0.0.1", "--endpoints=http://a:1"],
        ["backup", "x", f"--root={machine.root}", "--user=a:b"],
    ):
        result = command(*words)

        assert result.returncode == 2
        assert "exclude each other" in result.stderr


def test_a_machine_that_is_no_master_says_so(tmp_path: Path) -> None:
    for words in (["backup", "x"], ["diagnostic"]):
        result = command(*words, "--root", tmp_path, cwd=tmp_path)

        assert result.returncode == 1
        assert "this is no DC/OS master" in result.stderr


@as_root
def test_restore_and_diagnostic_are_typed_with_nothing_but_the_root(machine: Machine, archive: Path) -> None:
    machine.member()
    machine.write("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho 127.93.0.1\n", 0o755)

    result = command("restore", archive, "--root", machine.root, "--masters", "127.93.0.1", "-w", "json")

    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["replaced"] == str(machine.state_dir / machine.kept()[0])
    assert "--masters decides" in result.stderr

    result = command("diagnostic", "--root", machine.root, "-w", "json")
    assert result.returncode == 1
    document = json.loads(result.stdout)
    assert (document["header"], document["members"], document["healthy"]) == (None, [], False)
    assert document["local"]["cluster_id"] == report["cluster_id"]
    result = command("diagnostic", "--root", machine.root)
    assert "verdict: unhealthy" in result.stdout
    assert f" etcd-127.93.0.1 ({report['member_id']})\n" in result.stdout
    assert "masters: 127.93.0.1 (from " in result.stdout
