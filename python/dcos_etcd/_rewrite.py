"""What of a snapshot a restore takes, as plain values that cross into the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dcos_etcd import _keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcos_etcd._keys import Key


@dataclass(frozen=True, kw_only=True, slots=True)
class Repairs:
    """Changes to a snapshot's content that nobody makes unasked."""

    clear_alarms: bool
    disable_auth: bool
    drop_leases: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewrite:
    """A part of a snapshot, or another revision of it."""

    revision: int | None
    prefixes: list[bytes]
    exclude_prefixes: list[bytes]
    compact: bool
    repairs: Repairs


def rewrite(
    *,
    revision: int | None,
    prefixes: Key | Iterable[Key],
    exclude_prefixes: Key | Iterable[Key],
    compact: bool,
    repairs: Repairs,
) -> Rewrite:
    """Bring the arguments into the core's form."""
    return Rewrite(
        revision=None if revision is None else _keys.revision(revision),
        prefixes=_keys.keys("prefixes", prefixes),
        exclude_prefixes=_keys.keys("exclude_prefixes", exclude_prefixes),
        compact=compact,
        repairs=repairs,
    )
