from __future__ import annotations

from typing import TYPE_CHECKING

import sample_reports
from cli.conftest import Verb, install
from dcos_etcd import cli
from dcos_etcd.models import RestoreReport
from sample_reports import changed

if TYPE_CHECKING:
    import pytest


def test_restore_without_flags_has_etcdutls_defaults(restore: Verb) -> None:
    assert cli.main(["restore", "x"]) == 0
    assert restore.arguments == ("x",)
    assert restore.options == {
        "data_dir": "default.etcd",
        "name": "default",
        "initial_cluster": "default=http://localhost:2380",
        "initial_advertise_peer_urls": "http://localhost:2380",
        "initial_cluster_token": "etcd-cluster",
        "wal_dir": None,
        "existing": "refuse",
        "owner": None,
        "bump_revision": None,
        "mark_compacted": False,
        "revision": None,
        "prefixes": [],
        "exclude_prefixes": [],
        "compact": False,
        "clear_alarms": False,
        "disable_auth": False,
        "drop_leases": False,
        "skip_hash_check": False,
        "dry_run": False,
        "progress": True,
    }


def test_restore_puts_a_named_member_beside_others(restore: Verb) -> None:
    assert cli.main(["restore", "x", "--name", "m1"]) == 0
    assert restore.options["data_dir"] == "m1.etcd"


def test_restore_passes_every_flag(restore: Verb) -> None:
    command = (
        "restore x --data-dir d --wal-dir w --name m --initial-cluster m=http://a:1 --initial-cluster-token t "
        "--initial-advertise-peer-urls http://a:1 --bump-revision 7 --mark-compacted --skip-hash-check=true --dry-run "
        "--replace --owner 7:8 --revision 40 --prefix /a --prefix=/b --exclude-prefix /a/x --compact --clear-alarms "
        "--disable-auth --drop-leases"
    )

    assert cli.main(command.split()) == 0
    assert restore.options == {
        "data_dir": "d",
        "name": "m",
        "initial_cluster": "m=http://a:1",
        "initial_advertise_peer_urls": "http://a:1",
        "initial_cluster_token": "t",
        "wal_dir": "w",
        "existing": "keep",
        "owner": (7, 8),
        "bump_revision": 7,
        "mark_compacted": True,
        "revision": 40,
        "prefixes": [b"/a", b"/b"],
        "exclude_prefixes": [b"/a/x"],
        "compact": True,
        "clear_alarms": True,
        "disable_auth": True,
        "drop_leases": True,
        "skip_hash_check": True,
        "dry_run": True,
        "progress": True,
    }


def test_a_dry_run_prints_the_plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, "restore", RestoreReport._from_json(changed(sample_reports.RESTORE, dry_run=True)))

    assert cli.main(["restore", "x", "--dry-run"]) == 0
    out = capsys.readouterr().out
    plan = "plan, nothing was written:\n"
    steps = "  1. verify etcd.tar.gz\n  2. go back to revision 40\n  3. clear 1 alarms\n  4. write m1.etcd\n"
    assert out.endswith(plan + steps)
    assert "changed:" not in out


def test_a_finished_restore_names_what_it_changed_and_no_other_step(
    restore: Verb, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["restore", "x"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert restore.arguments == ("x",)
    assert [line.split(maxsplit=1) for line in lines if line.startswith("changed:")] == [
        ["changed:", "go back to revision 40"],
        ["changed:", "clear 1 alarms"],
    ]

    install(monkeypatch, "restore", RestoreReport._from_json(changed(sample_reports.RESTORE, changes=[])))
    assert cli.main(["restore", "x"]) == 0
    plain = capsys.readouterr().out.splitlines()
    assert len(plain) == len(lines) - 2
    assert "write m1.etcd" not in "".join(plain)
