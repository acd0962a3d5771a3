"""Stops a program before each system call by which it changes what lies below a directory, and counts these points.

    python tracer.py DIRECTORY [--kill-at N | --fill-at N FILLER] -- COMMAND...

At point N the program is killed with SIGKILL, or the file system is filled up with the file FILLER and stays so.
Between two points nothing below the directory changes, so that the points are all the moments at which a kill can make
a difference. Prints a JSON object: `points`, each as text, and `status`, the exit status (negative: the signal).

A seccomp filter picks the system calls out, so that the others cost nothing. Linux on x86-64 only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FD, OUT, PATH, TWO_PATHS, AT, TWO_AT, TARGET_AT = "fd", "out", "path", "two paths", "at", "two at", "target, at"

CALLS = {
    1: ("write", FD),
    18: ("pwrite64", FD),
    20: ("writev", FD),
    40: ("sendfile", FD),
    74: ("fsync", FD),
    75: ("fdatasync", FD),
    76: ("truncate", PATH),
    77: ("ftruncate", FD),
    82: ("rename", TWO_PATHS),
    83: ("mkdir", PATH),
    84: ("rmdir", PATH),
    86: ("link", TWO_PATHS),
    87: ("unlink", PATH),
    90: ("chmod", PATH),
    91: ("fchmod", FD),
    92: ("chown", PATH),
    93: ("fchown", FD),
    94: ("lchown", PATH),
    2: ("open", PATH),
    85: ("creat", PATH),
    257: ("openat", AT),
    258: ("mkdirat", AT),
    260: ("fchownat", AT),
    263: ("unlinkat", AT),
    264: ("renameat", TWO_AT),
    265: ("linkat", TWO_AT),
    266: ("symlinkat", TARGET_AT),
    268: ("fchmodat", AT),
    285: ("fallocate", FD),
    296: ("pwritev", FD),
    316: ("renameat2", TWO_AT),
    326: ("copy_file_range", OUT),
    328: ("pwritev2", FD),
    452: ("fchmodat2", AT),
}
"""System calls of x86-64 that change a file system, and which of their arguments tell where."""

O_WRITES = os.O_CREAT | os.O_TRUNC | 0o20000000  # the last is O_TMPFILE without O_DIRECTORY

PTRACE_TRACEME, PTRACE_CONT, PTRACE_SETOPTIONS, PTRACE_GET_SYSCALL_INFO = 0, 7, 0x4200, 0x420E
O_TRACEFORK, O_TRACEVFORK, O_TRACECLONE, O_TRACESECCOMP, O_EXITKILL = 0x2, 0x4, 0x8, 0x80, 0x100000
EVENT_SECCOMP = 7
WALL = 0x40000000

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SECCOMP_RET_TRACE, SECCOMP_RET_ALLOW = 0x7FF00000, 0x7FFF0000

AT_FDCWD = -100
RENAME_EXCHANGE = 2
PATH_MAX = 4096

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


class Instructions(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_char_p))


def ptrace(request: int, pid: int, address: int | None = None, data: object = None) -> int:
    result = int(libc.ptrace(request, pid, address, data))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"ptrace {request}")
    return result


def filter_calls() -> None:
    """Have the kernel stop this process, and all that come of it, at the system calls of the table."""
    load, jump_if_equal, give = 0x20, 0x15, 0x06
    code = struct.pack("HBBI", load, 0, 0, 0)  # the number of the call
    for left, number in zip(range(len(CALLS), 0, -1), CALLS, strict=True):
        code += struct.pack("HBBI", jump_if_equal, left, 0, number)
    code += struct.pack("HBBI", give, 0, 0, SECCOMP_RET_ALLOW) + struct.pack("HBBI", give, 0, 0, SECCOMP_RET_TRACE)
    program = Instructions(len(CALLS) + 3, code)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "seccomp")


def start(command: list[str]) -> int:
    pid = os.fork()
    if pid == 0:
        ptrace(PTRACE_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        filter_calls()
        # The report has this program's own output for itself.
        os.dup2(2, 1)
        os.execvp(command[0], command)  # noqa: S606 - the command as it is
    os.waitpid(pid, 0)
    ptrace(PTRACE_SETOPTIONS, pid, None, O_TRACEFORK | O_TRACEVFORK | O_TRACECLONE | O_TRACESECCOMP | O_EXITKILL)
    ptrace(PTRACE_CONT, pid)
    return pid


class Caller:
    """A thread that is stopped before a system call."""

    def __init__(self, tid: int) -> None:
        self.tid = tid
        told = ctypes.create_string_buffer(88)
        ptrace(PTRACE_GET_SYSCALL_INFO, tid, len(told), told)
        number, *arguments = struct.unpack_from("<24xQ6Q", told)
        self.name, self.kind = CALLS[number]
        self.arguments = arguments
        if self.name == "renameat2" and arguments[4] & RENAME_EXCHANGE:
            self.name = "exchange"

    def file(self, argument: int) -> str:
        number = ctypes.c_int(self.arguments[argument] & 0xFFFFFFFF).value
        link = f"/proc/{self.tid}/cwd" if number == AT_FDCWD else f"/proc/{self.tid}/fd/{number}"
        try:
            return str(Path(link).readlink())
        except OSError:
            return "?"

    def text(self, argument: int) -> str:
        raw = b""
        with open(f"/proc/{self.tid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - no method of Path is unbuffered
            while b"\0" not in raw and len(raw) < PATH_MAX:
                memory.seek(self.arguments[argument] + len(raw))
                # Not beyond the page, the next may be missing.
                raw += memory.read(4096 - (self.arguments[argument] + len(raw)) % 4096) or b"\0"
        return os.fsdecode(raw.partition(b"\0")[0])

    def at(self, directory: int, path: int) -> str:
        text = self.text(path)
        if text.startswith("/"):
            return text
        base = self.file(directory)
        return f"{base}/{text}" if text else base

    def relative(self, path: int) -> str:
        text = self.text(path)
        return text if text.startswith("/") else f"{Path(f'/proc/{self.tid}/cwd').readlink()}/{text}"

    def places(self) -> list[str]:
        """The paths that the call is about; none when it only reads."""
        if self.name in {"open", "openat"} and not self.arguments[1 if self.name == "open" else 2] & O_WRITES:
            return []
        how: dict[str, Callable[[], list[str]]] = {
            FD: lambda: [self.file(0)],
            OUT: lambda: [self.file(2)],
            PATH: lambda: [self.relative(0)],
            TWO_PATHS: lambda: [self.relative(0), self.relative(1)],
            AT: lambda: [self.at(0, 1)],
            TWO_AT: lambda: [self.at(0, 1), self.at(2, 3)],
            TARGET_AT: lambda: [self.at(1, 2)],
        }
        return how[self.kind]()


def write(file: int, block: bytes) -> bool:
    """Write, or tell that there is no space."""
    try:
        os.write(file, block)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


def fill(filler: str) -> None:
    """Leave not one byte free."""
    file = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    for size in (1 << 20, 4096, 1):
        while write(file, b"\0" * size):
            pass
    os.close(file)


def follow(process: int, directory: str, kill_at: int | None, fill_at: int | None, filler: str) -> dict[str, object]:
    points: list[str] = []
    inside = directory.rstrip("/") + "/"
    while True:
        tid, status = os.waitpid(-1, WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if tid == process:
                return {"points": points, "status": os.waitstatus_to_exitcode(status)}
            continue
        deliver = os.WSTOPSIG(status)
        if status >> 8 == signal.SIGTRAP | EVENT_SECCOMP << 8:
            caller = Caller(tid)
            places = caller.places()
            if any(f"{place}/".startswith(inside) for place in places):
                points.append(" ".join([caller.name, *places]))
                if len(points) == kill_at:
                    os.kill(process, signal.SIGKILL)
                    continue
                if len(points) == fill_at:
                    fill(filler)
        if deliver in {signal.SIGTRAP, signal.SIGSTOP}:
            deliver = 0
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            ptrace(PTRACE_CONT, tid, None, deliver)


def main() -> None:
    own, command = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    directory, *how = own
    number = int(how[1]) if how else None
    verb = how[0] if how else ""
    report = follow(
        start(command),
        directory,
        number if verb == "--kill-at" else None,
        number if verb == "--fill-at" else None,
        how[2] if verb == "--fill-at" else "",
    )
    print(json.dumps(report))  # noqa: T201 - the report


if __name__ == "__main__":
    main()
