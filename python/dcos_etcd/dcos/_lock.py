"""One restore at a time on a master.

The core keeps two restores out of one data directory, where there is one. On a master there are two files besides, and
the data directory may be lost: then the second restore fails when the first has ended, and what it would put back is
what was there before the first.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from dcos_etcd.exceptions import DataDirInUseError

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self


class Lock:
    """An exclusive `flock` on etcd's home, or on the nearest parent while there is none; a context manager.

    The kernel lets go of it with the process, so a killed restore leaves none.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._held: list[int] = []

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()

    @property
    def home_held(self) -> bool:
        """Whether it is etcd's home itself that is locked, not what stands above the place where it was missing."""
        return any(_is(descriptor, self._home) for descriptor in self._held)

    def take(self) -> None:
        """Lock what is there by now; what this one holds already is no obstacle.

        Raises:
            DataDirInUseError: Another restore holds it.
        """
        place = next(path for path in (self._home, *self._home.parents) if path.is_dir())
        if any(_is(descriptor, place) for descriptor in self._held):
            return
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise self._refusal(place) from None
        except OSError:
            # A file system that knows no locks; the core goes on there too.
            pass
        self._held.append(descriptor)

    def _refusal(self, place: Path) -> DataDirInUseError:
        return DataDirInUseError(
            f"another restore is under way on this master: it has locked {place}; wait for its end, and restore again "
            "only if it failed; this one changed nothing",
            path=str(place),
        )


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
