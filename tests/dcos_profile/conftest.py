"""A master, and a Mesos-DNS that every test has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcos_etcd.dcos import _profile
from dcos_profile.master import MASTERS, NOWHERE, Machine, MesosDns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def mesos_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[MesosDns]:
    serving = MesosDns()
    monkeypatch.setattr(_profile, "MESOS_DNS", serving.url)
    # A proxy that is not there: who asks it gets nothing.
    monkeypatch.setenv("http_proxy", NOWHERE)
    serving.names(*MASTERS)
    yield serving
    serving.server.shutdown()
    serving.server.server_close()


@pytest.fixture
def no_mesos_dns(mesos_dns: MesosDns, monkeypatch: pytest.MonkeyPatch) -> None:
    mesos_dns.answer = ""
    monkeypatch.setattr(_profile, "MESOS_DNS", NOWHERE)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")
