"""Read a snapshot without a server: its keys at any revision that is still in it, and all that lies beside them.

>>> import dcos_etcd
>>> with dcos_etcd.open("etcd.tar.gz") as snapshot:  # doctest: +SKIP
...     snapshot["/calico/ready"].value
...     for entry in snapshot.at(1200).range(prefix="/calico/"):
...         print(entry.key, entry.mod_revision)
"""

from __future__ import annotations

import os
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dcos_etcd import _core, _keys
from dcos_etcd._progress import reporting
from dcos_etcd._steps import blocking, warn_caller
from dcos_etcd.exceptions import InvalidArgumentError, KeyNotFoundError, SnapshotWarning
from dcos_etcd.models import Alarm, Entry, HashKv, Lease, Member, Permission, Role, Stats, User

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Protocol

    from typing_extensions import Self

    from dcos_etcd._keys import Key
    from dcos_etcd._steps import Steps
    from dcos_etcd.models import Progress

    class ArrowStream(Protocol):
        """A table for whoever speaks Arrow's PyCapsule interface."""

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            """Begin to stream record batches."""


__all__ = ["Snapshot", "SnapshotView", "open"]

_T = TypeVar("_T")


@blocking
def open(  # noqa: A001 - as gzip and tarfile have it
    path: str | os.PathLike[str], *, progress: bool | Callable[[Progress], object] | None = None
) -> Steps[Snapshot]:
    """Open a snapshot to read in it; use it in a `with` block, or close it.

    An archive of this package and a bare `.db` are read where they lie. Another compressed file is first inflated into
    a temporary file without a name, beside it where that can be. Nothing is verified ahead: `verify` judges, this
    reads. But a damaged part that is read is an exception, and never a wrong answer where that can be known.

    A database that a running etcd writes to is opened without a lock; when it moves on while it is read, that is a
    `DatabaseChangedError`.

    Args:
        path: Any snapshot that `verify` takes, or the `db` in a data directory.
        progress: Of the inflating, see `dcos_etcd.api`.

    Raises:
        NotASnapshotError: The file holds no snapshot.
        CorruptSnapshotError: It can't be opened.
        StorageVersionError: It is of a later etcd than this release knows.
        OSError: The file could not be read.

    Warns:
        SnapshotWarning: It is no snapshot but a member's database, one of its two metas is damaged, or it had to be
            inflated; see `Snapshot.warnings`.
    """
    with reporting(progress) as callback:
        snapshot = Snapshot((yield _core.open(os.fspath(path), progress=callback)))
    warn_caller(snapshot.warnings, SnapshotWarning)
    return snapshot


class SnapshotView(Mapping[bytes, Entry]):
    """The keys of a snapshot as they were at one revision: a mapping from keys, in their order, to entries.

    A key is `bytes`, a `bytearray` or a `memoryview`; a `str` is taken as UTF-8, and one that is none is an
    `InvalidArgumentError`, but for `in`, which knows no such key. The first look-up builds an index of the whole file,
    which all views of a snapshot share: 20 bytes a revision, and each key's length and 16 more. Several threads may use
    it at once.
    """

    __slots__ = ("_core", "_revision")

    def __init__(self, core: _core.Reader, revision: int) -> None:
        """Not for callers: `Snapshot.at` makes views."""
        self._core = core
        self._revision = revision

    @property
    def revision(self) -> int:
        """The revision that is read."""
        return self._revision

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at revision {self._revision}>"

    def __eq__(self, other: object) -> bool:
        """Compare by identity; `compare` tells what differs between two snapshots."""
        return self is other

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __len__(self) -> int:
        return self._core.count(prefix=b"", start=None, end=None, revision=self._revision)

    def __iter__(self) -> Iterator[bytes]:
        cursor = self._cursor()
        return chain.from_iterable(iter(cursor.keys, []))

    def __contains__(self, key: object) -> bool:
        if not _keys.is_key(key):
            return False
        try:
            sought = _keys.key("key", key)
        except InvalidArgumentError:
            # No key is called so.
            return False
        return self._core.contains(sought, self._revision)

    def __getitem__(self, key: Key) -> Entry:
        """Give the entry of a key.

        Raises:
            KeyNotFoundError: There was no such key at this revision.
        """
        found = self.get(key)
        if found is None:
            sought = _keys.key("key", key)
            raise KeyNotFoundError(
                f"there is no key {sought!r} at revision {self._revision}", key=sought, revision=self._revision
            )
        return found

    @overload
    def get(self, key: Key, default: None = None) -> Entry | None: ...
    @overload
    def get(self, key: Key, default: Entry) -> Entry: ...
    @overload
    def get(self, key: Key, default: _T) -> Entry | _T: ...
    def get(self, key: Key, default: object = None) -> object:
        """Give the entry of a key, or `default` where there was no such key at this revision."""
        found = self._core.get(_keys.key("key", key), self._revision)
        return default if found is None else Entry._make(found)

    def items(self) -> ItemsView[bytes, Entry]:
        """Show the keys with their entries."""
        return _Items(self)

    def values(self) -> ValuesView[Entry]:
        """Show the entries."""
        return _Values(self)

    def range(
        self,
        *,
        prefix: Key | None = None,
        start: Key | None = None,
        end: Key | None = None,
        revision: int | None = None,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> Iterator[Entry]:
        """Give what etcd's Range answers at that revision, in the order of the keys, as they are read.

        Args:
            prefix: Only keys that begin with it; stands alone, without `start` and `end`.
            start: The first key; `None` for the very first.
            end: The first key that does not belong any more; `None`, and one NUL byte as in etcd, for no end.
            revision: Another revision than this view's. 0, etcd's word for the newest, is refused: that of a view is
                its own, so leave it out.
            limit: At most so many; 0, as in etcd, for all.
            keys_only: Leave the values empty. The leases stay, as in etcd before 3.7, which leaves them out.

        Raises:
            CompactedError: That revision is compacted.
            FutureRevisionError: That revision is not there yet.
            CorruptSnapshotError: What was to be read is damaged.
            InvalidArgumentError: An argument makes no sense.
        """
        cursor = self._cursor(
            prefix=prefix, start=start, end=end, revision=revision, limit=limit or None, keys_only=keys_only
        )
        return map(Entry._make, chain.from_iterable(iter(cursor.rows, [])))

    def history(self, key: Key) -> list[Entry]:
        """Give every version of a key that is in the file up to this revision, the oldest first, deletions too.

        It reads the whole file, unless the index is there already.
        """
        found = map(Entry._make, self._core.history(_keys.key("key", key)))
        return [entry for entry in found if entry.mod_revision <= self._revision]

    def hash_kv(self, revision: int | None = None, *, etcd_version: str | None = None) -> HashKv:
        """Compute the hash of the key space, as `etcdctl endpoint hashkv --rev` asks for it.

        Args:
            revision: Another revision than this view's.
            etcd_version: Whose hash it should be. Before 3.4.34 and 3.5.16 a deletion at the very revision of the last
                compaction counts, if a later server left it there, and before 3.4.27 and 3.5.10 that revision can't be
                asked for; `None` is every release since.

        A server that keeps the hashes of its last compactions (3.5.5 and later) answers for the revision of one with
        what it computed while compacting: with the `compact_revision` before that one, and 3.5 with another hash, until
        it starts anew. Compare at a later revision.

        Raises:
            CompactedError: That revision is compacted, by the rules of that release.
            FutureRevisionError: That revision is not there yet.
            CorruptSnapshotError: What was to be read is damaged.
        """
        wanted = self._asked_revision() if revision is None else _keys.revision(revision)
        return HashKv(**self._core.hash_kv(revision=wanted, etcd_version=etcd_version))

    def stats(
        self,
        depth: int = 1,
        *,
        prefix: Key | None = None,
        start: Key | None = None,
        end: Key | None = None,
        top: int = 10,
        spans: int = 10,
    ) -> Stats:
        """Count keys, bytes and versions by prefix and by revision, and find the keys that stand out.

        Args:
            depth: How many parts of a key, which a `/` ends, make a prefix; one at the very beginning ends none.
            prefix: As for `range`.
            start: As for `range`.
            end: As for `range`.
            top: How many keys to list by their values' size, and by their versions.
            spans: Into how many spans the revisions of the file are divided, at most.
        """
        bounds = _bounds(prefix, start, end)
        found = self._core.stats(
            **bounds,
            revision=self._revision,
            depth=_keys.number("depth", depth),
            top=_keys.number("top", top),
            spans=_keys.number("spans", spans),
        )
        return Stats._from_core(found)

    def to_arrow(
        self,
        *,
        prefix: Key | None = None,
        start: Key | None = None,
        end: Key | None = None,
        history: bool = False,
        keys_only: bool = False,
    ) -> ArrowStream:
        """Give a table that pyarrow, pandas, polars or DuckDB take, streamed by Arrow's PyCapsule interface.

        The columns are those of `Entry`. Rows come in the order in which they were last changed, in batches of at most
        65536 rows and of some 8 MiB. A damaged part ends the stream with an exception of whoever takes it.

        Args:
            prefix: As for `range`.
            start: As for `range`.
            end: As for `range`.
            history: Every version in the file up to this revision, with a column `deleted`; that needs no index.
            keys_only: Without the column `value`.
        """
        bounds = _bounds(prefix, start, end)
        return self._core.arrow(**bounds, revision=self._revision, history=history, keys_only=keys_only)

    def _asked_revision(self) -> int | None:
        """Give the revision that its maker asked for."""
        return self._revision

    def _cursor(
        self,
        *,
        prefix: Key | None = None,
        start: Key | None = None,
        end: Key | None = None,
        revision: int | None = None,
        limit: int | None = None,
        keys_only: bool = False,
    ) -> _core.Cursor:
        limit = None if limit is None else _keys.number("limit", limit, least=1)
        wanted = self._revision if revision is None else _keys.revision(revision)
        return self._core.range(**_bounds(prefix, start, end), revision=wanted, limit=limit, keys_only=keys_only)


class Snapshot(SnapshotView):
    """An opened snapshot: a view of its newest revision, and what is beside the keys.

    After `close` every use raises `SnapshotClosedError`, of its views too; an iterator that was begun runs to its end.
    """

    __slots__ = ("_about",)

    def __init__(self, core: _core.Reader) -> None:
        """Not for callers: `open` makes snapshots."""
        self._about: dict[str, Any] = core.about()
        super().__init__(core, self._about["revision"])

    def _asked_revision(self) -> int | None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; doing it twice does no harm."""
        self._core.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._core.closed

    def at(self, revision: int) -> SnapshotView:
        """View the keys as they were at a revision.

        Raises:
            CompactedError: That revision is compacted.
            FutureRevisionError: That revision is not there yet.
        """
        return SnapshotView(self._core, self._core.resolve(_keys.revision(revision)))

    @property
    def kind(self) -> str:
        """What the file is, as in `VerifyReport`: `tar.gz`, `tar.zst`, `tar`, `db`, `db.gz` or `db.zst`."""
        return str(self._about["kind"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What should be known of what is read here."""
        return tuple(self._about["warnings"])

    @property
    def compact_revision(self) -> int:
        """The oldest revision that can be read; 0 when nothing was ever compacted."""
        return int(self._about["compact_revision"])

    @property
    def storage_version(self) -> str | None:
        """Version of the storage, such as `3.6.0`; `None` before etcd 3.6."""
        found: str | None = self._about["storage_version"]
        return found

    @property
    def cluster_version(self) -> str | None:
        """The version that the cluster had agreed on, such as `3.5.0`."""
        return self._core.cluster_version()

    @property
    def size(self) -> int:
        """Bytes of the database; etcd's dbSize."""
        return int(self._about["size"])

    @property
    def size_in_use(self) -> int:
        """Bytes of the database without its free pages; etcd's dbSizeInUse. Reads the whole file."""
        return self._core.size_in_use()

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of the cluster."""
        fields = ("id", "name", "peer_urls", "client_urls", "is_learner")
        return tuple(Member._from_manifest(dict(zip(fields, found, strict=True))) for found in self._core.members())

    @property
    def leases(self) -> tuple[Lease, ...]:
        """The leases with their keys. Reads the whole file, and keeps of it the keys that hang on a lease."""
        return tuple(
            Lease(id=lease, ttl=ttl, remaining_ttl=remaining, keys=tuple(keys))
            for lease, ttl, remaining, keys in self._core.leases()
        )

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms that are raised."""
        return tuple(Alarm(member_id=member, name=name) for member, name in self._core.alarms())

    @property
    def auth_enabled(self) -> bool:
        """Whether authentication is on."""
        return self._core.auth_enabled()

    @property
    def users(self) -> tuple[User, ...]:
        """The users, in the order of their names."""
        return tuple(
            User(name=name, roles=tuple(roles), no_password=no_password)
            for name, roles, no_password in self._core.users()
        )

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles, in the order of their names."""
        return tuple(
            Role(
                name=name,
                permissions=tuple(Permission(kind=kind, key=key, range_end=end) for kind, key, end in permissions),
            )
            for name, permissions in self._core.roles()
        )


class _Items(ItemsView[bytes, Entry]):
    """Reads in batches, where the mixin of `Mapping` would look every key up by itself."""

    _mapping: SnapshotView

    def __iter__(self) -> Iterator[tuple[bytes, Entry]]:
        return ((entry.key, entry) for entry in self._mapping.range())


class _Values(ValuesView[Entry]):
    _mapping: SnapshotView

    def __iter__(self) -> Iterator[Entry]:
        return self._mapping.range()


def _bounds(prefix: Key | None, start: Key | None, end: Key | None) -> dict[str, bytes | None]:
    given = {"prefix": prefix, "start": start, "end": end}
    return {name: None if text is None else _keys.key(name, text) for name, text in given.items()}
