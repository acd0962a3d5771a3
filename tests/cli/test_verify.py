from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cli.conftest import Verb, install
from dcos_etcd import cli, exceptions

if TYPE_CHECKING:
    import pytest


def test_verify_of_a_sound_snapshot_exits_0(verify: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "x", "--skip-hash-check"]) == 0
    assert verify.options["skip_hash_check"] is True
    assert capsys.readouterr().out.endswith("sound\n")


def test_no_text_from_elsewhere_steers_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    defects = [exceptions.Defect(code="tar-entry", message="entry \x1b[2J\x9b1m of the tar")]
    install(monkeypatch, "verify", exceptions.CorruptSnapshotError("x", path="x\x1b]0;title\x07", defects=defects))

    assert cli.main(["verify", "x"]) == 1
    out, err = capsys.readouterr()
    assert out == "tar-entry: entry \\x1b[2J\\x9b1m of the tar\n"
    assert err == "dcos-etcdctl: error: x\\x1b]0;title\\x07 is damaged: 1 defect found\n"


def test_verify_lists_every_defect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    defects = [exceptions.Defect(code="page-order", message=f"page {page} wrong", page=page) for page in range(300)]
    install(monkeypatch, "verify", exceptions.CorruptSnapshotError("x is damaged", path="x", defects=defects))

    assert cli.main(["verify", "x"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"page-order: page {page} wrong (page {page})" for page in range(300)]
    assert err == "dcos-etcdctl: error: x is damaged: 300 defects found\n"

    assert cli.main(["verify", "x", "-w", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["sound"] is False
    assert document["defects"][299] == {
        "code": "page-order",
        "message": "page 299 wrong",
        "page": 299,
        "offset": None,
    }
