"""One report of each kind, with names in them that nobody would give a key who meant well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sample_reports
from dcos_etcd.models import (
    BackupReport,
    Comparison,
    Conflict,
    Diagnosis,
    Entry,
    Inspection,
    KeyCounts,
    KeyDifference,
    KeyFigure,
    Lease,
    MemberList,
    PrefixStats,
    PutBackCounts,
    PutBackReport,
    RestoreReport,
    RevisionSpan,
    StateDifference,
    Stats,
    Status,
    Unanswered,
    VerifyReport,
)
from sample_reports import changed

HOSTILE = (
    b"<script>alert(1)</script>",
    b'"onload="alert(1)',
    b"'><img src=http://example.org/x.png onerror=alert(1)>",
    b"</style></table></section><h1>gone</h1>",
    "\u202eelbadaer\u2066\u2028".encode(),
    b"\x1b[2J\x9b1m\x07",
    b"[bold]markup[/bold] [link=http://example.org]x[/link] :smile:",
    b"$\\frac{1}{0}$",
    b"tab\tand\nline feed",
    b"\xff\xfe no text",
    b"/long" * 60,
)
"""Keys that would run, restyle, turn around or break what shows them as they are."""


def prefix(name: bytes, live: int, versions: int, of_all: int) -> PrefixStats:
    return PrefixStats(
        prefix=name,
        keys=live // 100,
        key_bytes=10,
        value_bytes=live,
        versions=versions,
        tombstones=1,
        version_bytes=of_all,
    )


STATS = Stats(
    revision=4000,
    total=PrefixStats(
        prefix=b"", keys=400, key_bytes=9000, value_bytes=70_000, versions=3900, tombstones=100, version_bytes=9_000_000
    ),
    prefixes=(
        prefix(b"/calico/", 40_000, 900, 3_000_000),
        prefix(b"/apps/", 20_000, 3000, 6_000_000),
        *(prefix(name, 100, 1, 100) for name in HOSTILE),
    ),
    largest=tuple(KeyFigure(key=name, figure=1000 - place) for place, name in enumerate(HOSTILE)),
    most_rewritten=(KeyFigure(key=b"/apps/state", figure=2500), KeyFigure(key=b"/calico/ready", figure=12)),
    spans=tuple(
        RevisionSpan(
            first=1 + 1000 * n, last=1000 + 1000 * n, versions=975, tombstones=25, version_bytes=900_000 * (n + 1)
        )
        for n in range(4)
    ),
)

COMPARISON = Comparison(
    revision_a=10,
    revision_b=20,
    counts=KeyCounts(keys_a=30, keys_b=31, added=3, removed=2, value=6, lease=0, rewritten=0, same=20),
    keys=tuple(
        KeyDifference(key=name, change="removed", a=Entry(name, b"", 1, 7, 1, 0), b=None, size_a=3, size_b=None)
        for name in HOSTILE
    ),
    state=(
        StateDifference(part="leases", name="4d2", a=Lease(id=1234, ttl=60, remaining_ttl=0, keys=()), b=None),
        StateDifference(part="cluster_version", name="", a="3.5.0", b="3.6.0"),
    ),
    compared=("keys", "leases"),
    equal=False,
)

PUT_BACK = PutBackReport(
    endpoint="http://127.0.0.1:2379",
    revision=40,
    cluster_revision=90,
    planned=PutBackCounts(create=1, update=2, delete=3, unchanged=4, extra=5, leased=6, bytes=7000),
    created=1,
    updated=1,
    deleted=3,
    settled=0,
    detached=0,
    transactions=1,
    conflicts=(Conflict(key=HOSTILE[0], action="update", planned=7, found=91),),
    unanswered=(Unanswered(endpoint="http://127.0.0.1:2379", creates=1),),
    warnings=("6 keys hung on a lease in the snapshot",),
)

INSPECTION = Inspection._from_json(
    {
        "data_dir": "/var/lib/etcd/<b>m1</b>",
        "wal_dir": "/var/lib/etcd/m1/member/wal",
        "exists": True,
        "in_use": "etcd (pid 4711)",
        "cluster_id": "95c0b97798b70158",
        "member_id": None,
        "name": None,
        "members": [],
        "log_members": [],
        "term": 3,
        "commit": 7,
        "last_index": 7,
        "storage_version": None,
        "applied_index": None,
        "revision": 42,
        "total_key": 3,
        "database_size": 20480,
        "defects": [{"code": "torn", "message": "a <i>torn</i> record", "page": None, "offset": 7}],
        "mended_at_start": [{"code": "wal-tail", "message": "<b>not</b> zero", "page": None, "offset": 9}],
    }
)

FINDINGS: list[dict[str, Any]] = [
    *sample_reports.DIAGNOSIS["findings"],
    {
        "id": "db-nearly-full",
        "severity": "warning",
        "endpoint": None,
        "message": "the database takes 91 % of its quota, says <script>alert(1)</script>",
        "evidence": "1.9 GB of 2.1 GB",
        "advice": "compact & defragment",
    },
]

REPORTS: dict[str, Any] = {
    "backup": BackupReport._from_json(sample_reports.BACKUP),
    "verify": VerifyReport._from_json(sample_reports.VERIFY),
    "restore": RestoreReport._from_json(sample_reports.RESTORE),
    "plan": RestoreReport._from_json(changed(sample_reports.RESTORE, dry_run=True)),
    "status": Status._from_json(sample_reports.STATUS),
    "diagnosis": Diagnosis._from_json(changed(sample_reports.DIAGNOSIS, findings=FINDINGS)),
    "members": MemberList._from_json({key: sample_reports.DIAGNOSIS[key] for key in ("header", "members")}),
    "inspection": INSPECTION,
    "stats": STATS,
    "comparison": COMPARISON,
    "put back": PUT_BACK,
    "hostile path": BackupReport._from_json(
        changed(sample_reports.BACKUP, path=Path(b"\xff<b>.tar.gz".decode(errors="surrogateescape")))
    ),
}
