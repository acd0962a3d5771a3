"""What a user of the package does when something fails; nothing runs it."""

from __future__ import annotations

import dcos_etcd


def snapshots(path: str) -> str | int:  # noqa: C901, PLR0911 - one clause for each class
    try:
        dcos_etcd.restore(path, data_dir="m1.etcd", revision=5)
    except dcos_etcd.NotASnapshotError as error:
        return error.reason
    except dcos_etcd.CorruptSnapshotError as error:
        return "".join(f"{defect.code} {defect.page} {defect.offset}" for defect in error.defects)
    except dcos_etcd.StorageVersionError as error:
        return error.found + error.supported
    except dcos_etcd.DatabaseChangedError as error:
        return error.now - error.before
    except (dcos_etcd.MissingHashError, dcos_etcd.SnapshotClosedError) as error:
        return error.path
    except dcos_etcd.NoSpaceError as error:
        return error.needed - error.free
    except (dcos_etcd.DataDirNotEmptyError, dcos_etcd.DataDirInUseError, dcos_etcd.ArchiveExistsError) as error:
        return error.path
    except dcos_etcd.RestoreUnprovenError as error:
        return error.defects[0].message
    except dcos_etcd.CompactedError as error:
        return error.compact_revision
    except dcos_etcd.FutureRevisionError as error:
        return error.current_revision
    except (dcos_etcd.BootstrapError, dcos_etcd.InvalidArgumentError, dcos_etcd.DcosError) as error:
        return error.message
    return 0


def clusters(path: str) -> str | float | None:
    try:
        dcos_etcd.backup(path)
    except dcos_etcd.StalledError as error:
        return error.after if error.expected is None else error.expected - error.received
    except dcos_etcd.BrokenStreamError as error:
        return error.reason + error.endpoint
    except dcos_etcd.EndpointUnavailableError as error:
        return ", ".join(f"{endpoint}: {reason}" for endpoint, reason in error.tried)
    except (dcos_etcd.AccessDeniedError, dcos_etcd.RequestRefusedError) as error:
        return error.endpoint
    return None


def builtins(path: str) -> str:
    """Who knows nothing of the package's own classes catches what they are as well."""
    try:
        with dcos_etcd.open(path) as snapshot:
            return snapshot["a"].value.decode()
    except KeyError as error:
        return repr(error)
    except (ValueError, LookupError, OSError) as error:
        known: dcos_etcd.EtcdError | None = error if isinstance(error, dcos_etcd.EtcdError) else None
        return known.message if known else str(error)
