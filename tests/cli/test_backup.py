from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import sample_reports
from dcos_etcd import cli

if TYPE_CHECKING:
    from cli.conftest import Verb


def test_backup_passes_its_flags_and_prints_its_report(backup: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["backup", "etcd.tar.gz", "--stall-timeout", "1m"]) == 0
    out, err = capsys.readouterr()
    assert backup.arguments == ("etcd.tar.gz",)
    assert backup.options["stall_timeout"] == 60.0
    assert f"sha256:        {'ab' * 32}\n" in out
    assert err == "dcos-etcdctl: warning: a learner sent it\n"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1", 1),
        ("500000", 500_000),
        ("800k", 800_000),
        ("800K", 800_000),
        ("800KiB", 800 << 10),
        ("20MiB", 20 << 20),
        ("20Mi", 20 << 20),
        ("20MB", 20_000_000),
        (".5M", 500_000),
        ("1.5G", 1_500_000_000),
        ("2Gi", 2 << 30),
    ],
)
def test_rates_are_read_with_their_units(backup: Verb, text: str, rate: int) -> None:
    assert cli.main(["backup", "etcd.tar.gz", "--max-rate", text]) == 0
    assert backup.options["max_rate"] == rate


def test_backup_as_json_is_one_document(backup: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    del backup

    assert cli.main(["backup", "etcd.tar.gz", "-w", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == sample_reports.BACKUP
