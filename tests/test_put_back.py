"""Keys of a snapshot go back into a live cluster, and nobody who writes beside it is overwritten."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from command_line import cluster_flags, environment, run
from conftest import each_line, release
from dcos_etcd import (
    AccessDeniedError,
    Conflict,
    CorruptSnapshotError,
    EndpointUnavailableError,
    InvalidArgumentError,
    PutBackStoppedError,
    RequestRefusedError,
)
from dcos_etcd.testing import make_snapshot
from gateway import Gateway, delete, put
from processes import frozen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dcos_etcd import Progress
    from dcos_etcd.testing import Cluster, ClusterFactory


@pytest.fixture
def cluster(etcd_cluster: ClusterFactory) -> Cluster:
    made = etcd_cluster(1)
    made.start()
    return made


def values(cluster: Cluster, prefix: str = "/") -> dict[str, str]:
    """What etcdctl says is there."""
    lines = cluster.etcdctl("get", "--prefix", prefix).splitlines()
    return dict(zip(lines[::2], lines[1::2], strict=True))


def revision(cluster: Cluster) -> int:
    return int(cluster.etcdctl_json("get", "nothing")["header"]["revision"])


def saved(cluster: Cluster, tmp_path: Path) -> Path:
    path = tmp_path / "saved.tar.gz"
    dcos_etcd.backup(path, **cluster.access)
    return path


@each_line
def test_what_was_lost_comes_back_and_nothing_else_is_touched(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    with etcd_cluster(1) as cluster:
        for key in ("/a/gone", "/a/changed", "/a/same", "/b/gone"):
            cluster.etcdctl("put", key, "old")
        archive = saved(cluster, tmp_path)
        cluster.etcdctl("del", "/a/gone")
        cluster.etcdctl("del", "/b/gone")
        cluster.etcdctl("put", "/a/changed", "new")
        cluster.etcdctl("put", "/a/extra", "new")
        before = revision(cluster)
        plan = dcos_etcd.plan_put_back(archive, prefix="/a/", **cluster.access)
        assert [(change.action, change.key, change.size) for change in plan] == [
            ("update", b"/a/changed", 3),
            ("create", b"/a/gone", 3),
        ]
        assert (plan.counts.unchanged, plan.counts.extra, plan.cluster_revision) == (1, 1, before)
        assert revision(cluster) == before

        report = plan.apply()
        assert (report.created, report.updated, report.deleted, report.transactions) == (1, 1, 0, 1)
        assert values(cluster) == {"/a/changed": "old", "/a/extra": "new", "/a/gone": "old", "/a/same": "old"}
        assert revision(cluster) == before + 1

        again = dcos_etcd.put_back(archive, prefix="/a/", **cluster.access)
        assert (again.created, again.updated, again.transactions, again.planned.unchanged) == (0, 0, 0, 3)
        assert revision(cluster) == before + 1

        report = dcos_etcd.put_back(archive, prefix="", delete_extra=True, **cluster.access)
        assert (report.created, report.deleted) == (1, 1)
        assert values(cluster) == {"/a/changed": "old", "/a/gone": "old", "/a/same": "old", "/b/gone": "old"}


def test_an_old_revision_may_be_put_back(cluster: Cluster, tmp_path: Path) -> None:
    cluster.etcdctl("put", "/a/1", "first")
    then = revision(cluster)
    cluster.etcdctl("put", "/a/1", "second")
    with dcos_etcd.open(saved(cluster, tmp_path)) as snapshot:
        plan = dcos_etcd.plan_put_back(snapshot.at(then), prefix="/a/", **cluster.access)
    assert (len(plan), plan.revision) == (1, then)
    plan.apply()
    assert values(cluster) == {"/a/1": "first"}


@each_line
def test_a_key_that_somebody_writes_meanwhile_is_left_alone_and_the_others_go_on(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    with etcd_cluster(1) as cluster:
        gateway = connect(cluster)
        gateway.transact([put(b"/a/%d" % number, b"old") for number in range(6)])
        archive = saved(cluster, tmp_path)
        gateway.transact(
            [delete(b"/a/0"), delete(b"/a/1"), delete(b"/a/4"), put(b"/a/2", b"new"), put(b"/a/3", b"new")]
        )
        seen = int(gateway.put(b"/a/extra", b"x")["header"]["revision"]) - 1
        plan = dcos_etcd.plan_put_back(archive, prefix="/a/", delete_extra=True, **cluster.access)
        gateway.put(b"/a/0", b"mine")
        gateway.transact([delete(b"/a/2")])
        gateway.put(b"/a/3", b"old")
        gateway.put(b"/a/extra", b"y")

        report = plan.apply()
        assert report.conflicts == (
            Conflict(key=b"/a/0", action="create", planned=0, found=seen + 2),
            Conflict(key=b"/a/2", action="update", planned=seen, found=0),
            Conflict(key=b"/a/extra", action="delete", planned=seen + 1, found=seen + 5),
        )
        assert (report.created, report.updated, report.deleted, report.settled) == (2, 0, 0, 1)
        assert values(cluster) == {
            "/a/0": "mine",
            "/a/1": "old",
            "/a/3": "old",
            "/a/4": "old",
            "/a/5": "old",
            "/a/extra": "y",
        }


def test_a_run_that_was_killed_is_finished_by_the_next(
    cluster: Cluster, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    gateway = connect(cluster)
    for first in range(0, 2000, 100):
        gateway.transact([put(b"/a/%04d" % number, b"v%d" % number) for number in range(first, first + 100)])
    archive = saved(cluster, tmp_path)
    gateway.transact([delete(b"/a/", b"/a0")])
    program = (
        "import os, signal, sys, dcos_etcd\n"
        "def stop(progress):\n"
        "    if progress.stage == 'write' and progress.done > 3000: os.kill(os.getpid(), signal.SIGKILL)\n"
        "plan = dcos_etcd.plan_put_back(sys.argv[1], [sys.argv[2]], prefix='/a/')\n"
        "plan.apply(progress=lambda p: (__import__('time').sleep(0.06), stop(p)))\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, archive, cluster.endpoints[0]], timeout=60, check=False)
    assert killed.returncode == -9
    written = len(gateway.range(b"/a/", b"/a0", keys_only=True))
    assert 0 < written < 2000

    report = dcos_etcd.put_back(archive, prefix="/a/", **cluster.access)
    assert (report.created, report.planned.unchanged) == (2000 - written, written)
    assert report.transactions == -(-report.created // 128)
    assert dcos_etcd.compare(archive, cluster.endpoints, ignore_rewritten=True, only_keys=True).equal


def test_a_run_that_is_interrupted_tells_what_was_confirmed(
    cluster: Cluster, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {f"/a/{number:05}": b"v" for number in range(5000)})
    gateway = connect(cluster)
    gateway.put(b"/a/00000", b"old")
    plan = dcos_etcd.plan_put_back(archive, prefix="/a/", **cluster.access)
    assert not plan.report
    gateway.put(b"/a/00000", b"mine")

    def stop(progress: Progress) -> None:
        # A callback is not called more often than that.
        time.sleep(0.06)
        if progress.stage == "write" and progress.done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.apply(progress=stop)
    report = plan.report
    assert report
    assert [(one.key, one.action) for one in report.conflicts] == [(b"/a/00000", "update")]
    written = len(gateway.range(b"/a/", b"/a0", keys_only=True)) - 1
    # That one gets no answer any more may be carried out all the same.
    assert written - report.created in {0, 128}
    assert 0 < report.created < 4999


def test_a_run_goes_on_with_another_member_when_it_loses_the_leader(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {f"/a/{number:04}": b"v" for number in range(2000)})
    with etcd_cluster(3) as cluster:
        leader = cluster.leader()
        survivors = [member.client_url for member in cluster.members if member is not leader]
        plan = dcos_etcd.plan_put_back(archive, [leader.client_url, *survivors], prefix="/a/")

        def kill_the_leader(progress: Progress) -> None:
            time.sleep(0.06)
            if progress.stage == "write" and progress.done > 0 and leader.running:
                leader.kill()

        report = plan.apply(progress=kill_the_leader)
        assert not leader.running
        assert (report.created + report.settled, report.conflicts) == (2000, ())
        # What was carried out without an answer.
        assert report.settled in {0, 128}
        rows = cluster.etcdctl_json("get", "--prefix", "/a/", endpoints=survivors)["kvs"]
        assert [(2000, {1})] == [(len(rows), {row["version"] for row in rows})]


def test_a_run_that_loses_the_leader_is_finished_by_the_next_and_writes_nothing_twice(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    with etcd_cluster(3) as cluster:
        gateway = connect(cluster)
        for first in range(0, 2000, 100):
            gateway.transact([put(b"/a/%04d" % number, b"v%d" % number) for number in range(first, first + 100)])
        archive = saved(cluster, tmp_path)
        gateway.transact([delete(b"/a/", b"/a0")])
        leader = cluster.leader()
        plan = dcos_etcd.plan_put_back(archive, [leader.client_url], prefix="/a/", command_timeout=5)

        def kill_the_leader(progress: Progress) -> None:
            # A callback is not called more often than that.
            time.sleep(0.06)
            if progress.stage == "write" and progress.done > 3000 and leader.running:
                leader.kill()

        with pytest.raises(PutBackStoppedError) as stopped:
            plan.apply(progress=kill_the_leader)
        assert isinstance(stopped.value.__cause__, EndpointUnavailableError)
        assert 0 < stopped.value.done < 2000

        survivors = [member.client_url for member in cluster.members if member is not leader]
        # Answered by none but a new leader; until there is one, a read ends with "leader changed".
        cluster.etcdctl("get", "/a/", endpoints=survivors)
        report = dcos_etcd.put_back(archive, survivors, prefix="/a/")
        # The transaction that got no answer may have been carried out.
        assert 2000 - stopped.value.done - report.created in {0, 128}
        rows = cluster.etcdctl_json("get", "--prefix", "/a/", endpoints=survivors)["kvs"]
        assert [(2000, {1})] == [(len(rows), {row["version"] for row in rows})]
        assert dcos_etcd.compare(archive, survivors, ignore_rewritten=True, only_keys=True).equal


def test_transactions_stay_below_the_limits_of_the_server(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    with etcd_cluster(1) as cluster:
        gateway = connect(cluster)
        for number in range(6):
            gateway.put(b"/a/%d" % number, bytes([number]) * 1_400_000)
        gateway.transact([put(b"/b/%03d" % number, b"x") for number in range(100)])
        archive = saved(cluster, tmp_path)
        gateway.transact([delete(b"/", b"0")])
        report = dcos_etcd.put_back(archive, prefix="/", **cluster.access)
        assert (report.created, report.transactions) == (106, 7)
        assert dcos_etcd.compare(archive, cluster.endpoints, ignore_rewritten=True, only_keys=True).equal
    with etcd_cluster(1, extra_args=["--max-txn-ops=16"]) as narrow:
        report = dcos_etcd.put_back(archive, prefix="/b/", **narrow.access)
        assert (report.created, len(values(narrow))) == (100, 100)


@each_line
def test_what_is_too_large_for_the_server_is_named_and_keeps_nothing_else_back(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    snapshot = tmp_path / "etcd.db"
    large = {"/a/05x": b"x" * 800_000, "/a/06x": b"x" * 150_000}
    make_snapshot(snapshot, {**{f"/a/{number:02}": b"v" * 60_000 for number in range(40)}, **large})
    with etcd_cluster(1, extra_args=["--max-request-bytes=100000"]) as cluster:
        for planned in (42, 2):
            with pytest.raises(PutBackStoppedError) as stopped:
                dcos_etcd.put_back(snapshot, prefix="/a/", **cluster.access)
            assert (stopped.value.done, stopped.value.planned) == (planned - 2, planned)
            assert isinstance(stopped.value.__cause__, RequestRefusedError)
            assert 'key b"/a/05x" with a value of 800000 bytes and 1 more keys' in str(stopped.value)
        found = dcos_etcd.compare(cluster.endpoints, snapshot, only_keys=True)
        assert [(one.key, one.change) for one in found.keys if one.change != "rewritten"] == [
            (b"/a/05x", "added"),
            (b"/a/06x", "added"),
        ]


@each_line
def test_a_stopped_run_names_the_keys_that_it_left_alone(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    """Another run would take them for keys that nobody has written since."""
    snapshot = tmp_path / "etcd.tar.zst"
    make_snapshot(snapshot, {"/a/1": b"old", "/a/2": b"old", "/a/3": b"x" * 800_000})
    with etcd_cluster(1, extra_args=["--max-request-bytes=100000"]) as cluster:
        plan = dcos_etcd.plan_put_back(snapshot, prefix="/a/", **cluster.access)
        cluster.etcdctl("put", "/a/1", "mine")
        with pytest.raises(PutBackStoppedError, match="1 key that somebody else wrote was left alone") as stopped:
            plan.apply()
        assert (stopped.value.done, stopped.value.conflicts) == (1, (b"/a/1",))
        assert plan.report
        assert [(one.key, one.planned) for one in plan.report.conflicts] == [(b"/a/1", 0)]
        assert values(cluster) == {"/a/1": "mine", "/a/2": "old"}


@each_line
def test_a_key_whose_lease_is_gone_hangs_on_none_and_no_server_ends(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    """A put with `ignore_lease` would end the server with a panic, at each start again."""
    with etcd_cluster(1) as source:
        lease = source.etcdctl_json("lease", "grant", "3600")["ID"]
        source.etcdctl("put", "/a/gone", "then", f"--lease={lease:x}")
        then = revision(source)
        source.etcdctl("lease", "revoke", f"{lease:x}")
        for key in ("/a/gone", "/a/leased", "/a/plain"):
            source.etcdctl("put", key, "now")
        archive = saved(source, tmp_path)
    cluster = etcd_cluster(1, binaries=source.binaries)
    dcos_etcd.restore(archive, revision=then, **cluster.members[0].restore_arguments)
    with cluster:
        [there] = cluster.etcdctl_json("get", "/a/gone")["kvs"]
        assert there["lease"] == lease
        held = cluster.etcdctl_json("lease", "grant", "3600")["ID"]
        cluster.etcdctl("put", "/a/leased", "then", f"--lease={held:x}")
        cluster.etcdctl("put", "/a/plain", "then")

        report = dcos_etcd.put_back(archive, prefix="/a/", **cluster.access)
        assert (report.updated, report.detached, report.conflicts) == (3, 1, ())
        assert "1 keys hung on a lease that is not there any more" in report.warnings[0]
        cluster.members[0].kill()
        cluster.members[0].start()
        rows = cluster.etcdctl_json("get", "--prefix", "/a/")["kvs"]
        assert [row.get("lease", 0) for row in rows] == [0, held, 0]
        assert values(cluster) == {"/a/gone": "now", "/a/leased": "now", "/a/plain": "now"}


def test_leases_are_not_put_back_and_those_that_are_there_stay(
    cluster: Cluster, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    gateway = connect(cluster)
    lease = int(gateway.call("lease/grant", {"TTL": "3600"})["ID"])
    gateway.transact([put(b"/a/there", b"old", lease), put(b"/a/gone", b"old", lease)])
    archive = saved(cluster, tmp_path)
    gateway.transact([delete(b"/a/gone"), put(b"/a/there", b"new", lease)])
    report = dcos_etcd.put_back(archive, prefix="/a/", **cluster.access)

    assert report.planned.leased == 1
    assert "1 keys hung on a lease" in report.warnings[0]
    gone, there = gateway.range(b"/a/", b"/a0")
    assert (gone.value, gone.lease, there.value, there.lease) == (b"old", 0, b"old", lease)


def test_a_full_database_stops_it_with_how_far_it_came(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    with etcd_cluster(1) as cluster:
        gateway = connect(cluster)
        # Enough for some seconds: the server counts what it has committed, ten times a second.
        for number in range(60):
            gateway.put(b"/a/%02d" % number, os.urandom(1_000_000))
        archive = saved(cluster, tmp_path)
    with etcd_cluster(1, extra_args=["--quota-backend-bytes=5000000"]) as small:
        with pytest.raises(PutBackStoppedError, match="run it again") as stopped:
            dcos_etcd.put_back(archive, prefix="/a/", **small.access)
        assert isinstance(stopped.value.__cause__, RequestRefusedError)
        assert "space exceeded" in str(stopped.value)
        assert stopped.value.planned == 60
        there = small.etcdctl("get", "--prefix", "--keys-only", "/a/").split()
        # The write that fills the quota is carried out and refused, one that comes later is refused only.
        assert len(there) - stopped.value.done in {0, 1}
        assert stopped.value.done > 0


def test_without_a_leader_nothing_hangs(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    with etcd_cluster(3) as cluster:
        cluster.etcdctl("put", "/a/1", "old")
        archive = saved(cluster, tmp_path)
        cluster.etcdctl("del", "/a/1")
        first = [cluster.members[0].client_url]
        plan = dcos_etcd.plan_put_back(archive, first, prefix="/a/", command_timeout=1)
        for member in cluster.members[1:]:
            member.kill()
        with pytest.raises(EndpointUnavailableError, match=r"no answer to a linearizable read within 1 s|no leader"):
            plan.apply()


def test_tls_and_a_role_for_the_prefix_are_enough(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    with etcd_cluster(1, tls=True, auth=True) as cluster:
        cluster.etcdctl("put", "/a/1", "old")
        cluster.etcdctl("role", "add", "writer")
        cluster.etcdctl("role", "grant-permission", "writer", "--prefix=true", "readwrite", "/a/")
        cluster.etcdctl("role", "add", "reader")
        cluster.etcdctl("role", "grant-permission", "reader", "--prefix=true", "read", "/a/")
        for name, role in (("carol", "writer"), ("dave", "reader")):
            cluster.etcdctl("user", "add", f"{name}:secret")
            cluster.etcdctl("user", "grant-role", name, role)
        archive = saved(cluster, tmp_path)
        cluster.etcdctl("del", "/a/1")
        with pytest.raises(PutBackStoppedError, match="stopped with 0 of 1 changes confirmed") as stopped:
            dcos_etcd.put_back(archive, prefix="/a/", **{**cluster.access, "user": ("dave", "secret")})
        assert isinstance(stopped.value.__cause__, AccessDeniedError)
        with pytest.raises(AccessDeniedError):
            dcos_etcd.put_back(archive, prefix="/b/", **{**cluster.access, "user": ("carol", "secret")})
        report = dcos_etcd.put_back(archive, prefix="/a/", **{**cluster.access, "user": ("carol", "secret")})
        assert (report.created, values(cluster)) == (1, {"/a/1": "old"})


def test_a_token_that_runs_out_meanwhile_is_renewed(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {f"/a/{number:04}": b"v" for number in range(300)})
    binaries = release("3.5")
    with etcd_cluster(1, binaries=binaries, auth=True, extra_args=["--auth-token-ttl=1"]) as cluster:
        plan = dcos_etcd.plan_put_back(archive, prefix="/a/", **cluster.access)
        report = plan.apply(progress=lambda one: time.sleep(2.5 if one.stage == "write" and 0 < one.done < 2000 else 0))
        assert (report.created, report.transactions) == (300, 3)


def test_a_database_whose_hash_does_not_fit_is_not_written_into_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """A value of it that reads well may be another one than was saved."""
    cluster.etcdctl("put", "/a/1", "replicas=3")
    cluster.etcdctl("snapshot", "save", str(tmp_path / "saved.db"))
    content = (tmp_path / "saved.db").read_bytes()
    (tmp_path / "damaged.db").write_bytes(content.replace(b"replicas=3", b"replicas=9"))
    with pytest.raises(CorruptSnapshotError) as damaged:
        dcos_etcd.put_back(tmp_path / "damaged.db", prefix="/a/", **cluster.access)
    assert [defect.code for defect in damaged.value.defects] == ["hash-mismatch"]
    assert values(cluster) == {"/a/1": "replicas=3"}
    assert dcos_etcd.put_back(tmp_path / "saved.db", prefix="/a/", **cluster.access).planned.unchanged == 1
    refused = shell(cluster, tmp_path / "damaged.db", "--yes")
    assert (refused.returncode, "sha256" in refused.stderr) == (1, True)
    assert shell(cluster, tmp_path / "damaged.db", "--yes", "--skip-hash-check").returncode == 0
    assert values(cluster) == {"/a/1": "replicas=9"}


def test_a_compaction_while_the_cluster_is_read_is_told_as_what_it_is(
    cluster: Cluster, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {"/a/1": b"old"})
    gateway = connect(cluster)
    gateway.transact([put(b"/a/%03d" % number, b"new") for number in range(100)])
    then = revision(cluster)

    def compact(progress: Progress) -> None:
        # A callback is not called more often than that; only of a cluster nobody knows how much there is.
        time.sleep(0.06)
        if progress.total is None and revision(cluster) == then:
            gateway.put(b"/b", b"")
            cluster.etcdctl("compact", str(then + 1))

    with pytest.raises(
        RequestRefusedError, match=f"compacted to revision {then + 1} while it was read as of {then}: run"
    ):
        dcos_etcd.plan_put_back(archive, prefix="/a/", progress=compact, **cluster.access)


def test_a_plan_is_for_one_cluster(etcd_cluster: ClusterFactory, cluster: Cluster, tmp_path: Path) -> None:
    cluster.etcdctl("put", "/a/1", "old")
    archive = saved(cluster, tmp_path)
    with etcd_cluster(1, token="another") as other:
        endpoints = [*other.endpoints, *cluster.endpoints]
        plan = dcos_etcd.plan_put_back(archive, endpoints, prefix="/a/")
        other.members[0].kill()
        with pytest.raises(InvalidArgumentError, match="belongs to cluster"):
            plan.apply()


def test_the_shell_says_how_far_it_came_when_it_is_interrupted(
    cluster: Cluster, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    archive = tmp_path / "etcd.tar.zst"
    make_snapshot(archive, {f"/a/{number:06}": b"v" for number in range(100_000)})
    gateway = connect(cluster)
    arguments = ["put-back", str(archive), "--prefix=/a/", "--yes", *cluster_flags(cluster.access)]
    # A job in the background of a shell ignores SIGINT, and so would its children.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from dcos_etcd.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as running:
        while not gateway.range(b"/a/000000"):
            assert running.poll() is None
        with frozen(cluster.members[0].pid):
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert " of 100000 changes confirmed; those of the last transaction may be made, too\n" in said
    assert said.endswith("error: interrupted\n")


def shell(cluster: Cluster, archive: Path, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return run(
        "put-back", archive, "--prefix=/a/", *flags, *cluster_flags(cluster.access), env=environment(), **options
    )


def test_the_shell_shows_first_and_writes_when_told_to(cluster: Cluster, tmp_path: Path) -> None:
    cluster.etcdctl("put", "/a/1", "old")
    archive = saved(cluster, tmp_path)
    cluster.etcdctl("del", "/a/1")
    nobody = shell(cluster, archive, stdin=subprocess.DEVNULL)
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert "--yes" in nobody.stderr
    assert run("put-back", archive, "--yes").returncode == 2

    preview = shell(cluster, archive, "--dry-run")
    assert (preview.returncode, preview.stderr) == (0, "")
    assert preview.stdout.splitlines()[1] == "create            3  /a/1"
    rows = [json.loads(line) for line in shell(cluster, archive, "--dry-run", "-w", "json").stdout.splitlines()]
    assert rows[0] == {"action": "create", "key": "/a/1", "size": 3, "mod_revision": 0}
    assert (rows[1]["plan"]["create"], len(rows), values(cluster)) == (1, 2, {})

    done = shell(cluster, archive, "--yes", "-w", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["summary"]["created"] == 1
    assert values(cluster) == {"/a/1": "old"}
    again = shell(cluster, archive, "--yes")
    assert (again.returncode, "created" in again.stdout) == (0, False)


@pytest.mark.parametrize(("answer", "there"), [(b"y\n", {"/a/1": "old"}), (b"\n", {})])
def test_a_terminal_is_asked(cluster: Cluster, tmp_path: Path, answer: bytes, there: dict[str, str]) -> None:
    cluster.etcdctl("put", "/a/1", "old")
    archive = saved(cluster, tmp_path)
    cluster.etcdctl("del", "/a/1")
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        asked = shell(cluster, archive, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)

    assert asked.returncode == 0
    assert "Make 1 changes? [y/N] " in asked.stderr
    assert ("nothing was written" in asked.stdout) is (not there)
    assert values(cluster) == there
