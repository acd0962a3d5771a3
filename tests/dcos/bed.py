"""DC/OS masters that are machines of their own: real paths, real etcd, and stand-ins for the rest of DC/OS."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import shutil
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import dcos_etcd
from dcos.namespaces import Machine, MachineError, Switch
from dcos_etcd.testing import CommandFailedError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from typing_extensions import Self

    from dcos_etcd.testing import EtcdBinaries

    T = TypeVar("T")

STATE = "/var/lib/dcos/etcd"
DATA_DIR = f"{STATE}/default.etcd"
NODES = f"{STATE}/initial-nodes"
CLUSTER_STATE = f"{STATE}/initial-state"
BACKUPS = "/var/lib/dcos/backup"
"""Where an operator puts archives; nothing of DC/OS."""

LEADER = "master.dcos.thisdcos.directory"
MESOS_DNS = "http://127.0.0.1:8123/v1/hosts/master.mesos"
CA = "/run/dcos/pki/CA/ca-bundle.crt"
CLIENT_CERT = "/run/dcos/pki/tls/certs/etcd-client-root.crt"
CLIENT_KEY = "/run/dcos/pki/tls/private/etcd-client-root.key"
SERVER_CERT = "/run/dcos/pki/tls/certs/etcd-server.crt"
SERVER_KEY = "/run/dcos/pki/tls/private/etcd-server.key"

USER = "dcos_etcd"
UNIT = "dcos-etcd"

STAND_INS = Path(__file__).with_name("stand_ins")

READY_TIMEOUT = 60.0
"""Seconds that members may take until they see a leader."""

UNIT_INTERVAL = 0.2
"""Seconds between two questions to the unit while its etcd is waited for: each is a few processes."""

Variant = Literal["open", "enterprise"]


def free_id() -> int:
    """A number that no user and no group of the host has."""
    taken = {user.pw_uid for user in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()}
    return next(number for number in range(61_000, 65_000) if number not in taken)


OWNER = free_id()
"""User and group id of `dcos_etcd` on the masters."""


class Master:
    """One master of a bed."""

    def __init__(self, bed: Bed, number: int) -> None:
        self.bed = bed
        self.ip = f"172.16.0.{10 + number}"
        self.name = f"etcd-{self.ip}"
        self.directory = bed.directory / f"master{number}"
        self.peer_url = f"https://{self.ip}:2380"
        scheme = "https" if bed.variant == "enterprise" else "http"
        self.client_url = f"{scheme}://{self.ip}:2379"
        self.client_urls = [self.client_url, f"{scheme}://localhost:2379"]
        self._furnish(scheme)
        self.machine = Machine(
            f"master{number}",
            self.directory,
            own=["/opt/mesosphere", "/run/dcos", "/var/lib/dcos"],
            binds={**self._programs(), **self._system_files()},
            environment=self._environment(),
        )
        self.wire = bed.switch.plug(self.machine, self.ip)
        self.start_mesos_dns()

    # Making it

    def _furnish(self, scheme: str) -> None:
        """Write the files of a master."""
        bed = self.bed
        config = {"dcos_variant": bed.variant, "num_masters": str(len(bed.ips)), "cluster_name": "bed"}
        self._write("/opt/mesosphere/etc/expanded.config.json", json.dumps(config))
        self._write("/opt/mesosphere/bin/detect_ip", f"#!/bin/sh\necho {self.ip}\n", 0o755)
        self._write("/opt/mesosphere/bin/dcos-etcdctl", f'#!/bin/sh\nexec {sys.executable} -m dcos_etcd "$@"\n', 0o755)
        self._copy(STAND_INS / "systemctl", "/opt/mesosphere/bin/systemctl")
        for release in bed.releases:
            programs = f"/opt/mesosphere/packages/etcd--{release.version}/bin"
            for program in ("etcd", "etcdctl"):
                self._write(f"{programs}/{program}", "")
            self._copy(STAND_INS / "etcd.sh", f"{programs}/etcd.sh")
        self.settings = {
            "CLIENT_SCHEME": scheme,
            # A quiet network and little data: elections need not take long, but longer than a disk in bad moments.
            "ETCD_HEARTBEAT_INTERVAL": "100",
            "ETCD_ELECTION_TIMEOUT": "1000",
        }
        if bed.certificates:
            bed.certificates.put_on(self)
            for kind in ("", "PEER_"):
                self.settings |= {
                    f"ETCD_{kind}CERT_FILE": SERVER_CERT,
                    f"ETCD_{kind}KEY_FILE": SERVER_KEY,
                    f"ETCD_{kind}TRUSTED_CA_FILE": CA,
                    f"ETCD_{kind}CLIENT_CERT_AUTH": "true",
                }
        self.use_release(bed.releases[0])
        self._write(
            "/etc/passwd",
            f"{Path('/etc/passwd').read_text()}{USER}:x:{OWNER}:{OWNER}::/opt/mesosphere:/bin/false\n",
        )
        self._write("/etc/group", f"{Path('/etc/group').read_text()}{USER}:x:{OWNER}:\n")
        self._write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
        self._write("/etc/resolv.conf", "")
        self.set_leader(bed.ips[0])
        for directory in (STATE, BACKUPS, "/run/dcos"):
            self.host_path(directory).mkdir(parents=True, exist_ok=True)
        os.chown(self.host_path(STATE), OWNER, OWNER)

    def _programs(self) -> dict[str, Path]:
        return {
            f"/opt/mesosphere/packages/etcd--{release.version}/bin/{path.name}": path
            for release in self.bed.releases
            for path in (release.etcd, release.etcdctl)
        }

    def _system_files(self) -> dict[str, Path]:
        """What covers files of the host that stand where DC/OS has them too."""
        wanted = {f"/etc/{name}": self.host_path(f"/etc/{name}") for name in SYSTEM_FILES}
        for path in ("/usr/bin/systemctl", "/bin/systemctl"):
            wanted[path] = self.host_path("/opt/mesosphere/bin/systemctl")
        # One of two names for the same file is enough; a name that the host lacks needs no cover.
        return {target: source for target, source in wanted.items() if Path(target).exists() and not _is_alias(target)}

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/opt/mesosphere/bin:/opt/mesosphere/active/etcd/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            # The checkout is the host's.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(Path(dcos_etcd.__file__).parent.parent),
        }

    def host_path(self, path: str) -> Path:
        """A file below `/opt/mesosphere`, `/run/dcos`, `/var/lib/dcos` or of `/etc`, whether the machine runs or not.

        A file system that is mounted on the machine is seen by `path` only.
        """
        return Path(f"{self.directory}{path}")

    def path(self, path: str | Path) -> Path:
        """Any file, as the machine sees it while it runs."""
        return self.machine.path(path)

    def _write(self, path: str, text: str, mode: int = 0o644) -> None:
        # In place: a file that covers another stays the one that was bound.
        file = self.host_path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def _copy(self, source: Path, path: str) -> None:
        self._write(path, source.read_text(), 0o755)

    def use_release(self, release: EtcdBinaries) -> None:
        """Choose the etcd that the next start runs."""
        active = self.host_path("/opt/mesosphere/active/etcd")
        active.parent.mkdir(parents=True, exist_ok=True)
        active.unlink(missing_ok=True)
        active.symlink_to(f"/opt/mesosphere/packages/etcd--{release.version}")
        # The flag is gone from 3.6, and with it the data that it served.
        self.configure(RELEASE_FLAGS="--enable-v2=true" if release.line < (3, 6) else "")

    def configure(self, **settings: str) -> None:
        """Change variables of the unit; for the next start."""
        self.settings |= settings
        self._write("/opt/mesosphere/etc/etcd.env", "".join(f"{k}='{v}'\n" for k, v in self.settings.items()))

    def set_leader(self, ip: str) -> None:
        """Tell which master `master.dcos.thisdcos.directory` is."""
        self._write("/etc/hosts", f"127.0.0.1 localhost\n{ip} {LEADER} leader.mesos\n")

    def forget_leader(self) -> None:
        """Let nobody know the leader's name here."""
        self._write("/etc/hosts", "127.0.0.1 localhost\n")

    # Mesos-DNS

    def start_mesos_dns(self, ips: Iterable[str] | None = None) -> None:
        """Have it tell the masters; all of them when none are named."""
        ips = self.bed.ips if ips is None else ips
        start = 'setsid "$@" < /dev/null > /run/dcos/mesos-dns.log 2>&1 & echo $! > /run/dcos/mesos-dns.pid'
        self.machine.must("sh", "-c", start, "sh", sys.executable, "-I", "-S", STAND_INS / "mesos_dns.py", *ips)
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            with contextlib.suppress(OSError):
                self.machine.get(MESOS_DNS)
                return
            if time.monotonic() > deadline:
                raise MachineError(f"{self.name}: the stand-in for Mesos-DNS does not answer")
            time.sleep(0.01)

    def stop_mesos_dns(self) -> None:
        """Nothing listens there any more."""
        self.machine.must("sh", "-c", "kill -9 $(cat /run/dcos/mesos-dns.pid)")

    # What an operator does

    def cli(self, *words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Type `dcos-etcdctl` and words; whatever its exit status."""
        return self.machine.run("dcos-etcdctl", *words, **options)

    def must_cli(self, *words: str | Path) -> str:
        """Type `dcos-etcdctl` and words; it must work."""
        return self.machine.must("dcos-etcdctl", *words)

    def python(self, program: str, *arguments: str) -> Any:
        """Run a Python program that leaves a value in `result`, and give that value by way of JSON."""
        shown = "\nimport json as _json\nprint('\\n' + _json.dumps(result))"
        return json.loads(self.machine.must(sys.executable, "-c", program + shown, *arguments).splitlines()[-1])

    def etcdctl(self, *words: str | bytes, stdin: bytes = b"", endpoint: str | None = None) -> str:
        """Run etcd's own client against this master's etcd.

        Raises:
            CommandFailedError: It failed.
        """
        flags = [f"--endpoints={endpoint or self.client_url}", "--dial-timeout=5s", "--command-timeout=20s"]
        if self.bed.certificates:
            flags += [f"--cacert={CA}", f"--cert={CLIENT_CERT}", f"--key={CLIENT_KEY}"]
        spelled = [os.fsdecode(word) for word in words]
        done = self.machine.run("etcdctl", *flags, *spelled, stdin=stdin)
        if done.returncode != 0:
            raise CommandFailedError(
                f"{self.name}: etcdctl {' '.join(spelled)[:200]}", done.returncode, done.stdout, done.stderr
            )
        return done.stdout

    def etcdctl_json(self, *words: str | bytes) -> Any:
        """Run etcd's own client with `--write-out=json` and return what it says."""
        return json.loads(self.etcdctl("--write-out=json", *words))

    def member_list(self) -> list[dict[str, Any]]:
        """The members as this master's etcd sees them, by name."""
        members: list[dict[str, Any]] = self.etcdctl_json("member", "list")["members"]
        return sorted(members, key=lambda member: str(member.get("name", "")))

    # The unit

    def systemctl(self, verb: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run("systemctl", verb, UNIT)

    @property
    def running(self) -> bool:
        """Whether etcd's process is there."""
        return self.systemctl("is-active").returncode == 0

    def start(self, *, wait: bool = False) -> None:
        """Start the unit, as `systemctl start` would; when it is ready is another matter."""
        self.machine.must("systemctl", "start", UNIT)
        if wait:
            self.wait()

    def stop(self) -> None:
        self.machine.must("systemctl", "stop", UNIT)

    def kill(self) -> None:
        """End etcd with SIGKILL."""
        self.machine.must("systemctl", "kill", UNIT)

    def ready(self) -> bool:
        """Whether etcd answers clients and sees a leader, by its metrics: they need no user."""
        context = self.bed.certificates.context() if self.bed.certificates else None
        scheme = self.client_url.partition(":")[0]
        try:
            return "\netcd_server_has_leader 1\n" in self.machine.get(f"{scheme}://127.0.0.1:2379/metrics", context)
        except OSError:
            return False

    def wait(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until etcd is ready.

        Raises:
            NotReadyError: It stopped by itself, or was not ready in time.
        """
        deadline = time.monotonic() + timeout
        next_look = 0.0
        while not self.ready():
            if time.monotonic() > next_look:
                if not self.running:
                    raise NotReadyError(f"{self.name} stopped by itself\n{self.log_tail()}")
                next_look = time.monotonic() + UNIT_INTERVAL
            if time.monotonic() > deadline:
                raise NotReadyError(f"{self.name} was not ready within {timeout:g} s\n{self.log_tail()}")
            time.sleep(0.02)

    def wait_for_end(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until etcd has stopped by itself."""
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} still runs\n{self.log_tail()}")
            time.sleep(0.05)

    def log_tail(self, lines: int = 30) -> str:
        log = self.host_path("/var/lib/dcos/dcos-etcd.log")
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"

    def lose_data(self) -> None:
        """Delete the data directory, as a disaster would."""
        shutil.rmtree(self.path(DATA_DIR), ignore_errors=True)

    def nodes(self, masters: Sequence[Master], state: Literal["new", "existing"]) -> None:
        """Write what DC/OS's discovery leaves for the start script."""
        text = ",".join(f"{master.name}={master.peer_url}" for master in masters)
        for path, content in ((NODES, text), (CLUSTER_STATE, state)):
            file = self.path(path)
            file.write_text(content)
            os.chown(file, OWNER, OWNER)


def _is_alias(path: str) -> bool:
    return Path(path).parent.resolve() != Path(path).parent


SYSTEM_FILES = ("passwd", "group", "hosts", "nsswitch.conf", "resolv.conf")


class Bed:
    """Some masters of one DC/OS cluster; a context manager that takes them down.

    Args:
        directory: Holds everything of theirs.
        masters: How many.
        releases: The etcd that runs, then others that `use_release` may choose.
        variant: Of DC/OS.
        certificates: Of the enterprise variant; made anew when there are none.
    """

    def __init__(
        self,
        directory: Path,
        masters: int,
        releases: Sequence[EtcdBinaries],
        variant: Variant = "open",
        certificates: Certificates | None = None,
    ) -> None:
        self.directory = directory
        self.releases = releases
        self.variant = variant
        self.ips = [f"172.16.0.{10 + number}" for number in range(1, masters + 1)]
        self.certificates = (certificates or Certificates()) if variant == "enterprise" else None
        self.masters: list[Master] = []
        directory.mkdir(parents=True, exist_ok=True)
        self.switch = Switch(directory / "switch")
        try:
            with ThreadPoolExecutor(masters) as pool:
                made = [pool.submit(Master, self, number) for number in range(1, masters + 1)]
            for master in made:
                self.masters.append(master.result())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every machine and delete what was theirs."""
        if self.masters:
            self.each(lambda master: master.machine.end())
        self.switch.machine.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def leader(self) -> Master:
        """The master that `master.dcos.thisdcos.directory` is."""
        return self.masters[0]

    def each(self, action: Callable[[Master], T], masters: Iterable[Master] | None = None) -> list[T]:
        """Do something on every master at once; results in their order, the first error raised."""
        chosen = self.masters if masters is None else list(masters)
        with ThreadPoolExecutor(len(chosen)) as pool:
            return list(pool.map(action, chosen))

    def start(self, masters: Iterable[Master] | None = None) -> None:
        """Start etcd on masters and wait until each sees a leader."""
        self.each(Master.start, masters)
        self.each(Master.wait, masters)

    def stop(self, masters: Iterable[Master] | None = None) -> None:
        self.each(Master.stop, masters)

    def spread(self, source: Master, path: str) -> None:
        """Copy a file of one master to the others."""
        for master in self.masters:
            if master is not source:
                shutil.copyfile(source.path(path), master.path(path))

    # How a cluster comes to be

    def form(self) -> None:
        """Let the cluster grow as DC/OS's does: the first master is a cluster, and the others join it one by one."""
        for master in self.masters:
            # Without this a cluster wants to have been whole for five seconds before it grows.
            master.configure(ETCD_STRICT_RECONFIG_CHECK="false")
        first = self.masters[0]
        for count, master in enumerate(self.masters, 1):
            if master is not first:
                first.etcdctl("member", "add", master.name, f"--peer-urls={master.peer_url}")
            master.nodes(self.masters[:count], "new" if master is first else "existing")
            master.start(wait=True)
            master.settings.pop("ETCD_STRICT_RECONFIG_CHECK")
            master.configure()
        if self.variant == "enterprise":
            first.etcdctl("user", "add", "root", "--no-password")
            first.etcdctl("role", "add", "root")
            first.etcdctl("user", "grant-role", "root", "root")
            first.etcdctl("auth", "enable")

    def save(self, into: Path) -> None:
        """Stop etcd and keep what every master has on disk, for `load`."""
        self.stop()
        for number, master in enumerate(self.masters):
            copy_tree(master.path(STATE), into / str(number))

    def load(self, saved: Path) -> None:
        """Begin with what another bed of as many masters and of the same variant saved."""
        for number, master in enumerate(self.masters):
            shutil.rmtree(master.path(STATE))
            copy_tree(saved / str(number), master.path(STATE))


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory with owners and modes, and no more of preallocated files than was written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--sparse=always", "--reflink=auto", "--", source, target], check=True)


class Certificates:
    """The authority of an enterprise cluster, and the certificates that its masters have."""

    def __init__(self) -> None:
        import trustme  # noqa: PLC0415 - only the enterprise variant needs it

        self.authority = trustme.CA()
        self._equip()

    def _equip(self) -> None:
        self.client = self.authority.issue_cert("client.dcos", common_name="root")
        self._context = ssl.create_default_context(cadata=self.authority.cert_pem.bytes().decode())
        with self.client.private_key_and_cert_chain_pem.tempfile() as path:
            self._context.load_cert_chain(path)

    def __getstate__(self) -> tuple[bytes, bytes]:
        return self.authority.cert_pem.bytes(), self.authority.private_key_pem.bytes()

    def __setstate__(self, state: tuple[bytes, bytes]) -> None:
        import trustme  # noqa: PLC0415

        self.authority = trustme.CA.from_pem(*state)
        self._equip()

    def context(self) -> ssl.SSLContext:
        """A client's settings for the standard library."""
        return self._context

    def put_on(self, master: Master) -> None:
        """Write the files that DC/OS's bootstrap writes at every start of a unit."""
        names = (master.ip, "127.0.0.1", "localhost", LEADER)
        server = self.authority.issue_cert(*names, common_name="etcd-server")
        owned = {SERVER_CERT: server.cert_chain_pems[0], SERVER_KEY: server.private_key_pem}
        others = {
            CA: self.authority.cert_pem,
            CLIENT_CERT: self.client.cert_chain_pems[0],
            CLIENT_KEY: self.client.private_key_pem,
        }
        for path, pem in {**owned, **others}.items():
            master._write(path, pem.bytes().decode(), 0o600 if path.endswith(".key") else 0o644)
            if path in owned:
                os.chown(master.host_path(path), OWNER, OWNER)
