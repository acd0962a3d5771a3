"""The callback is the event loop's business."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from aio.tasks import PLAN, names
from dcos_etcd import aio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from dcos_etcd.testing import Cluster


def test_is_told_on_the_loops_thread_in_the_tasks_context(archive: Path) -> None:
    caller = contextvars.ContextVar("caller", default="nobody")
    told: list[tuple[int, str, object, dcos_etcd.Progress]] = []

    async def check() -> None:
        loop = asyncio.get_running_loop()
        caller.set("the test")

        def callback(event: dcos_etcd.Progress) -> None:
            told.append((threading.get_ident(), caller.get(), asyncio.get_running_loop() is loop, event))

        await aio.verify(archive, progress=callback)

    asyncio.run(check())

    assert {one[:3] for one in told} == {(threading.get_ident(), "the test", True)}
    assert {one[3].stage for one in told} == {"read", "check"}
    assert told[-1][3].done == told[-1][3].total


@pytest.mark.parametrize("verb", ["backup", "restore", "verify", "compare", "put_back"])
def test_one_that_raises_stops_the_work(member: Cluster, archive: Path, tmp_path: Path, verb: str) -> None:
    class Enough(Exception):
        pass

    enough = Enough()
    told: list[dcos_etcd.Progress] = []

    def callback(event: dcos_etcd.Progress) -> None:
        told.append(event)
        raise enough

    works: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "backup": lambda: aio.backup(tmp_path / "etcd.tar.gz", **member.access, progress=callback),
        "restore": lambda: aio.restore(archive, data_dir=tmp_path / "m.etcd", progress=callback, **PLAN),
        "verify": lambda: aio.verify(archive, progress=callback),
        "compare": lambda: aio.compare(archive, member.endpoints, progress=callback),
        "put_back": lambda: aio.put_back(archive, member.endpoints, prefix="/", progress=callback),
    }
    with pytest.raises(Enough) as caught:
        asyncio.run(works[verb]())

    assert caught.value is enough
    assert len(told) == 1
    assert names(tmp_path) == []


def test_one_that_raises_at_the_very_end_is_heard_too(archive: Path) -> None:
    def callback(event: dcos_etcd.Progress) -> None:
        if event.stage == "check" and event.done == event.total:
            raise LookupError("too late")

    with pytest.raises(LookupError, match="too late"):
        asyncio.run(aio.verify(archive, progress=callback))


def test_a_coroutine_function_is_refused(archive: Path) -> None:
    async def callback(_event: dcos_etcd.Progress) -> None: ...

    with pytest.raises(dcos_etcd.InvalidArgumentError, match="coroutine function"):
        asyncio.run(aio.verify(archive, progress=callback))


def test_true_draws_a_bar_on_a_terminal(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    asyncio.run(aio.verify(archive, progress=True))

    assert "checking" in terminal.getvalue()


def test_nothing_of_the_caller_is_held_afterwards(archive: Path) -> None:
    class Callback:
        def __call__(self, event: dcos_etcd.Progress) -> None: ...

    async def check() -> weakref.ref[Callback]:
        callback = Callback()
        await aio.verify(archive, progress=callback)
        return weakref.ref(callback)

    left = asyncio.run(check())
    gc.collect()

    assert left() is None
