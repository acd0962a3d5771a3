"""A process that has used everything forks; both go on."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from aio.tasks import PATIENCE, begun, names
from dcos_etcd import aio

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from dcos_etcd.testing import Cluster

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


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


def test_workers_of_multiprocessing(member: Cluster, archive: Path, tmp_path: Path) -> None:
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


def test_a_child_of_a_running_loop(member: Cluster, tmp_path: Path) -> None:
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
