"""Who the masters are: Mesos-DNS, `initial-nodes`, or what the operator says.

`--masters` decides where it is given; another source that says otherwise is told as a warning. Without it:

| Mesos-DNS | `initial-nodes` | the masters are |
|---|---|---|
| answers | absent, or names the same | those |
| answers | names some of them, this master too | those of Mesos-DNS, and a warning |
| answers | names another one | an error that shows both |
| does not answer | there | those of `initial-nodes` |
| does not answer | there, but the old data directory knows other members | an error that shows both |
| does not answer | there, but `num_masters` of DC/OS's configuration is another number | an error that shows both |
| does not answer | absent | an error that asks for `--masters` |

A file that names some of the masters is what DC/OS leaves: it writes it once, when a master joins, with the masters
that were there by then.
"""

from __future__ import annotations

import ipaddress
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dcos_etcd import _core
from dcos_etcd._access import listing
from dcos_etcd.dcos._profile import Profile, address
from dcos_etcd.exceptions import DcosError, InvalidArgumentError
from dcos_etcd.models import Inspection

if TYPE_CHECKING:
    from collections.abc import Iterable

# Seconds; it runs on this machine.
_MESOS_DNS_TIMEOUT = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Masters:
    """The masters, and how they are known.

    Attributes:
        addresses: Ascending.
        source: Where they come from, in words.
        warnings: What another source says, and which one could not be asked.
    """

    addresses: tuple[str, ...]
    source: str
    warnings: tuple[str, ...] = ()


def find(profile: Profile, given: str | Iterable[str] | None, *, lenient: bool = False) -> Masters:
    """Find the masters by the rules of this module.

    Args:
        profile: This master.
        given: What the operator says.
        lenient: Make disagreements warnings; what only looks takes the better source then.

    Raises:
        DcosError: Sources disagree, or there is none.
        InvalidArgumentError: What was given are no addresses.
    """
    wanted = None if given is None else _given(given)
    asked, silence = _ask_mesos_dns(profile)
    noted, unreadable = _read_initial_nodes(profile)
    sources = {"Mesos-DNS": asked, str(profile.initial_nodes): noted}
    if wanted is not None:
        warnings = tuple(
            f"--masters says {_shown(wanted)}, {name} says {_shown(found)}: --masters decides"
            for name, found in sources.items()
            if found is not None and set(found) != set(wanted)
        )
        return Masters(addresses=wanted, source="--masters", warnings=warnings)
    if asked is not None:
        if noted is None or set(noted) == set(asked):
            return Masters(addresses=asked, source="Mesos-DNS")
        if set(noted) < set(asked) and profile.address in noted:
            earlier = (
                f"{profile.initial_nodes} names {_shown(noted)} alone, Mesos-DNS {_shown(asked)}: taken from there"
            )
            return Masters(addresses=asked, source="Mesos-DNS", warnings=(earlier,))
        shown = {name: _shown(found) for name, found in sources.items()}
        return _settled(asked, "Mesos-DNS", shown, lenient=lenient)
    if noted is None:
        raise DcosError(
            f"nobody tells who the masters are: Mesos-DNS ({profile.mesos_dns}): {silence}; {unreadable}; give "
            "--masters IP,..."
        )
    found = _settled(noted, str(profile.initial_nodes), _contradicting(profile, noted), lenient=lenient)
    warnings = (f"Mesos-DNS did not tell the masters ({silence}): taken from {found.source}", *found.warnings)
    if noted == (profile.address,):
        warnings = (*warnings, f"{found.source} names this master alone; if there are others, give --masters IP,...")
    return Masters(addresses=noted, source=found.source, warnings=warnings)


def _contradicting(profile: Profile, noted: tuple[str, ...]) -> dict[str, str]:
    """Say what speaks against `initial-nodes`, itself included; nothing when all that is known agrees."""
    others = {}
    known = _read_members(profile)
    if known is not None and set(known) != set(noted):
        others[str(profile.data_dir)] = _shown(known)
    if profile.number not in (None, len(noted)):
        others[str(profile.config)] = f"there are {profile.number} masters"
    return {str(profile.initial_nodes): _shown(noted), **others} if others else {}


def _settled(found: tuple[str, ...], source: str, contradicting: dict[str, str], *, lenient: bool) -> Masters:
    if not contradicting:
        return Masters(addresses=found, source=source)
    words = "; ".join(f"{name} says {said}" for name, said in contradicting.items())
    message = f"it is not clear who the masters are: {words}"
    if lenient:
        return Masters(addresses=found, source=source, warnings=(message,))
    raise DcosError(f"{message}; say it with --masters IP,...")


def _given(given: str | Iterable[str]) -> tuple[str, ...]:
    listed = [text.strip() for text in listing(given)]
    if not listed:
        raise InvalidArgumentError("--masters: at least one address is needed")
    try:
        return _ordered(address(text, "--masters") for text in listed)
    except DcosError as error:
        raise InvalidArgumentError(error.message) from None


def _ask_mesos_dns(profile: Profile) -> tuple[tuple[str, ...] | None, str]:
    """Give the masters, or the reason why they are not known."""
    # A proxy of the environment has no business with an address of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(profile.mesos_dns, timeout=_MESOS_DNS_TIMEOUT) as answer:
            hosts = json.load(answer)
        # Of a name that it does not know Mesos-DNS tells an empty address.
        found = [host["ip"] for host in hosts if host["ip"]]
        if not found:
            return None, "it knows no master"
        return _ordered(address(text, "Mesos-DNS") for text in found), ""
    except urllib.error.URLError as error:
        return None, f"{error.reason}"
    except OSError as error:
        return None, error.strerror or str(error) or type(error).__name__
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, "it does not answer with a list of hosts"
    except DcosError as error:
        return None, error.message


def _read_initial_nodes(profile: Profile) -> tuple[tuple[str, ...] | None, str]:
    path = profile.initial_nodes
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    found: set[str] = set()
    for piece in text.split(","):
        _, _, url = piece.partition("=")
        try:
            found.add(address(urlsplit(url.strip()).hostname or url, str(path)))
        except (DcosError, ValueError):
            return None, f"{path} holds {piece!r}, where etcd-IP=https://IP:2380 should be"
    return _ordered(found), ""


def _read_members(profile: Profile) -> tuple[str, ...] | None:
    """Tell the members that the old data directory knows, where it knows any."""
    try:
        found = inspect(profile, pages=False)
    except OSError:
        return None
    hosts = {urlsplit(url).hostname or "" for member in found.log_members or found.members for url in member.peer_urls}
    try:
        return _ordered(address(host, str(profile.data_dir)) for host in hosts) or None
    except (DcosError, ValueError):
        return None


def inspect(profile: Profile, *, pages: bool) -> Inspection:
    """Look into the data directory of this master."""
    return Inspection._from_json(_core.inspect(str(profile.data_dir), wal_dir=None, pages=pages, progress=None))


def _ordered(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(addresses), key=ipaddress.ip_address))


def _shown(addresses: tuple[str, ...] | None) -> str:
    return ", ".join(addresses) if addresses else "nothing"
