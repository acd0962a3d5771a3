"""What of a snapshot a restore takes, as plain values that cross into the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dcos_etcd._key import keys_bytes
from dcos_etcd.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcos_etcd._key import Key

_MAX_REVISION = (1 << 63) - 1


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
    if revision is not None and not 0 < revision <= _MAX_REVISION:
        raise InvalidArgumentError(f"revision: {revision} is not between 1 and 2^63 - 1")
    return Rewrite(
        revision=revision,
        prefixes=keys_bytes("prefixes", prefixes),
        exclude_prefixes=keys_bytes("exclude_prefixes", exclude_prefixes),
        compact=compact,
        repairs=repairs,
    )
