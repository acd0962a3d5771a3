"""The verbs as coroutines, for asyncio's event loops and those that stand in for them, such as uvloop's.

    >>> import asyncio
    >>> from dcos_etcd import aio
    >>> report = asyncio.run(aio.backup("etcd.tar.gz", endpoints="http://10.0.0.1:2379"))  # doctest: +SKIP

Each takes what the verb of the same name in `dcos_etcd` takes, does the same, and returns or raises the same; what is
said here is what awaiting adds.

* Nothing begins before the coroutine is awaited. The core works on threads of its own, so that the event loop goes
  on; several verbs may be awaited at once.
* A verb whose task is cancelled, or whose time is up (`asyncio.timeout`, `asyncio.wait_for`), stops. The await ends
  with `CancelledError` when everything is cleaned up and not before, which takes a fraction of a second. Then nothing
  is left behind: what was to be made is not there or, when it had got its name by then, all of it is. `put_back`
  leaves what etcd had confirmed.
* `progress` is called on the event loop's thread, in the context of the task that awaits. When it raises, the work
  stops, is cleaned up after, and the exception comes out of the await.
* At the end of a program verbs may be awaited in handlers that were given to `atexit.register` after `dcos_etcd` was
  imported. Those that were given before are called last, and get a `RuntimeError`: it is too late for threads.
* After a `fork` parent and child may both go on using everything here, each with event loops of its own. What is under
  way belongs to the process that began it. Plans, reports, and snapshots that nobody was reading may be carried over.
"""

from __future__ import annotations

import asyncio
import json as json  # noqa: PLC0414 - what crosses from the core is read with it: loaded here, not while a loop waits
from contextlib import suppress
from inspect import cleandoc
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from dcos_etcd import api, comparing, putting_back
from dcos_etcd._access import COMMAND_TIMEOUT, DEFAULT_ENDPOINTS, DIAL_TIMEOUT, STALL_TIMEOUT
from dcos_etcd._progress import prepare
from dcos_etcd._steps import shorten, steps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from datetime import timedelta
    from typing import Any, ParamSpec

    from dcos_etcd._keys import Key
    from dcos_etcd._steps import Work
    from dcos_etcd.api import InitialCluster, ProgressArgument, StrPath
    from dcos_etcd.comparing import Side
    from dcos_etcd.models import (
        BackupReport,
        Comparison,
        Diagnosis,
        Handover,
        MemberList,
        PutBackReport,
        RestoreReport,
        Status,
        Tls,
        VerifyReport,
    )
    from dcos_etcd.putting_back import PutBackPlan
    from dcos_etcd.reader import SnapshotView

    P = ParamSpec("P")

__all__ = [
    "apply",
    "backup",
    "compare",
    "diagnose",
    "member_list",
    "plan_put_back",
    "put_back",
    "restore",
    "status",
    "verify",
]

_SOONEST, _PERIOD = 0.001, 0.05
"""Seconds until the first look at how far the work is, and between two looks later on."""

R = TypeVar("R")
F = TypeVar("F", bound="Callable[..., Coroutine[Any, Any, Any]]")


def _twin_of(verb: Callable[..., object]) -> Callable[[F], F]:
    """Give a coroutine function the arguments and errors of the blocking verb in its documentation too."""

    def document(function: F) -> F:
        # There is neither where Python runs without docstrings.
        if verb.__doc__ and function.__doc__:
            _, section, rest = cleandoc(verb.__doc__).partition("Args:\n")
            function.__doc__ = f"{cleandoc(function.__doc__)}\n\n{section}{rest}".rstrip()
        return function

    return document


@_twin_of(api.backup)
async def backup(
    path: StrPath,
    *,
    endpoints: str | Iterable[str] = DEFAULT_ENDPOINTS,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    stall_timeout: float | timedelta = STALL_TIMEOUT,
    compression: Literal["gzip", "zstd"] | None = None,
    max_rate: int | None = None,
    progress: ProgressArgument = None,
) -> BackupReport:
    """Stream a snapshot of a cluster into one verified archive.

    The archive appears under its name only when it is whole and on stable storage; after a failure, or when it is
    cancelled before that, there is none.
    """
    return await _awaited(
        api.backup,
        path,
        endpoints=endpoints,
        tls=tls,
        user=user,
        dial_timeout=dial_timeout,
        command_timeout=command_timeout,
        stall_timeout=stall_timeout,
        compression=compression,
        max_rate=max_rate,
        progress=progress,
    )


@_twin_of(api.verify)
async def verify(path: StrPath, *, skip_hash_check: bool = False, progress: ProgressArgument = None) -> VerifyReport:
    """Find out whether a snapshot is whole and sound; nothing is changed."""
    return await _awaited(api.verify, path, skip_hash_check=skip_hash_check, progress=progress)


@_twin_of(api.status)
async def status(path: StrPath, *, progress: ProgressArgument = None) -> Status:
    """Compute the numbers of `etcdutl snapshot status`; nothing is changed."""
    return await _awaited(api.status, path, progress=progress)


@_twin_of(api.restore)
async def restore(
    path: StrPath,
    *,
    data_dir: StrPath,
    name: str = "default",
    initial_cluster: InitialCluster = "default=http://localhost:2380",
    initial_advertise_peer_urls: str | Iterable[str] | None = None,
    initial_cluster_token: str = "etcd-cluster",  # noqa: S107 - it tells clusters apart, and is no secret
    derive_token: bool = False,
    wal_dir: StrPath | None = None,
    existing: Literal["refuse", "keep", "discard"] = "refuse",
    carry_over: Iterable[str] = (),
    owner: tuple[int, int] | None = None,
    handover: Handover | None = None,
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
    progress: ProgressArgument = None,
) -> RestoreReport:
    """Write the data directory of one member of a new cluster out of a snapshot.

    Cancelled before the directory has its name, it leaves nothing, and what was there as it was. The methods of
    `handover` are called on a thread of the core, not on the event loop's.
    """
    return await _awaited(
        api.restore,
        path,
        data_dir=data_dir,
        name=name,
        initial_cluster=initial_cluster,
        initial_advertise_peer_urls=initial_advertise_peer_urls,
        initial_cluster_token=initial_cluster_token,
        derive_token=derive_token,
        wal_dir=wal_dir,
        existing=existing,
        carry_over=carry_over,
        owner=owner,
        handover=handover,
        bump_revision=bump_revision,
        mark_compacted=mark_compacted,
        revision=revision,
        prefixes=prefixes,
        exclude_prefixes=exclude_prefixes,
        compact=compact,
        clear_alarms=clear_alarms,
        disable_auth=disable_auth,
        drop_leases=drop_leases,
        skip_hash_check=skip_hash_check,
        dry_run=dry_run,
        progress=progress,
    )


@_twin_of(api.diagnose)
async def diagnose(
    endpoints: str | Iterable[str] = DEFAULT_ENDPOINTS,
    *,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    expect: str | Iterable[str] = (),
) -> Diagnosis:
    """Ask every member that can be found, side by side, and judge the answers.

    An unreachable endpoint is a finding, not an exception.
    """
    return await _awaited(
        api.diagnose,
        endpoints,
        tls=tls,
        user=user,
        dial_timeout=dial_timeout,
        command_timeout=command_timeout,
        expect=expect,
    )


@_twin_of(api.member_list)
async def member_list(
    endpoints: str | Iterable[str] = DEFAULT_ENDPOINTS,
    *,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
) -> MemberList:
    """List the members of a cluster, as the first endpoint that answers knows them."""
    return await _awaited(
        api.member_list, endpoints, tls=tls, user=user, dial_timeout=dial_timeout, command_timeout=command_timeout
    )


@_twin_of(comparing.compare)
async def compare(
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
    progress: ProgressArgument = None,
) -> Comparison:
    """Find out what changed from A to B: two snapshots, two revisions of one, or a snapshot and a live cluster."""
    return await _awaited(
        comparing.compare,
        a,
        b,
        prefix=prefix,
        revision_a=revision_a,
        revision_b=revision_b,
        values=values,
        only_keys=only_keys,
        ignore_rewritten=ignore_rewritten,
        limit=limit,
        tls=tls,
        user=user,
        dial_timeout=dial_timeout,
        command_timeout=command_timeout,
        progress=progress,
    )


@_twin_of(putting_back.put_back)
async def put_back(
    snapshot: StrPath | SnapshotView,
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
) -> PutBackReport:
    """Write keys of a snapshot back into a live cluster: `plan_put_back` and `apply` in one.

    Cancelled, it sends no further transaction. What etcd has confirmed stays, as may the transaction under way, and
    another run goes on from there.
    """
    return await _awaited(
        putting_back.put_back,
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


@_twin_of(putting_back.plan_put_back)
async def plan_put_back(
    snapshot: StrPath | SnapshotView,
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
) -> PutBackPlan:
    """Find out what `put_back` would write; nothing is written. It takes the same arguments.

    The plan is that of `dcos_etcd.plan_put_back`: it is looked at in memory. `apply` writes it; its method of that name
    blocks.
    """
    return await _awaited(
        putting_back.plan_put_back,
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


@_twin_of(putting_back.PutBackPlan.apply)
async def apply(plan: PutBackPlan, *, progress: ProgressArgument = None) -> PutBackReport:
    """Write what is planned, as `dcos_etcd.PutBackPlan.apply` does.

    Cancelled, it sends no further transaction; `plan.report` says what etcd has confirmed. That stays, as may the
    transaction under way, and another plan goes on from there.
    """
    return await _awaited(putting_back.PutBackPlan.apply, plan, progress=progress)


async def _awaited(verb: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Do the steps of a verb beside the event loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "no asyncio event loop is running: give the coroutine to asyncio.run, or call the blocking verb of the "
            "same name in dcos_etcd"
        ) from None
    if kwargs.get("progress") is True:
        await loop.run_in_executor(None, prepare)
    try:
        steps = steps_of(verb)(*args, **kwargs)
        work = next(steps)
        while True:
            try:
                outcome = await _done(work)
            except BaseException as error:  # noqa: BLE001, PERF203 - that is an outcome too
                work = steps.throw(error)
            else:
                work = steps.send(outcome)
    except StopIteration as stop:
        result: R = stop.value
        return result
    except BaseException as error:
        shorten(error)
        raise


class _Teller(Generic[R]):
    """Tells a callback, on the event loop's thread, how far the work is, until it raises or nobody listens."""

    def __init__(self, work: Work[R]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._pause = _SOONEST
        self._timer = self._loop.call_later(self._pause, self._again)
        self.failure: BaseException | None = None

    def tell(self) -> None:
        """Tell what there is to tell."""
        try:
            self._work.tell()
        except BaseException as error:  # noqa: BLE001 - the await raises it
            self.failure = error
            self.end()
            self._work.stop()

    def end(self) -> None:
        """Tell nothing more."""
        self._timer.cancel()

    def _again(self) -> None:
        self._pause = min(2 * self._pause, _PERIOD)
        self._timer = self._loop.call_later(self._pause, self._again)
        self.tell()


async def _done(work: Work[R]) -> R:
    """Do the work beside the event loop. However the waiting ends, the work has ended too."""
    future = work.start()
    teller = _Teller(work)
    try:
        # Waits without handing a cancellation on to the future: the work is told, and cleans up.
        await asyncio.wait((future,))
    except GeneratorExit:
        # Nobody drives this coroutine any more, nor perhaps the loop: no waiting is possible.
        work.stop()
        with suppress(RuntimeError):
            future.cancel()
        raise
    except BaseException:
        teller.end()
        work.stop()
        await _ended(future)
        raise
    finally:
        teller.end()
    if teller.failure is None:
        teller.tell()
    if teller.failure is not None:
        await _ended(future)
        try:
            raise teller.failure
        finally:
            # The traceback refers to this frame, and would through it to itself.
            del teller
    return future.result()


async def _ended(future: asyncio.Future[R]) -> None:
    """Wait for work that was stopped; who is in a hurry has asked for that already."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait((future,))
    if not future.cancelled():
        # Nobody else looks, and a loop complains of exceptions at which nobody has looked.
        future.exception()
