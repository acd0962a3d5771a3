"""Restore on a DC/OS master: everything is checked, built and proven before anything of the old member is touched.

etcd's start script reads `initial-nodes` and `initial-state` at every start; an etcd whose log exists goes by the log
and takes no notice of either. Without a log, `new` founds a cluster and `existing` joins one, or fails. So the state is
`existing` from before the first change until the restored directory stands: no kill leaves a master on which a start
would found an empty cluster.

| killed after | data directory | initial-nodes | initial-state | a start brings up |
|---|---|---|---|---|
| checks, building, proof | old | old | old | the old member |
| state `existing` | old | old | `existing` | the old member |
| nodes | old | new | `existing` | the old member |
| swap: one rename exchanges both directories | new | new | `existing` | the new member |
| state `new` | new | new | `new` | the new member |
| the old directory gets its dated name | new | new | `new` | the new member |

Between the last three the old data lies under a hidden name, which the next restore knows and dates. Where there is no
old member (no log), the state is `existing` from before the building on, and a start fails until the restored directory
stands. Where the file system cannot exchange two names, one instant has no directory at that place: a start fails in
it, and the next restore puts the old directory back first.

One restore at a time: the second one on a master is refused before it looks at anything. Its undoing would put back
what it saw at its start, which the first one has replaced.

An error, and Ctrl-C, undo the steps that were done, the swap too. From the swap on signals are passed over until the
end, which is milliseconds away.

The identity: the token is `etcd-dcos-` and the SHA-256 of the database, and where flags change what is restored, a
digest of these. On every master it is the same without their talking to each other, and it is another one for each
backup, and for each way to restore it. A master that is forgotten keeps the old identity, which no restored member
talks to.
"""

from __future__ import annotations

import dataclasses
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcos_etcd import _core, api
from dcos_etcd.dcos import _files, _lock, _masters, _profile, _service
from dcos_etcd.exceptions import DataDirInUseError, DcosError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from dcos_etcd._keys import Key
    from dcos_etcd.api import ProgressArgument, StrPath
    from dcos_etcd.models import Inspection, RestoreReport

_MODE = 0o644
_CARRIED = ("fixtures",)


def restore(
    path: StrPath,
    *,
    masters: str | Iterable[str] | None = None,
    initial_cluster_token: str | None = None,
    discard_old: bool = False,
    bump_revision: int | None = None,
    mark_compacted: bool = False,
    revision: int | None = None,
    prefixes: Key | Iterable[Key] = (),
    exclude_prefixes: Key | Iterable[Key] = (),
    compact: bool = False,
    clear_alarms: bool = False,
    disable_auth: bool = False,
    drop_leases: bool = False,
    skip_hash_check: bool = False,
    dry_run: bool = False,
    root: StrPath = "/",
    progress: ProgressArgument = None,
) -> RestoreReport:
    """Restore etcd on this master; every master is restored from the same archive, then all are started.

    Args:
        path: Any snapshot that `verify` takes.
        masters: Addresses of all masters; `None` asks Mesos-DNS, and `initial-nodes` when that does not answer.
        initial_cluster_token: Sets the new cluster apart, the same on all masters; `None` derives it from the archive,
            and from what of it is restored.
        discard_old: Delete the old data directory when the new one stands, instead of keeping it under a dated name.
            Refused when the archive lies in it.
        bump_revision: As in `dcos_etcd.restore`.
        mark_compacted: As in `dcos_etcd.restore`.
        revision: As in `dcos_etcd.restore`; the same on all masters, as are those that follow.
        prefixes: As in `dcos_etcd.restore`.
        exclude_prefixes: As in `dcos_etcd.restore`.
        compact: As in `dcos_etcd.restore`.
        clear_alarms: As in `dcos_etcd.restore`.
        disable_auth: As in `dcos_etcd.restore`.
        drop_leases: As in `dcos_etcd.restore`.
        skip_hash_check: As in `dcos_etcd.restore`.
        dry_run: Check everything and write nothing.
        root: What stands before every path of DC/OS.
        progress: As in `dcos_etcd.restore`.

    Raises:
        DataDirInUseError: etcd runs on this master, or another restore does.
        DcosError: This is no DC/OS master, not among the masters, or it is not clear who they are.
        PermissionError: The caller is not root.
        NoSpaceError: There is no room.
        SnapshotError: The archive is damaged, or none.
        CompactedError: `revision` is compacted in the archive.
        FutureRevisionError: `revision` is later than the archive.
        OSError: The archive could not be read, or the files not be written.
    """
    _profile.demand_root("restore on a DC/OS master")
    Path(path).stat()
    profile = _profile.read(root)
    with _lock.Lock(profile.state_dir) as lock:
        _refuse_running(profile)
        known = _masters.find(profile, masters)
        if profile.address not in known.addresses:
            raise DcosError(
                f"this master, {profile.address}, is not among the masters {', '.join(known.addresses)} (from "
                f"{known.source}): restore on those, or name all masters with --masters"
            )
        exchange = _Exchange(profile, known.addresses, _profile.owner(profile), lock)
        before = _known_of(profile)
        plan: dict[str, Any] = {
            "data_dir": profile.data_dir,
            "name": _profile.member_name(profile.address),
            "initial_cluster": exchange.initial_cluster,
            "initial_cluster_token": _profile.TOKEN if initial_cluster_token is None else initial_cluster_token,
            "derive_token": initial_cluster_token is None,
            "existing": "discard" if discard_old else "keep",
            "carry_over": _CARRIED,
            "owner": exchange.owner,
            "bump_revision": bump_revision,
            "mark_compacted": mark_compacted,
            "revision": revision,
            "prefixes": prefixes,
            "exclude_prefixes": exclude_prefixes,
            "compact": compact,
            "clear_alarms": clear_alarms,
            "disable_auth": disable_auth,
            "drop_leases": drop_leases,
            "skip_hash_check": skip_hash_check,
            "progress": progress,
        }
        if dry_run:
            report = api.restore(path, dry_run=True, **plan)
        else:
            report = exchange.run(
                lambda: api.restore(path, handover=exchange, **plan),
                fenced=_has_log(profile),
            )
        warnings = (*known.warnings, *report.warnings)
        if before is not None and before.cluster_id == report.cluster_id:
            warnings = (*warnings, _same_cluster(report))
        if report.snapshot_members > len(known.addresses):
            warnings = (*warnings, _fewer_masters(report, known))
        steps = (*report.steps, f"write {profile.initial_nodes} and {profile.initial_state} for the start script")
        return dataclasses.replace(report, steps=steps, warnings=warnings)


def _known_of(profile: _profile.Profile) -> Inspection | None:
    """Look into the old data directory; one that cannot be read is no reason not to restore."""
    try:
        return _masters.inspect(profile, pages=False)
    except OSError:
        return None


def _has_log(profile: _profile.Profile) -> bool:
    """Tell what etcd tells before it starts: with a log, however broken, it founds no cluster."""
    return any((profile.data_dir / "member" / "wal").glob("*.wal"))


def _fewer_masters(report: RestoreReport, known: _masters.Masters) -> str:
    return (
        f"the snapshot is of {report.snapshot_members} members, and it was restored for {len(known.addresses)}: "
        f"{', '.join(known.addresses)} (from {known.source}); if there are more masters, restore again with --masters "
        "before any is started"
    )


def _same_cluster(report: RestoreReport) -> str:
    return (
        f"the old data was of the same cluster {report.cluster_id}: this archive was restored here before. Restore it "
        "again on every master before any is started: one that is forgotten still belongs to this cluster, and would "
        "bring its newer data into it; a new --initial-cluster-token, the same on every master, fences it off"
    )


def _refuse_running(profile: _profile.Profile) -> None:
    holder = _core.in_use(str(profile.data_dir), wal_dir=None)
    signs = [f"{profile.data_dir} is locked by {holder}"] if holder else []
    signs += _service.signs(profile)
    if signs:
        message = f"etcd runs on this master: {'; '.join(signs)}; stop it on all masters (systemctl stop "
        raise DataDirInUseError(f"{message}{_profile.UNIT}); nothing was changed", path=str(profile.data_dir))


class _Exchange:
    """What has to happen around the swap of the data directories: see the module."""

    def __init__(
        self, profile: _profile.Profile, masters: tuple[str, ...], owner: tuple[int, int], lock: _lock.Lock
    ) -> None:
        self.profile = profile
        self.owner = owner
        self.lock = lock
        self.initial_cluster = ",".join(
            f"{_profile.member_name(master)}={_profile.peer_url(master)}" for master in masters
        )
        self._were: list[_files.Before] = []
        self._handlers: dict[int, Any] = {}
        self._stands = False

    def run(self, work: Any, *, fenced: bool) -> RestoreReport:  # noqa: ANN401 - a call of the API
        """Do `work`; whatever it raises, the files are then as they were, unless the new directory stands."""
        try:
            self._remember()
            if not fenced and self.lock.home_held:
                self._write_state("existing")
            report: RestoreReport = work()
        except BaseException:
            if not self._stands:
                self._put_back()
            raise
        finally:
            self._hear_signals()
        return report

    def before(self) -> None:
        """Look a last time, and let the files speak for the new member."""
        # There is a home by now. Where there was none, another restore may have begun in it, or be done.
        self.lock.take()
        self._remember()
        _refuse_running(self.profile)
        self._hold_signals()
        self._write_state("existing")
        _files.write(self.profile.initial_nodes, self.initial_cluster.encode(), mode=_MODE, owner=self.owner)
        # Written now: once the directories are swapped, nothing may fail for want of space.
        _files.prepare(self.profile.initial_state, b"new", mode=_MODE, owner=self.owner)

    def after(self) -> None:
        """Leave what the former tool left."""
        _files.put_in_place(self.profile.initial_state)
        self._stands = True

    def _write_state(self, state: str) -> None:
        _files.write(self.profile.initial_state, state.encode(), mode=_MODE, owner=self.owner)

    def _remember(self) -> None:
        """Keep what the files are; what was seen of them without the lock is nothing to put back."""
        if not self._were and self.lock.home_held:
            self._were = [_files.Before.of(path) for path in (self.profile.initial_nodes, self.profile.initial_state)]

    def _put_back(self) -> None:
        if not self._were:  # then nothing was written either
            return
        for path in (self.profile.initial_nodes, self.profile.initial_state):
            _files.forget(path)
        for was in self._were:
            if _files.Before.of(was.path) != was:
                was.put_back()

    def _hold_signals(self) -> None:
        """Let no Ctrl-C come between the swap and what belongs to it. Only the main thread gets any."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, _pass_over)

    def _hear_signals(self) -> None:
        for number, handler in self._handlers.items():
            # `None` is a handler that Python did not set, and cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._handlers.clear()


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    """Stand for nothing: what is under way is over in milliseconds."""
