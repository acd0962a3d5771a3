"""`dcos-etcdctl` from end to end: real servers, real files, and what a shell sees of it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from command_line import cluster_flags, environment, run
from dcos_etcd.testing import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ESCAPE = "\x1b"

WARNED = "dcos-etcdctl: warning: authentication is enabled in the snapshot, and so it is after a restore\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(1, "3.6", auth=("root", "p:w"), directory=tmp_path_factory.mktemp("cluster")) as made:
        made.etcdctl("put", "a", "b")
        yield made


@pytest.fixture(scope="module")
def archive(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "etcd.tar.gz"
    dcos_etcd.backup(path, **cluster.access)
    return path


def test_from_a_backup_to_a_cluster_that_serves_again(cluster: Cluster, tmp_path: Path) -> None:
    archive = tmp_path / "etcd.tar.zst"
    backup = run("backup", archive, *cluster_flags(cluster.access), "--stall-timeout", "1m", env=environment())
    assert (backup.returncode, backup.stderr) == (0, "")
    assert f"archive:       {archive}\n" in backup.stdout

    verified = run("verify", archive, "-w", "json")
    assert (verified.returncode, json.loads(verified.stdout)["sound"]) == (0, True)
    status = run("status", archive, "-w", "json")
    assert json.loads(status.stdout)["totalKey"] == 1

    with Cluster(1, "3.7", auth=("root", "p:w"), directory=tmp_path / "new") as new:
        [member] = new.members
        new.remove_data()
        plan = run("restore", archive, *member.restore_flags, "--dry-run")
        assert (plan.returncode, plan.stderr) == (0, WARNED)
        assert "plan, nothing was written:" in plan.stdout
        assert not member.data_dir.exists()
        restored = run(
            "restore", archive, *member.restore_flags, "--bump-revision=1000", "--mark-compacted", "-w", "json"
        )
        assert (restored.returncode, restored.stderr) == (0, WARNED)
        report = json.loads(restored.stdout)
        assert report["bumped_revision"] == report["revision"] + 1000
        again = run("restore", archive, *member.restore_flags)
        assert (again.returncode, again.stdout) == (1, "")
        assert again.stderr.splitlines()[1].startswith("hint: choose another --data-dir")
        new.start()
        assert new.etcdctl("get", "a", "--print-value-only") == "b\n"
        judged = run("diagnostic", *cluster_flags(new.access), "--expect", "127.0.0.1", env=environment())
        assert (judged.returncode, judged.stdout.splitlines()[-1]) == (0, "verdict: healthy")
        assert f"{member.id:x}" in judged.stdout


def test_the_wal_may_lie_elsewhere(archive: Path, tmp_path: Path) -> None:
    directories: list[str | Path] = ["--data-dir", tmp_path / "data", "--wal-dir", tmp_path / "wal"]
    assert run("restore", archive, *directories).returncode == 0

    assert list((tmp_path / "wal").glob("*.wal"))
    assert (tmp_path / "data" / "member" / "snap" / "db").is_file()
    assert not (tmp_path / "data" / "member" / "wal").exists()


def test_variables_do_what_flags_do(cluster: Cluster, tmp_path: Path) -> None:
    variables = environment(
        ETCDCTL_ENDPOINTS=",".join(cluster.endpoints),
        ETCDCTL_USER="root",
        ETCDCTL_PASSWORD="p:w",
        ETCDCTL_DIAL_TIMEOUT="1500ms",
        ETCDCTL_COMMAND_TIMEOUT="0.1m",
    )
    assert run("backup", tmp_path / "a.tar.gz", env=variables).returncode == 0
    assert run("diagnostic", env=variables).returncode == 0
    combined = {**variables, "ETCDCTL_USER": "root:p:w"}
    del combined["ETCDCTL_PASSWORD"]
    assert run("diagnostic", env=combined).returncode == 0
    flags = ["--user", "root", "--password", "p:w", "--endpoints", cluster.endpoints[0]]
    assert run(*flags, "diagnostic", env=environment(ETCDCTL_USER="nobody:x")).returncode == 0
    wrong = run("diagnostic", env={**variables, "ETCDCTL_PASSWORD": "wrong"})
    assert wrong.returncode == 1
    assert "access-denied" in wrong.stdout


def test_tls_flags_and_variables(tmp_path: Path) -> None:
    with Cluster(1, "3.7", tls=True, directory=tmp_path / "cluster") as cluster:
        tls = cluster.access["tls"]
        variables = environment(ETCDCTL_CACERT=str(tls.cacert), ETCDCTL_CERT=str(tls.cert), ETCDCTL_KEY=str(tls.key))
        bare = cluster.endpoints[0].removeprefix("https://")
        assert run("diagnostic", "--endpoints", bare, env=variables).returncode == 0
        named = ["--endpoints", cluster.endpoints[0], "--server-name"]
        assert run("diagnostic", *named, "localhost", env=variables).returncode == 0
        other = run("backup", tmp_path / "a.tar.gz", *named, "other.example", env=variables)
        assert (other.returncode, other.stdout) == (1, "")
        assert "--server-name" in other.stderr


def test_failures_are_one_line_and_a_hint_on_stderr(cluster: Cluster, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no snapshot")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(bytes(40960))
    nobody = ["--endpoints", "http://127.0.0.1:1"]
    as_root = cluster_flags(cluster.access)
    commands: tuple[tuple[int, list[str | Path]], ...] = (
        (1, ["backup", tmp_path / "absent" / "a.tar.gz", *as_root]),
        (1, ["backup", text, *as_root]),
        (1, ["backup", tmp_path / "a.tar.gz", *nobody]),
        (2, ["backup", tmp_path / "a.tar.gz", "--endpoints", "ftp://a:1"]),
        (2, ["backup", tmp_path / "a.tar.gz", "--user", "root", "--password", "x", "--stall-timeout", "5"]),
        (1, ["verify", tmp_path / "absent"]),
        (1, ["verify", text]),
        (1, ["status", text, "-w", "json"]),
        (1, ["restore", text, "--data-dir", tmp_path / "data"]),
        (1, ["restore", damaged, "--data-dir", tmp_path / "data"]),
        (2, ["restore", text, "--data-dir", tmp_path / "data", "--bump-revision", "5"]),
    )
    for status, command in commands:
        result = run(*command, env=environment())
        assert (result.returncode, result.stdout) == (status, ""), command
        lines = result.stderr.splitlines()
        assert lines[0].startswith("dcos-etcdctl: error: "), command
        assert all(line.startswith("hint: ") for line in lines[1:]), command
        assert len(lines) <= 2, command
        assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.db", "text"]


def test_a_reader_that_goes_away_is_borne_in_silence(archive: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        command = [sys.executable, "-m", "dcos_etcd", "status", str(archive)]
        result = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)

    assert (result.returncode, result.stderr) == (141, b"")


@pytest.mark.parametrize("command", ["status", "verify"])
def test_colour_and_bars_are_for_terminals(archive: Path, command: str) -> None:
    plain = run(command, archive)
    assert ESCAPE not in plain.stdout + plain.stderr
    assert plain.stderr == (WARNED if command == "verify" else "")
    # Even on a terminal stdout is data; the bar, if there is one, goes to stderr.
    terminal, inside = pty.openpty()
    try:
        called = [sys.executable, "-m", "dcos_etcd", command, str(archive)]
        with_bar = subprocess.run(
            called, stdout=subprocess.PIPE, stderr=inside, text=True, check=True, env={**os.environ, "NO_COLOR": "1"}
        )
    finally:
        os.close(inside)
        os.close(terminal)
    assert with_bar.stdout == plain.stdout


def test_wrong_usage_never_reaches_a_server() -> None:
    for arguments in (
        ["backup"],
        ["diagnostic", "--command-timeout", "5"],
        ["nonsense"],
        ["status", "x", "-w", "yaml"],
    ):
        result = run(*arguments, env=environment(ETCDCTL_ENDPOINTS="http://127.0.0.1:1"))
        assert (result.returncode, result.stdout) == (2, "")
