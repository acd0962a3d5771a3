"""The members of a cluster, and what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcos_etcd.models._filling import filled, hex_id
from dcos_etcd.models._shown import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping


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
            id=hex_id(data.get("ID", 0)),
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
            cluster_id=hex_id(data.get("cluster_id", 0)),
            member_id=hex_id(data.get("member_id", 0)),
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
class MemberList(Shown):
    """What `etcdctl member list` tells.

    Attributes:
        header: Who answered.
        members: The members, in the order that the cluster lists them.
    """

    header: ResponseHeader
    members: tuple[Member, ...]

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> MemberList:
        return filled(
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
        return filled(cls, data)


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
        return filled(cls, data)


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
        return filled(
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
