"""Runs one command and writes down what it took: wall time, CPU time, peak memory, disk, exit status, CPU by thread.

Usage: measure.py RESULT OUTPUT COMMAND [ARGUMENT ...]

A program of its own, and as small as Python gets: the kernel counts a child's peak memory from what its parent had when
it was started, so a large parent would hide what a small child needs.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from select import poll

LOOK = 50
"""Milliseconds between two looks at the threads: what a thread does after the last look at it is not in its figure."""


def threads(pid: int, seen: dict[str, tuple[str, float]]) -> None:
    """Note the name and the seconds of CPU of every thread."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - pathlib would be most of this process
            taken = read(f"/proc/{pid}/task/{thread}/schedstat").split()
            if taken:
                seen[thread] = (read(f"/proc/{pid}/task/{thread}/comm").strip(), int(taken[0]) / 1e9)
    except (FileNotFoundError, ProcessLookupError):
        # It has ended, or one of its threads has.
        return


def written(pid: int) -> int:
    """Bytes of disk of the files that a process has open for writing, those without a name among them."""
    files: dict[tuple[int, int], int] = {}
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            told = os.stat(f"/proc/{pid}/fd/{fd}")  # noqa: PTH116
            flags = int(read(f"/proc/{pid}/fdinfo/{fd}").split("flags:")[1].split()[0], 8)
            if stat.S_ISREG(told.st_mode) and flags & os.O_ACCMODE != os.O_RDONLY:
                files[told.st_dev, told.st_ino] = told.st_blocks * 512
    except (FileNotFoundError, ProcessLookupError):
        # It has ended, or closed one.
        return 0
    return sum(files.values())


def read(path: str) -> str:
    """Read a small file."""
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return file.read()


def main() -> None:
    """Run the command."""
    result, output, *command = sys.argv[1:]
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    seen: dict[str, tuple[str, float]] = {}
    disk = 0
    started = time.perf_counter()
    pid = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    )
    ended = poll()
    ended.register(os.pidfd_open(pid))
    while not ended.poll(LOOK):
        threads(pid, seen)
        disk = max(disk, written(pid))
    wall = time.perf_counter() - started
    _, status, usage = os.wait4(pid, 0)
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123
        exited = os.waitstatus_to_exitcode(status)
        print(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, disk, exited, file=file)
        for name, seconds in seen.values():
            print(seconds, name, file=file)


if __name__ == "__main__":
    main()
