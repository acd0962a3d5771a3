"""The command line."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from command_line import environment, run
from dcos_profile.master import Machine, as_root

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def command(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return run(*words, env=environment(PYTHONPATH=os.environ.get("PYTHONPATH", "")), **options)


def test_a_path_that_exists_or_has_no_parent_is_wrong_usage(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    for path, complaint in (("there", "already exists"), ("no/such", "parent directory of")):
        result = command("backup", tmp_path / path, "--root", machine.root)

        assert result.returncode == 2
        assert complaint in result.stderr
    result = command("restore", tmp_path / "absent", "--root", machine.root)
    assert (result.returncode, "is no file" in result.stderr) == (2, True)


def test_flags_of_the_profile_and_of_the_plain_verb_exclude_each_other(machine: Machine) -> None:
    for words in (
        ["restore", "x", "--masters=10.0.0.1", "--data-dir=d"],
        ["restore", "x", f"--root={machine.root}", "--initial-cluster=a=http://b:1"],
        ["diagnostic", "--masters=10.0.0.1", "--endpoints=http://a:1"],
        ["backup", "x", f"--root={machine.root}", "--user=a:b"],
    ):
        result = command(*words)

        assert result.returncode == 2
        assert "exclude each other" in result.stderr


def test_a_machine_that_is_no_master_says_so(tmp_path: Path) -> None:
    for words in (["backup", "x"], ["diagnostic"]):
        result = command(*words, "--root", tmp_path, cwd=tmp_path)

        assert result.returncode == 1
        assert "this is no DC/OS master" in result.stderr


@as_root
def test_restore_and_diagnostic_are_typed_with_nothing_but_the_root(machine: Machine, archive: Path) -> None:
    machine.member()
    machine.write("opt/mesosphere/bin/detect_ip", "#!/bin/sh\necho 127.93.0.1\n", 0o755)

    result = command("restore", archive, "--root", machine.root, "--masters", "127.93.0.1", "-w", "json")

    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["replaced"] == str(machine.state_dir / machine.kept()[0])
    assert "--masters decides" in result.stderr

    result = command(
        "restore", archive, "--root", machine.root, "--masters", "127.93.0.1", "--prefix=key", "--disable-auth=true"
    )
    assert result.returncode == 0, result.stderr
    changed = [line.split(maxsplit=1)[1] for line in result.stdout.splitlines() if line.startswith("changed:")]
    assert changed == [
        'keep keys that begin with "key": drop 0 versions',
        "disable authentication (it was not enabled)",
    ]
    report = json.loads(
        command("restore", archive, "--root", machine.root, "--masters", "127.93.0.1", "-w", "json").stdout
    )

    result = command("diagnostic", "--root", machine.root, "-w", "json")
    assert result.returncode == 1
    document = json.loads(result.stdout)
    assert (document["header"], document["members"], document["healthy"]) == (None, [], False)
    assert document["local"]["cluster_id"] == report["cluster_id"]
    result = command("diagnostic", "--root", machine.root)
    assert "verdict: unhealthy" in result.stdout
    assert f" etcd-127.93.0.1 ({report['member_id']})\n" in result.stdout
    assert "masters: 127.93.0.1 (from " in result.stdout
