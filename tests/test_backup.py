"""What a backup holds and how it behaves, against real clusters and ordinary tools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

import dcos_etcd
from command_line import cluster_flags, environment, run
from conftest import LINES, each_line, release
from dcos_etcd.testing import Cluster, CommandFailedError
from processes import frozen
from scenario import raise_alarm, settled
from trailer import HASH_LEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcos_etcd import Progress
    from dcos_etcd.testing import ClusterFactory


SUFFIXES = (".tar.gz", ".tar.zst")


@pytest.fixture(scope="module", params=LINES)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members with some keys, never written to again."""
    with Cluster(3, binaries=release(request.param), directory=tmp_path_factory.mktemp("filled")) as cluster:
        for number in range(5):
            cluster.etcdctl("put", f"key{number}", stdin=os.urandom(50_000))
        cluster.etcdctl("del", "key0")
        cluster.etcdctl("put", "/calico/a", "")
        settled(cluster)
        yield cluster


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One member with some MiB that do not compress away."""
    directory = tmp_path_factory.mktemp("large")
    with Cluster(1, version="3.6", directory=directory) as cluster:
        for number in range(16):
            cluster.etcdctl("put", f"key{number}", stdin=os.urandom(700_000).hex().encode())
        yield cluster


def unpack(archive: Path, into: Path) -> dict[str, bytes]:
    """Unpack by GNU tar and the tools that it calls."""
    into.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", into], check=True)
    return {path.name: path.read_bytes() for path in into.iterdir()}


# The archive.


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_manifest_says_what_etcdctl_says(filled: Cluster, tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"etcd{suffix}"
    report = dcos_etcd.backup(archive, **filled.access)
    files = unpack(archive, tmp_path / "unpacked")
    manifest = json.loads(files["manifest.json"])
    database, trailer = files["etcd_snapshot.db"][:-HASH_LEN], files["etcd_snapshot.db"][-HASH_LEN:]
    [status] = [entry["Status"] for entry in filled.etcdctl_json("endpoint", "status", endpoints=[report.endpoint])]
    header = status["header"]

    assert report.endpoint == filled.endpoints[0] == manifest["endpoint"]
    assert manifest["cluster_id"] == f"{header['cluster_id']:x}"
    assert manifest["member_id"] == f"{header['member_id']:x}"
    assert manifest["etcd_version"] == status["version"] == filled.binaries.version
    assert manifest["storage_version"] == status.get("storageVersion", "")
    assert manifest["revision"] == header["revision"]
    assert manifest["raft_term"] == header["raft_term"]
    assert manifest["raft_index"] == status["raftIndex"]
    assert manifest["size"] == len(database)
    assert manifest["sha256"] == hashlib.sha256(database).hexdigest() == trailer.hex()
    assert manifest["tool"] == f"dcos-etcd {dcos_etcd.__version__}"
    assert manifest["format_version"] == 1
    # The order is the cluster's, the names are ours.
    assert [
        {"ID": int(m["id"], 16), "name": m["name"], "peerURLs": m["peer_urls"], "clientURLs": m["client_urls"]}
        for m in manifest["members"]
    ] == filled.member_list(report.endpoint)
    assert report.manifest == dcos_etcd.verify(archive).manifest
    assert report.archive_size == archive.stat().st_size
    assert report.compression == {".tar.gz": "gzip", ".tar.zst": "zstd"}[suffix]
    assert report.skipped == ()
    assert report.warnings == ()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_snapshot_is_what_etcdctl_saves(filled: Cluster, tmp_path: Path, suffix: str) -> None:
    archive, saved = tmp_path / f"etcd{suffix}", tmp_path / "etcdctl.db"
    first = filled.endpoints[:1]
    dcos_etcd.backup(archive, endpoints=first)
    filled.etcdctl("snapshot", "save", str(saved), endpoints=first)
    ours = unpack(archive, tmp_path / "unpacked")["etcd_snapshot.db"]

    assert dcos_etcd.status(archive) == dcos_etcd.status(saved)
    assert len(ours) == saved.stat().st_size
    if filled.binaries.etcdutl:
        (tmp_path / "ours.db").write_bytes(ours)
        told = [
            filled.binaries.run_etcdutl("snapshot", "status", path, "-w", "json")
            for path in (tmp_path / "ours.db", saved)
        ]
        assert told[0] == told[1]


def test_only_the_owner_may_read_it_and_nothing_else_is_left(filled: Cluster, tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        dcos_etcd.backup(tmp_path / "etcd.tar.gz", **filled.access)
    finally:
        os.umask(mask)

    assert stat.S_IMODE((tmp_path / "etcd.tar.gz").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["etcd.tar.gz"]


def test_ordinary_tools_read_both_compressions(large: Cluster, tmp_path: Path) -> None:
    names = ["etcd_snapshot.db", "manifest.json"]
    gzipped, zstd = tmp_path / "etcd.tar.gz", tmp_path / "etcd.tar.zst"
    for archive in (gzipped, zstd):
        dcos_etcd.backup(archive, **large.access)
        listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True)
        assert (listed.stdout.split(), listed.stderr) == (names, "")
        files = unpack(archive, tmp_path / archive.suffix)
        sha256 = json.loads(files["manifest.json"])["sha256"]
        assert hashlib.sha256(files["etcd_snapshot.db"][:-HASH_LEN]).hexdigest() == sha256
    with tarfile.open(gzipped, "r:gz") as archive_file:
        assert archive_file.getnames() == names
        for member in archive_file:
            assert (member.isreg(), member.mode, member.uid, member.gid) == (True, 0o600, 0, 0)
    # As the old tool reads it: a stream, from front to back.
    with gzipped.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|gz") as stream:
        content = stream.extractfile(stream.next())  # type: ignore[arg-type]
        assert content is not None
        assert content.read() == (tmp_path / ".gz" / "etcd_snapshot.db").read_bytes()
    for command, archive in (("zstd", zstd), ("gzip", gzipped)):
        if shutil.which(command):
            whole = subprocess.run([command, "-dc", archive], capture_output=True, check=True).stdout
            assert len(whole) % 512 == 0


def test_the_compression_is_the_names_unless_it_is_given(filled: Cluster, tmp_path: Path) -> None:
    named: tuple[tuple[str, Literal["gzip", "zstd"] | None, str], ...] = (
        ("a", None, "tar.gz"),
        ("b.tzst", None, "tar.zst"),
        ("c.tar.gz", "zstd", "tar.zst"),
        ("d.tar.zst", "gzip", "tar.gz"),
    )
    for name, compression, kind in named:
        dcos_etcd.backup(tmp_path / name, **filled.access, compression=compression)
        assert dcos_etcd.verify(tmp_path / name).kind == kind
    with pytest.raises(dcos_etcd.InvalidArgumentError, match="lz4"):
        dcos_etcd.backup(tmp_path / "e", **filled.access, compression="lz4")  # type: ignore[arg-type]


# Whom it asks.


def test_the_first_healthy_endpoint_is_used_and_the_others_are_told(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    cluster = etcd_cluster(3, "3.6")
    cluster.start()
    cluster.etcdctl("put", "a", "b")
    # Without the leader there would be none for a moment.
    leader = cluster.leader()
    follower, other = (member for member in cluster.members if member is not leader)
    dead, alive = follower.client_url, leader.client_url
    follower.kill()
    endpoints = f"{dead}, {alive},{other.client_url}"
    report = dcos_etcd.backup(tmp_path / "etcd.tar.gz", endpoints=endpoints, dial_timeout=timedelta(seconds=2))

    assert report.endpoint == alive
    assert [(skipped.endpoint, "refused" in skipped.reason) for skipped in report.skipped] == [(dead, True)]
    assert len(report.manifest.members) == 3

    result = run("backup", tmp_path / "cli.tar.gz", "--endpoints", dead, "--endpoints", alive, env=environment())
    assert (result.returncode, result.stderr) == (0, "")
    assert any(line.startswith(f"skipped:       {dead}: ") for line in result.stdout.splitlines())

    other.kill()
    warned = run("backup", tmp_path / "alone.tar.gz", "--endpoints", alive, "--command-timeout=2s")
    assert warned.returncode == 0
    assert "dcos-etcdctl: warning: no endpoint is healthy" in warned.stderr
    assert "warning" not in warned.stdout
    assert dcos_etcd.verify(tmp_path / "alone.tar.gz").status.total_key == 1


@each_line
def test_without_a_quorum_the_member_that_lacks_the_least_is_used(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = etcd_cluster(5)
    cluster.start()
    leader = cluster.leader()
    behind, ahead, *others = (member for member in cluster.members if member is not leader)
    with frozen(behind.pid):
        # More than the system keeps on the way to who is stopped.
        for number in range(14):
            cluster.etcdctl("put", f"new/{number}", stdin=os.urandom(1_000_000), endpoints=[ahead.client_url])
        for member in (leader, *others):
            member.kill()

    endpoints = [behind.client_url, ahead.client_url]
    report = dcos_etcd.backup(tmp_path / "etcd.tar.gz", endpoints=endpoints, command_timeout=2)

    [late] = cluster.etcdctl_json("endpoint", "status", endpoints=[behind.client_url])
    assert late["Status"]["raftAppliedIndex"] < report.manifest.raft_index
    assert report.endpoint == ahead.client_url
    assert "no endpoint is healthy" in report.warnings[0]
    with dcos_etcd.open(tmp_path / "etcd.tar.gz") as snapshot:
        assert sum(key.startswith(b"new/") for key in snapshot) == 14


@each_line
def test_a_member_that_etcd_found_corrupt_is_passed_over(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = etcd_cluster(3)
    cluster.start()
    raise_alarm(cluster, "CORRUPT")

    report = dcos_etcd.backup(tmp_path / "etcd.tar.gz", endpoints=cluster.endpoints)

    assert report.endpoint == cluster.endpoints[1]
    [skipped] = report.skipped
    assert skipped.endpoint == cluster.endpoints[0]
    assert "CORRUPT" in skipped.reason


@pytest.mark.parametrize("way", ["user", "name in the certificate"])
@each_line
def test_tls_and_a_user(etcd_cluster: ClusterFactory, tmp_path: Path, way: str) -> None:
    cluster = etcd_cluster(1, tls=True, auth=("root", "a:b,c"))
    cluster.start()
    cluster.etcdctl("put", "a", "b")
    access = cluster.access if way == "user" else {**cluster.access, "user": None}
    report = dcos_etcd.backup(tmp_path / "api.tar.gz", **access)
    result = run("backup", tmp_path / "cli.tar.gz", "-w", "json", *cluster_flags(access), env=environment())

    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["manifest"]["sha256"]
    assert report.warnings == ()
    assert report.manifest.revision == 2
    assert dcos_etcd.verify(tmp_path / "cli.tar.gz").status.total_key == 1


# Paths.


def test_any_path_will_do(filled: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"\xff\xfe.tar.gz")
    paths: tuple[str | Path, ...] = (
        "relative.tar.gz",
        "./dot.tar.gz",
        tmp_path / "path.tar.gz",
        odd,
        "new\nline -x.tar.gz",
    )
    for path in paths:
        report = dcos_etcd.backup(path, **filled.access)
        assert report.path == Path(path)
        assert dcos_etcd.verify(path).path == Path(path)
        assert Path(path).is_file()
    with pytest.raises(dcos_etcd.ArchiveExistsError) as caught:
        dcos_etcd.backup(odd, **filled.access)
    assert caught.value.path == odd


def test_the_shell_may_name_it_in_any_bytes(filled: Cluster, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tar.gz")
    flags = cluster_flags(filled.access)
    command = ["-m", "dcos_etcd", "backup", name, *flags]
    for as_json in (False, True):
        more = ["-w", "json"] if as_json else []
        result = subprocess.run([sys.executable, *command, *more], capture_output=True, check=False, env=environment())
        assert (result.returncode, result.stderr) == (0, b"")
        # JSON is text, so it holds the byte as Python spells it there: as an escaped surrogate.
        assert json.loads(result.stdout)["path"] == name if as_json else b"\xff.tar.gz\n" in result.stdout
        Path(name).unlink()


# While it runs.


def test_progress_only_grows_and_ends_where_it_was_to_end(large: Cluster, tmp_path: Path) -> None:
    told: list[Progress] = []
    report = dcos_etcd.backup(tmp_path / "etcd.tar.gz", **large.access, progress=told.append)
    received = [step for step in told if step.stage == "receive"]

    assert [step.done for step in received] == sorted(step.done for step in received)
    assert {step.total for step in received if step.done} == {report.manifest.size + HASH_LEN}
    assert all(step.total is None or step.done <= step.total for step in told)
    assert received[-1].done == received[-1].total
    assert [step.stage for step in told] == sorted((step.stage for step in told), key=["receive", "sync"].index)


def test_other_threads_run_meanwhile(tmp_path: Path) -> None:
    returned, seen = threading.Event(), []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection = listener.accept()[0]
            seen.append(returned.is_set())
            listener.close()
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        # Who answers is another thread of this very process: without the GIL it could not.
        with pytest.raises(dcos_etcd.EndpointUnavailableError):
            dcos_etcd.backup(tmp_path / "a.tar.gz", endpoints=f"http://127.0.0.1:{listener.getsockname()[1]}")
        returned.set()
        thread.join()

    assert seen == [False]


def test_backups_side_by_side_are_whole_and_one_name_is_given_once(large: Cluster, tmp_path: Path) -> None:
    def attempt(name: str) -> str:
        try:
            return dcos_etcd.backup(tmp_path / name, **large.access).manifest.sha256
        except dcos_etcd.ArchiveExistsError as error:
            return type(error).__name__

    with ThreadPoolExecutor(4) as pool:
        same = list(pool.map(attempt, ["same.tar.gz"] * 2 + ["one.tar.zst", "two.tar.gz"]))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tar.zst", "same.tar.gz", "two.tar.gz"]
    assert same[:2].count("ArchiveExistsError") == 1
    for path in tmp_path.iterdir():
        assert dcos_etcd.verify(path).sha256 in same


@pytest.mark.parametrize("line", ["3.4", "3.7"])
def test_a_backup_under_steady_writes_is_sound(line: str, etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = etcd_cluster(3, line)
    cluster.start()
    cluster.etcdctl("put", "first", "x")
    done = threading.Event()

    def write() -> int:
        written = 0
        while not done.is_set():
            cluster.etcdctl("put", f"key{written % 7}", stdin=os.urandom(9000).hex().encode())
            written += 1
        return written

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            for number in range(4):
                archive = tmp_path / f"{number}{SUFFIXES[number % 2]}"
                report = dcos_etcd.backup(archive, **cluster.access)
                verified = dcos_etcd.verify(archive)
                assert verified.manifest == report.manifest
                assert verified.status.revision >= report.manifest.revision
        finally:
            done.set()
        assert writer.result() > 0


# Refusals.


def test_a_name_that_is_taken_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    taken = tmp_path / "etcd.tar.gz"
    taken.symlink_to("nowhere")
    nobody = "http://127.0.0.1:1"
    with pytest.raises(dcos_etcd.ArchiveExistsError):
        dcos_etcd.backup(taken, endpoints=nobody)
    result = run("backup", taken, "--endpoints", nobody, env=environment())

    assert (result.returncode, result.stdout) == (1, "")
    assert "exists" in result.stderr
    with pytest.raises(FileNotFoundError) as caught:
        dcos_etcd.backup(tmp_path / "absent" / "etcd.tar.gz", endpoints=nobody)
    assert caught.value.filename == str(tmp_path / "absent")


def test_endpoints_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for endpoints in ("", [], ["ftp://a:1"], ["http://a:1/path"], ["127.0.0.1"], ["http://u:p@a:1"]):
        with pytest.raises(dcos_etcd.InvalidArgumentError) as caught:
            dcos_etcd.backup(tmp_path / "a.tar.gz", endpoints=endpoints)
        assert "u:p" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_the_role_root_is_refused(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = etcd_cluster(1, version="3.7", auth=True)
    cluster.start()
    cluster.etcdctl("user", "add", "reader:reader")
    with pytest.raises(CommandFailedError):
        cluster.etcdctl("snapshot", "save", str(tmp_path / "x.db"), user=("reader", "reader"))
    with pytest.raises(dcos_etcd.AccessDeniedError, match="role root"):
        dcos_etcd.backup(tmp_path / "a.tar.gz", endpoints=cluster.endpoints, user=("reader", "reader"))
    assert not (tmp_path / "a.tar.gz").exists()
