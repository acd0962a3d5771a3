"""What differs between two snapshots, two revisions of one, or a snapshot and a live cluster.

>>> import dcos_etcd
>>> found = dcos_etcd.compare("monday.tar.gz", "tuesday.tar.gz", prefix="/calico/")  # doctest: +SKIP
>>> found.counts.removed, [difference.key for difference in found.keys]  # doctest: +SKIP
(1, [b"/calico/ready"])
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from dcos_etcd import _core, _keys
from dcos_etcd._access import COMMAND_TIMEOUT, DIAL_TIMEOUT, access
from dcos_etcd._progress import reporting
from dcos_etcd._steps import Calculation, blocking, steps_of
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

    from dcos_etcd._keys import Key
    from dcos_etcd._progress import CoreCallback
    from dcos_etcd._steps import Steps, Work
    from dcos_etcd.models import Progress, Tls

    Found: TypeAlias = tuple[Any, bytes, _core._Side | None, _core._Side | None]
    Side: TypeAlias = "str | os.PathLike[str] | SnapshotView | list[str] | tuple[str, ...]"
    Parts: TypeAlias = dict[str, dict[str, Any]]

__all__ = ["compare"]


@blocking
def compare(
    a: Side,
    b: Side,
    *,
    prefix: Key = b"",
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
) -> Steps[Comparison]:
    """Find out what changed from A to B.

    Each side is the path of a snapshot, an open `Snapshot` or a view of it, or a live cluster: an endpoint such as
    `http://10.0.0.1:2379`, or a list of endpoints, of which the first that answers is read at one revision.

    A cluster is asked first whether it answers. Its newest revision is chosen last, when files are indexed: that may
    take minutes, after which an older revision might be compacted.

    Beside the keys, whole and newest states are compared: with a `prefix` or at an older revision there are only keys.
    What a live cluster does not tell is left out: `auth_enabled`, `cluster_version`, the users' `no_password`, and what
    the role root may do, which is everything. Passwords, the keys of leases and the time that leases have left are
    never compared.

    Memory is that of the two snapshots' indexes and of some 80 MB a side, however large they are and however much
    differs; values are compared by their SHA-256. On top comes what is kept: `limit` differences at most, with their
    keys, and with `values` the values of both sides, each of which may have 1.5 MB and more. While they are found,
    `values` takes some 70 MB more.

    Args:
        a: The first side.
        b: The second side.
        prefix: Only keys that begin with it.
        revision_a: The revision of A; `None` for its newest, or that of the view.
        revision_b: The revision of B, likewise.
        values: Give the values of what differs too; a smaller `limit` bounds the memory that they take.
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
    most = sys.maxsize if limit is None else min(limit, sys.maxsize)
    cluster = {"tls": tls, "user": user, "dial_timeout": dial_timeout, "command_timeout": command_timeout}
    differences = yield from steps_of(begin)(
        a,
        b,
        cluster=cluster,
        prefix=prefix,
        revisions=(revision_a, revision_b),
        values=values,
        only_keys=only_keys,
        ignore_rewritten=ignore_rewritten,
        progress=progress,
    )
    with differences:
        kept: list[KeyDifference] = []
        while found := (yield differences.batch()):
            kept += islice(differences.told(found), most - len(kept))
        result: Comparison = yield Calculation(lambda: differences.result(tuple(kept)))
        return result


@blocking
def begin(
    a: Side,
    b: Side,
    *,
    cluster: Mapping[str, Any],
    prefix: Key,
    revisions: tuple[int | None, int | None],
    values: bool,
    only_keys: bool,
    ignore_rewritten: bool,
    progress: bool | Callable[[Progress], object] | None,
) -> Steps[Differences]:
    """Begin to compare, for who wants every difference and none of them kept."""
    start = _keys.key("prefix", prefix)
    for name, revision in zip(("revision_a", "revision_b"), revisions, strict=True):
        if revision is not None:
            _keys.revision(revision, name)
    with ExitStack() as opening:
        bar = opening.enter_context(ExitStack())
        callback = bar.enter_context(reporting(progress))
        # A cluster that does not answer is told of at once, before files are inflated and indexed.
        newest: list[int | None] = []
        for side, revision in zip((a, b), revisions, strict=True):
            newest.append((yield from _asked(side, revision, start, cluster)))
        side_a = yield from _side(a, revisions[0], newest[0], cluster, opening)
        side_b = yield from _side(b, revisions[1], newest[1], cluster, opening)
        alone = only_keys or bool(start) or not (side_a.is_newest and side_b.is_newest)
        core = yield _core.compare(
            side_a.core,
            side_b.core,
            prefix=start,
            revision_a=side_a.revision,
            revision_b=side_b.revision,
            values=values,
            state=not alone,
            progress=callback,
        )
        parts: tuple[Parts, Parts] = ({}, {})
        if not alone:
            parts = yield Calculation(lambda: _comparable(*map(_parts, core.states())))
        reported = _Reported(callback, bar)
        return Differences(core, parts, reported, opening.pop_all(), rewritten=not ignore_rewritten)


class Differences:
    """A comparison on its way; iterating gives the differences as they are found, in the order of the keys."""

    def __init__(
        self,
        core: _core.Comparison,
        parts: tuple[Parts, Parts],
        reported: _Reported,
        stack: ExitStack,
        *,
        rewritten: bool,
    ) -> None:
        """Not for callers: `begin` makes them."""
        self._core = core
        self._parts = parts
        self._reported = reported
        self._stack = stack
        self._rewritten = rewritten

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def end_progress(self) -> None:
        """Tell of no more progress: a bar gives its terminal back, for others to write to."""
        self._reported.bar.close()
        self._reported = _Reported(None, self._reported.bar)

    def __iter__(self) -> Iterator[KeyDifference]:
        while found := self.batch().wait():
            yield from self.told(found)

    def batch(self) -> Work[list[Found]]:
        """Ask for the next differences in the core's form; there are none at the end."""
        return self._core.next(progress=self._reported.callback)

    def told(self, found: list[Found]) -> Iterator[KeyDifference]:
        """Give those that are to be told of."""
        for change, key, a, b in found:
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


class _Reported(NamedTuple):
    """Whom progress is told, and what ends a bar that is drawn of it."""

    callback: CoreCallback | None
    bar: ExitStack


class _Side(NamedTuple):
    """What the core reads of a side, and when."""

    core: Any
    revision: int | None
    is_newest: bool


def _asked(side: Side, revision: int | None, prefix: bytes, cluster: Mapping[str, Any]) -> Steps[int | None]:
    """Give the newest revision of a cluster that can be read; `None` of what is no cluster."""
    if not is_live(side):
        return None
    asked: int = yield _core.ask(access(side, **cluster), prefix=prefix, revision=revision)  # type: ignore[arg-type]
    return asked


def _side(
    side: Side, revision: int | None, newest: int | None, cluster: Mapping[str, Any], opening: ExitStack
) -> Steps[_Side]:
    if isinstance(side, SnapshotView):
        wanted = side.revision if revision is None else revision
        return _Side(side._core, wanted, is_newest=wanted == Snapshot(side._core).revision)
    if is_live(side):
        core = access(side, **cluster)  # type: ignore[arg-type] # is_live
        return _Side(core, revision, is_newest=revision in (None, newest))
    if isinstance(side, (str, os.PathLike)):
        try:
            snapshot = yield from steps_of(open)(side)
        except FileNotFoundError:
            if _is_bare_endpoint(side):
                raise InvalidArgumentError(f"{side}: there is no such file; is it a cluster, http://{side}?") from None
            raise
        opening.callback(snapshot.close)
        return _Side(snapshot._core, revision, is_newest=revision in (None, snapshot.revision))
    raise InvalidArgumentError(f"{side!r} is no path, no snapshot and no list of endpoints")


def is_live(side: object) -> bool:
    """Tell a cluster from a file: a list of endpoints, or text with a scheme."""
    return isinstance(side, (list, tuple)) or (isinstance(side, str) and side.startswith(("http://", "https://")))


def _is_bare_endpoint(side: object) -> bool:
    """Tell whether it would be an endpoint, were it not for the scheme that etcdctl does without."""
    _, colon, port = str(side).rpartition(":")
    return bool(colon) and port.isdecimal()


def _parts(told: Mapping[str, Any]) -> Parts:
    """Give what lies beside the keys, by part and name; some of it only a snapshot tells."""
    fields = ("id", "name", "peer_urls", "client_urls", "is_learner")
    members = (Member._from_manifest(dict(zip(fields, found, strict=True))) for found in told["members"])
    leases = (Lease(id=lease, ttl=ttl, remaining_ttl=0, keys=()) for lease, ttl in told["leases"])
    users = (User(name=name, roles=tuple(roles), no_password=bare) for name, roles, bare in told["users"])
    roles = (Role(name=name, permissions=tuple(map(_permission, found))) for name, found in told["roles"])
    alarms = (Alarm(member_id=member, name=name) for member, name in told["alarms"])
    return {
        "members": {one.id: one for one in members},
        "leases": {_lease_name(one.id): one for one in leases},
        "users": {one.name: one for one in users},
        "roles": {one.name: one for one in roles},
        "alarms": {f"{one.member_id} {one.name}": one for one in alarms},
        **{part: {"": told[part]} for part in ("auth_enabled", "storage_version", "cluster_version") if part in told},
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
    # etcd 3.5.1 stores no client URLs.
    silent = {name for side in bare for name, member in side["members"].items() if not member.client_urls}
    for side in bare:
        for name in silent & side["members"].keys():
            side["members"][name] = replace(side["members"][name], client_urls=())
        side["users"] = {name: replace(user, no_password=False) for name, user in side["users"].items()}
        # It allows everything, whatever is stored; servers since 3.6 answer so, and older ones what is stored.
        side["roles"] = {name: role for name, role in side["roles"].items() if name != "root"}
    return bare[0], bare[1]


def _without_rewritten(counts: KeyCounts) -> KeyCounts:
    return replace(counts, rewritten=0, same=counts.same + counts.rewritten)
