"""Does etcd run on this master? By its unit, and by its ports: the locks on its files are looked at by the core."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from dcos_etcd.dcos._profile import CLIENT_PORT, PEER_PORT, UNIT

if TYPE_CHECKING:
    from dcos_etcd.dcos._profile import Profile

_SYSTEMCTL_TIMEOUT = 30

# States in which the process runs, or will without anybody doing anything: `activating` is also the pause before a
# restart.
_RUNNING = frozenset({"active", "activating", "deactivating", "reloading", "refreshing", "maintenance"})
_STOPPED = frozenset({"inactive", "failed"})

# Of /proc/net/tcp: state of a socket, and addresses on which a socket listens everywhere.
_LISTEN = "0A"
_ANYWHERE = frozenset({"00000000", "0" * 32})


def unit_state(profile: Profile) -> str | None:
    """Give the unit's state where systemd answers: `active`, `inactive`, `failed`, `activating`..."""
    systemctl = _systemctl(profile.root)
    if systemctl is None:
        return None
    try:
        said = subprocess.run(  # noqa: S603 - the machine's own program
            [systemctl, "is-active", UNIT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    state = said.stdout.strip()
    return state if state in _RUNNING | _STOPPED else None


def _systemctl(root: Path) -> str | None:
    if root == Path("/"):
        return shutil.which("systemctl")
    return next((str(root / path) for path in ("usr/bin/systemctl", "bin/systemctl") if (root / path).exists()), None)


def signs(profile: Profile) -> list[str]:
    """Give a clause for each sign that etcd runs, beside its locks."""
    found: list[str] = []
    state = unit_state(profile)
    if state in _RUNNING:
        found.append(f"the unit {UNIT} is {state}")
    found += [f"something listens on {place}" for place in listeners(profile)]
    return found


def listeners(profile: Profile) -> list[str]:
    """Name the addresses of etcd on this master on which something listens."""
    own = {"0100007F": "127.0.0.1", _hexadecimal(profile.address): profile.address}
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            host, _, port = local.partition(":")
            if state != _LISTEN or int(port, 16) not in (CLIENT_PORT, PEER_PORT):
                continue
            if host in _ANYWHERE:
                found.add(f"port {int(port, 16)}")
            elif host[-8:] in own:
                found.add(f"{own[host[-8:]]}:{int(port, 16)}")
    return sorted(found)


def _hexadecimal(address: str) -> str:
    """Spell an IPv4 address as /proc/net/tcp does: the bytes as a little-endian number."""
    return "".join(f"{int(byte):02X}" for byte in reversed(address.split(".")))
