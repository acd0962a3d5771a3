"""What a script on a DC/OS master does, and one that diagnoses any cluster; nothing runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dcos_etcd
from dcos_etcd import dcos

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import assert_type


def nightly(directory: Path) -> Path | None:
    if not dcos.is_master():
        return None
    report = dcos.backup(directory / "etcd.tar.zst", max_rate=20 << 20, progress=True)
    if TYPE_CHECKING:
        assert_type(report, dcos_etcd.BackupReport)
    for warning in report.warnings:
        print(warning)
    return report.path


def come_back(archive: Path) -> str:
    plan = dcos.restore(archive, dry_run=True, prefixes=["/calico/", b"/marathon/"], drop_leases=True)
    if plan.rewritten is not None:
        print(plan.rewritten.keys, plan.rewritten.versions_dropped)
    report = dcos.restore(archive, masters="10.0.0.1,10.0.0.2")
    print([(member.name, member.peer_urls) for member in report.members], report.steps, report.replaced)
    return report.cluster_id


def judge() -> list[tuple[str, str]]:
    found = dcos.diagnostic(masters=["10.0.0.1"])
    for facts in found.diagnosis.endpoints:
        quorum: float | None = facts.linearizable.took_seconds if facts.linearizable else None
        print(facts.endpoint, facts.version, quorum, facts.hash_kv.hash if facts.hash_kv else facts.hash_kv_error)
    if found.local is not None:
        local: dcos_etcd.Inspection = found.local
        print(local.in_use, [member.id for member in local.members], [defect.code for defect in local.defects])
    return [(finding.id, finding.advice) for finding in found.findings if finding.severity != "info"]
