"""Tasks that are begun and ended, and a server that goes silent on them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from typing_extensions import Self

R = TypeVar("R")

PATIENCE = 120
"""Seconds after which a test gives up on what takes a fraction of one."""

PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}


class Stalling:
    """An endpoint that passes all on to a member and back until it is told to go silent; silent without a member."""

    def __init__(self, upstream: str | None = None) -> None:
        self.upstream = upstream
        self.silent = upstream is None
        self.endpoint = ""
        self._held: list[asyncio.StreamWriter] = []
        self._passing: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        for writer in self._held:
            writer.close()

    async def _serve(self, requests: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        self._held.append(answers)
        if self.upstream is not None:
            host, port = self.upstream.removeprefix("http://").split(":")
            from_member, to_member = await asyncio.open_connection(host, int(port))
            self._held.append(to_member)
            for source, sink in ((requests, to_member), (from_member, answers)):
                self._passing.append(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while (piece := await source.read(1 << 14)) and not self.silent:
                sink.write(piece)
                await sink.drain()


async def ended(work: Awaitable[object]) -> None:
    """Waits, patiently, for what must end as cancelled."""
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, PATIENCE)


async def begun(verb: Callable[..., Coroutine[Any, Any, R]], *args: Any, **options: Any) -> asyncio.Task[R]:
    """Begins a verb, and gives its task when its progress was told of for the first time."""
    going = asyncio.Event()
    task = asyncio.ensure_future(verb(*args, progress=lambda _: going.set(), **options))
    await going.wait()
    return task


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())
