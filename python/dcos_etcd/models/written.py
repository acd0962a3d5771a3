"""What is put back into a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dcos_etcd.models._shown import Shown


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedChange:
    """A key that would be written.

    Attributes:
        key: The key.
        action: `create`: it is not there and is put. `update`: it gets the value of the snapshot. `delete`: the
            snapshot has it not.
        size: Bytes of the value that it gets; 0 for a deletion.
        mod_revision: Revision of its last change in the cluster, which must still be the same; 0: it must not be there.
    """

    key: bytes
    action: Literal["create", "update", "delete"]
    size: int
    mod_revision: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PutBackCounts:
    """How many keys a plan is about.

    Attributes:
        create: Keys that are put anew.
        update: Keys that get another value.
        delete: Keys that are deleted.
        unchanged: Keys whose value is right already.
        extra: Keys that the snapshot has not, and that are left alone.
        leased: Keys that are put anew, and hung on a lease in the snapshot; they get none.
        bytes: Bytes of keys and values that are put.
    """

    create: int
    update: int
    delete: int
    unchanged: int
    extra: int
    leased: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """A key that somebody else wrote between the plan and its turn; it was left as it is.

    Attributes:
        key: The key.
        action: What was to become of it.
        planned: Revision of its last change when it was planned; 0 when it was not there.
        found: The same when its turn came.
    """

    key: bytes
    action: str
    planned: int
    found: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Unanswered:
    """Requests that a member has not answered, and that it may still carry out.

    Attributes:
        endpoint: Who was asked.
        creates: Keys that these requests put, where they are not there then.
    """

    endpoint: str
    creates: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PutBackReport(Shown):
    """What `put_back` did.

    Attributes:
        endpoint: The member that was read.
        revision: The revision of the snapshot that was put back.
        cluster_revision: The revision at which the cluster was read.
        planned: What was to be done.
        created: Keys that were put anew.
        updated: Keys that got another value.
        deleted: Keys that were deleted.
        settled: Keys that were as they should be when their turn came: somebody else had done it, or a transaction of
            this run that etcd carried out and did not answer.
        detached: Keys, of those that got another value, that hung on a lease which is not there any more; they hang on
            none now.
        transactions: Transactions that wrote.
        conflicts: Keys that somebody else wrote meanwhile; they were left alone.
        unanswered: Requests that were made again, or given up, for want of an answer. A member that was stopped for a
            while may carry them out later: a key that they create would come back if it were deleted before that.
        warnings: What should be known of it.
    """

    endpoint: str
    revision: int
    cluster_revision: int
    planned: PutBackCounts
    created: int
    updated: int
    deleted: int
    settled: int
    detached: int
    transactions: int
    conflicts: tuple[Conflict, ...]
    unanswered: tuple[Unanswered, ...]
    warnings: tuple[str, ...]

    @property
    def done(self) -> int:
        """Changes that are made."""
        return self.created + self.updated + self.deleted + self.settled
