"""An etcd cluster on loopback."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcos_etcd.testing._binaries import CommandFailedError, EtcdBinaries, run
from dcos_etcd.testing._certificates import Certificates
from dcos_etcd.testing._interrupts import held_signals, to_the_end
from dcos_etcd.testing._member import POLL_INTERVAL, START_TIMEOUT, Member, NotReadyError, PortTakenError, urls
from dcos_etcd.testing._processes import Port
from dcos_etcd.testing._snapshots import snapshot_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from dcos_etcd.testing._snapshots import Keys

    StrPath = str | os.PathLike[str]

HAND_OVER_TIMEOUT = 1.0
"""Seconds that the members may take to stop by themselves when all are stopped at once."""

PORT_ATTEMPTS = 3
"""Times that a cluster is started elsewhere when a port of it is taken."""


class Cluster:
    """An etcd cluster on loopback; a context manager that starts it and takes it down, also an asynchronous one.

    A cluster that is entered before it has data directories moves to other ports where another program has taken one of
    them; started by `start`, it keeps to the URLs that it told.

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

    Raises:
        BinariesNotFoundError: The release is not on this machine.
        ValueError: A cluster has one member at least; or `version` is neither a version nor a range.

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
        if members < 1:
            raise ValueError(f"members: {members} is no number of members that a cluster can have")
        self.binaries: EtcdBinaries = binaries or EtcdBinaries.find(version)
        self.token = token
        self.extra_args: list[str] = list(extra_args)
        self._names = names
        self._log_level = log_level
        self.user = ("root", "root") if auth is True else auth or None
        self._enable_auth = self.user is not None
        self._closed = threading.Event()
        self._spawning = threading.Lock()
        """Held by whoever starts a server, and by whoever forbids it."""
        self._made = 0
        self.members: list[Member] = []
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        try:
            if directory is None:
                with held_signals():
                    self._temporary = tempfile.TemporaryDirectory(prefix="dcos-etcd-")
            self.directory: Path = Path(self._temporary.name if self._temporary else directory or ".")
            self.directory.mkdir(parents=True, exist_ok=True)
            self.certificates: Certificates | None = (
                Certificates.create(self.directory / "tls") if tls is True else tls or None
            )
            handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
            if self.certificates:
                handlers.append(urllib.request.HTTPSHandler(context=self.certificates.context()))
            self.opener: urllib.request.OpenerDirector = urllib.request.build_opener(*handlers)
            for _ in range(members):
                self.members.append(self._make_member())
            self.initial_cluster: dict[str, str] = {member.name: member.peer_url for member in self.members}
        except BaseException:
            self.close()
            raise

    @classmethod
    def restored(
        cls,
        snapshot: StrPath | Keys,
        members: int = 1,
        version: str | None = None,
        **options: Any,  # noqa: ANN401 - those of the class
    ) -> Self:
        """A cluster whose data directories are restored from a snapshot; it is not started yet.

        Args:
            snapshot: A file, or the keys that `make_snapshot` takes.
            members: How many.
            version: Which release, see `EtcdBinaries.find`.
            options: The other arguments of the class. A snapshot with authentication needs `auth`, a user of it.

        Raises:
            EtcdError: The snapshot can't be restored; see `dcos_etcd.restore`.
        """
        made = cls(members, version, **options)
        try:
            made.restore(snapshot)
        except BaseException:
            made.close()
            raise
        return made

    def _make_member(self) -> Member:
        self._made += 1
        name = f"{self._names}{self._made}"
        ports = (Port(), Port())
        client, peer = urls("https" if self.certificates else "http", ports)
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
        __tracebackhide__ = True  # pytest shows the line of the test that starts it
        self._closed.clear()
        self._start_or_close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._closed.clear()
        try:
            await to_the_end(self._start_or_close, give_up=self._closed.set)
        except GeneratorExit:  # nobody runs the loop any more
            self.close()
            raise
        except BaseException:
            await to_the_end(self.close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(self.close)

    def _start_or_close(self) -> None:
        """Start; nothing is left where that fails or is given up, also when the loop that gave it up runs no more."""
        __tracebackhide__ = True
        try:
            self._start_where_it_can()
            self._must_be_open()
        except BaseException:
            self.close()
            raise

    def _start_where_it_can(self) -> None:
        """Start; on other ports where one is taken, unless data directories hold the URLs already."""
        __tracebackhide__ = True
        movable = not any(member.data_dir.exists() for member in self.members)
        for attempts_left in reversed(range(PORT_ATTEMPTS)):
            try:
                self.start()
            except PortTakenError:  # noqa: PERF203 - that is what the attempts are for
                if not movable or not attempts_left:
                    raise
                self.remove_data()
                for member in self.members:
                    member._move()
                self.initial_cluster = {member.name: member.peer_url for member in self.members}
            else:
                return

    def start(self) -> None:
        """Start every member that does not run, side by side, and wait until all are ready and see a leader.

        Raises:
            NotReadyError: One of them stopped by itself, or was not ready in time.
            PortTakenError: Another program listens on a port of theirs.
        """
        __tracebackhide__ = True
        fresh = not any(member.wal_dir.exists() for member in self.members)
        for member in self.members:
            if not member.running:
                member.start(wait=False)
        self.wait()
        for member in self.members:
            member._chatter = member._chatter or member.log.stat().st_size
        if fresh and self._enable_auth and self.user:
            self.enable_auth(*self.user)

    def wait(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until every member that runs answers clients and sees a leader.

        Raises:
            NotReadyError: One of them stopped by itself, or was not ready in time.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        started = [member for member in self.members if member._process]
        waiting = started
        while True:
            # Without a majority nobody gets ready, so those that are waited for may not be those that stopped.
            for member in started:
                member._must_run()
            waiting = [member for member in waiting if not member.ready()]
            if not waiting:
                return
            self._must_be_open()
            if time.monotonic() > deadline:
                raise waiting[0]._late(timeout)
            time.sleep(POLL_INTERVAL)

    def stop(self) -> None:
        """Stop every member; data directories stay."""
        for member in self.members:
            member._signal(signal.SIGTERM)
        # The leader would wait for seconds to hand over to a member that is on its way out too.
        deadline = time.monotonic() + HAND_OVER_TIMEOUT
        for member in self.members:
            member._end(signal.SIGTERM, max(deadline - time.monotonic(), 0))

    def close(self) -> None:
        """End every server, give back the ports, and remove the directory when it is a temporary one.

        No server of it starts any more, unless the cluster is entered again.
        """
        with held_signals(), contextlib.ExitStack() as closing:
            if self._temporary:
                closing.callback(self._temporary.cleanup)
            for member in self.members:
                for port in member._ports:
                    closing.callback(port.release)
            with self._spawning:
                self._closed.set()
            self._kill()

    def _must_be_open(self) -> None:
        __tracebackhide__ = True
        if self._closed.is_set():
            raise NotReadyError("the cluster was closed, or given up while it started")

    def _kill(self) -> None:
        # All at once, so that nobody logs the loss of another one.
        for member in self.members:
            member._signal(signal.SIGKILL)
        for member in self.members:
            member.kill()

    def restart(self) -> None:
        """Stop every member, then start every member."""
        self.stop()
        self.start()

    def server_flags(self) -> list[str]:
        """The flags that all members have in common."""
        # Loopback and a test: elections need not take seconds; but before 3.5 servers wait for the disk, at times long.
        heartbeat, election = (50, 500) if self.binaries.line >= (3, 5) else (100, 1500)
        flags = [
            f"--heartbeat-interval={heartbeat}",
            f"--election-timeout={election}",
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
        users = dict.fromkeys([name, "root"])  # `auth enable` insists on a user of that name
        self.user = None
        for command in (
            *(("user", "add", f"{user}:{password}") for user in users),
            ("role", "add", "root"),
            *(("user", "grant-role", user, "root") for user in users),
            ("auth", "enable"),
        ):
            self._must_be_open()
            expected = [CommandFailedError] if command[0] == "role" else []  # it may exist
            with contextlib.suppress(*expected):
                self.etcdctl(*command)
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
        others = [other for other in self.members if other is not member and other.running]
        if member.running and others and self.leader() is member:
            # The others would take it for their leader for a while, and what they are asked meanwhile be lost.
            self.etcdctl("move-leader", f"{others[0].id:x}", endpoints=[member.client_url])
        # Asked for its own removal, a member may stop before it has answered.
        self.etcdctl("member", "remove", f"{member.id:x}", endpoints=[other.client_url for other in others])
        member.kill()
        self.members.remove(member)
        for port in member._ports:
            port.release()
        self.wait()

    def reset(self, snapshot: StrPath | Keys) -> None:
        """Put the keys of the running cluster back to those of a snapshot, and drop every lease.

        Keys that have their value already are not written. What is not put back: revisions and versions, which only
        ever grow; leases of the snapshot; users, roles, alarms and members.

        Args:
            snapshot: A file, or the keys that `make_snapshot` takes; an empty mapping for none.

        Raises:
            RuntimeError: Somebody writes at the same time.
            OSError: The cluster does not answer, or has authentication enabled.
            EtcdError: See `dcos_etcd.put_back`.
        """
        from dcos_etcd.testing._state import reset  # noqa: PLC0415 - it needs to know clusters

        reset(self, snapshot)

    def restore(self, snapshot: StrPath | Keys) -> None:
        """Make the data directory of every member from a snapshot; nothing is started.

        Args:
            snapshot: A file, or the keys that `make_snapshot` takes.

        Raises:
            DataDirNotEmptyError: A member has one already.
            EtcdError: See `dcos_etcd.restore`.
        """
        from dcos_etcd.api import restore  # noqa: PLC0415 - the core, for those who restore

        with snapshot_file(snapshot) as path:
            for member in self.members:
                restore(path, **member.restore_arguments)

    def remove_data(self) -> None:
        """Stop every member and delete every data directory, as a disaster would."""
        self._kill()
        for member in self.members:
            shutil.rmtree(member.data_dir, ignore_errors=True)
