"""A heartbeat on an event loop, and how late each beat was: `heartbeat.py` beats on a loop that has nothing else to do.

A line on stdin begins what counts; the end of stdin ends it. Then the beats go to stdout as JSON. It is what the system
does to every process meanwhile, beside which another loop's beats are read.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from typing import NamedTuple

PERIOD = 0.002
"""Seconds between two beats; whole milliseconds, since epoll waits for no parts of them."""


class Beat(NamedTuple):
    """One beat, in seconds.

    Attributes:
        late: From when it was due to when it came.
        queued: For how much of the time since the last beat the loop's thread was ready to run and had no processor.
        ran: For how much of it the thread was on one.
    """

    late: float
    queued: float
    ran: float

    @property
    def held(self) -> float:
        """What of the lateness is not explained by other threads on the processors."""
        return max(self.late - self.queued, 0)


class Heartbeat:
    """Beats on the running loop from the first `begin` to `end`."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []
        # Of the calling thread, which is the loop's: nanoseconds on a processor, nanoseconds in a queue for one, turns.
        self._schedstat = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Beat from now on."""
        self._ran, self._queued = self._taken()
        self._next()

    def end(self) -> list[Beat]:
        """Beat no more; gives all beats."""
        self._timer.cancel()
        os.close(self._schedstat)
        return self.beats

    def _next(self) -> None:
        self._due = time.perf_counter() + PERIOD
        self._timer = self._loop.call_later(PERIOD, self._beat)

    def _beat(self) -> None:
        late, (ran, queued) = time.perf_counter() - self._due, self._taken()
        self.beats.append(Beat(late, queued - self._queued, ran - self._ran))
        self._ran, self._queued = ran, queued
        self._next()

    def _taken(self) -> tuple[float, float]:
        ran, queued, _ = os.pread(self._schedstat, 100, 0).split()
        return int(ran) / 1e9, int(queued) / 1e9


async def main() -> None:
    """Beat until told to end."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    heartbeat = Heartbeat()
    heartbeat.begin()
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(heartbeat.end()))


if __name__ == "__main__":
    asyncio.run(main())
