"""The models as an operator reads them, and as a script does: pure functions from a model to text."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeGuard

    from dcos_etcd.models import (
        BackupReport,
        Diagnosis,
        EndpointFacts,
        Health,
        Inspection,
        Member,
        RestoreReport,
        Rewritten,
        Status,
        VerifyReport,
    )

_KILO = 1000
_LEAST_WITHOUT_DECIMAL = 10

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}


def visible(text: str) -> str:
    """Spell control characters out: names that a cluster or an archive brings must not steer the terminal."""
    return text.translate(_CONTROLS)


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


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> str:
    """Draw a table in the manner of etcdctl; columns named in `right` are set flush right."""
    body = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *body, strict=True)]
    flush = set(right)
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def line(cells: Sequence[str]) -> str:
        placed = (
            cell.rjust(width) if column in flush else cell.ljust(width)
            for column, cell, width in zip(columns, cells, widths, strict=True)
        )
        return "| " + " | ".join(placed) + " |"

    head = "| " + " | ".join(column.center(width) for column, width in zip(columns, widths, strict=True)) + " |"
    return "\n".join([rule, head, rule, *map(line, body), *([rule] if body else [])])


def fields(pairs: Iterable[tuple[str, object]]) -> str:
    """Write one `name: value` a line, the values under each other."""
    lines = [(name, str(value)) for name, value in pairs]
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name + ':':{width}}{value}".rstrip() for name, value in lines)


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
    # Surrogates stand for the bytes of a path that is no UTF-8; written as such they would be no JSON.
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def status_json(status: Status) -> str:
    """Write what `etcdutl snapshot status -w json` writes."""
    return to_json(status._to_etcd())


def status_simple(status: Status) -> str:
    """Write what `etcdutl snapshot status` writes."""
    return ", ".join(_status_row(status))


def status_table(status: Status) -> str:
    """Write what `etcdutl snapshot status -w table` writes."""
    columns = ("HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "STORAGE VERSION")
    return table(columns, [_status_row(status)], right=columns)


def _status_row(status: Status) -> tuple[str, ...]:
    return (
        f"{status.hash:x}",
        str(status.revision),
        str(status.total_key),
        human_size(status.total_size),
        status.version,
    )


def backup_text(report: BackupReport) -> str:
    """Tell of a backup."""
    manifest = report.manifest
    return fields(
        [
            ("archive", report.path),
            ("archive size", f"{report.archive_size} bytes ({human_size(report.archive_size)}, {report.compression})"),
            ("database size", f"{manifest.size} bytes ({human_size(manifest.size)})"),
            ("sha256", manifest.sha256),
            ("endpoint", report.endpoint),
            *(("skipped", f"{skipped.endpoint}: {skipped.reason}") for skipped in report.skipped),
            ("cluster", manifest.cluster_id),
            ("member", f"{manifest.member_id} (etcd {manifest.etcd_version})"),
            ("members", len(manifest.members)),
            ("revision", f"at least {manifest.revision}"),
            ("duration", f"{report.duration_seconds:.1f} s"),
        ]
    )


def verify_text(report: VerifyReport) -> str:
    """Tell of a snapshot that is sound."""
    pairs: list[tuple[str, object]] = [
        ("snapshot", report.path),
        ("kind", report.kind),
        ("file size", f"{report.file_size} bytes ({human_size(report.file_size)})"),
        ("database size", f"{report.database_size} bytes ({human_size(report.database_size)})"),
        ("pages", f"{report.pages}, {report.pages_free} of them free"),
        ("sha256", f"{report.sha256} ({'as the snapshot says' if report.hash_checked else 'not compared'})"),
        ("hash", f"{report.status.hash:x}"),
        ("revision", report.status.revision),
        ("total keys", report.status.total_key),
        ("storage version", report.status.version or "not recorded"),
    ]
    if report.manifest is not None:
        manifest = report.manifest
        pairs += [
            ("taken", f"{plain(manifest.created_at)} by {manifest.tool} from {manifest.endpoint}"),
            ("cluster", f"{manifest.cluster_id} (etcd {manifest.etcd_version}, {len(manifest.members)} members)"),
        ]
    return fields([*pairs, ("verdict", "sound")])


def restore_text(report: RestoreReport) -> str:
    """Tell of a restore: of its steps when it is only planned, else of its result."""
    revision = str(report.revision)
    if report.bumped_revision is not None:
        revision += f", bumped to {report.bumped_revision}"
    result = fields(
        [
            ("snapshot", report.path),
            ("data dir", report.data_dir),
            ("wal dir", report.wal_dir),
            *([("old data", report.replaced)] if report.replaced else []),
            ("member", f"{report.name} ({report.member_id})"),
            ("cluster", report.cluster_id),
            *(("with", f"{one.name} ({one.id}) {','.join(one.peer_urls)}") for one in report.members),
            ("revision", revision),
            ("database size", f"{report.database_size} bytes ({human_size(report.database_size)})"),
            ("sha256", report.sha256),
            *_rewritten(report.rewritten),
        ]
    )
    if not report.dry_run:
        return result
    steps = [f"  {number}. {step}" for number, step in enumerate(report.steps, start=1)]
    return "\n".join([result, "", "plan, nothing was written:", *steps])


def _rewritten(written: Rewritten | None) -> list[tuple[str, object]]:
    if written is None:
        return []
    size = f"{written.database_size} bytes ({human_size(written.database_size)})"
    return [
        ("restored revision", written.revision),
        ("restored keys", f"{written.keys} in {written.versions} versions; {written.versions_dropped} were left out"),
        ("restored size", size),
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


def inspection_text(found: Inspection) -> str:
    """Tell what a data directory says of its member."""
    unknown = "-"
    members = found.log_members or found.members
    return fields(
        [
            ("data dir", found.data_dir if found.exists else f"{found.data_dir} (not there)"),
            ("in use by", found.in_use or "nobody"),
            ("member", f"{found.name or unknown} ({found.member_id or unknown})"),
            ("cluster", found.cluster_id or unknown),
            *(("with", f"{one.name or unknown} ({one.id}) {','.join(one.peer_urls)}") for one in members),
            ("raft term", unknown if found.term is None else found.term),
            ("raft commit", unknown if found.commit is None else found.commit),
            ("applied", unknown if found.applied_index is None else found.applied_index),
            ("revision", unknown if found.revision is None else found.revision),
            ("keys", unknown if found.total_key is None else found.total_key),
            ("database size", unknown if found.database_size is None else f"{found.database_size} bytes"),
            *(("defect", f"{defect.code}: {defect}") for defect in found.defects),
        ]
    )


def diagnosis_text(diagnosis: Diagnosis, *more: str) -> str:
    """Show members, endpoints, what is more, and findings under each other."""
    parts: list[str] = []
    if diagnosis.members:
        parts.append(_member_table(diagnosis.members))
    if diagnosis.endpoints:
        parts.append(_endpoint_table(diagnosis.endpoints))
    parts.extend(more)
    for finding in diagnosis.findings:
        place = f" [{finding.endpoint}]" if finding.endpoint else ""
        parts.append(
            f"{finding.severity.upper()} {finding.id}{place}: {finding.message}\n"
            f"  evidence: {finding.evidence}\n  advice:   {finding.advice}"
        )
    parts.append("verdict: healthy" if diagnosis.healthy else "verdict: unhealthy")
    return "\n\n".join(parts)


def _member_table(members: Iterable[Member]) -> str:
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
    return table(columns, rows, right=["IS LEARNER"])


def _endpoint_table(endpoints: Iterable[EndpointFacts]) -> str:
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
    return table(columns, rows, right=columns[3:])


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _health(health: Health | None) -> str:
    if health is None:
        return "-"
    return f"{health.took_seconds * 1000:.1f} ms" if health.healthy else "failed"
