"""What a snapshot holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Entry(NamedTuple):
    """One version of one key, as etcd's Range gives it.

    Attributes:
        key: The key.
        value: The value; empty where only keys were asked for, and for a deletion.
        create_revision: Revision of the put that made the key; 0 for a deletion.
        mod_revision: Revision of this change.
        version: 1 for the put that made the key, then counting up; 0 for a deletion.
        lease: Id of the lease that the key hangs on; 0 for none.
    """

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int

    @property
    def deleted(self) -> bool:
        """Whether this is a deletion (a tombstone), which only a history has."""
        return self.version == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A lease as it is stored; after a restore its time starts anew.

    Attributes:
        id: The lease's id; etcdctl prints it in hexadecimal.
        ttl: Granted time to live, in seconds.
        remaining_ttl: Seconds left at the last checkpoint; 0 when there was none.
        keys: The keys that hang on it, in order.
    """

    id: int
    ttl: int
    remaining_ttl: int
    keys: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """An alarm that is raised.

    Attributes:
        member_id: Hexadecimal id of the member that it is about.
        name: `NOSPACE` or `CORRUPT`.
    """

    member_id: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """Who may come in, while authentication is on; passwords are not told.

    Attributes:
        name: The user's name.
        roles: Names of the user's roles.
        no_password: Whether the user comes by certificate alone.
    """

    name: str
    roles: tuple[str, ...]
    no_password: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Permission:
    """What a role allows.

    Attributes:
        kind: `READ`, `WRITE` or `READWRITE`.
        key: The key, or where the range of keys begins.
        range_end: Where the range ends, exclusively; empty for one key, one NUL byte for no end.
    """

    kind: str
    key: bytes
    range_end: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """A role with what it allows.

    Attributes:
        name: The role's name.
        permissions: Each range of keys.
    """

    name: str
    permissions: tuple[Permission, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixStats:
    """Figures of the keys that begin alike.

    Attributes:
        prefix: What they begin with; empty for all keys, and for those without a `/`.
        keys: Keys that are there.
        key_bytes: Bytes of those keys.
        value_bytes: Bytes of their values.
        versions: Versions in the file, of deleted keys too; deletions are not counted.
        tombstones: Deletions in the file.
        version_bytes: Bytes of the values of all those versions.
    """

    prefix: bytes
    keys: int
    key_bytes: int
    value_bytes: int
    versions: int
    tombstones: int
    version_bytes: int


class KeyFigure(NamedTuple):
    """A key that stands out.

    Attributes:
        key: The key.
        figure: Bytes of its value, or the number of its versions in the file.
    """

    key: bytes
    figure: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """What takes the room in a key space at one revision.

    Attributes:
        revision: The revision; of later changes nothing is counted.
        total: All keys together.
        prefixes: By prefix, in the order of the prefixes.
        largest: Keys with the largest values, the largest first.
        most_rewritten: Keys with the most versions in the file, the most first.
    """

    revision: int
    total: PrefixStats
    prefixes: tuple[PrefixStats, ...]
    largest: tuple[KeyFigure, ...]
    most_rewritten: tuple[KeyFigure, ...]

    @classmethod
    def _from_core(cls, data: Mapping[str, Any]) -> Stats:
        return cls(
            revision=data["revision"],
            total=PrefixStats(**data["total"]),
            prefixes=tuple(PrefixStats(**group) for group in data["groups"]),
            largest=tuple(map(KeyFigure._make, data["largest"])),
            most_rewritten=tuple(map(KeyFigure._make, data["most_rewritten"])),
        )
