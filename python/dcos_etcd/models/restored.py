"""What a restore makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcos_etcd.models._filling import filled

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
        keys: Live keys.
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
class RestoreReport:
    """A member's data directory that was written, or with `dry_run` would be.

    Attributes:
        path: The snapshot.
        data_dir: The data directory.
        wal_dir: Where the write-ahead log lies.
        name: Name of the member.
        member_id: Its hexadecimal id.
        cluster_id: Hexadecimal id of the new cluster.
        members: All members of the new cluster, ascending by id.
        revision: Revision of the snapshot.
        bumped_revision: Revision that the member starts at after `bump_revision`; `None` without it.
        database_size: Bytes of the snapshot's database.
        sha256: Hexadecimal SHA-256 of the snapshot's database.
        rewritten: The database that was written anew; `None` where it is the snapshot's.
        dry_run: Whether nothing was written.
        steps: What was done or would be, in order.
        warnings: What an operator should know before the member is started.
    """

    path: Path
    data_dir: Path
    wal_dir: Path
    name: str
    member_id: str
    cluster_id: str
    members: tuple[PlannedMember, ...]
    revision: int
    bumped_revision: int | None
    database_size: int
    sha256: str
    rewritten: Rewritten | None
    dry_run: bool
    steps: tuple[str, ...]
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
            members=tuple(PlannedMember._from_json(member) for member in data["members"]),
            rewritten=None if rewritten is None else Rewritten._from_json(rewritten),
        )
