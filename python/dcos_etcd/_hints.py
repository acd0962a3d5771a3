"""What may help after an error, in the words of the command line or of Python."""

from __future__ import annotations

from typing import Literal

from dcos_etcd import exceptions

# The class, the command line's words, and Python's. The first that fits counts.
_HINTS: tuple[tuple[type[Exception], str | None, str | None], ...] = (
    (
        exceptions.DataDirNotEmptyError,
        "choose another --data-dir or --wal-dir, move the old one away, or let --replace do that",
        'choose another data_dir or wal_dir, move the old one away, or let existing="keep" do that',
    ),
    (
        exceptions.DataDirInUseError,
        None,
        "stop the etcd that uses it, or let the other restore end, and try again",
    ),
    (
        exceptions.MissingHashError,
        "--skip-hash-check accepts it, if you know where it comes from",
        "skip_hash_check=True accepts it, if you know where it comes from",
    ),
    (
        exceptions.CompactedError,
        "that revision is gone; an older snapshot may hold it",
        "that revision is gone; an older snapshot may hold it",
    ),
    (
        exceptions.FutureRevisionError,
        "leave the revision out for the newest",
        "leave the revision out for the newest",
    ),
    (
        exceptions.KeyNotFoundError,
        "'dcos-etcdctl get --history' tells whether it was deleted",
        "snapshot.history(key) tells whether it was deleted, and .get(key) gives None for it",
    ),
    (
        exceptions.CorruptSnapshotError,
        "'dcos-etcdctl verify' lists every defect; take another backup",
        "the exception's defects, and those of dcos_etcd.verify(), say what is broken; take another backup",
    ),
    (
        exceptions.NotASnapshotError,
        None,
        "give an archive of dcos_etcd.backup(), of the old tool, or a db of etcdctl snapshot save",
    ),
    (
        exceptions.SnapshotClosedError,
        None,
        "open it again with dcos_etcd.open(), and read within its with block",
    ),
    (
        exceptions.BootstrapError,
        "--name must be in --initial-cluster, with the URLs of --initial-advertise-peer-urls",
        "name must be in initial_cluster, with the URLs of initial_advertise_peer_urls",
    ),
    (
        exceptions.EndpointUnavailableError,
        "check --endpoints, --cacert, --cert and --key",
        "check that the endpoints are those of running members, and tls=dcos_etcd.Tls(...) where they speak https",
    ),
    (
        exceptions.AccessDeniedError,
        None,
        'give user=("name", "password"), or the certificate that the cluster asks for in tls=dcos_etcd.Tls(...)',
    ),
    (
        exceptions.StalledError,
        "--stall-timeout gives a slow server more time",
        "stall_timeout= gives a slow server more time",
    ),
    (
        exceptions.BrokenStreamError,
        "try again, or another member with --endpoints",
        "try again, or another member with endpoints=",
    ),
    (
        exceptions.PutBackStoppedError,
        None,
        "run it again when the cause is gone: what is written already is passed over",
    ),
)


def hint(error: BaseException, *, words: Literal["shell", "python"]) -> str | None:
    """Say what may help."""
    for kind, for_shell, for_python in _HINTS:
        if isinstance(error, kind):
            return for_shell if words == "shell" else for_python
    return None
