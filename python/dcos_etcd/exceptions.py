"""Why something could not be done.

Every error of this package is an `EtcdError` and, beside that, the builtin that a Python programmer already
catches in such a place::

    EtcdError
    ├── ArchiveExistsError          (FileExistsError)
    ├── DataDirNotEmptyError        (FileExistsError)
    ├── DataDirInUseError           (OSError)
    ├── NoSpaceError                (OSError)
    ├── SnapshotError               (ValueError)
    │   ├── NotASnapshotError
    │   ├── MissingHashError
    │   ├── CorruptSnapshotError
    │   ├── StorageVersionError
    │   ├── DatabaseChangedError
    │   └── SnapshotClosedError
    ├── CompactedError              (LookupError)
    ├── FutureRevisionError         (LookupError)
    ├── KeyNotFoundError            (KeyError)
    ├── BootstrapError              (ValueError)
    ├── InvalidArgumentError        (ValueError)
    ├── MissingDependencyError      (ImportError)
    ├── EndpointUnavailableError    (ConnectionError)
    ├── AccessDeniedError           (PermissionError)
    ├── BrokenStreamError           (ConnectionError)
    ├── StalledError                (TimeoutError)
    ├── RequestRefusedError         (RuntimeError)
    ├── PutBackStoppedError         (RuntimeError)
    ├── RestoreUnprovenError        (RuntimeError)
    └── DcosError                   (RuntimeError)

A plain failure of the file system stays the plain `OSError` that it is, with its `errno`, `strerror` and `filename`:
`FileNotFoundError` for an archive that is not there, `PermissionError`, `OSError` with `ENOSPC`.
`SnapshotWarning` is the category of warnings about a file that is read as a snapshot and is not quite one.

An exception that a progress callback raises, and `KeyboardInterrupt`, come through unchanged.

This module imports nothing of the package when it is loaded: the extension module imports it to raise what stands here.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "AccessDeniedError",
    "ArchiveExistsError",
    "BootstrapError",
    "BrokenStreamError",
    "CompactedError",
    "CorruptSnapshotError",
    "DataDirInUseError",
    "DataDirNotEmptyError",
    "DatabaseChangedError",
    "DcosError",
    "Defect",
    "EndpointUnavailableError",
    "EtcdError",
    "FutureRevisionError",
    "InvalidArgumentError",
    "KeyNotFoundError",
    "MissingDependencyError",
    "MissingHashError",
    "NoSpaceError",
    "NotASnapshotError",
    "PutBackStoppedError",
    "RequestRefusedError",
    "RestoreUnprovenError",
    "SnapshotClosedError",
    "SnapshotError",
    "SnapshotWarning",
    "StalledError",
    "StorageVersionError",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """One broken rule that a verifier found.

    Attributes:
        code: Stable kebab-case name of the rule, such as `hash-mismatch`; scripts may match on it.
        message: What was expected and what was found.
        page: Page of the bbolt file, where the defect lies in one.
        offset: Byte offset where it was seen: in the database for a page, else in the file that the message names.
    """

    code: str
    message: str
    page: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        place = [f"page {self.page}"] if self.page is not None else []
        if self.offset is not None:
            place.append(f"byte {self.offset}")
        return f"{self.message} ({', '.join(place)})" if place else self.message


class EtcdError(Exception):
    """The root of everything that this package raises on purpose.

    Attributes:
        message: The whole story in one clause; `str()` of the exception gives it.
    """

    _arguments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Pickle by constructor arguments: an OSError would otherwise come back with its own idea of them."""
        arguments = {name: getattr(self, name) for name in self._arguments}
        return _rebuild, (type(self), self.message, arguments), dict(self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """Tell IPython what to show in a notebook: the user's own lines, the message, and what to do."""
        from dcos_etcd import _traceback  # noqa: PLC0415 - only where somebody looks; it knows the exceptions

        return _traceback.lines(self)


def _rebuild(cls: type[EtcdError], message: str, arguments: dict[str, Any]) -> EtcdError:
    return cls(message, **arguments)


class ArchiveExistsError(EtcdError, FileExistsError):
    """The destination of a backup exists already; nothing is ever overwritten.

    Attributes:
        path: The destination; also `filename`, and `errno` is `EEXIST`.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, message: str, *, path: str) -> None:
        FileExistsError.__init__(self, errno.EEXIST, os.strerror(errno.EEXIST), path)
        self.message = message
        self.path = path


class DataDirNotEmptyError(EtcdError, FileExistsError):
    """The destination of a restore holds something; nothing is ever overwritten.

    Attributes:
        path: The data or WAL directory; also `filename`, and `errno` is `ENOTEMPTY`.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, message: str, *, path: str) -> None:
        FileExistsError.__init__(self, errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        self.message = message
        self.path = path


class DataDirInUseError(EtcdError, OSError):
    """An etcd, or another restore, works in the data directory that was to be replaced; nothing was changed.

    Attributes:
        path: The locked file or the directory; also `filename`, and `errno` is `EBUSY`.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, message: str, *, path: str) -> None:
        OSError.__init__(self, errno.EBUSY, os.strerror(errno.EBUSY), path)
        self.message = message
        self.path = path


class NoSpaceError(EtcdError, OSError):
    """The file system has no room for the restored member; nothing was written.

    Attributes:
        path: The destination; also `filename`, and `errno` is `ENOSPC`.
        needed: Bytes that are needed.
        free: Bytes that are free.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path", "needed", "free")

    def __init__(self, message: str, *, path: str, needed: int, free: int) -> None:
        OSError.__init__(self, errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        self.message = message
        self.path = path
        self.needed = needed
        self.free = free


class SnapshotError(EtcdError, ValueError):
    """A file does not hold a snapshot that can be trusted.

    Attributes:
        path: The file.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class NotASnapshotError(SnapshotError):
    """The file is nothing that holds an etcd snapshot.

    Attributes:
        path: The file.
        reason: What was found instead.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path", "reason")

    def __init__(self, message: str, *, path: str, reason: str) -> None:
        super().__init__(message, path=path)
        self.reason = reason


class MissingHashError(SnapshotError):
    """The snapshot carries no SHA-256, so nothing tells whether it is whole.

    A `db` copied out of a data directory has none; `skip_hash_check=True` accepts it.
    """


class CorruptSnapshotError(SnapshotError):
    """The file is or was a snapshot, and is damaged.

    Attributes:
        path: The file.
        defects: Every defect that was found, at least one.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path", "defects")

    def __init__(self, message: str, *, path: str, defects: Iterable[Defect]) -> None:
        super().__init__(message, path=path)
        self.defects: tuple[Defect, ...] = tuple(defects)


class StorageVersionError(SnapshotError):
    """The database is of a later etcd than this release knows.

    Attributes:
        path: The file.
        found: The storage version that it has.
        supported: The newest that is read.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path", "found", "supported")

    def __init__(self, message: str, *, path: str, found: str, supported: str) -> None:
        super().__init__(message, path=path)
        self.found = found
        self.supported = supported


class DatabaseChangedError(SnapshotError):
    """Somebody, such as a running etcd, wrote to the database while it was read; what was read may be of two states.

    Attributes:
        path: The file.
        before: Transaction that was opened.
        now: Transaction that is there now.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path", "before", "now")

    def __init__(self, message: str, *, path: str, before: int, now: int) -> None:
        super().__init__(message, path=path)
        self.before = before
        self.now = now


class SnapshotClosedError(SnapshotError):
    """The snapshot was closed already.

    Attributes:
        path: The file.
    """


class SnapshotWarning(UserWarning):
    """A file is read as a snapshot and is not quite one.

    It is a member's database, one of its two metas is damaged, or it had to be inflated.
    """


class CompactedError(EtcdError, LookupError):
    """A revision was asked for that is gone: etcd's `required revision has been compacted`.

    Attributes:
        revision: What was asked for.
        compact_revision: The oldest revision that can be read.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("revision", "compact_revision")

    def __init__(self, message: str, *, revision: int, compact_revision: int) -> None:
        super().__init__(message)
        self.revision = revision
        self.compact_revision = compact_revision


class FutureRevisionError(EtcdError, LookupError):
    """A revision was asked for that is not there yet: etcd's `required revision is a future revision`.

    Attributes:
        revision: What was asked for.
        current_revision: The newest revision that can be read.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("revision", "current_revision")

    def __init__(self, message: str, *, revision: int, current_revision: int) -> None:
        super().__init__(message)
        self.revision = revision
        self.current_revision = current_revision


class KeyNotFoundError(EtcdError, KeyError):
    """There is no such key at the revision that is read.

    Attributes:
        key: The key.
        revision: The revision.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("key", "revision")

    def __init__(self, message: str, *, key: bytes, revision: int) -> None:
        super().__init__(message)
        self.key = key
        self.revision = revision


class BootstrapError(EtcdError, ValueError):
    """The plan of the new cluster contradicts itself; the words are those of etcd's own check."""


class InvalidArgumentError(EtcdError, ValueError):
    """A value that the caller gave makes no sense, alone or beside another one."""


class MissingDependencyError(EtcdError, ImportError):
    """A package is not installed that only some use of this one needs.

    Attributes:
        package: The package; also `name`.
        extra: The extra of this package that brings it.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("package", "extra")

    def __init__(self, message: str, *, package: str, extra: str) -> None:
        ImportError.__init__(self, message, name=package)
        self.message = message
        self.package = package
        self.extra = extra


class EndpointUnavailableError(EtcdError, ConnectionError):
    """No endpoint could be used.

    Attributes:
        tried: Each endpoint with the reason why it could not be used, in the order of the attempts.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("tried",)

    def __init__(self, message: str, *, tried: Iterable[tuple[str, str]]) -> None:
        super().__init__(message)
        self.tried: tuple[tuple[str, str], ...] = tuple((endpoint, reason) for endpoint, reason in tried)


class AccessDeniedError(EtcdError, PermissionError):
    """etcd refused the caller: certificate, user, password or role.

    Attributes:
        endpoint: Who refused.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("endpoint",)

    def __init__(self, message: str, *, endpoint: str) -> None:
        super().__init__(message)
        self.endpoint = endpoint


class RequestRefusedError(EtcdError, RuntimeError):
    """etcd answered a request with an error of its own, such as a full database or a lost leader.

    Attributes:
        endpoint: Who answered.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("endpoint",)

    def __init__(self, message: str, *, endpoint: str) -> None:
        super().__init__(message)
        self.endpoint = endpoint


class PutBackStoppedError(EtcdError, RuntimeError):
    """Putting keys back could not go on to its end; what was written stays, and another run goes on from there.

    The reason is its `__cause__`.

    Attributes:
        done: Changes that etcd confirmed. Those of the transaction that it stopped at may be made as well: etcd may
            have carried out what it did not answer, and carries out the write that fills its quota and refuses it.
        planned: Changes that were to be made.
        conflicts: Keys that somebody else wrote meanwhile, and that were left alone till then. Another run would
            overwrite them: it sees them as they are now.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("done", "planned", "conflicts")

    def __init__(self, message: str, *, done: int, planned: int, conflicts: tuple[bytes, ...] = ()) -> None:
        super().__init__(message)
        self.done = done
        self.planned = planned
        self.conflicts = conflicts


class BrokenStreamError(EtcdError, ConnectionError):
    """The snapshot stream ended, or broke its own announcement, before the snapshot was whole.

    Attributes:
        endpoint: Who sent it.
        received: Bytes that had arrived, the hash included.
        reason: What was expected and what came.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("endpoint", "received", "reason")

    def __init__(self, message: str, *, endpoint: str, received: int, reason: str) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.received = received
        self.reason = reason


class StalledError(EtcdError, TimeoutError):
    """Nothing arrived for too long.

    Attributes:
        endpoint: Who went silent.
        after: The limit that was reached, in seconds.
        received: Bytes that had arrived.
        expected: Bytes that were announced; `None` when not even the first message came.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("endpoint", "after", "received", "expected")

    def __init__(self, message: str, *, endpoint: str, after: float, received: int, expected: int | None) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.after = after
        self.received = received
        self.expected = expected


class RestoreUnprovenError(EtcdError, RuntimeError):
    """What a restore wrote did not pass the offline verifier; it was removed again.

    Attributes:
        path: The destination, which was not touched.
        defects: What the verifier found.
    """

    _arguments: ClassVar[tuple[str, ...]] = ("path", "defects")

    def __init__(self, message: str, *, path: str, defects: Iterable[Defect]) -> None:
        super().__init__(message)
        self.path = path
        self.defects: tuple[Defect, ...] = tuple(defects)


class DcosError(EtcdError, RuntimeError):
    """This machine is no DC/OS master, or what it says of itself and of the other masters contradicts itself."""
