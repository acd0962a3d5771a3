"""What a snapshot holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dcos_etcd.models._shown import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes


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
class RevisionSpan:
    """What was written in some revisions on end, as far as it is still in the file.

    Attributes:
        first: The first revision.
        last: The last revision, included.
        versions: Versions that were written; deletions are not counted.
        tombstones: Deletions.
        version_bytes: Bytes of the values of those versions.
    """

    first: int
    last: int
    versions: int
    tombstones: int
    version_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats(Shown):
    """What takes the room in a key space at one revision.

    Attributes:
        revision: The revision; of later changes nothing is counted.
        total: All keys together.
        prefixes: By prefix, in the order of the prefixes.
        largest: Keys with the largest values, the largest first.
        most_rewritten: Keys with the most versions in the file, the most first.
        spans: What was written when: from the oldest revision in the file to this one, in spans of one width.
    """

    revision: int
    total: PrefixStats
    prefixes: tuple[PrefixStats, ...]
    largest: tuple[KeyFigure, ...]
    most_rewritten: tuple[KeyFigure, ...]
    spans: tuple[RevisionSpan, ...]

    @classmethod
    def _from_core(cls, data: Mapping[str, Any]) -> Stats:
        return cls(
            revision=data["revision"],
            total=PrefixStats(**data["total"]),
            prefixes=tuple(PrefixStats(**group) for group in data["groups"]),
            largest=tuple(map(KeyFigure._make, data["largest"])),
            most_rewritten=tuple(map(KeyFigure._make, data["most_rewritten"])),
            spans=tuple(
                RevisionSpan(first=first, last=last, versions=versions, tombstones=tombstones, version_bytes=size)
                for first, last, versions, tombstones, size in data["spans"]
            ),
        )

    def plot(self, ax: Axes | None = None, *, by: Literal["prefix", "revision"] = "prefix", most: int = 12) -> Axes:
        """Draw what takes the room.

        Args:
            ax: Where to draw; `None` makes a figure of its own.
            by: `prefix`: what the keys of each prefix take now, and what their older versions take on top of it.
                `revision`: what was written when, as far as it is still in the file.
            most: Prefixes that get a bar of their own; the others share one.

        Raises:
            MissingDependencyError: matplotlib is not installed.
            InvalidArgumentError: An argument makes no sense.
        """
        from dcos_etcd import plots  # noqa: PLC0415 - matplotlib takes long to load

        return plots.room(self, ax, by=by, most=most)
