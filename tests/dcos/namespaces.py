"""Machines out of Linux namespaces, and the switch that they hang on.

A machine has a network, processes, mounts and a host name of its own, see `machine.py`. The host notices nothing but
processes, and those end with the process that made the machine, however it ends.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dcos.machine import CLONE_NEWNET
from dcos_etcd.testing._binaries import environment
from dcos_etcd.testing._processes import spawn

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

TOOLS = {"ip": "iproute2", "nsenter": "util-linux", "setpriv": "util-linux", "setsid": "util-linux"}
"""Programs that the bed runs, by the package that brings them."""

START_TIMEOUT = 30.0
"""Seconds that a machine may take until its mounts are there."""

POLL_INTERVAL = 0.01
"""Seconds between two looks at something that is awaited."""

PROGRAM = Path(__file__).with_name("machine.py")


def obstacle(directory: Path) -> str | None:
    """What keeps machines from being made here; `None` when one could be made, joined to another, and taken down."""
    if sys.platform != "linux":
        return "namespaces are a thing of Linux"
    if os.geteuid() != 0:
        return "making namespaces needs root"
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return f"the program {tool} is missing (package {package})"
    try:
        switch = Switch(directory / "switch")
        try:
            machine = Machine("probe", directory / "probe")
            try:
                switch.plug(machine, "172.16.0.11")
            finally:
                machine.end()
        finally:
            switch.machine.end()
    except (OSError, RuntimeError) as error:
        return f"namespaces cannot be made here: {error}"
    return None


class MachineError(RuntimeError):
    """A machine did not come up, or a command that must work on it failed."""


@dataclass
class Machine:
    """One machine, running once it is made.

    Args:
        name: Host name.
        directory: Holds what is its own: `<directory>/opt` stands in for `/opt`, and so on.
        own: Paths that it has for itself, below `/opt`, `/run` or `/var/lib`.
        binds: Files of the host by the files of the machine that they cover.
        environment: Variables of every command.
    """

    name: str
    directory: Path
    own: Sequence[str] = ()
    binds: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = self.directory / "machine.log"
        ready = self.directory / "machine.pid"
        plan = {
            "name": self.name,
            "shadows": {host: f"{self.directory}{host}" for host in ("/opt", "/run", "/var/lib") if self.own},
            "own": list(self.own),
            "binds": [(str(source), target) for target, source in self.binds.items()],
            "ready": str(ready),
        }
        self._process = spawn([sys.executable, "-I", "-S", str(PROGRAM), json.dumps(plan)], self._log)
        self._in_network: ThreadPoolExecutor | None = None
        deadline = time.monotonic() + START_TIMEOUT
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                said = self._log.read_text(errors="replace").strip().splitlines()
                raise MachineError(f"{self.name} did not come up: {said[-1] if said else 'it said nothing'}")
            time.sleep(POLL_INTERVAL)
        self.pid = int(ready.read_text())
        """Its first process, as the host sees it."""

    def end(self) -> None:
        """End it as a power cut would, and wait until nothing of it is left; no error when it has ended."""
        if self._in_network:
            self._in_network.shutdown()
            self._in_network = None
        if self._process.poll() is None:
            # The program outside reaps the first process, and the kernel has ended all the others by then.
            os.kill(self.pid, signal.SIGKILL)
            self._process.wait()

    def path(self, path: str | Path) -> Path:
        """A file of the machine, as the host reaches it while the machine runs."""
        return Path(f"/proc/{self.pid}/root{path}")

    def command(self, *words: str | Path) -> list[str]:
        """A command line of the host that runs a command on the machine."""
        into = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        return [*into, "--", *map(str, words)]

    def run(
        self,
        *words: str | Path,
        stdin: bytes | None = None,
        variables: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with its output captured; whatever its exit status."""
        done = subprocess.run(
            self.command(*words),
            check=False,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**self.environment, **(variables or {})},
            timeout=timeout,
        )
        stdout, stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return subprocess.CompletedProcess(list(map(str, words)), done.returncode, stdout, stderr)

    def must(self, *words: str | Path, stdin: bytes | None = None) -> str:
        """Run a command that must work, and give what it prints."""
        done = self.run(*words, stdin=stdin)
        if done.returncode != 0:
            told = done.stderr.strip() or done.stdout.strip()
            raise MachineError(f"{self.name}: {' '.join(done.args)[:200]}: exit status {done.returncode}: {told}")
        return done.stdout

    def get(self, url: str, context: ssl.SSLContext | None = None, timeout: float = 5) -> str:
        """Ask a server over the machine's own network, for what it says.

        Raises:
            OSError: It does not answer.
        """
        return self.ask(url, context, timeout)[1]

    def ask(self, url: str, context: ssl.SSLContext | None = None, timeout: float = 5) -> tuple[Mapping[str, str], str]:
        """Ask a server over the machine's own network, for the headers and what it says.

        Raises:
            OSError: It does not answer.
        """
        if self._in_network is None:
            # Only the thread changes its network, and this one does nothing else.
            self._in_network = ThreadPoolExecutor(1, initializer=self._enter_network)

        def ask() -> tuple[Mapping[str, str], str]:
            handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
            with urllib.request.build_opener(*handlers).open(url, timeout=timeout) as answer:
                return dict(answer.headers), str(answer.read(), "utf-8")

        return self._in_network.submit(ask).result()

    def _enter_network(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{self.pid}/ns/net").open("rb") as network:
            if libc.setns(network.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), errno.errorcode[ctypes.get_errno()])


class Switch:
    """A machine that is nothing but a bridge."""

    def __init__(self, directory: Path) -> None:
        self.machine = Machine("switch", directory, environment=environment())
        try:
            _ip(self.machine, "link add bridge0 type bridge forward_delay 0", "link set bridge0 up")
        except BaseException:
            self.machine.end()
            raise
        self._plugs = 0

    def plug(self, machine: Machine, address: str) -> str:
        """Give a machine a wire to the switch and an address on it; returns the name of the wire's end here."""
        self._plugs += 1
        wire = f"wire{self._plugs}"
        # The process id is the host's: a command that only changes its network still sees the host's processes.
        _ip(
            self.machine,
            f"link add {wire} type veth peer name eth0 netns {machine.pid}",
            f"link set {wire} master bridge0 up",
        )
        _ip(machine, "link set lo up", f"addr add {address}/24 dev eth0", "link set eth0 up")
        return wire

    def cut(self, wire: str) -> None:
        """Cut a machine off."""
        _ip(self.machine, f"link set {wire} down")

    def mend(self, wire: str) -> None:
        """Undo `cut`."""
        _ip(self.machine, f"link set {wire} up")


def _ip(machine: Machine, *commands: str) -> None:
    done = subprocess.run(
        ["nsenter", f"--target={machine.pid}", "--net", "--", "ip", "-batch", "-"],
        check=False,
        input="\n".join(commands),
        capture_output=True,
        text=True,
        timeout=30,
    )
    if done.returncode != 0:
        raise MachineError(f"{machine.name}: ip {'; '.join(commands)}: {done.stderr.strip()}")
