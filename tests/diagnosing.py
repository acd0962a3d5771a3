"""Diagnoses of real clusters, asked for and looked into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from command_line import cluster_flags, environment, run

if TYPE_CHECKING:
    from dcos_etcd import Diagnosis, Finding
    from dcos_etcd.testing import Cluster

UNHURRIED = ["--strict-reconfig-check=false"]
"""With it a cluster takes new members from its first second on."""

SLOW = "slow-read"
"""What a busy machine may add to every diagnosis."""


def ids(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return [(finding.severity, finding.id) for finding in diagnosis.findings if finding.id != SLOW]


def only(diagnosis: Diagnosis, name: str) -> Finding:
    [finding] = [finding for finding in diagnosis.findings if finding.id == name]
    return finding


def ask(cluster: Cluster, **options: Any) -> Diagnosis:
    """Diagnose from the first running member on, and check that the command exits as its findings say."""
    options = {**cluster.access, "endpoints": cluster.endpoints[:1], **options}
    diagnosis = dcos_etcd.diagnose(**options)
    assert diagnosis.healthy is all(finding.severity != "critical" for finding in diagnosis.findings)
    return diagnosis


def exit_status(cluster: Cluster, *flags: str) -> int:
    return run("diagnostic", *cluster_flags(cluster.access), *flags, env=environment()).returncode


def until(cluster: Cluster, *awaited: str) -> Diagnosis:
    """A member notices within some heartbeats that it is alone."""
    for _ in range(50):
        diagnosis = ask(cluster, command_timeout=1)
        if {*awaited} <= {finding.id for finding in diagnosis.findings}:
            return diagnosis
    pytest.fail(f"no {', '.join(awaited)}")
