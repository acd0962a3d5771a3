from __future__ import annotations

import json
from typing import TYPE_CHECKING

import sample_reports
from cli.conftest import Verb, install
from dcos_etcd import cli
from dcos_etcd.models import Diagnosis
from sample_reports import changed

if TYPE_CHECKING:
    import pytest


def test_an_unhealthy_cluster_exits_1(diagnose: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnostic", "--expect", "10.0.0.1,10.0.0.2", "--expect", "10.0.0.3"]) == 1
    out = capsys.readouterr().out
    assert diagnose.options["expect"] == "10.0.0.1,10.0.0.2,10.0.0.3"
    assert "CRITICAL endpoint-unreachable [http://127.0.0.1:1]: the member does not answer" in out
    assert out.endswith("verdict: unhealthy\n")


def test_a_healthy_cluster_exits_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy = changed(sample_reports.DIAGNOSIS, findings=[], healthy=True)
    install(monkeypatch, "diagnose", Diagnosis._from_json(healthy))

    assert cli.main(["diagnostic"]) == 0
    assert capsys.readouterr().out.endswith("verdict: healthy\n")


def test_a_diagnosis_as_json_is_one_document(diagnose: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    del diagnose

    assert cli.main(["diagnostic", "-w", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == sample_reports.DIAGNOSIS
