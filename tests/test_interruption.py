"""Killed, interrupted, or out of space at any moment: no archive and no directory that is not whole, no obstacle."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from small_disk import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dcos_etcd.testing import Cluster

KILLS = 25
PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}
PLAN_FLAGS = [
    "--name=m",
    "--initial-cluster=m=http://127.0.0.1:2380",
    "--initial-advertise-peer-urls=http://127.0.0.1:2380",
]


@pytest.fixture(scope="module")
def archive(member: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "etcd.tar.zst"
    dcos_etcd.backup(path, **member.access)
    return path


# A shell without job control starts its background jobs deaf to SIGINT, and children inherit that; hence the handler.
# The byte says that Python itself has started: what a signal does before that is not ours.
PROGRAM = """
import os, runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
os.write(1, b"!")
runpy.run_module("dcos_etcd", run_name="__main__", alter_sys=True)
"""


def command(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """Begins a command, and gives its process when the program runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.read(1) == b"!"
    return process


def ended(process: subprocess.Popen[bytes], how: signal.Signals, after: float) -> int:
    """Sends the signal after so many seconds, and gives the exit status."""
    time.sleep(after)
    process.send_signal(how)
    process.communicate(timeout=30)
    return process.returncode


def duration(*arguments: str | Path) -> float:
    process = command(*arguments)
    begun = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    return time.monotonic() - begun


def test_a_killed_backup_leaves_nothing(member: Cluster, tmp_path: Path) -> None:
    """SIGKILL at moments spread over the whole of a backup: no archive that is not whole, and no file in hiding."""
    endpoints = f"--endpoints={member.endpoints[0]}"
    lasts = duration("backup", tmp_path / "first.tar.gz", endpoints)
    (tmp_path / "first.tar.gz").unlink()
    target = tmp_path / "etcd.tar.gz"
    for number in range(KILLS):
        status = ended(command("backup", target, endpoints), signal.SIGKILL, lasts * number / KILLS)

        assert set(tmp_path.iterdir()) <= {target}
        if status == 0 or target.exists():
            dcos_etcd.verify(target)
            target.unlink()

    dcos_etcd.backup(target, endpoints=member.endpoints)

    assert [target] == list(tmp_path.iterdir())
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("wal_apart", [False, True], ids=["one directory", "WAL apart"])
@pytest.mark.parametrize("existing", [False, True], ids=["absent", "empty"])
def test_a_killed_restore_does_not_block_the_next_one(
    archive: Path, tmp_path: Path, *, wal_apart: bool, existing: bool
) -> None:
    """SIGKILL at moments spread over the whole of a restore: the directory is whole, or not there."""
    data_dir, wal_dir = tmp_path / "data" / "m.etcd", tmp_path / "wal" / "m"
    flags = [*PLAN_FLAGS, f"--data-dir={data_dir}", *([f"--wal-dir={wal_dir}"] if wal_apart else [])]
    lasts = duration("restore", archive, *flags)
    wipe(data_dir)
    wipe(wal_dir)
    for number in range(KILLS):
        if existing:
            data_dir.mkdir(exist_ok=True)
        ended(command("restore", archive, *flags), signal.SIGKILL, lasts * number / KILLS)
        if (data_dir / "member").exists():
            assert whole(data_dir, wal_dir if wal_apart else data_dir / "member" / "wal")
            wipe(data_dir)
            wipe(wal_dir)

    dcos_etcd.restore(archive, data_dir=data_dir, wal_dir=wal_dir if wal_apart else None, **PLAN)

    assert ["m.etcd"] == [path.name for path in data_dir.parent.iterdir()]
    assert ["member"] == [path.name for path in data_dir.iterdir()]


def whole(data_dir: Path, wal_dir: Path) -> bool:
    """Whether nothing of a member is missing; the database is checked page by page."""
    dcos_etcd.verify(data_dir / "member" / "snap" / "db", skip_hash_check=True)
    return bool(list(wal_dir.glob("*.wal"))) and bool(list((data_dir / "member" / "snap").glob("*.snap")))


def wipe(directory: Path) -> None:
    if directory.exists():
        subprocess.run(["rm", "-rf", "--", str(directory)], check=True)


@pytest.mark.parametrize("verb", ["backup", "restore", "verify"])
def test_ctrl_c_stops_at_once_and_clears_up(member: Cluster, archive: Path, tmp_path: Path, verb: str) -> None:
    """Exit status 130, and nothing left; or all of it, when the signal came as it was put in place."""
    commands: dict[str, list[str | Path]] = {
        "backup": ["backup", tmp_path / "etcd.tar.gz", f"--endpoints={member.endpoints[0]}"],
        "restore": ["restore", archive, f"--data-dir={tmp_path / 'm.etcd'}", *PLAN_FLAGS],
        "verify": ["verify", archive],
    }
    arguments = commands[verb]
    seen = set()
    for number in range(8):
        status = ended(command(*arguments), signal.SIGINT, 0.05 + number * 0.05)
        seen.add(status)
        assert status in {0, 130, -signal.SIGINT}, status
        if (tmp_path / "m.etcd").exists():
            assert whole(tmp_path / "m.etcd", tmp_path / "m.etcd" / "member" / "wal")
            wipe(tmp_path / "m.etcd")
        if (tmp_path / "etcd.tar.gz").exists():
            dcos_etcd.verify(tmp_path / "etcd.tar.gz")
            (tmp_path / "etcd.tar.gz").unlink()
        assert [] == list(tmp_path.iterdir())
    assert seen != {0}


def test_an_exception_of_the_progress_callback_comes_through(member: Cluster, archive: Path, tmp_path: Path) -> None:
    """The work stops, and nothing is left behind."""

    class Enough(Exception):
        pass

    def callback(progress: dcos_etcd.Progress) -> None:
        if progress.done > 1_000_000:
            raise Enough

    with pytest.raises(Enough):
        dcos_etcd.backup(tmp_path / "etcd.tar.gz", **member.access, progress=callback)
    with pytest.raises(Enough):
        dcos_etcd.restore(archive, data_dir=tmp_path / "m.etcd", progress=callback, **PLAN)
    assert [] == list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    with mounted(tmp_path / "small", "12m") as mount:
        yield mount


class TestDiskFull:
    """ENOSPC is a plain OSError that names the file."""

    def test_during_a_backup(self, member: Cluster, small_disk: Path) -> None:
        with pytest.raises(OSError, match="No space left") as caught:
            dcos_etcd.backup(small_disk / "etcd.tar.zst", **member.access)

        assert caught.value.errno == 28
        assert str(small_disk) in str(caught.value.filename)
        assert [] == list(small_disk.iterdir())

    def test_before_a_restore(self, archive: Path, small_disk: Path) -> None:
        with pytest.raises(dcos_etcd.NoSpaceError, match="are free; make room") as caught:
            dcos_etcd.restore(archive, data_dir=small_disk / "m.etcd", **PLAN)

        assert caught.value.errno == 28
        assert caught.value.needed > dcos_etcd.verify(archive).database_size
        assert [] == list(small_disk.iterdir())

    def test_during_a_restore(self, archive: Path, small_disk: Path) -> None:
        """Somebody else takes the room that there was."""
        subprocess.run(["mount", "-o", "remount,size=250m", str(small_disk)], check=True)
        filled = False

        def fill(_progress: dcos_etcd.Progress) -> None:
            nonlocal filled
            if not filled:
                filled = True
                subprocess.run(["fallocate", "-l", "200m", str(small_disk / "filler")], check=True)

        with pytest.raises(OSError, match="No space left") as caught:
            dcos_etcd.restore(archive, data_dir=small_disk / "m.etcd", progress=fill, **PLAN)

        assert caught.value.errno == 28
        assert [small_disk / "filler"] == list(small_disk.iterdir())

    def test_verification_spools_elsewhere_then(self, archive: Path, small_disk: Path) -> None:
        """An archive on a full disk can still be judged."""
        copy = small_disk / "etcd.tar.zst"
        with copy.open("wb") as out:
            out.write(archive.read_bytes()[: 10 << 20])

        with pytest.raises(dcos_etcd.SnapshotError):
            dcos_etcd.verify(copy)
