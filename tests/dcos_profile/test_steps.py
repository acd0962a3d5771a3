"""A restore that fails or is killed at any of its steps."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from dcos_etcd.dcos import _files, _restore
from dcos_profile.master import OWNER, Machine, MesosDns, as_root, restored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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

    assert seen == [(False, "existing")] * len(seen) != []
    assert (machine.data_dir.exists(), machine.read("initial-state")) == (True, "new")


@as_root
@pytest.mark.parametrize("lost", ["nothing", "data", "home"])
def test_a_second_restore_at_the_same_time_is_refused_or_wins_and_takes_nothing_from_the_other(
    machine: Machine, archive: Path, lost: str
) -> None:
    """The second begins while the first builds its directory; without a home the first has only its parent to lock."""
    machine.member()
    if lost != "nothing":
        shutil.rmtree(machine.data_dir if lost == "data" else machine.state_dir)
    outcomes: list[object] = []

    def second(_progress: dcos_etcd.Progress) -> None:
        if not outcomes:
            outcomes.append(None)
            outcomes[0] = attempt()

    def attempt(**options: Any) -> object:
        try:
            return restored(machine, archive, **options).revision
        except dcos_etcd.EtcdError as error:
            return error

    outcomes.append(attempt(progress=second))

    failed, won = sorted(outcomes, key=lambda outcome: isinstance(outcome, int))
    assert won == dcos_etcd.verify(archive).status.revision
    assert outcomes.index(won) == (0 if lost == "home" else 1)
    if lost == "home":
        assert isinstance(failed, dcos_etcd.DataDirNotEmptyError)
    else:
        assert isinstance(failed, dcos_etcd.DataDirInUseError)
        assert "another restore is under way on this master" in failed.message
        assert "restore again only if it failed" in failed.message
        assert failed.path == str(machine.state_dir)
    assert machine.read("initial-state") == "new"
    assert len(machine.read("initial-nodes").split(",")) == 3
    assert (machine.data_dir / "member/snap/db").stat().st_uid == OWNER[0]
    assert len(machine.kept()) == (1 if lost == "nothing" else 0)


@as_root
def test_a_restore_that_another_one_is_in_the_way_of_changes_nothing(machine: Machine, archive: Path) -> None:
    machine.member()
    shutil.rmtree(machine.data_dir)
    before = machine.state()
    holder = ["flock", "--exclusive", str(machine.state_dir), "sh", "-c", "echo locked; read end"]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"

        with pytest.raises(dcos_etcd.DataDirInUseError, match="wait for its end"):
            restored(machine, archive)
        other.stdin.close()

    assert machine.state() == before
    restored(machine, archive)
    assert machine.read("initial-state") == "new"


@as_root
def test_what_another_restore_wrote_into_a_home_that_was_not_there_stays(machine: Machine, archive: Path) -> None:
    shutil.rmtree(machine.state_dir)
    written = {"initial-nodes": "of the other", "initial-state": "existing", ".initial-state.restore": "new"}
    descriptors: list[int] = []

    def begin(_progress: dcos_etcd.Progress) -> None:
        if not descriptors:
            machine.state_dir.mkdir(parents=True, exist_ok=True)
            descriptors.append(os.open(machine.state_dir, os.O_RDONLY))
            fcntl.flock(descriptors[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name, text in written.items():
                (machine.state_dir / name).write_text(text)

    try:
        with pytest.raises(dcos_etcd.DataDirInUseError, match="another restore is under way"):
            restored(machine, archive, progress=begin)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)

    assert {path.name: path.read_text() for path in machine.state_dir.iterdir()} == written
