"""Runs one command and writes down what it took: wall time, CPU time, peak memory, exit status.

Usage: measure.py RESULT OUTPUT COMMAND [ARGUMENT ...]

A program of its own, and as small as Python gets: the kernel counts a child's peak memory from what its parent had when
it was started, so a large parent would hide what a small child needs.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    """Run the command."""
    result, output, *command = sys.argv[1:]
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    started = time.perf_counter()
    pid = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    )
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - started
    with open(result, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would be most of this process
        print(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status), file=file)


if __name__ == "__main__":
    main()
