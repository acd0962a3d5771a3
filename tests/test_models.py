from __future__ import annotations

import dataclasses
import inspect
import json
import pickle
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import sample_reports
from dcos_etcd import display, models
from dcos_etcd._text import to_text
from dcos_etcd.models import (
    BackupReport,
    Diagnosis,
    Manifest,
    Member,
    MemberList,
    Progress,
    RestoreReport,
    Status,
    Tls,
    VerifyReport,
)
from sample_reports import changed

REPORTS: list[tuple[Any, dict[str, Any]]] = [
    (BackupReport, sample_reports.BACKUP),
    (VerifyReport, sample_reports.VERIFY),
    (RestoreReport, sample_reports.RESTORE),
    (Diagnosis, sample_reports.DIAGNOSIS),
    (Manifest, sample_reports.MANIFEST),
    (Status, sample_reports.STATUS),
]

each_report = pytest.mark.parametrize(("model", "data"), REPORTS, ids=lambda value: getattr(value, "__name__", None))


NAMED_TUPLES = ("Entry", "KeyFigure")
"""What there are many of."""


def all_models() -> list[Any]:
    """Every one but the protocol: that is what a caller brings."""
    return [getattr(models, name) for name in models.__all__ if name not in {"Handover", *NAMED_TUPLES}]


@pytest.mark.parametrize("model", all_models())
def test_models_are_frozen_slotted_and_documented(model: Any) -> None:
    parameters = model.__dataclass_params__

    assert parameters.frozen
    assert parameters.eq
    assert "__slots__" in vars(model)
    assert all(field.kw_only for field in dataclasses.fields(model))
    document = inspect.getdoc(model) or ""
    assert [field.name for field in dataclasses.fields(model) if f"{field.name}: " not in document] == []


@pytest.mark.parametrize("name", NAMED_TUPLES)
def test_named_tuples_are_documented_and_survive_pickling(name: str) -> None:
    model = getattr(models, name)
    document = inspect.getdoc(model) or ""
    made = model(*range(len(model._fields)))

    assert [field for field in model._fields if f"{field}: " not in document] == []
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - made on the line itself
    assert not hasattr(made, "__dict__")


@each_report
def test_reports_equal_their_pickled_copies(model: Any, data: dict[str, Any]) -> None:
    report = model._from_json(data)

    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 - made on the line itself
    assert hash(report) == hash(model._from_json(data))


@each_report
def test_reports_hold_nothing_that_can_be_changed(model: Any, data: dict[str, Any]) -> None:
    report = model._from_json(data)

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(report, dataclasses.fields(report)[0].name, None)
    assert not [field.name for field in dataclasses.fields(report) if isinstance(getattr(report, field.name), list)]


@each_report
def test_every_key_of_the_core_reaches_its_model(model: Any, data: dict[str, Any]) -> None:
    known = json.dumps(display.plain(model._from_json(data)))

    for text in leaves(data):
        assert json.dumps(text)[1:-1] in known


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in leaves(one)]
    return [value] if isinstance(value, str) else []


def test_created_at_is_an_aware_datetime_in_utc() -> None:
    manifest = Manifest._from_json(changed(sample_reports.MANIFEST, created_at="2026-11-22T22:04:05+01:00"))

    assert manifest.created_at == datetime(2026, 11, 22, 21, 4, 5, tzinfo=timezone.utc)
    assert manifest.created_at.utcoffset() == timedelta(0)


def test_paths_of_reports_are_paths_even_when_they_are_no_utf8() -> None:
    name = b"\xff.tar.gz".decode(errors="surrogateescape")
    report = BackupReport._from_json(changed(sample_reports.BACKUP, path=name))

    assert report.path == Path(name)
    assert bytes(report.path) == b"\xff.tar.gz"


def test_ids_are_hexadecimal_text_as_etcd_prints_them() -> None:
    diagnosis = Diagnosis._from_json(sample_reports.DIAGNOSIS)

    assert diagnosis.header is not None
    assert diagnosis.header.member_id == "ffffffffffffffff"
    assert [member.id for member in diagnosis.members] == ["ffffffffffffffff", "7"]


def test_members_come_and_go_in_the_shape_of_etcdctl() -> None:
    etcd = sample_reports.DIAGNOSIS["members"]

    assert [Member._from_etcd(member)._to_etcd() for member in etcd] == etcd


def test_member_lists_are_read_in_the_shape_of_etcdctl() -> None:
    document = {key: sample_reports.DIAGNOSIS[key] for key in ("header", "members")}
    listed = MemberList._from_json(document)

    assert [member.name for member in listed.members] == ["m1", ""]
    assert listed.header._to_etcd() == document["header"]


def test_an_unstarted_learner_is_told_by_its_fields() -> None:
    member = Member._from_etcd(sample_reports.DIAGNOSIS["members"][1])

    match member:
        case Member(name="", client_urls=(), is_learner=True):
            pass
        case _:
            pytest.fail(f"{member} did not match")


def test_a_diagnosis_without_any_answer_has_no_header() -> None:
    diagnosis = Diagnosis._from_json(changed(sample_reports.DIAGNOSIS, header=None, members=[]))

    assert diagnosis.header is None
    assert json.loads(display.diagnosis_json(diagnosis))["header"] is None


def test_a_diagnosis_as_json_begins_with_etcdctls_member_list() -> None:
    text = display.diagnosis_json(Diagnosis._from_json(sample_reports.DIAGNOSIS))

    assert text.startswith(
        '{"header":{"cluster_id":8728544135174399746,"member_id":18446744073709551615,"raft_term":2},'
        '"members":[{"ID":18446744073709551615,"name":"m1","peerURLs":["http://127.0.0.1:42341"],'
        '"clientURLs":["http://127.0.0.1:42340"]},'
        '{"ID":7,"peerURLs":["http://127.0.0.1:42343"],"isLearner":true}],'
        '"endpoints":[{'
    )
    assert json.loads(text) == sample_reports.DIAGNOSIS


def test_status_as_json_is_etcdutls() -> None:
    status = Status._from_json(sample_reports.STATUS)

    assert display.status_json(status) == (
        '{"hash":554914620,"revision":10,"totalKey":7,"totalSize":20480,"version":"3.6.0"}'
    )


def test_status_as_table_has_etcdutls_columns() -> None:
    status = Status(hash=0xA3B1DDFF, revision=2, total_key=7, total_size=20480, version="")

    assert display.status_simple(status) == "a3b1ddff, 2, 7, 20 kB, "
    assert to_text(display.status_sheet(status)) == (
        "+----------+----------+------------+------------+-----------------+\n"
        "|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | STORAGE VERSION |\n"
        "+----------+----------+------------+------------+-----------------+\n"
        "| a3b1ddff |        2 |          7 |      20 kB |                 |\n"
        "+----------+----------+------------+------------+-----------------+"
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (9, "9 B"),
        (10, "10 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (20480, "20 kB"),
        (1_500_000, "1.5 MB"),
        (82_854_982, "83 MB"),
        (2**64 - 1, "18 EB"),
    ],
)
def test_sizes_are_written_as_etcdutl_writes_them(size: int, text: str) -> None:
    assert display.human_size(size) == text


def test_json_escapes_what_go_escapes() -> None:
    assert display.to_json({"name": "a<b>&\u2028é"}) == '{"name":"a\\u003cb\\u003e\\u0026\\u2028é"}'


def test_progress_is_a_value() -> None:
    assert Progress(stage="read", done=1, total=None) == Progress(stage="read", done=1, total=None)


def test_tls_shows_paths_and_holds_no_secret() -> None:
    assert repr(Tls(cacert="ca.pem")) == "Tls(cacert='ca.pem', cert=None, key=None, server_name=None)"
