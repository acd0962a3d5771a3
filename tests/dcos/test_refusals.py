"""When a restore must not happen: it says why, and etcd on this master goes on as if nothing had been tried."""

from __future__ import annotations

import shutil
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

from dcos.bed import BACKUPS, DATA_DIR, STATE, UNIT
from dcos.procedures import ARCHIVE, check_cluster, check_diagnostic, check_members, kept_data, tree
from scenario import capture

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from dcos.bed import Bed, Master
    from dcos.procedures import Past

    Resume = Callable[..., tuple[Bed, Past]]

BY_HAND = "setsid setpriv --reuid dcos_etcd --regid dcos_etcd --init-groups"


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


class TestEtcdRuns:
    def test_on_this_master_by_its_unit(self, resume: Resume) -> None:
        bed, past = resume(3)
        bed.start()
        master = bed.masters[1]
        names = tree(master).keys()

        refused(master.cli("restore", ARCHIVE), f"the unit {UNIT} is active", f"systemctl stop {UNIT}")

        assert tree(master).keys() == names
        check_cluster(bed, past.later)
        check_members(bed.masters)

    def test_on_this_master_by_somebodys_hand(self, resume: Resume) -> None:
        """systemd knows nothing of it; the locks on its files do."""
        bed, past = resume(3)
        bed.start(bed.masters[:2])
        master = bed.masters[2]
        start = f". /opt/mesosphere/etc/etcd.env; export ${{!ETCD_*}} CLIENT_SCHEME RELEASE_FLAGS; {BY_HAND}"
        master.machine.must(
            "bash", "-c", f"{start} /opt/mesosphere/active/etcd/bin/etcd.sh < /dev/null > {BACKUPS}/log 2>&1 &"
        )
        while not master.ready():
            time.sleep(0.02)
        assert not master.running
        names = tree(master).keys()

        refused(master.cli("restore", ARCHIVE), "etcd", "pid", "locked")

        assert tree(master).keys() == names
        check_cluster(bed, past.later)

    @pytest.mark.parametrize("file", ["member/snap/db", "member/wal/0000000000000000-0000000000000000.wal"])
    def test_or_whatever_else_holds_one_of_its_locks(self, resume: Resume, file: str) -> None:
        bed, past = resume(3)
        master = bed.masters[0]
        before = tree(master)
        hold = f"flock --exclusive {DATA_DIR}/{file} sleep 600 < /dev/null > /dev/null 2>&1 & echo $!"
        holder = master.machine.must("sh", "-c", hold).strip()
        while master.machine.run("flock", "--nonblock", f"{DATA_DIR}/{file}", "true").returncode == 0:
            time.sleep(0.01)

        refused(master.cli("restore", ARCHIVE), "locked")

        assert tree(master) == before
        master.machine.must("sh", "-c", f"kill -9 $(cat /proc/{holder}/task/{holder}/children) {holder}")
        bed.start()
        check_cluster(bed, past.later)

    def test_on_another_master_is_no_reason(self, resume: Resume) -> None:
        """This one cannot know; the other one refuses when its turn comes."""
        bed, past = resume(3)
        bed.masters[2].start()

        bed.masters[0].must_cli("restore", ARCHIVE)
        bed.masters[1].must_cli("restore", ARCHIVE)
        refused(bed.masters[2].cli("restore", ARCHIVE), "stop it on all masters")
        bed.masters[2].stop()
        bed.masters[2].must_cli("restore", ARCHIVE)
        bed.start()

        check_cluster(bed, past.state)


def flip(path: Path) -> None:
    """Another byte in the middle of the compressed database."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("this is no archive\n" * 100)


def zookeeper(path: Path) -> None:
    """What DC/OS's other backup tool writes."""
    inside = path.with_name("myid")
    inside.write_text("1\n")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(inside, arcname="var/lib/dcos/exhibitor/zookeeper/snapshot/myid")


def etcd_of_another_kind(path: Path) -> None:
    """A data directory, of which a snapshot is only a part."""
    inside = path.with_name("db")
    inside.write_bytes(b"\0" * 8192)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(inside, arcname="default.etcd/member/snap/db")


BAD_ARCHIVES = {
    flip: "damaged",
    truncate: "damaged",
    empty: "",
    text: "snapshot",
    zookeeper: "snapshot",
    etcd_of_another_kind: "snapshot",
}


def test_an_archive_that_does_not_verify_is_refused_and_the_old_etcd_starts_again_as_it_was(resume: Resume) -> None:
    bed, past = resume(3)
    bad = f"{BACKUPS}/bad.tar.gz"
    for damage, word in BAD_ARCHIVES.items():
        for master in bed.masters:
            shutil.copyfile(past.archive(), master.path(bad))
            damage(master.path(bad))
        before = bed.each(tree)
        for done in bed.each(lambda master: master.cli("restore", bad)):
            refused(done, bad, word)
        assert bed.each(tree) == before, damage.__name__
    refused_as_usage = bed.leader.cli("restore", f"{BACKUPS}/absent.tar.gz")
    assert refused_as_usage.returncode == 2
    assert "absent.tar.gz" in refused_as_usage.stderr

    bed.start()

    check_cluster(bed, past.later)
    assert [[], [], []] == [kept_data(master) for master in bed.masters]


def test_a_backup_that_would_overwrite_or_lie_nowhere_is_an_error_of_the_argument(resume: Resume) -> None:
    bed, past = resume(3)
    bed.start()
    archive = bed.leader.path(ARCHIVE).read_bytes()

    exists = bed.leader.cli("backup", ARCHIVE)
    nowhere = bed.leader.cli("backup", f"{BACKUPS}/absent/etcd.tar.gz")

    assert [2, 2] == [exists.returncode, nowhere.returncode]
    assert f"{ARCHIVE} already exists" in exists.stderr
    assert f"{BACKUPS}/absent" in nowhere.stderr
    assert bed.leader.path(ARCHIVE).read_bytes() == archive
    assert not bed.leader.path(f"{BACKUPS}/absent").exists()
    assert capture(bed.leader) == past.later


def on_small_disk(master: Master, size: str) -> None:
    """Move etcd's state to a file system of that size."""
    move = f"cp -a --sparse=always {STATE} {BACKUPS}/moved && mount -t tmpfs -o size={size},mode=755 tmpfs {STATE} && "
    master.machine.must("sh", "-c", f"{move} chown dcos_etcd:dcos_etcd {STATE} && cp -a {BACKUPS}/moved/. {STATE}/")


def test_no_room_is_told_before_anything_is_touched(resume: Resume) -> None:
    bed, past = resume(3)
    master = bed.masters[2]
    for path in master.path(f"{DATA_DIR}/member/wal").glob("*.tmp"):
        path.unlink()  # room that etcd has allotted and not used
    on_small_disk(master, "100m")
    before = tree(master)

    refused(master.cli("restore", ARCHIVE), STATE, "free", "needs")

    assert tree(master) == before
    # etcd 3.4 allots its log anew when it starts, for which there is no room either.
    master.machine.must("mount", "-o", "remount,size=1g", STATE)
    bed.start()
    check_cluster(bed, past.later)


def test_nobody_but_root_may_restore(resume: Resume) -> None:
    bed, past = resume(3)
    master = bed.masters[0]
    before = tree(master)
    program = """
import os, sys
from dcos_etcd import api, dcos, exceptions
os.setresuid(65534, 65534, 65534)
try:
    dcos.restore(sys.argv[1])
    result = "restored"
except PermissionError as error:
    result = str(error)
"""

    assert "root" in master.python(program, ARCHIVE)

    assert tree(master) == before
    bed.start()
    check_cluster(bed, past.later)


def test_a_master_that_is_not_among_the_masters_is_not_restored(resume: Resume) -> None:
    bed, past = resume(3)
    first, _, third = bed.masters
    before = bed.each(tree)

    refused(third.cli("restore", ARCHIVE, "--masters", ",".join(bed.ips[:2])), third.ip, *bed.ips[:2])
    first.stop_mesos_dns()
    first.start_mesos_dns(bed.ips[1:])
    refused(first.cli("restore", ARCHIVE), first.ip, *bed.ips[1:])

    assert bed.each(tree) == before
    bed.start()
    check_cluster(bed, past.later)


def test_a_master_whose_mesos_master_is_down_is_not_left_out(resume: Resume) -> None:
    """Mesos-DNS names the others alone then, on every master."""
    bed, past = resume(3)
    for master in bed.masters:
        master.stop_mesos_dns()
        master.start_mesos_dns(bed.ips[:2])
        master.nodes(bed.masters, "existing")
    before = bed.each(tree)

    for done in bed.each(lambda master: master.cli("restore", ARCHIVE)):
        refused(done, f"Mesos-DNS says {', '.join(bed.ips[:2])};", "there are 3 masters", "--masters")

    assert bed.each(tree) == before
    bed.start()
    for master in bed.masters:
        said = check_diagnostic(master, healthy=True)
        assert said["masters"] == bed.ips
        assert {"masters-unclear"} == {finding["id"] for finding in said["findings"]}
    check_cluster(bed, past.later)
