"""Whether processes are there, for tests of those that must not be."""

from __future__ import annotations

import time

DEATH_TIMEOUT = 20.0


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int]) -> bool:
    """Whether all of them end in time."""
    deadline = time.monotonic() + DEATH_TIMEOUT
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_running, pids))
