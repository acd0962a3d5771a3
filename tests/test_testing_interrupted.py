"""Whatever stops a cluster while it starts or ends, no server and no directory of it is left afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from dcos_etcd.testing import Cluster, NotReadyError
from dcos_etcd.testing._interrupts import held_signals
from processes import is_running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

SLOWLY = 0.3
"""Seconds that the end of a cluster takes where a test interrupts it."""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the directories of clusters go."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def in_turn(*steps: Callable[..., object]) -> Callable[..., None]:
    def run(*args: object) -> None:
        for step in steps:
            step(*args)

    return run


class Watched:
    """A cluster that tells when it is at a place, and which servers it had by then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.cluster = Cluster(1, **options)
        self.reached = threading.Event()
        self.pids: list[int] = []
        self._monkeypatch = monkeypatch

    def before(self, method: str) -> None:
        original = getattr(self.cluster, method)
        self._monkeypatch.setattr(self.cluster, method, in_turn(self._tell, original))

    def after(self, method: str) -> None:
        original = getattr(self.cluster, method)
        self._monkeypatch.setattr(self.cluster, method, in_turn(original, self._tell))

    def slowly(self) -> None:
        original = self.cluster._kill
        self._monkeypatch.setattr(self.cluster, "_kill", in_turn(lambda: time.sleep(SLOWLY), original))

    def _tell(self, *_: object) -> None:
        self.pids = [member.pid for member in self.cluster.members if member.pid]
        self.reached.set()

    def left(self, directory: Path) -> list[object]:
        """What is there, of the one server that was, and of its directory."""
        assert len(self.pids) == 1
        return [*filter(is_running, self.pids), *directory.iterdir()]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watched]:
    return lambda **options: Watched(monkeypatch, **options)


async def cancel(task: asyncio.Task[Any], times: int = 1) -> None:
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(SLOWLY / 10)
    with pytest.raises(asyncio.CancelledError):
        await task


async def begin(cluster: Cluster) -> asyncio.Task[Cluster]:
    entering = asyncio.ensure_future(cluster.__aenter__())
    await asyncio.sleep(0)
    return entering


@pytest.mark.parametrize("method", ["wait", "enable_auth"])
def test_a_start_that_is_cancelled_leaves_nothing(
    watched: Callable[..., Watched], temporary: Path, method: str
) -> None:
    starting = watched(auth=True)
    starting.before(method)

    async def use() -> None:
        entering = await begin(starting.cluster)
        await asyncio.to_thread(starting.reached.wait)
        await cancel(entering)
        assert starting.left(temporary) == []

    asyncio.run(use())


def test_a_start_that_is_cancelled_when_it_is_done_leaves_nothing(
    watched: Callable[..., Watched], temporary: Path
) -> None:
    starting = watched()
    starting.after("start")

    async def use() -> None:
        entering = await begin(starting.cluster)
        # The loop stands still, so the task does not know yet.
        starting.reached.wait()
        time.sleep(SLOWLY)  # noqa: ASYNC251
        await cancel(entering)
        assert starting.left(temporary) == []

    asyncio.run(use())


def test_a_start_that_is_cancelled_again_and_again_leaves_nothing(
    watched: Callable[..., Watched], temporary: Path
) -> None:
    starting = watched()
    starting.before("wait")
    starting.slowly()

    async def use() -> None:
        entering = await begin(starting.cluster)
        await asyncio.to_thread(starting.reached.wait)
        await cancel(entering, times=5)
        assert starting.left(temporary) == []

    asyncio.run(use())


def test_an_end_that_is_cancelled_leaves_nothing(watched: Callable[..., Watched], temporary: Path) -> None:
    running = watched()
    running.after("start")
    running.slowly()

    async def use() -> None:
        async with running.cluster:
            pass

    async def stop() -> None:
        task = asyncio.ensure_future(use())
        while not running.cluster._closed.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)
        await cancel(task, times=3)
        assert running.left(temporary) == []

    asyncio.run(stop())


def test_a_loop_that_ends_with_a_cluster_that_starts_leaves_nothing(
    watched: Callable[..., Watched], temporary: Path
) -> None:
    starting = watched()
    starting.before("wait")

    async def use() -> None:
        # Nobody waits for it: the end of the loop cancels it, as it does every other task.
        starting.task = await begin(starting.cluster)  # type: ignore[attr-defined]
        await asyncio.to_thread(starting.reached.wait)

    asyncio.run(use())
    assert starting.left(temporary) == []


def test_a_coroutine_that_is_closed_leaves_nothing(watched: Callable[..., Watched], temporary: Path) -> None:
    starting = watched()
    starting.before("wait")
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it tells of the task that it lost
    entering = starting.cluster.__aenter__()
    task = loop.create_task(entering)
    loop.run_until_complete(asyncio.sleep(0))
    starting.reached.wait()
    entering.close()
    assert starting.left(temporary) == []
    loop.close()
    del task


def test_a_cluster_can_be_entered_again_after_it_was_cancelled(watched: Callable[..., Watched], tmp_path: Path) -> None:
    starting = watched(directory=tmp_path / "kept")
    starting.before("wait")

    async def use() -> str:
        entering = await begin(starting.cluster)
        await asyncio.to_thread(starting.reached.wait)
        await cancel(entering)
        async with starting.cluster as cluster:
            return cluster.etcdctl("put", "a", "b")

    assert asyncio.run(use()) == "OK\n"


def test_no_server_starts_in_a_cluster_that_is_closed() -> None:
    cluster = Cluster(1)
    cluster.close()
    with pytest.raises(NotReadyError, match="the cluster was closed"):
        cluster.members[0].start()
    assert not cluster.members[0].running


# Ctrl-C.


STARTS_THAT_ARE_INTERRUPTED = """
import json, os, pathlib, signal, threading, time
from dcos_etcd.testing import Cluster, EtcdBinaries

def left():
    stats = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            stats.append(path.read_text().rpartition(")"))
        except (FileNotFoundError, ProcessLookupError):
            pass
    servers = [before for before, _, after in stats if int(after.split()[1]) == os.getpid()]
    return servers + os.listdir(os.environ["TMPDIR"])

binaries = EtcdBinaries.find()
told = []
for attempt in range(30):
    timer = threading.Timer(attempt * 0.003, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with Cluster(3, binaries=binaries):
            time.sleep(60)
    except KeyboardInterrupt:
        told.append(left())
print(json.dumps(told))
"""


def test_ctrl_c_while_members_are_started_leaves_nothing(temporary: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTS_THAT_ARE_INTERRUPTED],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    assert json.loads(done.stdout) == [[]] * 30


def test_ctrl_c_while_a_cluster_ends_is_raised_when_it_has_ended(
    watched: Callable[..., Watched], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = watched()
    running.after("start")
    original = running.cluster._kill
    monkeypatch.setattr(running.cluster, "_kill", in_turn(lambda: os.kill(os.getpid(), signal.SIGINT), original))
    with pytest.raises(KeyboardInterrupt), running.cluster:
        pass
    assert running.left(temporary) == []


def test_signals_are_held_and_each_is_handled_afterwards() -> None:
    came: list[str] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(signal.Signals(number).name)
        raise RuntimeError(came[-1])

    numbers = (signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.signal(number, handle) for number in numbers]

    def work() -> None:
        with held_signals():
            with held_signals():
                for number in numbers:
                    os.kill(os.getpid(), number)
                came.append("the inner block")
            came.append("the outer block")

    try:
        with pytest.raises(RuntimeError, match="SIGUSR2"):
            work()
    finally:
        restored = [signal.signal(number, handler) for number, handler in zip(numbers, before, strict=True)]
    assert came == ["the inner block", "the outer block", "SIGUSR1", "SIGUSR2"]
    assert restored == [handle, handle]
