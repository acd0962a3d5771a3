"""What the verbs return: frozen dataclasses, equal by value, picklable, fit for `match`.

Ids of members and clusters are text, lower-case hexadecimal, as etcd prints them. Sizes are bytes, times are aware
`datetime` values in UTC, durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from dcos_etcd.exceptions import Defect

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = [
    "BackupReport",
    "Defect",
    "Diagnosis",
    "EndpointFacts",
    "Finding",
    "HashKv",
    "Health",
    "Manifest",
    "Member",
    "MemberList",
    "PlannedMember",
    "Progress",
    "ResponseHeader",
    "RestoreReport",
    "Skipped",
    "Status",
    "Tls",
    "VerifyReport",
]

_Model = TypeVar("_Model")


def _filled(cls: type[_Model], data: Mapping[str, Any], **converted: object) -> _Model:
    """A model out of the fields of its own names in `data`, lists as tuples, but for those that are given."""
    values = {field.name: data[field.name] for field in fields(cls) if field.name not in converted}  # type: ignore[arg-type]
    return cls(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}, **converted
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """How to speak TLS with etcd; each file is PEM.

    Attributes:
        cacert: The authority that signed the servers' certificates; `None` trusts the system's authorities.
        cert: The client's certificate, for servers that ask for one.
        key: The client's key; with `cert` or not at all.
        server_name: The name to expect in the servers' certificates, where it is not the endpoint's own host.
    """

    cacert: str | os.PathLike[str] | None = None
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    server_name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a verb is; what a progress callback gets.

    Attributes:
        stage: `receive`: bytes come from a server. `read`: bytes of a snapshot are read out of its file.
            `check`: pages of the database are checked. `sync`: written files are put on stable storage.
        done: Bytes done in this stage.
        total: Bytes that this stage has, if that is known.
    """

    stage: Literal["receive", "read", "check", "sync"]
    done: int
    total: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A member of a cluster, as the cluster lists it.

    Attributes:
        id: Hexadecimal member id.
        name: Its name; empty while the member has not started.
        peer_urls: Where its peers reach it.
        client_urls: Where clients reach it; empty while the member has not started.
        is_learner: Whether it is a learner, which has no vote.
    """

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool

    @classmethod
    def _from_manifest(cls, data: Mapping[str, Any]) -> Member:
        return cls(
            id=data["id"],
            name=data["name"],
            peer_urls=tuple(data["peer_urls"]),
            client_urls=tuple(data["client_urls"]),
            is_learner=data["is_learner"],
        )

    @classmethod
    def _from_etcd(cls, data: Mapping[str, Any]) -> Member:
        """Read a member as `etcdctl member list -w json` shapes it: zero values are left out."""
        return cls(
            id=_hex(data.get("ID", 0)),
            name=data.get("name", ""),
            peer_urls=tuple(data.get("peerURLs", ())),
            client_urls=tuple(data.get("clientURLs", ())),
            is_learner=data.get("isLearner", False),
        )

    def _to_etcd(self) -> dict[str, Any]:
        document: dict[str, Any] = {"ID": int(self.id, 16)}
        if self.name:
            document["name"] = self.name
        if self.peer_urls:
            document["peerURLs"] = list(self.peer_urls)
        if self.client_urls:
            document["clientURLs"] = list(self.client_urls)
        if self.is_learner:
            document["isLearner"] = True
        return document


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
        return _filled(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
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
        return _filled(cls, data)

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
        member_id: Hexadecimal id of the member that sent the snapshot.
        etcd_version: Version of that member.
        storage_version: Storage version that the member reported; empty before etcd 3.6.
        revision: Revision of the member when the stream was opened; the snapshot holds at least that.
        raft_term: Raft term at that moment.
        raft_index: Raft index at that moment.
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
        return _filled(
            cls,
            data,
            created_at=_time(data["created_at"]),
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
class BackupReport:
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
        return _filled(
            cls,
            data,
            path=Path(data["path"]),
            skipped=tuple(Skipped(endpoint=one["endpoint"], reason=one["reason"]) for one in data["skipped"]),
            manifest=Manifest._from_json(data["manifest"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
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
        return _filled(
            cls,
            data,
            path=Path(data["path"]),
            status=Status._from_json(data["status"]),
            manifest=None if manifest is None else Manifest._from_json(manifest),
        )


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
    dry_run: bool
    steps: tuple[str, ...]
    warnings: tuple[str, ...]

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> RestoreReport:
        return _filled(
            cls,
            data,
            path=Path(data["path"]),
            data_dir=Path(data["data_dir"]),
            wal_dir=Path(data["wal_dir"]),
            members=tuple(PlannedMember._from_json(member) for member in data["members"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseHeader:
    """Who answered.

    Attributes:
        cluster_id: Hexadecimal id of the cluster.
        member_id: Hexadecimal id of the member that answered.
        raft_term: Its raft term.
    """

    cluster_id: str
    member_id: str
    raft_term: int

    @classmethod
    def _from_etcd(cls, data: Mapping[str, Any]) -> ResponseHeader:
        return cls(
            cluster_id=_hex(data.get("cluster_id", 0)),
            member_id=_hex(data.get("member_id", 0)),
            raft_term=data.get("raft_term", 0),
        )

    def _to_etcd(self) -> dict[str, Any]:
        numbers = {
            "cluster_id": int(self.cluster_id, 16),
            "member_id": int(self.member_id, 16),
            "raft_term": self.raft_term,
        }
        return {name: number for name, number in numbers.items() if number}


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberList:
    """What `etcdctl member list` tells.

    Attributes:
        header: Who answered.
        members: The members, in the order that the cluster lists them.
    """

    header: ResponseHeader
    members: tuple[Member, ...]

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> MemberList:
        return _filled(
            cls,
            data,
            header=ResponseHeader._from_etcd(data["header"]),
            members=tuple(Member._from_etcd(member) for member in data["members"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How one read of an endpoint went.

    Attributes:
        healthy: Whether the read was answered.
        took_seconds: How long the answer or the failure took.
        error: Why it failed.
    """

    healthy: bool
    took_seconds: float
    error: str | None

    @classmethod
    def _from_json(cls, data: Mapping[str, Any] | None) -> Health | None:
        if data is None:
            return None
        return _filled(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class HashKv:
    """Hash of the key space of one member at one revision.

    Attributes:
        hash: The hash, comparable between members at the same revision and compaction.
        revision: The revision up to which keys were hashed.
        compact_revision: The revision of the last compaction; -1 when there never was one.
    """

    hash: int
    revision: int
    compact_revision: int

    @classmethod
    def _from_json(cls, data: Mapping[str, Any] | None) -> HashKv | None:
        if data is None:
            return None
        return _filled(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointFacts:
    """What one endpoint said of itself; a field is `None` where it said nothing.

    Attributes:
        endpoint: The endpoint as it was given, or the client URL under which a member was found.
        given: Whether the caller gave it; otherwise a member list named it.
        reachable: Whether it answered at least one request.
        denied: Whether etcd or TLS refused the caller.
        error: Why it could not be reached, or did not tell everything.
        member_id: Hexadecimal id of the member behind it.
        cluster_id: Hexadecimal id of the cluster that it belongs to.
        name: The member's name.
        version: Its etcd version.
        storage_version: Its storage version; etcd 3.6 and later.
        db_size: Bytes of its database file.
        db_size_in_use: Bytes of it that hold something.
        db_size_quota: Bytes that it may grow to; etcd 3.6 and later.
        leader: Hexadecimal id of the leader that it follows; `0` when it knows none.
        is_learner: Whether it is a learner.
        raft_term: Its raft term.
        raft_index: Its raft index.
        raft_index_later: The same a while later, where the first one lagged behind another member's.
        raft_applied_index: The raft index that it has applied.
        revision: Its revision.
        alarms: Alarms that are raised for this member: `NOSPACE`, `CORRUPT`.
        errors: Errors that it reports itself.
        linearizable: A read that needs a quorum.
        serializable: A read that the member answers alone.
        hash_kv: Hash of its key space.
        hash_kv_error: Why there is none.
        members: Hexadecimal ids of the members that it lists itself.
    """

    endpoint: str
    given: bool
    reachable: bool
    denied: bool
    error: str | None
    member_id: str | None
    cluster_id: str | None
    name: str | None
    version: str | None
    storage_version: str | None
    db_size: int | None
    db_size_in_use: int | None
    db_size_quota: int | None
    leader: str | None
    is_learner: bool | None
    raft_term: int | None
    raft_index: int | None
    raft_index_later: int | None
    raft_applied_index: int | None
    revision: int | None
    alarms: tuple[str, ...]
    errors: tuple[str, ...]
    linearizable: Health | None
    serializable: Health | None
    hash_kv: HashKv | None
    hash_kv_error: str | None
    members: tuple[str, ...] | None

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> EndpointFacts:
        members = data["members"]
        return _filled(
            cls,
            data,
            member_id=data["member_id_hex"],
            cluster_id=data["cluster_id_hex"],
            leader=data["leader_hex"],
            linearizable=Health._from_json(data["linearizable"]),
            serializable=Health._from_json(data["serializable"]),
            hash_kv=HashKv._from_json(data["hash_kv"]),
            members=None if members is None else tuple(members),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something about a cluster that an operator should know.

    Attributes:
        id: Stable kebab-case name; scripts may match on it.
        severity: How bad it is.
        endpoint: The endpoint concerned; `None` when it is the cluster.
        message: What is the matter.
        evidence: The facts that say so.
        advice: What to do.
    """

    id: str
    severity: Literal["critical", "warning", "info"]
    endpoint: str | None
    message: str
    evidence: str
    advice: str

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Finding:
        return _filled(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """What a cluster says of itself, and what is to be thought of it.

    Attributes:
        header: Who listed the members; `None` when nobody did.
        members: The members, as the cluster lists them.
        endpoints: What each endpoint said of itself.
        findings: What is the matter, worst first.
        healthy: Whether nothing critical was found.
    """

    header: ResponseHeader | None
    members: tuple[Member, ...]
    endpoints: tuple[EndpointFacts, ...]
    findings: tuple[Finding, ...]
    healthy: bool

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Diagnosis:
        header = data["header"]
        return _filled(
            cls,
            data,
            header=None if header is None else ResponseHeader._from_etcd(header),
            members=tuple(Member._from_etcd(member) for member in data["members"]),
            endpoints=tuple(EndpointFacts._from_json(facts) for facts in data["endpoints"]),
            findings=tuple(Finding._from_json(finding) for finding in data["findings"]),
        )


def _hex(number: int) -> str:
    return f"{number:x}"


def _time(text: str) -> datetime:
    """Read RFC 3339; before Python 3.11 `fromisoformat` knows no `Z`."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.astimezone(timezone.utc)
