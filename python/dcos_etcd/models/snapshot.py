"""Snapshots: what they say of themselves, how they were made, and whether they are sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dcos_etcd.models._filling import filled, utc
from dcos_etcd.models._shown import Shown
from dcos_etcd.models.cluster import Member

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Status(Shown):
    """The numbers of `etcdutl snapshot status`.

    Attributes:
        hash: CRC-32C over all keys and values of the database.
        revision: Main revision of the newest key.
        total_key: Live user keys, in the meaning of etcd 3.6 and later.
        total_size: Bytes of the database up to its high water mark.
        version: Storage version that etcd 3.6 and later record; empty before.
    """

    hash: int
    revision: int
    total_key: int
    total_size: int
    version: str

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Status:
        return filled(cls, data)

    def _to_etcd(self) -> dict[str, Any]:
        return {
            "hash": self.hash,
            "revision": self.revision,
            "totalKey": self.total_key,
            "totalSize": self.total_size,
            "version": self.version,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        format_version: Version of the manifest's shape.
        created_at: When the backup was taken.
        tool: Name and version of the writer.
        endpoint: The endpoint that sent the snapshot.
        cluster_id: Hexadecimal id of the cluster.
        member_id: Hexadecimal id of the member that sent the snapshot; empty where several answered at the endpoint.
        etcd_version: Version of that member; empty where it is not known.
        storage_version: Storage version that the member reported; empty before etcd 3.6.
        revision: Revision of the member when the stream was opened; the snapshot holds at least that.
        raft_term: Raft term at that moment.
        raft_index: Raft index at that moment; 0 where it is not known.
        members: The members of the cluster.
        size: Bytes of the database, its trailing hash excluded.
        sha256: Hexadecimal SHA-256 of the database.
    """

    format_version: int
    created_at: datetime
    tool: str
    endpoint: str
    cluster_id: str
    member_id: str
    etcd_version: str
    storage_version: str
    revision: int
    raft_term: int
    raft_index: int
    members: tuple[Member, ...]
    size: int
    sha256: str

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Manifest:
        return filled(
            cls,
            data,
            created_at=utc(data["created_at"]),
            members=tuple(Member._from_manifest(member) for member in data["members"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """An endpoint that a backup passed over.

    Attributes:
        endpoint: The endpoint.
        reason: Why it was not used.
    """

    endpoint: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupReport(Shown):
    """A backup that was made.

    Attributes:
        path: The archive.
        compression: Its compression.
        archive_size: Bytes of the archive.
        endpoint: The endpoint that sent the snapshot.
        skipped: The endpoints that were tried before it.
        manifest: What the archive says of itself.
        duration_seconds: How long the backup took.
        warnings: What an operator should know although the backup is good.
    """

    path: Path
    compression: Literal["gzip", "zstd"]
    archive_size: int
    endpoint: str
    skipped: tuple[Skipped, ...]
    manifest: Manifest
    duration_seconds: float
    warnings: tuple[str, ...]

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> BackupReport:
        return filled(
            cls,
            data,
            path=Path(data["path"]),
            skipped=tuple(Skipped(endpoint=one["endpoint"], reason=one["reason"]) for one in data["skipped"]),
            manifest=Manifest._from_json(data["manifest"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport(Shown):
    """A snapshot in which every rule holds.

    Attributes:
        path: The file.
        kind: What it is by its content: `tar.gz`, `tar.zst`, `tar`, `db`, `db.gz` or `db.zst`.
        file_size: Bytes of the file.
        database_size: Bytes of the database in it, its trailing hash excluded.
        sha256: Hexadecimal SHA-256 of the database.
        hash_checked: Whether the snapshot carried its SHA-256 and it was compared.
        status: The numbers of `etcdutl snapshot status`.
        manifest: What the archive says of itself; `None` for a file that this tool did not write.
        pages: Pages of the database.
        pages_free: Pages of the database that hold nothing.
        warnings: What an operator should know although the snapshot is sound.
    """

    path: Path
    kind: Literal["tar.gz", "tar.zst", "tar", "db", "db.gz", "db.zst"]
    file_size: int
    database_size: int
    sha256: str
    hash_checked: bool
    status: Status
    manifest: Manifest | None
    pages: int
    pages_free: int
    warnings: tuple[str, ...]

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> VerifyReport:
        manifest = data["manifest"]
        return filled(
            cls,
            data,
            path=Path(data["path"]),
            status=Status._from_json(data["status"]),
            manifest=None if manifest is None else Manifest._from_json(manifest),
        )
