"""What a restore makes, and what a member's directory says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcos_etcd.exceptions import Defect
from dcos_etcd.models._filling import filled
from dcos_etcd.models._shown import Shown
from dcos_etcd.models.cluster import Member

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedMember:
    """A member of the cluster that a restore founds.

    Attributes:
        id: Hexadecimal member id, derived from the peer URLs and the cluster token.
        name: Its name in the initial cluster.
        peer_urls: Its peer URLs, sorted as etcd sorts them.
    """

    id: str
    name: str
    peer_urls: tuple[str, ...]

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> PlannedMember:
        return filled(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewritten:
    """A database that was written anew: of a part of the snapshot, of another revision, or compact.

    Attributes:
        revision: Revision that the member starts at, if nothing bumps it.
        keys: Live keys; that of a bump, which has no name, is none.
        versions: Versions and tombstones that are in it.
        versions_dropped: Versions and tombstones of the snapshot that are not.
        database_size: Bytes of it.
    """

    revision: int
    keys: int
    versions: int
    versions_dropped: int
    database_size: int

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Rewritten:
        return filled(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreReport(Shown):
    """A member's data directory that was written, or with `dry_run` would be.

    Attributes:
        path: The snapshot.
        data_dir: The data directory.
        wal_dir: Where the write-ahead log lies.
        name: Name of the member.
        member_id: Its hexadecimal id.
        cluster_id: Hexadecimal id of the new cluster.
        initial_cluster_token: The token that the ids come from.
        members: All members of the new cluster, ascending by id.
        revision: Revision of the snapshot.
        bumped_revision: Revision that the member starts at after `bump_revision`; `None` without it.
        snapshot_members: Members in the snapshot, whose place the new ones take.
        database_size: Bytes of the snapshot's database.
        sha256: Hexadecimal SHA-256 of the snapshot's database.
        rewritten: The database that was written anew; `None` where it is the snapshot's.
        replaced: Where the old data directory lies now, if there was one and it is kept as a whole.
        dry_run: Whether nothing was written.
        steps: What was done or would be, in order.
        changes: Those of the steps that change what the snapshot holds: what was left out, repaired, moved on.
        warnings: What an operator should know before the member is started.
    """

    path: Path
    data_dir: Path
    wal_dir: Path
    name: str
    member_id: str
    cluster_id: str
    initial_cluster_token: str
    members: tuple[PlannedMember, ...]
    revision: int
    bumped_revision: int | None
    snapshot_members: int
    database_size: int
    sha256: str
    rewritten: Rewritten | None
    replaced: Path | None
    dry_run: bool
    steps: tuple[str, ...]
    changes: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> RestoreReport:
        rewritten = data["rewritten"]
        return filled(
            cls,
            data,
            path=Path(data["path"]),
            data_dir=Path(data["data_dir"]),
            wal_dir=Path(data["wal_dir"]),
            replaced=None if data["replaced"] is None else Path(data["replaced"]),
            members=tuple(PlannedMember._from_json(member) for member in data["members"]),
            rewritten=None if rewritten is None else Rewritten._from_json(rewritten),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection(Shown):
    """What a member's directory says of the member, without a server.

    Attributes:
        data_dir: The data directory.
        wal_dir: The directory of the write-ahead log.
        exists: Whether there is a data directory at all.
        in_use: Who holds the locks of a running etcd, such as `etcd (pid 4711)`.
        cluster_id: Hexadecimal id of the cluster, from the log.
        member_id: Hexadecimal id of the member, from the log.
        name: Name of the member.
        members: The members in the database, ascending by id; client URLs are not told.
        log_members: The members by the `.snap` file and what of the log is known to be committed, ascending by id:
            those that etcd up to 3.5 goes by.
        term: Raft term.
        commit: Greatest committed raft index.
        last_index: Raft index of the last entry of the log.
        storage_version: The storage version of the database, such as `3.6.0`; `None` before 3.6.
        applied_index: Raft index up to which the database holds everything.
        revision: Revision of the key space in the database.
        total_key: Live keys in the database.
        database_size: Bytes of the database file.
        defects: What is wrong with the database, the log or the `.snap` file: etcd does not start, or starts without
            what it acknowledged. Where it is in use, also what was half written when it was read.
        mended_at_start: Traces of writes that were cut off, as by a loss of power, and that etcd clears away when it
            starts.
    """

    data_dir: Path
    wal_dir: Path
    exists: bool
    in_use: str | None
    cluster_id: str | None
    member_id: str | None
    name: str | None
    members: tuple[Member, ...]
    log_members: tuple[Member, ...]
    term: int | None
    commit: int | None
    last_index: int | None
    storage_version: str | None
    applied_index: int | None
    revision: int | None
    total_key: int | None
    database_size: int | None
    defects: tuple[Defect, ...]
    mended_at_start: tuple[Defect, ...]

    @property
    def known_members(self) -> tuple[Member, ...]:
        """The members that etcd goes by: from 3.6 on those of the database, before those of the log."""
        if self.storage_version is None:
            return self.log_members or self.members
        return self.members or self.log_members

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Inspection:
        def members(listed: list[dict[str, Any]]) -> tuple[Member, ...]:
            return tuple(Member._from_manifest({**member, "client_urls": ()}) for member in listed)

        return filled(
            cls,
            data,
            data_dir=Path(data["data_dir"]),
            wal_dir=Path(data["wal_dir"]),
            members=members(data["members"]),
            log_members=members(data["log_members"]),
            defects=tuple(Defect(**defect) for defect in data["defects"]),
            mended_at_start=tuple(Defect(**defect) for defect in data["mended_at_start"]),
        )
