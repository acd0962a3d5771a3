"""What the verbs return: frozen dataclasses, equal by value, picklable, fit for `match`.

What there may be millions of, an entry, is a named tuple.

Ids of members and clusters are text, lower-case hexadecimal, as etcd prints them. Sizes are bytes, times are aware
`datetime` values in UTC, durations are seconds.
"""

from __future__ import annotations

from dcos_etcd.exceptions import Defect
from dcos_etcd.models.arguments import Handover, Progress, Tls
from dcos_etcd.models.cluster import EndpointFacts, HashKv, Health, Member, MemberList, ResponseHeader
from dcos_etcd.models.compared import Comparison, KeyCounts, KeyDifference, StateDifference
from dcos_etcd.models.contents import (
    Alarm,
    Entry,
    KeyFigure,
    Lease,
    Permission,
    PrefixStats,
    RevisionSpan,
    Role,
    Stats,
    User,
)
from dcos_etcd.models.diagnosis import Diagnosis, Finding
from dcos_etcd.models.restored import Inspection, PlannedMember, RestoreReport, Rewritten
from dcos_etcd.models.snapshot import BackupReport, Manifest, Skipped, Status, VerifyReport
from dcos_etcd.models.written import Conflict, PlannedChange, PutBackCounts, PutBackReport, Unanswered

__all__ = [
    "Alarm",
    "BackupReport",
    "Comparison",
    "Conflict",
    "Defect",
    "Diagnosis",
    "EndpointFacts",
    "Entry",
    "Finding",
    "Handover",
    "HashKv",
    "Health",
    "Inspection",
    "KeyCounts",
    "KeyDifference",
    "KeyFigure",
    "Lease",
    "Manifest",
    "Member",
    "MemberList",
    "Permission",
    "PlannedChange",
    "PlannedMember",
    "PrefixStats",
    "Progress",
    "PutBackCounts",
    "PutBackReport",
    "ResponseHeader",
    "RestoreReport",
    "RevisionSpan",
    "Rewritten",
    "Role",
    "Skipped",
    "StateDifference",
    "Stats",
    "Status",
    "Tls",
    "Unanswered",
    "User",
    "VerifyReport",
]
