"""Loops of every kind, in every place."""

from __future__ import annotations

import asyncio
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from aio.tasks import PLAN, begun, ended, names
from dcos_etcd import aio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from dcos_etcd.testing import Cluster


def test_several_at_once(member: Cluster, archive: Path, tmp_path: Path) -> None:
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


def test_the_loop_goes_on_meanwhile(member: Cluster, archive: Path, tmp_path: Path) -> None:
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


def test_uvloop(member: Cluster, tmp_path: Path) -> None:
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


def test_a_loop_in_every_thread(archive: Path) -> None:
    reports = []

    def judge() -> None:
        reports.append(asyncio.run(aio.verify(archive)))

    threads = [threading.Thread(target=judge) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert reports == [dcos_etcd.verify(archive)] * 3


def test_one_loop_after_the_other(member: Cluster) -> None:
    listed = [asyncio.run(aio.member_list(**member.access)).members for _ in range(3)]

    assert listed == [listed[0]] * 3


def test_nothing_begins_before_the_await(member: Cluster, tmp_path: Path) -> None:
    """A coroutine is made anywhere, and awaited later or never."""
    never = aio.backup(tmp_path / "never.tar.gz", **member.access)
    later = aio.backup(tmp_path / "later.tar.gz", **member.access)
    assert names(tmp_path) == []

    with pytest.warns(RuntimeWarning, match="coroutine 'backup' was never awaited"):
        del never
    report = asyncio.run(later)

    assert report.path.name == "later.tar.gz"
    assert names(tmp_path) == ["later.tar.gz"]


def test_without_a_loop_the_error_says_what_to_do(archive: Path) -> None:
    with pytest.raises(RuntimeError, match=r"no asyncio event loop is running: .* asyncio\.run"):
        aio.verify(archive).send(None)


def test_a_blocking_verb_in_a_running_loop_works(member: Cluster, archive: Path) -> None:
    async def check() -> None:
        task = asyncio.ensure_future(aio.verify(archive))
        await asyncio.sleep(0)
        listed = dcos_etcd.member_list(**member.access)
        assert dcos_etcd.verify(archive) == await task
        assert listed.members == (await aio.member_list(**member.access)).members

    asyncio.run(check())


def test_a_blocking_verb_in_a_callback_works(member: Cluster, archive: Path) -> None:
    listed: list[dcos_etcd.MemberList] = []

    def callback(_event: dcos_etcd.Progress) -> None:
        if not listed:
            listed.append(dcos_etcd.member_list(**member.access))

    asyncio.run(aio.verify(archive, progress=callback))

    assert [member.name for member in listed[0].members] == ["m1"]


def test_a_warning_points_to_the_caller(archive: Path, tmp_path: Path) -> None:
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
