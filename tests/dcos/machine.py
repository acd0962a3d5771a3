"""Becomes the first process of a machine of its own: network, processes, host name and mounts are no one else's.

Run as a program with a JSON object as its one argument:

* `name`: host name.
* `shadows`: directories of the machine by the host's directory that they stand in for. A shadow holds what the host's
  directory holds, each entry bound into it, except what `own` says, and stays writable without the host noticing.
* `own`: paths that the machine has for itself; below a shadow they are plain directories.
* `binds`: pairs of a file of the host and the file of the machine that it covers, in this order.
* `ready`: a file that gets the process id, as the host sees it, when all of that is done.

The machine ends with this program, this program with the process that started it, and with them go every process, mount
and network device in it. Only the standard library is used, and no name of it that Python 3.10 lacks.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def checked(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, flags: int, kind: str | None = None) -> None:
    kind_bytes = None if kind is None else kind.encode()
    checked(libc.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), None), target)


def bind(source: Path, target: Path) -> None:
    mount(str(source), str(target), MS_BIND | MS_REC)


def shadow(host: Path, machine: Path, own: set[Path]) -> None:
    machine.mkdir(parents=True, exist_ok=True)
    for entry in sorted(host.iterdir()):
        stand_in = machine / entry.name
        if entry in own:
            continue
        if entry.is_symlink():
            if not stand_in.is_symlink():
                stand_in.symlink_to(entry.readlink())
        elif entry.is_dir():
            stand_in.mkdir(exist_ok=True)
            bind(entry, stand_in)
        else:
            stand_in.touch()
            bind(entry, stand_in)
    bind(machine, host)


def set_up(plan: dict[str, Any]) -> None:
    mount("none", "/", MS_REC | MS_PRIVATE)
    mount("proc", "/proc", 0, "proc")
    own = {Path(path) for path in plan["own"]}
    for host, machine in plan["shadows"].items():
        shadow(Path(host), Path(machine), own)
    for source, target in plan["binds"]:
        bind(Path(source), Path(target))
    name = plan["name"].encode()
    checked(libc.sethostname(name, ctypes.c_size_t(len(name))), plan["name"])


def die_with_parent() -> None:
    checked(libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)), "PR_SET_PDEATHSIG")


def first_process(plan: dict[str, Any], parent_lives: int, done: int) -> None:
    """Set the machine up, tell so, and bury whoever dies in it."""
    die_with_parent()
    if os.read(parent_lives, 1) != b"!":  # it died before the line above
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    set_up(plan)
    os.write(done, b"!")
    os.close(done)
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass


def main() -> None:
    plan = json.loads(sys.argv[1])
    checked(
        libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET),
        "namespaces cannot be made",
    )
    parent_lives, tell_child = os.pipe()
    done, tell_parent = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(done)
        os.close(tell_child)
        first_process(plan, parent_lives, tell_parent)
    os.close(tell_parent)
    os.write(tell_child, b"!")
    if os.read(done, 1) == b"!":
        ready = Path(plan["ready"])
        unfinished = ready.with_suffix(".unfinished")
        unfinished.write_text(str(child))
        unfinished.rename(ready)
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status) & 0x7F)


if __name__ == "__main__":
    main()
