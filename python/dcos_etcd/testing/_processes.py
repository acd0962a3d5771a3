"""Servers that die with the process that started them, and ports that stay theirs; used by `dcos_etcd.testing`."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dcos_etcd.testing._binaries import environment

if TYPE_CHECKING:
    from pathlib import Path

_LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
# A parent that died before the line above would never be noticed.
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


@functools.cache
def _spawner(_pid: int) -> ThreadPoolExecutor:
    """The one thread of this process that starts servers.

    The kernel sends the parent-death signal when the *thread* that forked is gone, so a server must not be started from
    a thread that ends before the test does. This one ends with the interpreter. The argument is the process id: a fork
    of this process has no such thread and gets its own.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="etcd-spawner")


def spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a server that gets SIGKILL when this process is gone, with its output appended to a file."""
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(),
                start_new_session=True,  # Ctrl-C on the terminal is for the tests
            )

    return _spawner(os.getpid()).submit(start).result()


class Port:
    """A port on 127.0.0.1 that nobody else is given while this object lives.

    The socket is bound and never listens. With SO_REUSEADDR on both sides Linux lets a server bind and listen on the
    port all the same (Go sets it on every listener), but gives it to no one who asks for any free port.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Give it back."""
        self._socket.close()
