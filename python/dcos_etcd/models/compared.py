"""What differs between two key spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from dcos_etcd.models._shown import Shown

if TYPE_CHECKING:
    from dcos_etcd.models.cluster import Member
    from dcos_etcd.models.contents import Alarm, Entry, Lease, Role, User

    State: TypeAlias = Member | Lease | User | Role | Alarm | str | bool


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyDifference:
    """A key that is not the same in both.

    Attributes:
        key: The key.
        change: `added`: only B has it. `removed`: only A has it. `value`: the values differ. `lease`: the same value
            hangs on another lease. `rewritten`: value and lease are the same, a revision or the version is not.
        a: The key in A, if it is there; its value is empty unless values were asked for.
        b: The key in B, likewise.
        size_a: Bytes of the value in A; `None` where it is not there.
        size_b: Bytes of the value in B, likewise.
    """

    key: bytes
    change: Literal["added", "removed", "value", "lease", "rewritten"]
    a: Entry | None
    b: Entry | None
    size_a: int | None
    size_b: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StateDifference:
    """Something beside the keys that is not the same in both.

    Attributes:
        part: What it is: `members`, `leases`, `users`, `roles`, `alarms`, `auth_enabled`, `storage_version` or
            `cluster_version`.
        name: Which of them, by name, or by id in hexadecimal as etcdctl prints it; empty for the last three.
        a: What A has; `None` where it has it not.
        b: What B has, likewise.
    """

    part: str
    name: str
    a: State | None
    b: State | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyCounts:
    """How many keys were compared, and what came of it.

    Attributes:
        keys_a: Keys of A.
        keys_b: Keys of B.
        added: Keys that only B has.
        removed: Keys that only A has.
        value: Keys whose values differ.
        lease: Keys of the same value on another lease.
        rewritten: Keys of the same value and lease, and another revision or version.
        same: Keys that are the same in all.
    """

    keys_a: int
    keys_b: int
    added: int
    removed: int
    value: int
    lease: int
    rewritten: int
    same: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(Shown):
    """What `compare` found; false when nothing differs.

    Attributes:
        revision_a: The revision of A that was compared.
        revision_b: The revision of B that was compared.
        counts: How many keys differ, all of them, whatever was kept.
        keys: The differences in the order of their keys, as many as were asked for.
        state: What differs beside the keys.
        compared: The parts that were compared, `keys` and names of `StateDifference`.
        equal: Whether nothing differs in what was compared.
    """

    revision_a: int
    revision_b: int
    counts: KeyCounts
    keys: tuple[KeyDifference, ...]
    state: tuple[StateDifference, ...]
    compared: tuple[str, ...]
    equal: bool

    def __bool__(self) -> bool:
        """Whether something differs."""
        return not self.equal

    @property
    def complete(self) -> bool:
        """Whether `keys` holds every difference."""
        counts = self.counts
        return len(self.keys) >= counts.added + counts.removed + counts.value + counts.lease + counts.rewritten
