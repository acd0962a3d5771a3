"""Who the masters are: Mesos-DNS, `initial-nodes`, or what the operator says.

`--masters` decides where it is given; another source that says otherwise is told as a warning. Without it:

| Mesos-DNS | what else is known | the masters are |
|---|---|---|
| answers | nothing that says otherwise | those |
| answers | `initial-nodes` names some of them, this master too | those of Mesos-DNS, and a warning |
| answers | `initial-nodes` names another one, or lacks this master | an error that shows both |
| answers | `num_masters` of DC/OS's configuration is another number | an error that shows both |
| answers | the old data directory knows another member, and `num_masters` is not told | an error that shows both |
| answers | the old data directory knows another member, and `num_masters` is their number | those, and a warning |
| does not answer | `initial-nodes`, and nothing that says otherwise | those of `initial-nodes` |
| does not answer | `initial-nodes`, but the old data directory knows other members | an error that shows both |
| does not answer | `initial-nodes`, but `num_masters` is another number | an error that shows both |
| does not answer | no `initial-nodes` | an error that asks for `--masters` |

Mesos-DNS names the masters whose mesos-master lives: one that is down for an hour is missing, as is one that is gone
for good. Only the number of masters tells these apart, which DC/OS fixes when it is installed: with one down there are
too few, and with one replaced as many as ever.

A file that names some of the masters is what DC/OS leaves: it writes it once, when a master joins, with the masters
that were there by then.

What only looks takes every master that any source names, where those rules make an error; but those of Mesos-DNS alone
where the number of masters is theirs.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
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
        lenient: Make disagreements warnings; what only looks had better look at too many.

    Raises:
        DcosError: Sources disagree, or there is none.
        InvalidArgumentError: What was given are no addresses.
    """
    wanted = None if given is None else _given(given)
    asked, silence = _ask_mesos_dns(profile)
    noted, unreadable = _read_initial_nodes(profile)
    told = _Told(profile=profile, asked=asked, noted=noted, known=_read_members(profile))
    if wanted is not None:
        warnings = tuple(
            f"--masters says {_shown(wanted)}, {name} says {said}: --masters decides"
            for name, said in told.against(wanted).items()
        )
        return Masters(addresses=wanted, source="--masters", warnings=warnings)
    if asked is not None:
        return _by_mesos_dns(told, asked, lenient=lenient)
    if noted is None:
        raise DcosError(
            f"nobody tells who the masters are: Mesos-DNS ({profile.mesos_dns}): {silence}; {unreadable}; give "
            "--masters IP,..."
        )
    source = str(profile.initial_nodes)
    found = Masters(addresses=noted, source=source)
    if told.against(noted):
        found = _unsettled(told, found, lenient=lenient)
    warnings = (f"Mesos-DNS did not tell the masters ({silence}): taken from {found.source}", *found.warnings)
    if noted == (profile.address,):
        warnings = (*warnings, f"{source} names this master alone; if there are others, give --masters IP,...")
    return replace(found, warnings=warnings)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """What every source says; `None` is one that says nothing."""

    profile: Profile
    asked: tuple[str, ...] | None
    noted: tuple[str, ...] | None
    known: tuple[str, ...] | None

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """Those that name masters, by what people call them."""
        profile = self.profile
        every = {
            "Mesos-DNS": self.asked,
            str(profile.initial_nodes): self.noted,
            str(profile.data_dir): self.known,
        }
        return {name: found for name, found in every.items() if found is not None}

    def against(self, masters: tuple[str, ...]) -> dict[str, str]:
        """Say what each source says that says otherwise."""
        others = {name: _shown(found) for name, found in self.named.items() if set(found) != set(masters)}
        if self.profile.number not in (None, len(masters)):
            others[str(self.profile.config)] = f"there are {self.profile.number} masters"
        return others


def _by_mesos_dns(told: _Told, asked: tuple[str, ...], *, lenient: bool) -> Masters:
    profile = told.profile
    noted = set(told.noted or asked)
    strangers = tuple(host for host in told.known or () if host not in asked)
    found = Masters(addresses=asked, source="Mesos-DNS")
    of_that_number = profile.number == len(asked)
    joined_since = noted == set(asked) or (noted < set(asked) and profile.address in noted)
    if not joined_since or (strangers and not of_that_number) or profile.number not in (None, len(asked)):
        return _unsettled(told, found, lenient=lenient, alone=of_that_number)
    warnings: list[str] = []
    if noted != set(asked):
        earlier = f"{profile.initial_nodes} names {_shown(told.noted)} alone, Mesos-DNS {_shown(asked)}"
        warnings.append(f"{earlier}: taken from there")
    if strangers:
        warnings.append(
            f"{profile.data_dir} knows {_shown(strangers)} too, Mesos-DNS names {_shown(asked)}, and there are "
            f"{profile.number} masters ({profile.config}): taken for replaced; if that is not so, give --masters IP,..."
        )
    return replace(found, warnings=tuple(warnings))


def _unsettled(told: _Told, found: Masters, *, lenient: bool, alone: bool = False) -> Masters:
    """Refuse, or give what is better to look at: every master that is named, unless those `alone` will do."""
    said = {found.source: _shown(found.addresses), **told.against(found.addresses)}
    words = "; ".join(f"{name} says {what}" for name, what in said.items())
    message = f"it is not clear who the masters are: {words}"
    if not lenient:
        raise DcosError(f"{message}; say it with --masters IP,...")
    every = _ordered(host for named in told.named.values() for host in named)
    if alone or set(every) == set(found.addresses):
        return replace(found, warnings=(message,))
    return Masters(addresses=every, source=" and ".join(told.named), warnings=(message,))


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
    except (http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
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
    hosts = {urlsplit(url).hostname or "" for member in found.known_members for url in member.peer_urls}
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
