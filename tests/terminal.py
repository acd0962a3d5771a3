"""A terminal of 80 columns, for programs that look at what they write to."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

COLUMNS = 80


def run(program: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run Python code with stdin, stdout and stderr on a terminal; gives its exit status and what it wrote."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    ours, its = pty.openpty()
    try:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        with subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=its,
            stdout=its,
            stderr=its,
            env={**kept, "PYTHONPATH": paths, "TERM": "xterm-256color", **variables},
            start_new_session=True,
        ) as process:
            os.close(its)
            written = b"".join(iter(lambda: _read(ours), b""))
            return process.wait(30), written.decode().replace("\r\n", "\n")
    finally:
        os.close(ours)


def without_styles(text: str) -> str:
    """Take out colours and weights, and nothing else."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError as error:
        # Linux's word for a terminal that nobody writes to any more.
        if error.errno != errno.EIO:
            raise
        return b""
