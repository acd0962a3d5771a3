"""The verbs. Each blocks until it is done, releases the GIL meanwhile, and stops at once on Ctrl-C.

In a coroutine they work too, and block its event loop: nothing else of the loop happens until they are done. The same
verbs as coroutines are in `dcos_etcd.aio`.

Networked verbs share these arguments:

* `endpoints`: URLs of members, `http://` or `https://`; a list, or one comma-separated text.
* `tls`: certificates, see `Tls`.
* `user`: name and password, where the cluster has authentication enabled.
* `dial_timeout`, `command_timeout`: seconds (or `timedelta`) for one connection and for one request.

Verbs that take long take `progress`: `True` draws a bar where stderr is a terminal; a callable gets a `Progress` at
most every 50 ms, and an exception that it raises stops the work, is cleaned up after, and comes through unchanged. Of
networked verbs it is called on the calling thread. It may call verbs itself, as the handlers of signals may.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from dcos_etcd import _core
from dcos_etcd._access import (
    COMMAND_TIMEOUT,
    DEFAULT_ENDPOINTS,
    DIAL_TIMEOUT,
    STALL_TIMEOUT,
    access,
    listing,
    rate,
    seconds,
)
from dcos_etcd._progress import reporting
from dcos_etcd._rewrite import Repairs, rewrite
from dcos_etcd._steps import blocking, warn_caller
from dcos_etcd.exceptions import InvalidArgumentError, SnapshotWarning
from dcos_etcd.models import BackupReport, Diagnosis, MemberList, RestoreReport, Status, VerifyReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta

    from dcos_etcd._keys import Key
    from dcos_etcd._steps import Steps
    from dcos_etcd.models import Handover, Progress, Tls

    StrPath = str | os.PathLike[str]
    ProgressArgument = bool | Callable[[Progress], object] | None
    InitialCluster = str | Mapping[str, str | Iterable[str]]

__all__ = ["backup", "diagnose", "member_list", "restore", "status", "verify"]


@blocking
def backup(
    path: StrPath,
    *,
    endpoints: str | Iterable[str] = DEFAULT_ENDPOINTS,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    stall_timeout: float | timedelta = STALL_TIMEOUT,
    compression: Literal["gzip", "zstd"] | None = None,
    max_rate: int | None = None,
    progress: ProgressArgument = None,
) -> Steps[BackupReport]:
    """Stream a snapshot of a cluster into one verified archive.

    The archive appears under its name only when it is whole and on stable storage; after a failure there is none. A
    signal, or an exception of `progress`, may come too late to stop that: what is raised then has a note (`__notes__`)
    that says so.

    Args:
        path: The archive; must not exist. `*.tar.zst`, `*.tzst` and `*.zst` are compressed with zstd, others with gzip.
        endpoints: The first that answers healthy is used; without a quorum, the one that has applied the most.
        tls: Certificates.
        user: Name and password; a snapshot needs the role root.
        dial_timeout: Seconds for one connection.
        command_timeout: Seconds for one request; the stream itself is not bounded by it.
        stall_timeout: Seconds without a byte after which the stream is given up.
        compression: Overrides what the name says.
        max_rate: The most bytes of the snapshot to take from the server in a second. A slower backup keeps a read
            transaction of the server open for longer, and its database may grow meanwhile.
        progress: See the module.

    Raises:
        ArchiveExistsError: Something lies at `path` already.
        EndpointUnavailableError: No endpoint could be used.
        AccessDeniedError: etcd refused the certificate, the user or the role.
        BrokenStreamError: The stream ended early, or its SHA-256 did not match.
        StalledError: The stream went silent.
        InvalidArgumentError: An argument makes no sense.
        OSError: The archive could not be written.
    """
    target = access(endpoints, tls=tls, user=user, dial_timeout=dial_timeout, command_timeout=command_timeout)
    with reporting(progress) as callback:
        report = yield _core.backup(
            os.fspath(path),
            access=target,
            stall_timeout=seconds("stall_timeout", stall_timeout),
            compression=compression,
            max_rate=rate("max_rate", max_rate),
            progress=callback,
        )
    return BackupReport._from_json(report)


@blocking
def verify(path: StrPath, *, skip_hash_check: bool = False, progress: ProgressArgument = None) -> Steps[VerifyReport]:
    """Find out whether a snapshot is whole and sound; nothing is changed.

    Args:
        path: An archive of this tool or of the old one, a bare `.db`, or that compressed with gzip or zstd.
        skip_hash_check: Accept a snapshot without its SHA-256, such as a `db` copied out of a data directory.
        progress: See the module.

    Raises:
        CorruptSnapshotError: Something is wrong; `defects` holds everything that was found.
        DatabaseChangedError: A running etcd wrote to the file meanwhile.
        NotASnapshotError: The file holds no snapshot.
        MissingHashError: The snapshot carries no SHA-256.
        StorageVersionError: It is of a later etcd than this release knows.
        OSError: The file could not be read.
    """
    with reporting(progress) as callback:
        report = yield _core.verify(os.fspath(path), skip_hash_check=skip_hash_check, progress=callback)
    return VerifyReport._from_json(report)


@blocking
def status(path: StrPath, *, progress: ProgressArgument = None) -> Steps[Status]:
    """Compute the numbers of `etcdutl snapshot status`; nothing is changed.

    Args:
        path: Any snapshot that `verify` takes; it need not carry its SHA-256.
        progress: See the module.

    Raises:
        CorruptSnapshotError: The snapshot cannot be read through.
        DatabaseChangedError: A running etcd wrote to the file meanwhile.
        NotASnapshotError: The file holds no snapshot.
        OSError: The file could not be read.

    Warns:
        SnapshotWarning: It is no snapshot but a member's database.
    """
    with reporting(progress) as callback:
        report = yield _core.status(os.fspath(path), progress=callback)
    warn_caller(report.pop("warnings"), SnapshotWarning)
    return Status._from_json(report)


@blocking
def restore(
    path: StrPath,
    *,
    data_dir: StrPath,
    name: str = "default",
    initial_cluster: InitialCluster = "default=http://localhost:2380",
    initial_advertise_peer_urls: str | Iterable[str] | None = None,
    initial_cluster_token: str = "etcd-cluster",  # noqa: S107 - it tells clusters apart, and is no secret
    derive_token: bool = False,
    wal_dir: StrPath | None = None,
    existing: Literal["refuse", "keep", "discard"] = "refuse",
    carry_over: Iterable[str] = (),
    owner: tuple[int, int] | None = None,
    handover: Handover | None = None,
    bump_revision: int | None = None,
    mark_compacted: bool = False,
    revision: int | None = None,
    prefixes: Key | Iterable[Key] = (),
    exclude_prefixes: Key | Iterable[Key] = (),
    compact: bool = False,
    clear_alarms: bool = False,
    disable_auth: bool = False,
    drop_leases: bool = False,
    skip_hash_check: bool = False,
    dry_run: bool = False,
    progress: ProgressArgument = None,
) -> Steps[RestoreReport]:
    """Write the data directory of one member of a new cluster out of a snapshot.

    The snapshot is verified, the directory is built beside its destination, checked, synced, and then put in place; a
    failure at any moment leaves nothing that blocks the next try. What is raised too late to stop that, such as by a
    signal, has a note (`__notes__`) that says so.

    Args:
        path: Any snapshot that `verify` takes.
        data_dir: The destination; must be empty or not exist, but for `existing`.
        name: Name of this member.
        initial_cluster: Peer URLs of every member by name, or the text that etcd's flag takes.
        initial_advertise_peer_urls: Peer URLs of this member; `None` takes those that `initial_cluster` gives it.
        initial_cluster_token: Sets the new cluster apart: the same URLs and token give the same ids.
        derive_token: Lengthen the token by the SHA-256 of the snapshot's database, and where `revision`, `prefixes`,
            `exclude_prefixes`, a repair or `bump_revision` changes what that holds, by a digest of these: all members
            that are restored from it in the same way have the same new identity, and one that is forgotten, or holds
            something else, has another.
        wal_dir: Where the write-ahead log goes; `None` for `member/wal` in the data directory. One apart from that
            must be empty or not exist.
        existing: What becomes of a data directory that holds something: `keep` puts the new one into its place in one
            step, and keeps the old one beside it as `NAME.old-20261123T015900Z`, where a snapshot that lies in it
            moves along: a warning tells where to. `discard` deletes it then, and is refused when the snapshot lies in
            it, or when it holds no member of etcd.
        carry_over: Names beside `member` that are copied from the old data directory, where they are there.
        owner: User and group id to which everything is given.
        handover: What is to be done right before and right after the directory takes its place.
        bump_revision: Raise the revision by so much, so that clients' caches of newer revisions get noticed.
        mark_compacted: Mark all revisions of the snapshot as compacted; goes with `bump_revision`.
        revision: Go back to this revision: every key, version and lease id as it was then, the history before it kept,
            nothing after. Leases, users and roles have no revisions; they are those of the snapshot.
        prefixes: Restore only keys that begin with one of these, with their history; text is taken as UTF-8. When no
            live key does, while others live, that is refused.
        exclude_prefixes: Restore no keys that begin with one of these.
        compact: Write the database without its free pages.
        clear_alarms: Restore without the alarms that are raised in the snapshot.
        disable_auth: Restore with authentication disabled; users and roles stay.
        drop_leases: Restore keys without their leases, and no leases.
        skip_hash_check: Accept a snapshot without its SHA-256.
        dry_run: Write nothing; the report tells what would be done.
        progress: See the module.

    Raises:
        DataDirNotEmptyError: The destination holds something.
        DataDirInUseError: An etcd uses the data directory that was to be replaced.
        NoSpaceError: There is no room.
        BootstrapError: The plan of the new cluster contradicts itself.
        CorruptSnapshotError: The snapshot is damaged; `defects` holds everything that was found.
        DatabaseChangedError: A running etcd wrote to the file meanwhile.
        NotASnapshotError: The file holds no snapshot.
        MissingHashError: The snapshot carries no SHA-256.
        StorageVersionError: It is of a later etcd than this release knows.
        CompactedError: `revision` is compacted in the snapshot.
        FutureRevisionError: `revision` is later than the snapshot.
        RestoreUnprovenError: What was written did not pass the check; it was removed again.
        InvalidArgumentError: An argument makes no sense, such as `prefixes` that no key has, or to discard what holds
            the snapshot.
        OSError: The snapshot could not be read, or the directory not be written.
    """
    cluster = _initial_cluster(initial_cluster)
    if initial_advertise_peer_urls is None:
        advertised = _peer_urls_of(name, cluster)
    else:
        advertised = ",".join(listing(initial_advertise_peer_urls))
    with reporting(progress) as callback:
        report = yield _core.restore(
            os.fspath(path),
            data_dir=os.fspath(data_dir),
            wal_dir=None if wal_dir is None else os.fspath(wal_dir),
            existing=existing,
            carry_over=listing(carry_over),
            owner=owner,
            handover=handover,
            name=name,
            initial_cluster=cluster,
            initial_advertise_peer_urls=advertised,
            initial_cluster_token=initial_cluster_token,
            derive_token=derive_token,
            bump_revision=_unsigned("bump_revision", bump_revision),
            mark_compacted=mark_compacted,
            rewrite=rewrite(
                revision=revision,
                prefixes=prefixes,
                exclude_prefixes=exclude_prefixes,
                compact=compact,
                repairs=Repairs(clear_alarms=clear_alarms, disable_auth=disable_auth, drop_leases=drop_leases),
            ),
            skip_hash_check=skip_hash_check,
            dry_run=dry_run,
            progress=callback,
        )
    return RestoreReport._from_json(report)


@blocking
def diagnose(
    endpoints: str | Iterable[str] = DEFAULT_ENDPOINTS,
    *,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    expect: str | Iterable[str] = (),
) -> Steps[Diagnosis]:
    """Ask every member that can be found, side by side, and judge the answers.

    An unreachable endpoint is a finding, not an exception.

    Args:
        endpoints: Where to begin; the members that these list are asked too.
        tls: Certificates.
        user: Name and password.
        dial_timeout: Seconds for one connection.
        command_timeout: Seconds for one request.
        expect: Addresses of the members that the cluster should have.

    Raises:
        InvalidArgumentError: An argument makes no sense.
        OSError: A certificate could not be read.
    """
    target = access(endpoints, tls=tls, user=user, dial_timeout=dial_timeout, command_timeout=command_timeout)
    return Diagnosis._from_json((yield _core.diagnose(access=target, expect=listing(expect))))


@blocking
def member_list(
    endpoints: str | Iterable[str] = DEFAULT_ENDPOINTS,
    *,
    tls: Tls | None = None,
    user: tuple[str, str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
) -> Steps[MemberList]:
    """List the members of a cluster, as the first endpoint that answers knows them.

    Args:
        endpoints: Asked one after another.
        tls: Certificates.
        user: Name and password.
        dial_timeout: Seconds for one connection.
        command_timeout: Seconds for one request.

    Raises:
        EndpointUnavailableError: No endpoint could be used.
        AccessDeniedError: etcd refused the certificate, the user or the role.
        InvalidArgumentError: An argument makes no sense.
        OSError: A certificate could not be read.
    """
    target = access(endpoints, tls=tls, user=user, dial_timeout=dial_timeout, command_timeout=command_timeout)
    return MemberList._from_json((yield _core.member_list(access=target)))


def _initial_cluster(value: InitialCluster) -> str:
    """Spell a plan as etcd's flag does; its separators must not come out of a name or a URL."""
    if isinstance(value, str):
        return value
    pieces: list[str] = []
    for name, urls in value.items():
        listed = listing(urls)
        if not listed:
            raise InvalidArgumentError(f'initial_cluster: member "{name}" has no peer URL')
        if "," in name or "=" in name:
            raise InvalidArgumentError(f'initial_cluster: the name "{name}" holds a comma or an equals sign')
        for url in listed:
            if "," in url:
                raise InvalidArgumentError(f'initial_cluster: the peer URL "{url}" holds a comma')
            pieces.append(f"{name}={url}")
    return ",".join(pieces)


def _peer_urls_of(name: str, cluster: str) -> str:
    """Pick this member's URLs; for a name that is not in the plan etcd's default, since the name is what is wrong."""
    pieces = (piece.partition("=") for piece in cluster.split(","))
    return ",".join(url.strip() for owner, _, url in pieces if owner == name) or "http://localhost:2380"


def _unsigned(name: str, value: int | None) -> int | None:
    if value is not None and not 0 <= value < 1 << 64:
        raise InvalidArgumentError(f"{name}: {value} is not between 0 and 2^64 - 1")
    return value
