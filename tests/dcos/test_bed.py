"""The bed is what it says: masters of their own, a cluster like DC/OS's, and nothing left when it is gone."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import release
from dcos import old_tool
from dcos.bed import BACKUPS, CLUSTER_STATE, DATA_DIR, MESOS_DNS, NODES, OWNER, STATE
from dcos.procedures import check_cluster, check_members
from scenario import capture, fill_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos.bed import Bed


def test_each_master_is_a_machine_of_its_own(make_bed: Callable[..., Bed]) -> None:
    before = host_facts()
    bed = make_bed(3)

    for number, master in enumerate(bed.masters, 1):
        run = master.machine.must
        assert run("hostname") == f"master{number}\n"
        assert run("/opt/mesosphere/bin/detect_ip") == f"{master.ip}\n"
        assert run("ip", "-brief", "-4", "addr", "show", "dev", "eth0").split()[2] == f"{master.ip}/24"
        commands = run("ps", "-e", "-o", "pid=,args=").splitlines()
        assert "machine.py" in commands[0]
        assert [True, True, False] == ["python" in command for command in commands]
        assert run("getent", "passwd", "dcos_etcd").split(":")[2] == str(OWNER)
        assert run("getent", "hosts", "master.dcos.thisdcos.directory").split()[0] == bed.leader.ip
        assert bed.leader.machine.get(MESOS_DNS).count("172.16.0.") == 3
        for own in (STATE, "/opt/mesosphere/etc/expanded.config.json"):
            run("test", "-e", own)
        run("sh", "-c", "echo only here > /opt/mesosphere/mine; echo only here > /var/lib/dcos/mine")
    assert host_facts() == before


def host_facts() -> dict[str, object]:
    """What a bed must not change on the machine that it stands on."""
    return {
        "mounts": [
            line
            for line in Path("/proc/self/mountinfo").read_text().splitlines()
            if line.split()[4].startswith(("/opt", "/var/lib", "/run", "/etc", "/usr"))
        ],
        "devices": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "name": os.uname().nodename,
        "directories": {path: sorted(Path(path).iterdir()) for path in ("/opt", "/var/lib", "/run")},
        "users": pwd.getpwall(),
        "hosts": Path("/etc/hosts").read_text(),
    }


def test_a_cluster_grows_master_by_master_as_dcos_lets_it(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed(3)
    bed.form()

    check_members(bed.masters)
    assert [m.path(CLUSTER_STATE).read_text() for m in bed.masters] == ["new", "existing", "existing"]
    assert [m.path(NODES).read_text().count("https://") for m in bed.masters] == [1, 2, 3]
    for master in bed.masters:
        assert master.path(DATA_DIR).stat().st_uid == OWNER
        assert master.path(f"{DATA_DIR}/fixtures/peer/cert.pem").exists()
        etcd = master.machine.must("sh", "-c", "ps -o user:20,comm,args -C etcd | tail -1").split()
        assert etcd[:2] == ["dcos_etcd", "etcd"]
        assert "--initial-cluster-token etcd-dcos --enable-v2=true" in " ".join(etcd)


def test_the_former_tools_steps_bring_the_state_of_the_backup_back(make_bed: Callable[..., Bed]) -> None:
    bed = make_bed(3)
    bed.form()
    fill_keys(bed.leader)
    state = capture(bed.leader)
    archive = f"{BACKUPS}/old.tar.gz"
    old_tool.backup(bed.leader, archive)
    bed.spread(bed.leader, archive)
    bed.leader.etcdctl("del", "", "--prefix")

    bed.stop()
    bed.each(lambda master: old_tool.restore(master, archive))
    bed.start()

    check_cluster(bed, state)


PROGRAM = """
import sys, time
from pathlib import Path
from dcos.bed import Bed
from dcos_etcd.testing import EtcdBinaries

bed = Bed(Path(sys.argv[1]), 2, [EtcdBinaries.find(sys.argv[2])])
bed.form()
print(*(master.machine.pid for master in bed.masters), bed.switch.machine.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.usefixtures("machines")
def test_everything_ends_with_the_process_that_made_it_even_when_that_is_killed(tmp_path: Path) -> None:
    before = host_facts()
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "bed"), release("3.4").version]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        assert process.stdout is not None
        machines = {pid_namespace(int(pid)) for pid in process.stdout.readline().split()}
        assert len(machines) == 3
        assert sorted(processes_in(machines)).count("etcd") == 2
        process.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 20
    while processes_in(machines):
        assert time.monotonic() < deadline, "something of the bed lives on"
        time.sleep(0.02)
    assert host_facts() == before


def pid_namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def processes_in(namespaces: set[str]) -> list[str]:
    """The names of all processes of some machines."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if pid_namespace(int(process.name)) in namespaces:
                found.append((process / "comm").read_text().strip())
    return found


@pytest.mark.parametrize("state", ["cut", "mended"])
def test_a_master_can_be_cut_off_from_the_others(make_bed: Callable[..., Bed], state: str) -> None:
    bed = make_bed(2)
    bed.form()
    first, second = bed.masters
    bed.switch.cut(second.wire)
    if state == "mended":
        bed.switch.mend(second.wire)

    reach = first.machine.run("etcdctl", f"--endpoints={second.client_url}", "--dial-timeout=3s", "endpoint", "status")

    assert (reach.returncode == 0) is (state == "mended"), reach.stderr
