from __future__ import annotations

import pytest

import sample_reports
from cli.conftest import install
from dcos_etcd import cli
from dcos_etcd.models import Status


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("json", '{"hash":554914620,"revision":10,"totalKey":7,"totalSize":20480,"version":"3.6.0"}\n'),
        ("simple", "2113533c, 10, 7, 20 kB, 3.6.0\n"),
    ],
)
def test_status_is_printed_as_etcdutl_prints_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str, text: str
) -> None:
    install(monkeypatch, "status", Status._from_json(sample_reports.STATUS))

    assert cli.main(["status", "x", "-w", form]) == 0
    assert capsys.readouterr().out == text
