"""Where things are on a DC/OS master, and which master this is."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dcos_etcd.exceptions import DcosError
from dcos_etcd.models import Tls

if TYPE_CHECKING:
    StrPath = str | os.PathLike[str]

CONFIG = "opt/mesosphere/etc/expanded.config.json"
DETECT_IP = "opt/mesosphere/bin/detect_ip"
LEADER = "master.dcos.thisdcos.directory"
CLIENT_PORT = 2379
PEER_PORT = 2380
UNIT = "dcos-etcd"
USER = "dcos_etcd"
TOKEN = "etcd-dcos"  # noqa: S105 - it tells clusters apart, and is no secret
MESOS_DNS = "http://127.0.0.1:8123/v1/hosts/master.mesos"

# Seconds. detect_ip is a script of the operator's, which may ask a service of the cloud.
_DETECT_IP_TIMEOUT = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A DC/OS master.

    Attributes:
        root: What stands before every path.
        address: This master's private address.
        enterprise: Whether clients of etcd need TLS and a certificate.
        number: How many masters DC/OS was configured for; `None` where that is not told.
        mesos_dns: Where Mesos-DNS lists the masters.
    """

    root: Path
    address: str
    enterprise: bool
    number: int | None
    mesos_dns: str

    @property
    def state_dir(self) -> Path:
        """The home of etcd's data and of what its start script reads."""
        return self.root / "var/lib/dcos/etcd"

    @property
    def data_dir(self) -> Path:
        """The data directory of etcd."""
        return self.state_dir / "default.etcd"

    @property
    def initial_nodes(self) -> Path:
        """The value of `--initial-cluster` at the next start."""
        return self.state_dir / "initial-nodes"

    @property
    def initial_state(self) -> Path:
        """The value of `--initial-cluster-state` at the next start."""
        return self.state_dir / "initial-state"

    @property
    def config(self) -> Path:
        """DC/OS's configuration without what is secret."""
        return self.root / CONFIG

    @property
    def tls(self) -> Tls | None:
        """How a client speaks with etcd; its certificate is that of etcd's user root."""
        if not self.enterprise:
            return None
        pki = self.root / "run/dcos/pki"
        return Tls(
            cacert=pki / "CA/ca-bundle.crt",
            cert=pki / "tls/certs/etcd-client-root.crt",
            key=pki / "tls/private/etcd-client-root.key",
        )

    def endpoint(self, host: str) -> str:
        """Spell the client URL of a host."""
        return f"{'https' if self.enterprise else 'http'}://{host}:{CLIENT_PORT}"


def member_name(address: str) -> str:
    """Name the member on a master."""
    return f"etcd-{address}"


def peer_url(address: str) -> str:
    """Spell the peer URL of a master."""
    return f"https://{address}:{PEER_PORT}"


def is_master(root: StrPath = "/") -> bool:
    """Tell whether this is a DC/OS machine: whether it can say its address."""
    return (Path(root) / DETECT_IP).exists()


def read(root: StrPath = "/") -> Profile:
    """Ask the machine.

    Raises:
        DcosError: It is no DC/OS machine, or does not say what it must.
    """
    base = Path(root)
    # First of all: where it is not there, this is no master, and nothing else matters.
    own = _detect_ip(base / DETECT_IP)
    enterprise, number = _read_config(base / CONFIG)
    return Profile(
        root=base,
        address=own,
        enterprise=enterprise,
        number=number,
        mesos_dns=MESOS_DNS,
    )


def _detect_ip(script: Path) -> str:
    if not script.exists():
        raise DcosError(
            f"{script} is not there: this is no DC/OS master; give --endpoints or --data-dir, or --root DIR"
        )
    try:
        said = subprocess.run(  # noqa: S603 - the machine's own program
            [script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DETECT_IP_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise DcosError(f"{script} did not end within {_DETECT_IP_TIMEOUT} s") from None
    except OSError as error:
        raise DcosError(f"{script} could not be run: {error.strerror}") from None
    if said.returncode != 0:
        raise DcosError(f"{script} ended with status {said.returncode}: {said.stderr.strip() or 'it said nothing'}")
    return address(said.stdout.strip(), str(script))


def address(text: str, source: str) -> str:
    """Check an IPv4 address, in its one spelling.

    DC/OS writes peer URLs as `https://ADDRESS:2380`, which is no URL for IPv6.
    """
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise DcosError(f"{source} says {text!r}, which is no IP address") from None
    if parsed.version != 4:  # noqa: PLR2004
        raise DcosError(f"{source} says {text}: DC/OS's start script of etcd knows IPv4 addresses alone")
    return str(parsed)


def _read_config(path: Path) -> tuple[bool, int | None]:
    """Read whether DC/OS is the enterprise variant, and how many masters it has.

    `num_masters` is text; DC/OS fills it in where the operator lists the masters.
    """
    try:
        config = json.loads(path.read_bytes())
        variant = config["dcos_variant"]
    except OSError as error:
        raise DcosError(f"{path}: {error.strerror}; it tells whether DC/OS is open or enterprise") from None
    except (ValueError, KeyError, TypeError):
        raise DcosError(f"{path} does not tell dcos_variant, which is open or enterprise") from None
    if variant not in ("open", "enterprise"):
        raise DcosError(f"{path}: dcos_variant is {variant!r}, which is neither open nor enterprise")
    number = str(config.get("num_masters", ""))
    return bool(variant == "enterprise"), int(number) if number.isdecimal() else None


def owner(profile: Profile) -> tuple[int, int]:
    """Find the ids of user and group `dcos_etcd`, in the files below a root of its own."""
    if profile.root == Path("/"):
        import grp  # noqa: PLC0415 - what needs no owner needs neither
        import pwd  # noqa: PLC0415

        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            raise DcosError(f"this machine has no user {USER}, to whom etcd's files belong") from None
        try:
            return user.pw_uid, grp.getgrnam(USER).gr_gid
        except KeyError:
            return user.pw_uid, user.pw_gid
    found = _entry(profile.root / "etc/passwd")
    if found is None:
        raise DcosError(f"{profile.root / 'etc/passwd'} has no user {USER}, to whom etcd's files belong")
    group = _entry(profile.root / "etc/group")
    return int(found[2]), int(group[2] if group else found[3])


def _entry(path: Path) -> list[str] | None:
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return None
    return next((line.split(":") for line in lines if line.startswith(f"{USER}:")), None)


def demand_root(what: str) -> None:
    """Refuse anybody but root.

    Raises:
        PermissionError: The caller is not root.
    """
    if os.geteuid() != 0:
        raise PermissionError(errno.EPERM, f"only root may {what}: files are given to {USER}")
