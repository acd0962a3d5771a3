from __future__ import annotations

import os
import signal
from typing import Any

import pytest

import sample_reports
from dcos_etcd import api
from dcos_etcd.models import BackupReport, Diagnosis, RestoreReport, VerifyReport


class Verb:
    """Stands for a verb of the API: keeps what it was called with, and answers."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.arguments: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}

    def __call__(self, *arguments: Any, **options: Any) -> object:
        self.arguments = arguments
        self.options = options
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture(autouse=True)
def no_etcdctl_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ETCDCTL_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def signal_handlers_as_before() -> Any:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def install(monkeypatch: pytest.MonkeyPatch, name: str, answer: object) -> Verb:
    verb = Verb(answer)
    monkeypatch.setattr(api, name, verb)
    return verb


@pytest.fixture
def backup(monkeypatch: pytest.MonkeyPatch) -> Verb:
    return install(monkeypatch, "backup", BackupReport._from_json(sample_reports.BACKUP))


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> Verb:
    return install(monkeypatch, "restore", RestoreReport._from_json(sample_reports.RESTORE))


@pytest.fixture
def diagnose(monkeypatch: pytest.MonkeyPatch) -> Verb:
    return install(monkeypatch, "diagnose", Diagnosis._from_json(sample_reports.DIAGNOSIS))


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Verb:
    return install(monkeypatch, "verify", VerifyReport._from_json(sample_reports.VERIFY))
