"""An etcd v3 cluster's whole state as one verified archive, and back as a new cluster. No `etcdctl` is needed.

    >>> import dcos_etcd
    >>> report = dcos_etcd.backup("etcd.tar.gz", endpoints=["https://10.0.0.1:2379"])  # doctest: +SKIP
    >>> dcos_etcd.verify("etcd.tar.gz").status.revision  # doctest: +SKIP
    1042

Verbs: `backup`, `verify`, `status`, `restore`, `diagnose`, `member_list`. They return frozen dataclasses and raise
subclasses of `EtcdError`.

Names are loaded when they are first touched, so that importing the package costs next to nothing.
"""

from __future__ import annotations

# Type checkers know the name; importing it from `typing` would double the time that this module takes.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from dcos_etcd._core import __version__
    from dcos_etcd.api import backup, diagnose, member_list, restore, status, verify
    from dcos_etcd.exceptions import (
        AccessDeniedError,
        ArchiveExistsError,
        BootstrapError,
        BrokenStreamError,
        CompactedError,
        CorruptSnapshotError,
        DataDirInUseError,
        DataDirNotEmptyError,
        DcosError,
        Defect,
        EndpointUnavailableError,
        EtcdError,
        FutureRevisionError,
        InvalidArgumentError,
        MissingHashError,
        NoSpaceError,
        NotASnapshotError,
        RestoreUnprovenError,
        SnapshotError,
        StalledError,
    )
    from dcos_etcd.models import (
        BackupReport,
        Diagnosis,
        EndpointFacts,
        Finding,
        Handover,
        HashKv,
        Health,
        Inspection,
        Manifest,
        Member,
        MemberList,
        PlannedMember,
        Progress,
        ResponseHeader,
        RestoreReport,
        Rewritten,
        Skipped,
        Status,
        Tls,
        VerifyReport,
    )

__all__ = [
    "AccessDeniedError",
    "ArchiveExistsError",
    "BackupReport",
    "BootstrapError",
    "BrokenStreamError",
    "CompactedError",
    "CorruptSnapshotError",
    "DataDirInUseError",
    "DataDirNotEmptyError",
    "DcosError",
    "Defect",
    "Diagnosis",
    "EndpointFacts",
    "EndpointUnavailableError",
    "EtcdError",
    "Finding",
    "FutureRevisionError",
    "Handover",
    "HashKv",
    "Health",
    "Inspection",
    "InvalidArgumentError",
    "Manifest",
    "Member",
    "MemberList",
    "MissingHashError",
    "NoSpaceError",
    "NotASnapshotError",
    "PlannedMember",
    "Progress",
    "ResponseHeader",
    "RestoreReport",
    "RestoreUnprovenError",
    "Rewritten",
    "Skipped",
    "SnapshotError",
    "StalledError",
    "Status",
    "Tls",
    "VerifyReport",
    "__version__",
    "backup",
    "diagnose",
    "member_list",
    "restore",
    "status",
    "verify",
]

_VERBS = frozenset({"backup", "diagnose", "member_list", "restore", "status", "verify"})


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - loaded already, looked up only here

    if name == "__version__":
        home = "_core"
    elif name in _VERBS:
        home = "api"
    elif name == "Defect" or name.endswith("Error"):
        home = "exceptions"
    else:
        home = "models"
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
