"""One etcd server of a `Cluster`."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dcos_etcd.testing._interrupts import held_signals
from dcos_etcd.testing._processes import Port, spawn

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing._cluster import Cluster

START_TIMEOUT = 60.0
"""Seconds that a cluster may take until every member is ready and sees a leader."""

STOP_TIMEOUT = 20.0
"""Seconds that a member may take to stop by itself before it is killed."""

POLL_INTERVAL = 0.02
"""Seconds between two looks at a member that is not ready yet."""

LOOK_TIMEOUT = 0.5
"""Seconds that one such look may take: a server that comes up takes connections before it answers."""

METRICS_TIMEOUT = 5.0
"""Seconds that a server may take to tell its metrics."""

LOG_LINES = 30
"""Lines of a log that an error shows."""

_TAKEN = re.compile(r"listen tcp (\S+): bind: address already in use")


class NotReadyError(RuntimeError):
    """A member did not come up; the text ends with the end of its log."""


class PortTakenError(NotReadyError):
    """A member did not come up because another program listens where it should."""


@dataclass(eq=False)
class Member:
    """One etcd server of a `Cluster`.

    Attributes:
        name: `--name`.
        client_url: Where clients reach it.
        peer_url: Where other members reach it.
        data_dir: `--data-dir`; not made before the member is started.
        log: The file that gets its output.
        extra_args: More flags, after those of the cluster.
    """

    name: str
    client_url: str
    peer_url: str
    data_dir: Path
    log: Path
    extra_args: list[str] = field(default_factory=list)
    _cluster: Cluster = field(repr=False, kw_only=True)
    _ports: tuple[Port, Port] = field(repr=False, kw_only=True)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False, kw_only=True)
    _joining: bool = field(default=False, repr=False, kw_only=True)
    _chatter: int = field(default=0, repr=False, kw_only=True)
    """Bytes of the log that are from before it was ready for the first time."""

    @property
    def db(self) -> Path:
        """The database file."""
        return self.data_dir / "member" / "snap" / "db"

    @property
    def wal_dir(self) -> Path:
        """The directory of the write-ahead log."""
        return self.data_dir / "member" / "wal"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self.pid is not None

    @property
    def id(self) -> int:
        """The member id that the running cluster has for it."""
        for entry in self._cluster.member_list():
            if self.peer_url in entry["peerURLs"]:
                return int(entry["ID"])
        raise LookupError(f"{self.name} is not in the member list")

    @property
    def restore_arguments(self) -> dict[str, Any]:
        """Arguments for `dcos_etcd.restore` that make the data directory of this member."""
        return {
            "data_dir": self.data_dir,
            "name": self.name,
            "initial_cluster": self._cluster.initial_cluster,
            "initial_cluster_token": self._cluster.token,
        }

    @property
    def restore_flags(self) -> list[str]:
        """The same as flags of `etcdutl snapshot restore`."""
        peers = ",".join(f"{name}={url}" for name, url in self._cluster.initial_cluster.items())
        return [
            f"--data-dir={self.data_dir}",
            f"--name={self.name}",
            f"--initial-cluster={peers}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster-token={self._cluster.token}",
        ]

    def start(self, *, wait: bool = True) -> None:
        """Start the server; an existing data directory is taken up.

        Args:
            wait: Return only when it is ready and sees a leader. A majority of the members must run for that.

        Raises:
            NotReadyError: It stopped by itself, was not ready in time, or its cluster is closed.
        """
        __tracebackhide__ = True
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        command = self.command()
        # No server is ever there that `Cluster.close` does not know.
        with held_signals(), self._cluster._spawning:
            self._cluster._must_be_open()
            self._process = spawn(command, self.log)
        if wait:
            self.wait()

    def stop(self) -> None:
        """Stop the server and wait until it is gone; no error when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once, with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self, *, wait: bool = True) -> None:
        """Stop and start."""
        self.stop()
        self.start(wait=wait)

    def _signal(self, how: signal.Signals) -> None:
        if process := self._process:
            process.send_signal(how)

    def _end(self, how: signal.Signals, timeout: float = STOP_TIMEOUT) -> None:
        if (process := self._process) is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def command(self) -> list[str]:
        """The command line of the server."""
        cluster = self._cluster
        peers = {m.name: m.peer_url for m in cluster.members} if self._joining else cluster.initial_cluster
        return [
            str(cluster.binaries.etcd),
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.client_url}",
            f"--advertise-client-urls={self.client_url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={','.join(f'{name}={url}' for name, url in peers.items())}",
            f"--initial-cluster-state={'existing' if self._joining else 'new'}",
            f"--initial-cluster-token={cluster.token}",
            *cluster.server_flags(),
            *self.extra_args,
        ]

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until the server answers clients and sees a leader.

        Raises:
            NotReadyError: It stopped by itself, or was not ready in time.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        while not self.ready():
            self._must_run()
            if time.monotonic() > deadline:
                raise self._late(timeout)
            time.sleep(POLL_INTERVAL)

    def _must_run(self) -> None:
        __tracebackhide__ = True  # pytest shows the line of the test that waits for it
        if self._process is None:
            raise NotReadyError(f"{self.name} was not started")
        status = self._process.poll()
        if status is None:
            return
        said = self.log_tail()
        if taken := _TAKEN.search(said):
            raise PortTakenError(f"{self.name} can't listen on {taken[1]}: another program does\n{said}")
        raise NotReadyError(f"{self.name} stopped by itself with {status}\n{said}")

    def _late(self, timeout: float) -> NotReadyError:
        return NotReadyError(f"{self.name} was not ready within {timeout:g} s\n{self.log_tail()}")

    def _move(self) -> None:
        """Take other ports, under which nobody has reached it yet."""
        for port in self._ports:
            port.release()
        self._ports = (Port(), Port())
        self.client_url, self.peer_url = urls(self.client_url.partition(":")[0], self._ports)

    def ready(self) -> bool:
        """Whether the server answers clients and sees a leader, by its metrics: they need no user and mind no alarm."""
        try:
            return "\netcd_server_has_leader 1\n" in self.metrics(LOOK_TIMEOUT)
        except OSError:
            return False

    def metrics(self, timeout: float = METRICS_TIMEOUT) -> str:
        """The text of its `/metrics` page.

        Args:
            timeout: Seconds that it may take to answer.

        Raises:
            OSError: It does not answer.
        """
        with self._cluster.opener.open(f"{self.client_url}/metrics", timeout=timeout) as response:
            return str(response.read(), "utf-8")

    def log_tail(self, lines: int = LOG_LINES, *, start: int = 0) -> str:
        """The last lines of its output, for error messages.

        Args:
            lines: How many at most.
            start: Byte of the log before which nothing is shown.
        """
        try:
            with self.log.open("rb") as log:
                log.seek(start)
                return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"


def urls(scheme: str, ports: tuple[Port, Port]) -> tuple[str, str]:
    """Where clients and where other members reach a server with these ports."""
    client, peer = (f"{scheme}://127.0.0.1:{port.number}" for port in ports)
    return client, peer
