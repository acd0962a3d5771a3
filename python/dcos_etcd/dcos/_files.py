"""`initial-nodes` and `initial-state`: what etcd's start script reads at every start.

Each is replaced by a rename, so that it is whole at every instant; what it was can be put back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MODE = 0o644
_PERMISSIONS = 0o7777


@dataclass(frozen=True, slots=True)
class Before:
    """What a file was.

    Attributes:
        path: The file.
        content: Its bytes; `None` where there was none.
        mode: Its permissions.
        owner: Its user and group id.
    """

    path: Path
    content: bytes | None
    mode: int = _MODE
    owner: tuple[int, int] | None = None

    @classmethod
    def of(cls, path: Path) -> Before:
        """Remember a file."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return cls(path, None)
        status = path.stat()
        return cls(path, content, status.st_mode & _PERMISSIONS, (status.st_uid, status.st_gid))

    def put_back(self) -> None:
        """Make the file what it was."""
        if self.content is not None:
            write(self.path, self.content, mode=self.mode, owner=self.owner)
            return
        self.path.unlink(missing_ok=True)
        sync_directory(self.path.parent)


def write(path: Path, content: bytes, *, mode: int, owner: tuple[int, int] | None) -> None:
    """Replace a file, or make it."""
    prepare(path, content, mode=mode, owner=owner)
    put_in_place(path)


def prepare(path: Path, content: bytes, *, mode: int, owner: tuple[int, int] | None) -> None:
    """Write and sync what `put_in_place` will put there: after this there is no want of space any more."""
    temporary = _temporary(path)
    # What a killed run left there may be anything.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put_in_place(path: Path) -> None:
    """Give what was prepared its name."""
    _temporary(path).replace(path)
    sync_directory(path.parent)


def forget(path: Path) -> None:
    """Drop what was prepared, if anything was."""
    _temporary(path).unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Put names on stable storage."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    """One name for each file: a killed run leaves one at the most, and the next one takes it."""
    return path.with_name(f".{path.name}.restore")
