"""A cancelled verb has ended when its await ends, and has left nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from aio.tasks import PATIENCE, PLAN, Stalling, begun, ended, names
from dcos_etcd import aio
from dcos_etcd.testing import Cluster
from processes import open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


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


@pytest.mark.parametrize("verb", ["backup", "restore", "verify", "rewrite"])
def test_at_every_moment(member: Cluster, archive: Path, tmp_path: Path, verb: str) -> None:
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
def test_in_every_stage_of_a_restore(archive: Path, tmp_path: Path, stage: str) -> None:
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


def test_a_timeout_stops_a_backup_whose_server_stalls(member: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        events: list[dcos_etcd.Progress] = []
        stalls = asyncio.Event()

        def callback(event: dcos_etcd.Progress) -> None:
            events.append(event)
            if event.done > 0:
                server.silent = True
                stalls.set()

        async with Stalling(member.endpoints[0]) as server:
            work = asyncio.ensure_future(
                aio.backup(tmp_path / "etcd.tar.gz", endpoints=server.endpoint, progress=callback)
            )
            await asyncio.wait_for(stalls.wait(), PATIENCE)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(work, 1)
            assert names(tmp_path) == []
        assert events[-1].total is not None
        assert 0 < events[-1].done < events[-1].total

    asyncio.run(check())


@pytest.mark.parametrize("verb", ["backup", "member_list", "diagnose", "compare", "plan_put_back", "put_back"])
def test_while_a_server_is_silent(archive: Path, tmp_path: Path, verb: str) -> None:
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


def test_a_put_back_whose_server_stalls(tmp_path: Path) -> None:
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


def test_whoever_cancels_twice_waits_for_the_cleaning_all_the_same(member: Cluster, tmp_path: Path) -> None:
    async def check() -> None:
        task = await begun(aio.backup, tmp_path / "etcd.tar.gz", max_rate=1 << 20, **member.access)
        assert len(open_files(os.getpid(), tmp_path)) == 1
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0)
        await ended(task)
        assert open_files(os.getpid(), tmp_path) == []
        assert names(tmp_path) == []

    asyncio.run(check())


def test_a_coroutine_that_is_closed_stops_its_work(member: Cluster, tmp_path: Path) -> None:
    """As when a loop goes away: nobody can wait, but nothing stays for long."""

    async def check() -> None:
        work = aio.backup(tmp_path / "etcd.tar.gz", max_rate=1 << 20, **member.access)
        work.send(None)
        while not open_files(os.getpid(), tmp_path):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
        work.close()
        while open_files(os.getpid(), tmp_path):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
        assert names(tmp_path) == []

    asyncio.run(asyncio.wait_for(check(), PATIENCE))


def test_ctrl_c_in_asyncio_run(member: Cluster, tmp_path: Path) -> None:
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


def test_an_interpreter_that_ends_amid_the_work_does_so_quietly(member: Cluster, tmp_path: Path) -> None:
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
