"""An etcd v3 cluster's whole state as one verified archive, and back as a new cluster. No `etcdctl` is needed.

    >>> import dcos_etcd
    >>> report = dcos_etcd.backup("etcd.tar.gz", endpoints=["https://10.0.0.1:2379"])  # doctest: +SKIP
    >>> dcos_etcd.verify("etcd.tar.gz").status.revision  # doctest: +SKIP
    1042

Verbs: `backup`, `verify`, `status`, `restore`, `diagnose`, `member_list`; `open` reads in a snapshot, `compare` tells
two apart, `put_back` writes its keys into a live cluster. They return frozen dataclasses and raise subclasses of
`EtcdError`. The same verbs as coroutines are in `dcos_etcd.aio`.

Names are loaded when they are first touched, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import atexit as _atexit
import sys as _sys

# Type checkers know the name; importing it from `typing` would double the time that this module takes.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from dcos_etcd import aio
    from dcos_etcd._core import __version__
    from dcos_etcd.api import backup, diagnose, member_list, restore, status, verify
    from dcos_etcd.comparing import compare
    from dcos_etcd.exceptions import (
        AccessDeniedError,
        ArchiveExistsError,
        BootstrapError,
        BrokenStreamError,
        CompactedError,
        CorruptSnapshotError,
        DatabaseChangedError,
        DataDirInUseError,
        DataDirNotEmptyError,
        DcosError,
        Defect,
        EndpointUnavailableError,
        EtcdError,
        FutureRevisionError,
        InvalidArgumentError,
        KeyNotFoundError,
        MissingDependencyError,
        MissingHashError,
        NoSpaceError,
        NotASnapshotError,
        PutBackStoppedError,
        RequestRefusedError,
        RestoreUnprovenError,
        SnapshotClosedError,
        SnapshotError,
        SnapshotWarning,
        StalledError,
        StorageVersionError,
    )
    from dcos_etcd.models import (
        Alarm,
        BackupReport,
        Comparison,
        Conflict,
        Diagnosis,
        EndpointFacts,
        Entry,
        Finding,
        Handover,
        HashKv,
        Health,
        Inspection,
        KeyCounts,
        KeyDifference,
        KeyFigure,
        Lease,
        Manifest,
        Member,
        MemberList,
        Permission,
        PlannedChange,
        PlannedMember,
        PrefixStats,
        Progress,
        PutBackCounts,
        PutBackReport,
        ResponseHeader,
        RestoreReport,
        RevisionSpan,
        Rewritten,
        Role,
        Skipped,
        StateDifference,
        Stats,
        Status,
        Tls,
        Unanswered,
        User,
        VerifyReport,
    )
    from dcos_etcd.putting_back import PutBackPlan, plan_put_back, put_back
    from dcos_etcd.reader import Snapshot, SnapshotView, open  # noqa: A004 - as gzip and tarfile have it

__all__ = [
    "AccessDeniedError",
    "Alarm",
    "ArchiveExistsError",
    "BackupReport",
    "BootstrapError",
    "BrokenStreamError",
    "CompactedError",
    "Comparison",
    "Conflict",
    "CorruptSnapshotError",
    "DataDirInUseError",
    "DataDirNotEmptyError",
    "DatabaseChangedError",
    "DcosError",
    "Defect",
    "Diagnosis",
    "EndpointFacts",
    "EndpointUnavailableError",
    "Entry",
    "EtcdError",
    "Finding",
    "FutureRevisionError",
    "Handover",
    "HashKv",
    "Health",
    "Inspection",
    "InvalidArgumentError",
    "KeyCounts",
    "KeyDifference",
    "KeyFigure",
    "KeyNotFoundError",
    "Lease",
    "Manifest",
    "Member",
    "MemberList",
    "MissingDependencyError",
    "MissingHashError",
    "NoSpaceError",
    "NotASnapshotError",
    "Permission",
    "PlannedChange",
    "PlannedMember",
    "PrefixStats",
    "Progress",
    "PutBackCounts",
    "PutBackPlan",
    "PutBackReport",
    "PutBackStoppedError",
    "RequestRefusedError",
    "ResponseHeader",
    "RestoreReport",
    "RestoreUnprovenError",
    "RevisionSpan",
    "Rewritten",
    "Role",
    "Skipped",
    "Snapshot",
    "SnapshotClosedError",
    "SnapshotError",
    "SnapshotView",
    "SnapshotWarning",
    "StalledError",
    "StateDifference",
    "Stats",
    "Status",
    "StorageVersionError",
    "Tls",
    "Unanswered",
    "User",
    "VerifyReport",
    "__version__",
    "aio",
    "backup",
    "compare",
    "diagnose",
    "member_list",
    "open",
    "plan_put_back",
    "put_back",
    "restore",
    "status",
    "verify",
]

# Where a name lives that is neither an exception nor a model.
_HOMES = {
    "__version__": "_core",
    **dict.fromkeys(("backup", "diagnose", "member_list", "restore", "status", "verify"), "api"),
    **dict.fromkeys(("Snapshot", "SnapshotView", "open"), "reader"),
    "compare": "comparing",
    **dict.fromkeys(("PutBackPlan", "plan_put_back", "put_back"), "putting_back"),
}
# Modules that need not be imported to be used.
_MODULES = ("aio",)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - loaded already, looked up only here

    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    is_exception = name == "Defect" or name.endswith(("Error", "Warning"))
    home = _HOMES.get(name, "exceptions" if is_exception else "models")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)


def _leave() -> None:
    core = _sys.modules.get(f"{__name__}._core")
    if core is not None:
        core.leave()


# What is registered last is called first: handlers that come after this import may still await the verbs.
_atexit.register(_leave)
