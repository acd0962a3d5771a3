"""Each coroutine is the blocking verb of the same name."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from aio.tasks import PLAN
from dcos_etcd import aio
from dcos_etcd.testing import Cluster
from scenario import settled

if TYPE_CHECKING:
    from pathlib import Path


def without(report: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(report).items() if name not in names}


@pytest.mark.parametrize("name", aio.__all__)
def test_takes_and_documents_the_same(name: str) -> None:
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


def test_every_verb_that_waits_has_one() -> None:
    from dcos_etcd import api, comparing, putting_back  # noqa: PLC0415

    verbs = {*api.__all__, *comparing.__all__, *putting_back.__all__} - {"PutBackPlan"}

    assert {*aio.__all__} == {*verbs, "apply"}


def test_backups_hold_the_same(member: Cluster, tmp_path: Path) -> None:
    awaited = asyncio.run(aio.backup(tmp_path / "awaited.tar.gz", **member.access))
    blocked = dcos_etcd.backup(tmp_path / "blocked.tar.gz", **member.access)

    # What an idle server goes on writing is of no key.
    fleeting = ("created_at", "sha256", "raft_index")
    assert without(awaited.manifest, fleeting) == without(blocked.manifest, fleeting)
    assert awaited.path == tmp_path / "awaited.tar.gz"
    assert (awaited.endpoint, awaited.compression) == (blocked.endpoint, blocked.compression)
    assert dcos_etcd.compare(awaited.path, blocked.path).equal


def test_judgements_of_a_file_are_the_same(archive: Path, tmp_path: Path) -> None:
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


def test_restored_directories_are_the_same(archive: Path, tmp_path: Path) -> None:
    awaited = asyncio.run(aio.restore(archive, data_dir=tmp_path / "a.etcd", prefixes="/1", **PLAN))
    blocked = dcos_etcd.restore(archive, data_dir=tmp_path / "b.etcd", prefixes="/1", **PLAN)

    assert str(awaited).replace("a.etcd", "b.etcd") == str(blocked)
    databases = [(tmp_path / name / "member" / "snap" / "db").read_bytes() for name in ("a.etcd", "b.etcd")]
    assert databases[0] == databases[1]


def test_clusters_are_seen_alike(member: Cluster) -> None:
    awaited = asyncio.run(aio.member_list(**member.access))
    assert awaited.members == dcos_etcd.member_list(**member.access).members

    diagnosis = asyncio.run(aio.diagnose(**member.access, expect="10.0.0.1"))
    twin = dcos_etcd.diagnose(**member.access, expect="10.0.0.1")
    assert [(one.id, one.severity) for one in diagnosis.findings] == [(one.id, one.severity) for one in twin.findings]
    with pytest.raises(dcos_etcd.EndpointUnavailableError):
        asyncio.run(aio.member_list("http://127.0.0.1:1"))


def test_keys_are_compared_and_put_back_alike(tmp_path: Path) -> None:
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
        settled(cluster)
        asyncio.run(there_and_back(cluster))
