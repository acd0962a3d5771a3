"""Keys of a snapshot, written back into a live cluster.

>>> import dcos_etcd
>>> plan = dcos_etcd.plan_put_back("etcd.tar.gz", ["http://10.0.0.1:2379"], prefix="/calico/")  # doctest: +SKIP
>>> [(change.action, change.key) for change in plan]  # doctest: +SKIP
[("create", b"/calico/ready")]
>>> plan.apply().created  # doctest: +SKIP
1
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from dcos_etcd import _core, _keys, changes
from dcos_etcd._access import COMMAND_TIMEOUT, DEFAULT_ENDPOINTS, DIAL_TIMEOUT, access
from dcos_etcd._progress import reporting
from dcos_etcd._steps import blocking, steps_of
from dcos_etcd.models import Conflict, PlannedChange, PutBackCounts, PutBackReport, Unanswered
from dcos_etcd.models._shown import Shown
from dcos_etcd.reader import SnapshotView, open  # noqa: A004 - as gzip and tarfile have it

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta

    from dcos_etcd._keys import Key
    from dcos_etcd._sheet import Sheet
    from dcos_etcd._steps import Steps
    from dcos_etcd.models import Progress, Tls

    ProgressArgument = bool | Callable[[Progress], object] | None

__all__ = ["PutBackPlan", "plan_put_back", "put_back"]


@blocking
def put_back(
    snapshot: str | os.PathLike[str] | SnapshotView,
    endpoints: str | Iterable[str] = DEFAULT_ENDPOINTS,
    *,
    prefix: Key,
    revision: int | None = None,
    delete_extra: bool = False,
    skip_hash_check: bool = False,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    progress: ProgressArgument = None,
) -> Steps[PutBackReport]:
    """Write keys of a snapshot back into a live cluster: `plan_put_back` and its `apply` in one.

    Args:
        snapshot: The path of a snapshot, an open `Snapshot`, or a view of it.
        endpoints: The cluster; the first endpoint that answers is used, and another when it does not answer any more.
        prefix: Only keys that begin with it; empty for all keys.
        revision: The keys as they were then; `None` for the newest, or the revision of the view.
        delete_extra: Delete the keys of the cluster, below the prefix, that the snapshot has not.
        skip_hash_check: Take a `.db` of `etcdctl snapshot save` whose SHA-256 does not fit. (The blocks of an archive
            are always checked.)
        tls: Certificates.
        user: Name and password; it must be allowed to read and write below the prefix, and to write all keys of the
            leases that changed keys below it hang on.
        dial_timeout: Seconds for one connection.
        command_timeout: Seconds for one request.
        progress: See `dcos_etcd.api`.

    Raises:
        PutBackStoppedError: It could not go on to its end; another run goes on from there.
        EndpointUnavailableError: No endpoint could be used.
        AccessDeniedError: etcd refused the certificate, the user or the role.
        RequestRefusedError: etcd answered with an error of its own.
        CompactedError: The revision is compacted.
        FutureRevisionError: The revision is not there yet.
        NotASnapshotError: The file holds no snapshot.
        CorruptSnapshotError: What was to be read is damaged, or its SHA-256 does not fit.
        InvalidArgumentError: An argument makes no sense.
        OSError: The file could not be read.
    """
    plan = yield from steps_of(plan_put_back)(
        snapshot,
        endpoints,
        prefix=prefix,
        revision=revision,
        delete_extra=delete_extra,
        skip_hash_check=skip_hash_check,
        tls=tls,
        user=user,
        dial_timeout=dial_timeout,
        command_timeout=command_timeout,
        progress=progress,
    )
    return (yield from steps_of(PutBackPlan.apply)(plan, progress=progress))


@blocking
def plan_put_back(
    snapshot: str | os.PathLike[str] | SnapshotView,
    endpoints: str | Iterable[str] = DEFAULT_ENDPOINTS,
    *,
    prefix: Key,
    revision: int | None = None,
    delete_extra: bool = False,
    skip_hash_check: bool = False,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    progress: ProgressArgument = None,
) -> Steps[PutBackPlan]:
    """Find out what `put_back` would write; nothing is written. It takes the same arguments.

    The plan knows of each key the revision of its last change in the cluster, and holds no values.
    """
    target = access(endpoints, tls=tls, user=user, dial_timeout=dial_timeout, command_timeout=command_timeout)
    if isinstance(snapshot, SnapshotView):
        opened: AbstractContextManager[SnapshotView] = nullcontext(snapshot)
    else:
        opened = yield from steps_of(open)(snapshot)
    with opened as view, reporting(progress) as callback:
        wanted = view.revision if revision is None and isinstance(snapshot, SnapshotView) else revision
        plan = yield _core.plan_put_back(
            view._core,
            access=target,
            prefix=_keys.key("prefix", prefix),
            revision=wanted,
            delete_extra=delete_extra,
            skip_hash_check=skip_hash_check,
            progress=callback,
        )
    return PutBackPlan(plan)


class PutBackPlan(Shown):
    """What would be written into a cluster; iterating gives every `PlannedChange` in the order of the keys.

    It reads the snapshot again when it is applied, also when that was closed meanwhile.
    """

    __slots__ = ("_about", "_core", "counts")

    def __init__(self, core: _core.PutBackPlan) -> None:
        """Not for callers: `plan_put_back` makes plans."""
        self._core = core
        self._about = core.about()
        self.counts: PutBackCounts = PutBackCounts(**{name: self._about[name] for name in PutBackCounts.__slots__})
        """How many keys it is about."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} changes for {self.endpoint}>"

    def __len__(self) -> int:
        counts = self.counts
        return counts.create + counts.update + counts.delete

    def __iter__(self) -> Iterator[PlannedChange]:
        first = 0
        while batch := self._core.changes(first):
            first += len(batch)
            for action, key, size, mod_revision in batch:
                yield PlannedChange(key=key, action=action, size=size, mod_revision=mod_revision)

    @property
    def endpoint(self) -> str:
        """The member that was read."""
        return str(self._about["endpoint"])

    @property
    def revision(self) -> int:
        """The revision of the snapshot."""
        return int(self._about["revision"])

    @property
    def cluster_revision(self) -> int:
        """The revision at which the cluster was read."""
        return int(self._about["cluster_revision"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be known of it."""
        leased = self.counts.leased
        if not leased:
            return ()
        return (f"{leased} keys hung on a lease in the snapshot; they are put without one, and will not expire",)

    @property
    def report(self) -> PutBackReport | None:
        """What the last `apply` has done so far, also where it was interrupted; `None` before there was one.

        It counts what etcd has confirmed. The transaction under way when it was interrupted may be carried out as well.
        """
        applied = self._core.applied()
        if applied is None:
            return None
        conflicts = tuple(
            Conflict(key=key, action=action, planned=planned, found=found)
            for key, action, planned, found in applied.pop("conflicts")
        )
        detached = applied["detached"]
        lost = (f"{detached} keys hung on a lease that is not there any more; they hang on none now",)
        unanswered = tuple(Unanswered(endpoint=one, creates=creates) for one, creates in applied.pop("unanswered"))
        return PutBackReport(
            endpoint=self.endpoint,
            revision=self.revision,
            cluster_revision=self.cluster_revision,
            planned=self.counts,
            conflicts=conflicts,
            unanswered=unanswered,
            warnings=(*self.warnings, *(lost if detached else ()), *map(changes.unanswered_line, unanswered)),
            **applied,
        )

    def _sheet(self) -> Sheet:
        place = {"endpoint": self.endpoint, "revision": self.revision, "cluster_revision": self.cluster_revision}
        return changes.plan_sheet(self.counts, place, self.warnings)

    @blocking
    def apply(self, *, progress: ProgressArgument = None) -> Steps[PutBackReport]:
        """Write what is planned, by transactions of at most 128 keys and some 1 MiB.

        Each key is written only if its last change is still the one that the plan saw. A key that somebody else has
        written since is a conflict, unless it has the right value by now; the others go on. A transaction happens as a
        whole or not at all, the run of them does not: doing it again passes over what is done.

        A key that is there keeps the lease that it hangs on, unless that is not there any more. A key that is not there
        gets none. Newer servers let nobody put a key on a lease who may not write all keys of it: such a key stays as
        it is and is named in the error, after all others are written.

        A transaction that gets no answer is made again, up to three times, by whichever endpoint answers then: its
        conditions tell whether it was carried out by then. A member that was stopped for a while may carry it out
        later; what it changes or deletes is safe then, a key that it creates comes back if it was deleted meanwhile.
        `PutBackReport.unanswered` and a warning tell of that.

        Args:
            progress: See `dcos_etcd.api`.

        Raises:
            PutBackStoppedError: It could not go on; tells how far it came, and has the reason as its cause.
            EndpointUnavailableError: No endpoint could be used, and nothing was written.
            AccessDeniedError: etcd refused the certificate or the user, and nothing was written.
            InvalidArgumentError: The endpoints have come to belong to another cluster.
        """
        with reporting(progress) as callback:
            yield self._core.apply(progress=callback)
        report = self.report
        assert report is not None  # noqa: S101 - it has been applied
        return report
