"""The verbs as coroutines: what they give, how they stop, and where they run."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import gc
import inspect
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

import dcos_etcd
from dcos_etcd import aio
from dcos_etcd.testing import Cluster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from typing_extensions import Self

R = TypeVar("R")

PATIENCE = 30
"""Seconds after which a test gives up on what takes a fraction of one."""

PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}

forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def archive(member: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "etcd.tar.gz"
    dcos_etcd.backup(path, **member.access)
    return path


class Stalling:
    """An endpoint that passes all on to a member and back until it is told to go silent; silent without a member."""

    def __init__(self, upstream: str | None = None) -> None:
        self.upstream = upstream
        self.silent = upstream is None
        self.endpoint = ""
        self._held: list[asyncio.StreamWriter] = []
        self._passing: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        for writer in self._held:
            writer.close()

    async def _serve(self, requests: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        self._held.append(answers)
        if self.upstream is not None:
            host, port = self.upstream.removeprefix("http://").split(":")
            from_member, to_member = await asyncio.open_connection(host, int(port))
            self._held.append(to_member)
            for source, sink in ((requests, to_member), (from_member, answers)):
                self._passing.append(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while (piece := await source.read(1 << 14)) and not self.silent:
                sink.write(piece)
                await sink.drain()


async def ended(work: Awaitable[object]) -> None:
    """Waits, patiently, for what must end as cancelled."""
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, PATIENCE)


async def begun(verb: Callable[..., Coroutine[Any, Any, R]], *args: Any, **options: Any) -> asyncio.Task[R]:
    """Begins a verb, and gives its task when its progress was told of for the first time."""
    going = asyncio.Event()
    task = asyncio.ensure_future(verb(*args, progress=lambda _: going.set(), **options))
    await going.wait()
    return task


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def without(report: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(report).items() if name not in names}


class TestTwins:
    """Each coroutine is the blocking verb of the same name."""

    @pytest.mark.parametrize("name", aio.__all__)
    def test_takes_and_documents_the_same(self, name: str) -> None:
        coroutine = getattr(aio, name)
        twin = dcos_etcd.PutBackPlan.apply if name == "apply" else getattr(dcos_etcd, name)
        ours, theirs = inspect.signature(coroutine), inspect.signature(twin)

        assert inspect.iscoroutinefunction(coroutine)
        assert [(one.name, one.kind, one.default) for one in list(ours.parameters.values())[1:]] == [
            (one.name, one.kind, one.default) for one in list(theirs.parameters.values())[1:]
        ]
        assert ours.return_annotation == theirs.return_annotation
        documented = inspect.getdoc(twin)
        assert documented is not None
        assert documented.partition("Args:")[2] in (inspect.getdoc(coroutine) or "")

    def test_every_verb_that_waits_has_one(self) -> None:
        from dcos_etcd import api, comparing, putting_back  # noqa: PLC0415

        verbs = {*api.__all__, *comparing.__all__, *putting_back.__all__} - {"PutBackPlan"}

        assert {*aio.__all__} == {*verbs, "apply"}

    def test_backups_hold_the_same(self, member: Cluster, tmp_path: Path) -> None:
        awaited = asyncio.run(aio.backup(tmp_path / "awaited.tar.gz", **member.access))
        blocked = dcos_etcd.backup(tmp_path / "blocked.tar.gz", **member.access)

        # What an idle server goes on writing is of no key.
        fleeting = ("created_at", "sha256", "raft_index")
        assert without(awaited.manifest, fleeting) == without(blocked.manifest, fleeting)
        assert awaited.path == tmp_path / "awaited.tar.gz"
        assert (awaited.endpoint, awaited.compression) == (blocked.endpoint, blocked.compression)
        assert dcos_etcd.compare(awaited.path, blocked.path).equal

    def test_judgements_of_a_file_are_the_same(self, archive: Path, tmp_path: Path) -> None:
        shutil.copy(archive, tmp_path / "damaged.tar.gz")
        with (tmp_path / "damaged.tar.gz").open("r+b") as file:
            file.seek(1_000_000)
            file.write(bytes(100))

        assert asyncio.run(aio.verify(archive)) == dcos_etcd.verify(archive)
        assert asyncio.run(aio.status(archive)) == dcos_etcd.status(archive)
        with pytest.raises(dcos_etcd.CorruptSnapshotError) as awaited:
            asyncio.run(aio.verify(tmp_path / "damaged.tar.gz"))
        with pytest.raises(dcos_etcd.CorruptSnapshotError) as blocked:
            dcos_etcd.verify(tmp_path / "damaged.tar.gz")
        assert awaited.value.defects == blocked.value.defects
        with pytest.raises(FileNotFoundError):
            asyncio.run(aio.verify(tmp_path / "absent"))

    def test_restored_directories_are_the_same(self, archive: Path, tmp_path: Path) -> None:
        awaited = asyncio.run(aio.restore(archive, data_dir=tmp_path / "a.etcd", prefixes="/1", **PLAN))
        blocked = dcos_etcd.restore(archive, data_dir=tmp_path / "b.etcd", prefixes="/1", **PLAN)

        assert str(awaited).replace("a.etcd", "b.etcd") == str(blocked)
        databases = [(tmp_path / name / "member" / "snap" / "db").read_bytes() for name in ("a.etcd", "b.etcd")]
        assert databases[0] == databases[1]

    def test_clusters_are_seen_alike(self, member: Cluster) -> None:
        awaited = asyncio.run(aio.member_list(**member.access))
        assert awaited.members == dcos_etcd.member_list(**member.access).members

        diagnosis = asyncio.run(aio.diagnose(**member.access, expect="10.0.0.1"))
        twin = dcos_etcd.diagnose(**member.access, expect="10.0.0.1")
        assert [(one.id, one.severity) for one in diagnosis.findings] == [
            (one.id, one.severity) for one in twin.findings
        ]
        with pytest.raises(dcos_etcd.EndpointUnavailableError):
            asyncio.run(aio.member_list("http://127.0.0.1:1"))

    def test_keys_are_compared_and_put_back_alike(self, tmp_path: Path) -> None:
        async def there_and_back(cluster: Cluster) -> None:
            before = await aio.backup(tmp_path / "before.tar.gz", **cluster.access)
            for number in range(300):
                cluster.etcdctl("put", f"/{number % 3}", f"new {number}") if number < 3 else None
            cluster.etcdctl("put", "/other", "1")
            for options in ({}, {"prefix": "/"}, {"values": True}, {"limit": 1}, {"ignore_rewritten": True}):
                sides: Any = before.path, cluster.endpoints
                found = await aio.compare(*sides, **options)
                assert found == dcos_etcd.compare(*sides, **options)
                assert found.counts.value == 3

            plan = await aio.plan_put_back(before.path, cluster.endpoints, prefix="/", delete_extra=True)
            twin = dcos_etcd.plan_put_back(before.path, cluster.endpoints, prefix="/", delete_extra=True)
            assert list(plan) == list(twin)
            assert plan.counts == twin.counts
            done = await aio.apply(plan)
            assert (done.updated, done.deleted) == (3, 1)
            with dcos_etcd.open(before.path) as snapshot:
                again = await aio.put_back(snapshot, cluster.endpoints, prefix="/", delete_extra=True)
            assert (again.updated, again.deleted, again.planned.unchanged) == (0, 0, 3)

        with Cluster(members=1) as cluster:
            for number in range(3):
                cluster.etcdctl("put", f"/{number}", f"old {number}")
            asyncio.run(there_and_back(cluster))


class TestStopping:
    """A cancelled verb has ended when its await ends, and has left nothing."""

    @pytest.mark.parametrize("verb", ["backup", "restore", "verify", "rewrite"])
    def test_at_every_moment(self, member: Cluster, archive: Path, tmp_path: Path, verb: str) -> None:
        """Spread over the whole of the work; what got its name before it was cancelled is whole."""
        out = tmp_path / "out"
        out.mkdir()

        def begin() -> Coroutine[Any, Any, object]:
            if verb == "backup":
                return aio.backup(out / "etcd.tar.gz", **member.access)
            if verb == "verify":
                return aio.verify(archive)
            return aio.restore(archive, data_dir=out / "m.etcd", compact=verb == "rewrite", **PLAN)

        async def check() -> int:
            begun = time.monotonic()
            await begin()
            lasts = time.monotonic() - begun
            clear(out)
            cancelled = 0
            for number in range(8):
                task = asyncio.ensure_future(begin())
                await asyncio.sleep(lasts * number / 8)
                task.cancel()
                await asyncio.wait((task,), timeout=PATIENCE)
                cancelled += task.cancelled()
                if names(out):
                    whole(out)
                    clear(out)
            return cancelled

        assert asyncio.run(check()) > 0

    @pytest.mark.parametrize("stage", ["read", "check", "sync"])
    def test_in_every_stage_of_a_restore(self, archive: Path, tmp_path: Path, stage: str) -> None:
        """The directory for the copy, whatever it holds by then, is gone before the task is.

        A loop is told of a stage when it gets to it. By then the rest may be done, and the member stays, whole.
        """

        async def check() -> None:
            def cancel(event: dcos_etcd.Progress) -> None:
                if event.stage == stage:
                    task.cancel()

            task = asyncio.ensure_future(aio.restore(archive, data_dir=tmp_path / "m.etcd", progress=cancel, **PLAN))
            await ended(task)

        asyncio.run(check())

        if names(tmp_path):
            whole(tmp_path)

    def test_a_timeout_stops_a_backup_whose_server_stalls(self, member: Cluster, tmp_path: Path) -> None:
        async def check() -> None:
            events: list[dcos_etcd.Progress] = []

            def callback(event: dcos_etcd.Progress) -> None:
                events.append(event)
                server.silent = server.silent or event.done > 0

            async with Stalling(member.endpoints[0]) as server:
                work = aio.backup(tmp_path / "etcd.tar.gz", endpoints=server.endpoint, progress=callback)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(work, 2)
                assert names(tmp_path) == []
            assert events[-1].total is not None
            assert 0 < events[-1].done < events[-1].total

        asyncio.run(check())

    @pytest.mark.parametrize("verb", ["backup", "member_list", "diagnose", "compare", "plan_put_back", "put_back"])
    def test_while_a_server_is_silent(self, archive: Path, tmp_path: Path, verb: str) -> None:
        patient: dict[str, Any] = {"dial_timeout": 600, "command_timeout": 600}

        async def check() -> None:
            async with Stalling() as server:
                endpoint = server.endpoint
                works: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
                    "backup": lambda: aio.backup(tmp_path / "etcd.tar.gz", endpoints=endpoint, **patient),
                    "member_list": lambda: aio.member_list(endpoint, **patient),
                    "diagnose": lambda: aio.diagnose(endpoint, **patient),
                    "compare": lambda: aio.compare(archive, [endpoint], **patient),
                    "plan_put_back": lambda: aio.plan_put_back(archive, endpoint, prefix="/", **patient),
                    "put_back": lambda: aio.put_back(archive, endpoint, prefix="/", **patient),
                }
                task = asyncio.ensure_future(works[verb]())
                await asyncio.sleep(0.3)
                assert not task.done()
                task.cancel()
                await ended(task)

        asyncio.run(check())
        assert names(tmp_path) == []

    def test_a_put_back_whose_server_stalls(self, tmp_path: Path) -> None:
        """What etcd has confirmed stays, and another run does the rest."""

        async def check(cluster: Cluster) -> None:
            path = tmp_path / "etcd.tar.gz"
            await aio.backup(path, **cluster.access)
            cluster.etcdctl("del", "/", "--prefix")
            async with Stalling(cluster.endpoints[0]) as server:
                plan = await aio.plan_put_back(path, server.endpoint, prefix="/", command_timeout=600)
                task = await begun(aio.apply, plan)
                server.silent = True
                await asyncio.sleep(0.3)
                assert not task.done()
                task.cancel()
                await ended(task)
            await aio.put_back(path, cluster.endpoints, prefix="/")
            assert (await aio.compare(path, cluster.endpoints, ignore_rewritten=True, only_keys=True)).equal

        with Cluster(members=1) as cluster:
            for number in range(20):
                cluster.etcdctl("put", f"/{number}", stdin=b"x" * 300_000)
            asyncio.run(check(cluster))

    def test_whoever_cancels_twice_waits_for_the_cleaning_all_the_same(self, member: Cluster, tmp_path: Path) -> None:
        async def check() -> None:
            task = await begun(aio.backup, tmp_path / "etcd.tar.gz", max_rate=1 << 20, **member.access)
            assert len(names(tmp_path)) == 1
            for _ in range(5):
                task.cancel()
                await asyncio.sleep(0)
            await ended(task)
            assert names(tmp_path) == []

        asyncio.run(check())

    def test_a_coroutine_that_is_closed_stops_its_work(self, member: Cluster, tmp_path: Path) -> None:
        """As when a loop goes away: nobody can wait, but nothing stays for long."""

        async def check() -> None:
            work = aio.backup(tmp_path / "etcd.tar.gz", max_rate=1 << 20, **member.access)
            work.send(None)
            while not names(tmp_path):  # noqa: ASYNC110 - a directory tells nobody
                await asyncio.sleep(0.01)
            work.close()
            while names(tmp_path):  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(check(), PATIENCE))

    def test_ctrl_c_in_asyncio_run(self, member: Cluster, tmp_path: Path) -> None:
        program = """
import asyncio, signal, sys
from dcos_etcd import aio
signal.signal(signal.SIGINT, signal.default_int_handler)
def told(progress):
    if progress.done:
        print("going", flush=True)
asyncio.run(aio.backup(sys.argv[1], endpoints=sys.argv[2], max_rate=1 << 20, progress=told))
"""
        arguments = [str(tmp_path / "etcd.tar.gz"), member.endpoints[0]]
        with subprocess.Popen(
            [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "going\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)

        assert process.returncode == -signal.SIGINT
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        assert names(tmp_path) == []

    def test_an_interpreter_that_ends_amid_the_work_does_so_quietly(self, member: Cluster, tmp_path: Path) -> None:
        program = """
import asyncio, sys, threading
from dcos_etcd import aio
going = threading.Event()
work = aio.backup(sys.argv[1], endpoints=sys.argv[2], max_rate=1 << 20, progress=lambda _: going.set())
threading.Thread(target=asyncio.run, args=(work,), daemon=True).start()
going.wait()
"""
        arguments = [str(tmp_path / "etcd.tar.gz"), member.endpoints[0]]
        ran = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
        )

        assert (ran.returncode, ran.stderr) == (0, "")
        assert not (tmp_path / "etcd.tar.gz").exists()


def clear(directory: Path) -> None:
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def whole(directory: Path) -> None:
    """Fails unless what a verb left is all that it makes."""
    (path,) = directory.iterdir()
    if path.name == "etcd.tar.gz":
        dcos_etcd.verify(path)
    else:
        dcos_etcd.verify(path / "member" / "snap" / "db", skip_hash_check=True)
        assert list((path / "member" / "wal").glob("*.wal"))


class TestProgress:
    """The callback is the event loop's business."""

    def test_is_told_on_the_loops_thread_in_the_tasks_context(self, archive: Path) -> None:
        caller = contextvars.ContextVar("caller", default="nobody")
        told: list[tuple[int, str, object, dcos_etcd.Progress]] = []

        async def check() -> None:
            loop = asyncio.get_running_loop()
            caller.set("the test")

            def callback(event: dcos_etcd.Progress) -> None:
                told.append((threading.get_ident(), caller.get(), asyncio.get_running_loop() is loop, event))

            await aio.verify(archive, progress=callback)

        asyncio.run(check())

        assert {one[:3] for one in told} == {(threading.get_ident(), "the test", True)}
        assert {one[3].stage for one in told} == {"read", "check"}
        assert told[-1][3].done == told[-1][3].total

    @pytest.mark.parametrize("verb", ["backup", "restore", "verify", "compare", "put_back"])
    def test_one_that_raises_stops_the_work(self, member: Cluster, archive: Path, tmp_path: Path, verb: str) -> None:
        class Enough(Exception):
            pass

        enough = Enough()
        told: list[dcos_etcd.Progress] = []

        def callback(event: dcos_etcd.Progress) -> None:
            told.append(event)
            raise enough

        works: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "backup": lambda: aio.backup(tmp_path / "etcd.tar.gz", **member.access, progress=callback),
            "restore": lambda: aio.restore(archive, data_dir=tmp_path / "m.etcd", progress=callback, **PLAN),
            "verify": lambda: aio.verify(archive, progress=callback),
            "compare": lambda: aio.compare(archive, member.endpoints, progress=callback),
            "put_back": lambda: aio.put_back(archive, member.endpoints, prefix="/", progress=callback),
        }
        with pytest.raises(Enough) as caught:
            asyncio.run(works[verb]())

        assert caught.value is enough
        assert len(told) == 1
        assert names(tmp_path) == []

    def test_one_that_raises_at_the_very_end_is_heard_too(self, archive: Path) -> None:
        def callback(event: dcos_etcd.Progress) -> None:
            if event.stage == "check" and event.done == event.total:
                raise LookupError("too late")

        with pytest.raises(LookupError, match="too late"):
            asyncio.run(aio.verify(archive, progress=callback))

    def test_a_coroutine_function_is_refused(self, archive: Path) -> None:
        async def callback(_event: dcos_etcd.Progress) -> None: ...

        with pytest.raises(dcos_etcd.InvalidArgumentError, match="coroutine function"):
            asyncio.run(aio.verify(archive, progress=callback))

    def test_true_draws_a_bar_on_a_terminal(self, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")

        asyncio.run(aio.verify(archive, progress=True))

        assert "checking" in terminal.getvalue()

    def test_nothing_of_the_caller_is_held_afterwards(self, archive: Path) -> None:
        class Callback:
            def __call__(self, event: dcos_etcd.Progress) -> None: ...

        async def check() -> weakref.ref[Callback]:
            callback = Callback()
            await aio.verify(archive, progress=callback)
            return weakref.ref(callback)

        left = asyncio.run(check())
        gc.collect()

        assert left() is None


class TestPlaces:
    """Loops of every kind, in every place."""

    def test_several_at_once(self, member: Cluster, archive: Path, tmp_path: Path) -> None:
        async def check() -> list[Any]:
            return await asyncio.gather(
                *(aio.backup(tmp_path / f"{number}.tar.gz", **member.access) for number in range(3)),
                aio.verify(archive),
                aio.restore(archive, data_dir=tmp_path / "m.etcd", **PLAN),
                aio.compare(archive, member.endpoints),
                *(aio.member_list(**member.access) for _ in range(20)),
            )

        *backups, verified, restored, compared = asyncio.run(check())[:6]

        assert names(tmp_path) == ["0.tar.gz", "1.tar.gz", "2.tar.gz", "m.etcd"]
        assert {report.manifest.revision for report in backups} == {verified.status.revision}
        assert restored.sha256 == verified.sha256
        assert compared.counts.same == 40
        for report in backups:
            assert dcos_etcd.verify(report.path).status.total_key == verified.status.total_key

    def test_the_loop_goes_on_meanwhile(self, member: Cluster, archive: Path, tmp_path: Path) -> None:
        """Other tasks have their turns between two steps of the work."""

        async def check(work: Callable[[Callable[[dcos_etcd.Progress], None]], Awaitable[object]]) -> list[int]:
            turns, seen = 0, []

            async def take_turns() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.ensure_future(take_turns())
            await work(lambda _event: seen.append(turns))
            task.cancel()
            return seen

        seen = asyncio.run(
            check(lambda told: aio.backup(tmp_path / "x.tar.gz", max_rate=50 << 20, progress=told, **member.access))
        )
        assert len({*seen}) > 3
        seen = asyncio.run(check(lambda told: aio.verify(archive, progress=told)))
        assert len({*seen}) > 1

    def test_uvloop(self, member: Cluster, tmp_path: Path) -> None:
        uvloop = pytest.importorskip("uvloop")

        async def check() -> None:
            told: list[int] = []
            await aio.backup(
                tmp_path / "etcd.tar.gz", **member.access, progress=lambda _: told.append(threading.get_ident())
            )
            assert {*told} == {threading.get_ident()}
            task = await begun(aio.backup, tmp_path / "b.tar.gz", max_rate=1 << 20, **member.access)
            task.cancel()
            await ended(task)
            assert names(tmp_path) == ["etcd.tar.gz"]

        loop = uvloop.new_event_loop()
        try:
            loop.run_until_complete(check())
        finally:
            loop.close()

    def test_a_loop_in_every_thread(self, archive: Path) -> None:
        reports = []

        def judge() -> None:
            reports.append(asyncio.run(aio.verify(archive)))

        threads = [threading.Thread(target=judge) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert reports == [dcos_etcd.verify(archive)] * 3

    def test_one_loop_after_the_other(self, member: Cluster) -> None:
        listed = [asyncio.run(aio.member_list(**member.access)).members for _ in range(3)]

        assert listed == [listed[0]] * 3

    def test_nothing_begins_before_the_await(self, member: Cluster, tmp_path: Path) -> None:
        """A coroutine is made anywhere, and awaited later or never."""
        never = aio.backup(tmp_path / "never.tar.gz", **member.access)
        later = aio.backup(tmp_path / "later.tar.gz", **member.access)
        assert names(tmp_path) == []

        with pytest.warns(RuntimeWarning, match="coroutine 'backup' was never awaited"):
            del never
        report = asyncio.run(later)

        assert report.path.name == "later.tar.gz"
        assert names(tmp_path) == ["later.tar.gz"]

    def test_without_a_loop_the_error_says_what_to_do(self, archive: Path) -> None:
        with pytest.raises(RuntimeError, match=r"no asyncio event loop is running: .* asyncio\.run"):
            aio.verify(archive).send(None)

    def test_a_blocking_verb_in_a_running_loop_works(self, member: Cluster, archive: Path) -> None:
        async def check() -> None:
            task = asyncio.ensure_future(aio.verify(archive))
            await asyncio.sleep(0)
            listed = dcos_etcd.member_list(**member.access)
            assert dcos_etcd.verify(archive) == await task
            assert listed.members == (await aio.member_list(**member.access)).members

        asyncio.run(check())

    def test_a_blocking_verb_in_a_callback_works(self, member: Cluster, archive: Path) -> None:
        listed: list[dcos_etcd.MemberList] = []

        def callback(_event: dcos_etcd.Progress) -> None:
            if not listed:
                listed.append(dcos_etcd.member_list(**member.access))

        asyncio.run(aio.verify(archive, progress=callback))

        assert [member.name for member in listed[0].members] == ["m1"]

    def test_a_warning_points_to_the_caller(self, archive: Path, tmp_path: Path) -> None:
        dcos_etcd.restore(archive, data_dir=tmp_path / "m.etcd", **PLAN)
        db = tmp_path / "m.etcd" / "member" / "snap" / "db"

        for compare in (dcos_etcd.compare, lambda *sides: asyncio.run(awaited(*sides))):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                compare(db, archive)
            assert {warning.filename for warning in caught} == {__file__}
            assert {warning.category for warning in caught} == {dcos_etcd.SnapshotWarning}


async def awaited(a: Path, b: Path) -> dcos_etcd.Comparison:
    return await aio.compare(a, b)


def in_a_child(answer: Connection, endpoints: list[str], snapshot: dcos_etcd.Snapshot, directory: Path) -> None:
    """What a worker of a server that forks does: everything, with loops of its own."""

    async def everything() -> tuple[int, str, bool]:
        report, verified = await asyncio.gather(
            aio.backup(directory / f"{os.getpid()}.tar.gz", endpoints=endpoints), aio.verify(snapshot_path)
        )
        compared = await aio.compare(snapshot, endpoints, only_keys=True)
        return report.manifest.revision, verified.sha256, compared.equal

    snapshot_path = directory / "parent.tar.gz"
    first = asyncio.run(everything())
    answer.send((*first, len(dcos_etcd.member_list(endpoints).members), len(snapshot), snapshot["/7"].value[:20]))


def list_members(endpoints: list[str]) -> None:
    listed = asyncio.run(aio.member_list(endpoints))
    sys.exit(6 + len(listed.members))


@forks
class TestForks:
    """A process that has used everything forks; both go on."""

    def test_workers_of_multiprocessing(self, member: Cluster, archive: Path, tmp_path: Path) -> None:
        shutil.copy(archive, tmp_path / "parent.tar.gz")
        dcos_etcd.member_list(**member.access)
        sha256 = asyncio.run(aio.verify(archive)).sha256
        forking = multiprocessing.get_context("fork")
        with dcos_etcd.open(archive) as snapshot:
            value = snapshot["/7"].value[:20]
            workers = []
            for _ in range(2):
                mine, theirs = forking.Pipe()
                arguments = (theirs, member.endpoints, snapshot, tmp_path)
                worker = forking.Process(target=in_a_child, args=arguments, daemon=True)
                worker.start()
                workers.append((worker, mine))
            assert asyncio.run(aio.verify(archive)).sha256 == sha256
            for worker, mine in workers:
                assert mine.poll(PATIENCE), "the child does not answer"
                assert mine.recv() == (41, sha256, True, 1, 40, value)
                worker.join(PATIENCE)
                assert worker.exitcode == 0
            assert snapshot["/7"].value[:20] == value

    def test_a_child_of_a_running_loop(self, member: Cluster, tmp_path: Path) -> None:
        """The parent's work is the parent's; the child begins its own."""

        async def check() -> BaseProcess:
            task = await begun(aio.backup, tmp_path / "etcd.tar.gz", max_rate=20 << 20, **member.access)
            child = multiprocessing.get_context("fork").Process(target=list_members, args=(member.endpoints,))
            child.start()
            await task
            return child

        child = asyncio.run(check())
        child.join(PATIENCE)

        assert child.exitcode == 7
        assert names(tmp_path) == ["etcd.tar.gz"]
        dcos_etcd.verify(tmp_path / "etcd.tar.gz")
