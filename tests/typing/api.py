"""What a user of the package writes; it must pass a strict type checker, and nothing runs it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import dcos_etcd
from dcos_etcd import aio, dcos

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes


def take_a_backup(password: str) -> datetime:
    tls = dcos_etcd.Tls(cacert="ca.pem", cert=Path("client.pem"), key=Path("client.key"), server_name="etcd")
    report = dcos_etcd.backup(
        Path("etcd.tar.zst"),
        endpoints=["https://10.0.0.1:2379", "https://10.0.0.2:2379"],
        tls=tls,
        user=("root", password),
        dial_timeout=2,
        command_timeout=timedelta(seconds=5),
        stall_timeout=30.0,
        compression="zstd",
        max_rate=20 << 20,
        progress=True,
    )
    size: int = report.archive_size
    endpoints: tuple[str, ...] = tuple(skipped.endpoint for skipped in report.skipped)
    print(size, endpoints, report.path.name)
    return report.manifest.created_at


def watch(event: dcos_etcd.Progress) -> None:
    share: float | None = event.done / event.total if event.total else None
    print(event.stage, share)


def check(path: str) -> Sequence[dcos_etcd.Defect]:
    try:
        report = dcos_etcd.verify(path, progress=watch)
    except dcos_etcd.CorruptSnapshotError as error:
        return error.defects
    except dcos_etcd.SnapshotError as error:
        print(error.path)
        raise
    revision: int = report.status.revision
    cluster: str | None = report.manifest.cluster_id if report.manifest else None
    print(revision, cluster, dcos_etcd.status(path).total_key)
    return ()


def bring_it_up() -> Path:
    cluster = {"m1": ["https://10.0.0.1:2380"], "m2": "https://10.0.0.2:2380"}
    plan = dcos_etcd.restore("etcd.tar.gz", data_dir="m1.etcd", name="m1", initial_cluster=cluster, dry_run=True)
    for step in plan.steps:
        print(step)
    report = dcos_etcd.restore(
        "etcd.tar.gz",
        data_dir=Path("m1.etcd"),
        name="m1",
        initial_cluster="m1=https://10.0.0.1:2380",
        initial_advertise_peer_urls=["https://10.0.0.1:2380"],
        bump_revision=1_000_000_000,
        mark_compacted=True,
    )
    return report.wal_dir


class StopsAndStarts:
    def before(self) -> None:
        print("about to take its place")

    def after(self) -> None:
        print("stands")


def put_it_in_place_of_the_old_one() -> Path | None:
    report = dcos_etcd.restore(
        "etcd.tar.gz",
        data_dir="m1.etcd",
        derive_token=True,
        existing="keep",
        carry_over=["fixtures"],
        owner=(1000, 1000),
        handover=StopsAndStarts(),
    )
    return report.replaced


def on_a_dcos_master() -> list[str]:
    dcos.backup("/root/etcd.tar.gz")
    report = dcos.restore("/root/etcd.tar.gz", masters=["10.0.0.1", "10.0.0.2"], discard_old=True, root="/mnt")
    found = dcos.diagnostic()
    if found.local is not None:
        print(found.local.cluster_id, found.masters, report.initial_cluster_token)
    return [member["name"] for member in dcos.member_list()["members"]]


def ask() -> list[str]:
    diagnosis = dcos_etcd.diagnose(["http://127.0.0.1:2379"], expect=["10.0.0.1"])
    listed = dcos_etcd.member_list("http://127.0.0.1:2379")
    print([member.name for member in listed.members], diagnosis.healthy)
    return [finding.advice for finding in diagnosis.findings if finding.severity == "critical"]


async def together(endpoint: str) -> int:
    backed_up: dcos_etcd.BackupReport = await dcos_etcd.aio.backup("etcd.tar.gz", endpoints=endpoint, progress=watch)
    verified, members = await asyncio.gather(aio.verify(backed_up.path), aio.member_list(endpoint))
    plan = await aio.plan_put_back(backed_up.path, endpoint, prefix="/")
    done: dcos_etcd.PutBackReport = await asyncio.wait_for(aio.apply(plan, progress=True), 60)
    found: dcos_etcd.Comparison = await aio.compare(backed_up.path, [endpoint], values=True)
    print(verified.status.revision, members.members, found.equal)
    return done.updated


def draw(axes: Axes) -> list[str]:
    with dcos_etcd.open("etcd.tar.gz") as snapshot:
        stats = snapshot.stats(depth=2, spans=40)
    drawn: Axes = stats.plot(axes, by="revision")
    drawn = stats.plot(most=5)
    drawn = dcos_etcd.diagnose().plot(ax=drawn)
    span: dcos_etcd.RevisionSpan = stats.spans[0]
    print(drawn.get_title(), span.last - span.first)
    try:
        stats.plot()
    except dcos_etcd.MissingDependencyError as error:
        return [error.package, error.extra]
    except ImportError:
        return []
    return [finding.id for finding in dcos.diagnostic().findings]


def survive() -> str | None:
    try:
        dcos_etcd.backup("etcd.tar.gz")
    except FileExistsError as error:
        return str(error.filename)
    except dcos_etcd.EndpointUnavailableError as error:
        return error.tried[0][1]
    except TimeoutError:
        return None
    except dcos_etcd.EtcdError as error:
        return error.message
    return dcos_etcd.__version__
