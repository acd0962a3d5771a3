"""What differs between two snapshots, two revisions of one, or a snapshot and a live cluster.

>>> import dcos_etcd
>>> found = dcos_etcd.compare("monday.tar.gz", "tuesday.tar.gz", prefix="/calico/")  # doctest: +SKIP
>>> found.counts.removed, [difference.key for difference in found.keys]  # doctest: +SKIP
(1, [b"/calico/ready"])
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from dcos_etcd import _core
from dcos_etcd._access import COMMAND_TIMEOUT, DIAL_TIMEOUT, access
from dcos_etcd._progress import reporting
from dcos_etcd.exceptions import InvalidArgumentError
from dcos_etcd.models import (
    Alarm,
    Comparison,
    Entry,
    KeyCounts,
    KeyDifference,
    Lease,
    Member,
    Permission,
    Role,
    StateDifference,
    User,
)
from dcos_etcd.reader import Snapshot, SnapshotView, open  # noqa: A004 - as gzip and tarfile have it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta
    from typing import TypeAlias

    from typing_extensions import Self

    from dcos_etcd.models import Progress, Tls

    Side: TypeAlias = "str | os.PathLike[str] | SnapshotView | list[str] | tuple[str, ...]"
    Parts: TypeAlias = dict[str, dict[str, Any]]

__all__ = ["compare"]


def compare(
    a: Side,
    b: Side,
    *,
    prefix: bytes | str = b"",
    revision_a: int | None = None,
    revision_b: int | None = None,
    values: bool = False,
    only_keys: bool = False,
    ignore_rewritten: bool = False,
    limit: int | None = 10_000,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    progress: bool | Callable[[Progress], object] | None = None,
) -> Comparison:
    """Find out what changed from A to B.

    Each side is the path of a snapshot, an open `Snapshot` or a view of it, or a live cluster: an endpoint such as
    `http://10.0.0.1:2379`, or a list of endpoints, of which the first that answers is read at one revision.

    Beside the keys, whole and newest states are compared: with a `prefix` or at an older revision there are only keys.
    What a live cluster does not tell is left out: `auth_enabled`, `cluster_version`, the users' `no_password`, and what
    the role root may do, which is everything. Passwords, the keys of leases and the time that leases have left are
    never compared.

    Memory is that of the two snapshots' indexes and of some 80 MB a side, however large they are and however much
    differs; values are compared by their SHA-256.

    Args:
        a: The first side.
        b: The second side.
        prefix: Only keys that begin with it.
        revision_a: The revision of A; `None` for its newest, or that of the view.
        revision_b: The revision of B, likewise.
        values: Give the values of what differs too.
        only_keys: Leave out what is beside the keys.
        ignore_rewritten: Take keys of the same value and lease for the same, whatever their revisions.
        limit: Keep so many differences of keys; `None` for all. All are counted.
        tls: Certificates, for clusters.
        user: Name and password, for clusters; to compare more than keys takes the role root.
        dial_timeout: Seconds for one connection.
        command_timeout: Seconds for one request.
        progress: See `dcos_etcd.api`.

    Raises:
        CompactedError: A revision is compacted.
        FutureRevisionError: A revision is not there yet.
        NotASnapshotError: A file holds no snapshot.
        CorruptSnapshotError: What was to be read is damaged.
        EndpointUnavailableError: No endpoint could be used, or the connection broke.
        AccessDeniedError: etcd refused the certificate, the user or the role.
        RequestRefusedError: etcd answered with an error of its own.
        InvalidArgumentError: An argument makes no sense.
        OSError: A file could not be read.
    """
    if limit is not None and limit < 0:
        raise InvalidArgumentError(f"limit: {limit} is not a number of differences")
    cluster = {"tls": tls, "user": user, "dial_timeout": dial_timeout, "command_timeout": command_timeout}
    with Differences(
        a,
        b,
        cluster=cluster,
        prefix=prefix,
        revisions=(revision_a, revision_b),
        values=values,
        only_keys=only_keys,
        ignore_rewritten=ignore_rewritten,
        progress=progress,
    ) as differences:
        kept = tuple(islice(differences, limit))
        for _ in differences:
            pass
        return differences.result(kept)


class Differences:
    """A comparison on its way, for who wants every difference and none of them kept."""

    def __init__(
        self,
        a: Side,
        b: Side,
        *,
        cluster: Mapping[str, Any],
        prefix: bytes | str,
        revisions: tuple[int | None, int | None],
        values: bool,
        only_keys: bool,
        ignore_rewritten: bool,
        progress: bool | Callable[[Progress], object] | None,
    ) -> None:
        self._stack = ExitStack()
        self._rewritten = not ignore_rewritten
        with ExitStack() as opening:
            callback = opening.enter_context(reporting(progress))
            sides = [_Side(side, revision, cluster, opening) for side, revision in zip((a, b), revisions, strict=True)]
            start = prefix.encode() if isinstance(prefix, str) else prefix
            alone = only_keys or bool(start) or not all(side.is_newest for side in sides)
            self._core = _core.Comparison(
                sides[0].core,
                sides[1].core,
                prefix=start,
                revision_a=sides[0].revision,
                revision_b=sides[1].revision,
                values=values,
                state=not alone,
                progress=callback,
            )
            self._parts: tuple[Parts, Parts] = ({}, {})
            if not alone:
                states = self._core.states()
                self._parts = _comparable(sides[0].parts(states[0]), sides[1].parts(states[1]))
            self._stack = opening.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[KeyDifference]:
        """Give the next differences as they are found, in the order of the keys."""
        for batch in iter(self._core.next, []):
            for change, key, a, b in batch:
                if change != "rewritten" or self._rewritten:
                    yield KeyDifference(
                        key=key,
                        change=change,
                        a=None if a is None else Entry(key, a[1] or b"", *a[2:]),
                        b=None if b is None else Entry(key, b[1] or b"", *b[2:]),
                        size_a=None if a is None else a[0],
                        size_b=None if b is None else b[0],
                    )

    def state(self) -> tuple[StateDifference, ...]:
        """Give what differs beside the keys."""
        a, b = self._parts
        return tuple(
            StateDifference(part=part, name=name, a=a[part].get(name), b=b[part].get(name))
            for part in a
            for name in sorted({*a[part], *b[part]})
            if a[part].get(name) != b[part].get(name)
        )

    def result(self, kept: tuple[KeyDifference, ...]) -> Comparison:
        """Give the result, once the keys are through."""
        counts = KeyCounts(**self._core.counts())
        if not self._rewritten:
            counts = _without_rewritten(counts)
        state = self.state()
        differing = counts.added + counts.removed + counts.value + counts.lease + counts.rewritten
        revision_a, revision_b = self._core.revisions
        return Comparison(
            revision_a=revision_a,
            revision_b=revision_b,
            counts=counts,
            keys=kept,
            state=state,
            compared=("keys", *self._parts[0]),
            equal=not differing and not state,
        )


class _Side:
    """One side: what the core reads, and what lies beside its keys."""

    def __init__(self, side: Side, revision: int | None, cluster: Mapping[str, Any], opening: ExitStack) -> None:
        self.revision = revision
        self.is_newest = revision is None
        self._snapshot: Snapshot | None = None
        self.core: Any
        if isinstance(side, SnapshotView):
            self._snapshot = Snapshot(side._core)
            self.revision = side.revision if revision is None else revision
            self.is_newest = self.revision == self._snapshot.revision
        elif is_live(side):
            self.core = access(side, **cluster)  # type: ignore[arg-type] # told apart one line above
            return
        elif isinstance(side, (str, os.PathLike)):
            self._snapshot = opening.enter_context(open(side))
        else:
            raise InvalidArgumentError(f"{side!r} is no path, no snapshot and no list of endpoints")
        self.core = self._snapshot._core

    def parts(self, live: Mapping[str, Any] | None) -> Parts:
        """Give what lies beside the keys, by part and name."""
        if self._snapshot is None:
            return _live_parts(live or {})
        snapshot = self._snapshot
        return {
            "members": {one.id: one for one in snapshot.members},
            "leases": {_lease_name(one.id): replace(one, remaining_ttl=0, keys=()) for one in snapshot.leases},
            "users": {one.name: one for one in snapshot.users},
            "roles": {one.name: one for one in snapshot.roles},
            "alarms": {f"{one.member_id} {one.name}": one for one in snapshot.alarms},
            "auth_enabled": {"": snapshot.auth_enabled},
            "storage_version": {"": snapshot.storage_version},
            "cluster_version": {"": snapshot.cluster_version},
        }


def is_live(side: object) -> bool:
    """Tell a cluster from a file: a list of endpoints, or text with a scheme."""
    return isinstance(side, (list, tuple)) or (isinstance(side, str) and side.startswith(("http://", "https://")))


def _live_parts(live: Mapping[str, Any]) -> Parts:
    fields = ("id", "name", "peer_urls", "client_urls", "is_learner")
    members = (Member._from_manifest(dict(zip(fields, found, strict=True))) for found in live["members"])
    leases = (Lease(id=lease, ttl=ttl, remaining_ttl=0, keys=()) for lease, ttl in live["leases"])
    users = (User(name=name, roles=tuple(roles), no_password=False) for name, roles in live["users"])
    roles = (Role(name=name, permissions=tuple(map(_permission, found))) for name, found in live["roles"])
    alarms = (Alarm(member_id=member, name=name) for member, name in live["alarms"])
    return {
        "members": {one.id: one for one in members},
        "leases": {_lease_name(one.id): one for one in leases},
        "users": {one.name: one for one in users},
        "roles": {one.name: one for one in roles},
        "alarms": {f"{one.member_id} {one.name}": one for one in alarms},
        "storage_version": {"": live["storage_version"]},
    }


def _permission(found: tuple[str, bytes, bytes]) -> Permission:
    kind, key, end = found
    return Permission(kind=kind, key=key, range_end=end)


def _lease_name(lease: int) -> str:
    return f"{lease & (1 << 64) - 1:x}"


def _comparable(a: Parts, b: Parts) -> tuple[Parts, Parts]:
    """Leave out what only one side tells."""
    both = [part for part in a if part in b]
    if set(a) == set(b):
        return a, b
    bare = [{part: dict(side[part]) for part in both} for side in (a, b)]
    for side in bare:
        side["users"] = {name: replace(user, no_password=False) for name, user in side["users"].items()}
        # It allows everything, whatever is stored; servers since 3.6 answer so, and older ones what is stored.
        side["roles"] = {name: role for name, role in side["roles"].items() if name != "root"}
    return bare[0], bare[1]


def _without_rewritten(counts: KeyCounts) -> KeyCounts:
    return replace(counts, rewritten=0, same=counts.same + counts.rewritten)
