"""What the coroutines work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import dcos_etcd

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import Cluster


@pytest.fixture(scope="session")
def archive(member: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "etcd.tar.gz"
    dcos_etcd.backup(path, **member.access)
    return path
