"""The models as an operator reads them, and as a script does: pure functions from a model to a sheet, or to JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcos_etcd._sheet import Fields, Remark, Sheet, Steps, Table, fields

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeGuard

    from dcos_etcd._sheet import Block
    from dcos_etcd.models import (
        BackupReport,
        Diagnosis,
        EndpointFacts,
        Finding,
        Health,
        Inspection,
        Member,
        MemberList,
        RestoreReport,
        Rewritten,
        Status,
        VerifyReport,
    )

_KILO = 1000
_LEAST_WITHOUT_DECIMAL = 10


def human_size(size: int) -> str:
    """Write a size as etcdutl does: `20 kB`, `1.5 MB`; a kB is 1000 bytes."""
    if size < _LEAST_WITHOUT_DECIMAL:
        return f"{size} B"
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    exponent = 0
    while exponent + 1 < len(units) and size >= _KILO ** (exponent + 1):
        exponent += 1
    tenths = int(size / _KILO**exponent * 10 + 0.5)
    return f"{tenths / 10:.{int(tenths < _LEAST_WITHOUT_DECIMAL * 10)}f} {units[exponent]}"


def plain(value: Any) -> Any:  # noqa: ANN401 - any model in, any JSON value out
    """Turn a model into what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if _is_tuple(value):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    return value


def _is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)


def to_json(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """Write JSON on one line, spelled as Go spells it."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # What `_sheet` spells out must not steer a terminal here either, and is the same text to whoever reads JSON.
    # Surrogates stand for the bytes of a path that is no UTF-8; written as such they would be no JSON.
    return re.sub(
        "[<>&\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]",
        lambda found: f"\\u{ord(found[0]):04x}",
        text,
    )


def status_json(status: Status) -> str:
    """Write what `etcdutl snapshot status -w json` writes."""
    return to_json(status._to_etcd())


def status_simple(status: Status) -> str:
    """Write what `etcdutl snapshot status` writes."""
    return ", ".join(_status_row(status))


def status_sheet(status: Status) -> Sheet:
    """Tell what `etcdutl snapshot status -w table` tells."""
    columns = ("HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "STORAGE VERSION")
    return Sheet("Snapshot status", (Table("figures", columns, (_status_row(status),), right=frozenset(columns)),))


def _status_row(status: Status) -> tuple[str, ...]:
    return (
        f"{status.hash:x}",
        str(status.revision),
        str(status.total_key),
        human_size(status.total_size),
        status.version,
    )


def backup_sheet(report: BackupReport) -> Sheet:
    """Tell of a backup."""
    manifest = report.manifest
    pairs = [
        ("archive", report.path),
        ("archive size", _bytes(report.archive_size, report.compression)),
        ("database size", _bytes(manifest.size)),
        ("sha256", manifest.sha256),
        ("endpoint", report.endpoint),
        *(("skipped", f"{skipped.endpoint}: {skipped.reason}") for skipped in report.skipped),
        ("cluster", manifest.cluster_id),
        ("member", f"{manifest.member_id or 'unknown'} (etcd {manifest.etcd_version or 'of unknown version'})"),
        ("members", len(manifest.members)),
        ("revision", f"at least {manifest.revision}"),
        ("duration", f"{report.duration_seconds:.1f} s"),
    ]
    return Sheet("Backup", (fields(pairs),), report.warnings)


def verify_sheet(report: VerifyReport) -> Sheet:
    """Tell of a snapshot that is sound."""
    pairs: list[tuple[str, object]] = [
        ("snapshot", report.path),
        ("kind", report.kind),
        ("file size", _bytes(report.file_size)),
        ("database size", _bytes(report.database_size)),
        ("pages", f"{report.pages}, {report.pages_free} of them free"),
        ("sha256", f"{report.sha256} ({'as the snapshot says' if report.hash_checked else 'not compared'})"),
        ("hash", f"{report.status.hash:x}"),
        ("revision", report.status.revision),
        ("total keys", report.status.total_key),
        ("storage version", report.status.version or "not recorded"),
    ]
    if report.manifest is not None:
        manifest = report.manifest
        count = len(manifest.members)
        members = f"{count} member{'s' if count != 1 else ''}"
        pairs += [
            ("taken", f"{plain(manifest.created_at)} by {manifest.tool} from {manifest.endpoint}"),
            ("cluster", f"{manifest.cluster_id} (etcd {manifest.etcd_version}, {members})"),
        ]
    return Sheet("Verified snapshot", (fields([*pairs, ("verdict", "sound")], "good"),), report.warnings)


def restore_sheet(report: RestoreReport) -> Sheet:
    """Tell of a restore: of its steps when it is only planned, else of its result and of what it changed."""
    revision = str(report.revision)
    if report.bumped_revision is not None:
        revision += f", bumped to {report.bumped_revision}"
    pairs = [
        ("snapshot", report.path),
        ("data dir", report.data_dir),
        ("wal dir", report.wal_dir),
        *([("old data", report.replaced)] if report.replaced else []),
        ("member", f"{report.name} ({report.member_id})"),
        ("cluster", report.cluster_id),
        *(("with", f"{one.name} ({one.id}) {','.join(one.peer_urls)}") for one in report.members),
        ("revision", revision),
        ("database size", _bytes(report.database_size)),
        ("sha256", report.sha256),
        *_rewritten(report.rewritten),
        *(("changed", change) for change in report.changes if not report.dry_run),
    ]
    plan = (Steps("plan, nothing was written:", report.steps),) if report.dry_run else ()
    return Sheet("Restore", (fields(pairs), *plan), report.warnings)


def _bytes(size: int, *more: str) -> str:
    return f"{size} bytes ({', '.join([human_size(size), *more])})"


def _rewritten(written: Rewritten | None) -> list[tuple[str, object]]:
    if written is None:
        return []
    return [
        ("restored revision", written.revision),
        ("restored keys", f"{written.keys} in {written.versions} versions; {written.versions_dropped} were left out"),
        ("restored size", _bytes(written.database_size)),
    ]


def diagnosis_json(diagnosis: Diagnosis, **more: Any) -> str:  # noqa: ANN401 - any model or JSON value
    """Write header and members as `etcdctl member list -w json` does, then endpoints, findings and what is more."""
    document = {
        "header": diagnosis.header._to_etcd() if diagnosis.header else None,
        "members": [member._to_etcd() for member in diagnosis.members],
        "endpoints": [_endpoint_document(facts) for facts in diagnosis.endpoints],
        "findings": [plain(finding) for finding in diagnosis.findings],
        "healthy": diagnosis.healthy,
        **{name: plain(value) for name, value in more.items()},
    }
    return to_json(document)


def _endpoint_document(facts: EndpointFacts) -> dict[str, Any]:
    """Add the member's id as a number; as hexadecimal text every id survives readers that count in doubles."""
    renamed = {"member_id": "member_id_hex", "cluster_id": "cluster_id_hex", "leader": "leader_hex"}
    document: dict[str, Any] = {}
    for name, value in plain(facts).items():
        if name == "member_id":
            document["member_id"] = None if value is None else int(value, 16)
        document[renamed.get(name, name)] = value
    return document


def inspection_fields(found: Inspection) -> Fields:
    """Tell what a data directory says of its member."""
    unknown = "-"
    return fields(
        [
            ("data dir", found.data_dir if found.exists else f"{found.data_dir} (not there)"),
            ("in use by", found.in_use or "nobody"),
            ("member", f"{found.name or unknown} ({found.member_id or unknown})"),
            ("cluster", found.cluster_id or unknown),
            *(("with", f"{one.name or unknown} ({one.id}) {','.join(one.peer_urls)}") for one in found.known_members),
            ("raft term", unknown if found.term is None else found.term),
            ("raft commit", unknown if found.commit is None else found.commit),
            ("applied", unknown if found.applied_index is None else found.applied_index),
            ("revision", unknown if found.revision is None else found.revision),
            ("keys", unknown if found.total_key is None else found.total_key),
            ("database size", unknown if found.database_size is None else f"{found.database_size} bytes"),
            *(("defect", f"{defect.code}: {defect}") for defect in found.defects),
            *(("mended at start", f"{defect.code}: {defect}") for defect in found.mended_at_start),
        ]
    )


def inspection_sheet(found: Inspection) -> Sheet:
    """Tell the same, alone."""
    return Sheet("Data directory", (inspection_fields(found),))


def member_list_sheet(listed: MemberList) -> Sheet:
    """Tell what `etcdctl member list -w table` tells."""
    return Sheet("Members", (_member_table(listed.members),))


def diagnosis_sheet(diagnosis: Diagnosis, *more: Block) -> Sheet:
    """Show members, endpoints, what is more, and findings under each other."""
    blocks: list[Block] = []
    if diagnosis.members:
        blocks.append(_member_table(diagnosis.members))
    if diagnosis.endpoints:
        blocks.append(_endpoint_table(diagnosis.endpoints))
    blocks.extend(more)
    blocks.extend(map(_remark, diagnosis.findings))
    verdict = "healthy" if diagnosis.healthy else "unhealthy"
    blocks.append(fields([("verdict", verdict)], "good" if diagnosis.healthy else "critical"))
    return Sheet("Diagnosis", tuple(blocks))


def _remark(finding: Finding) -> Remark:
    place = f" [{finding.endpoint}]" if finding.endpoint else ""
    details = (("evidence", finding.evidence), ("advice", finding.advice))
    return Remark(finding.severity, f"{finding.severity.upper()} {finding.id}{place}", finding.message, details)


def _member_table(members: Iterable[Member]) -> Table:
    columns = ("ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER")
    rows = [
        (
            member.id,
            "started" if member.name else "unstarted",
            member.name,
            ",".join(member.peer_urls),
            ",".join(member.client_urls),
            str(member.is_learner).lower(),
        )
        for member in members
    ]
    return Table("members", columns, tuple(rows), right=frozenset({"IS LEARNER"}))


def _endpoint_table(endpoints: Iterable[EndpointFacts]) -> Table:
    columns = (
        "ENDPOINT",
        "ID",
        "VERSION",
        "DB SIZE",
        "IN USE",
        "LEADER",
        "RAFT TERM",
        "RAFT INDEX",
        "APPLIED",
        "REVISION",
        "QUORUM READ",
        "LOCAL READ",
    )
    rows = [
        (
            facts.endpoint,
            facts.member_id or "-",
            facts.version or "-",
            "-" if facts.db_size is None else human_size(facts.db_size),
            "-" if facts.db_size_in_use is None else human_size(facts.db_size_in_use),
            str(facts.leader == facts.member_id).lower() if facts.reachable and facts.leader else "-",
            _number(facts.raft_term),
            _number(facts.raft_index),
            _number(facts.raft_applied_index),
            _number(facts.revision),
            _health(facts.linearizable),
            _health(facts.serializable),
        )
        for facts in endpoints
    ]
    return Table("endpoints", columns, tuple(rows), right=frozenset(columns[3:]))


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _health(health: Health | None) -> str:
    if health is None:
        return "-"
    return f"{health.took_seconds * 1000:.1f} ms" if health.healthy else "failed"
