"""What one worker of pytest-xdist makes and all of them use; without workers, what is made once."""

from __future__ import annotations

import fcntl
import pickle
import shutil
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


class Workshop:
    """Makes things when they are first asked for, by name; they are files, and words about them that can be pickled."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(exist_ok=True)
        self._known: dict[str, object] = {}

    def get(self, name: str, make: Callable[[Path], T]) -> T:
        """What `make` made of a directory, here or in another worker, which is waited for."""
        if name not in self._known:
            self._known[name] = self._take(name, make)
        return cast("T", self._known[name])

    def _take(self, name: str, make: Callable[[Path], T]) -> T:
        place, made = self.directory / name, self.directory / f"{name}.pickle"
        # The lock goes with the process that holds it, however that ends.
        with (self.directory / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                # What a failed attempt left; that test has told why.
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                whole = pickle.dumps(make(place))
                part = made.with_suffix(".part")
                part.write_bytes(whole)
                part.rename(made)
            # Always as others have it, so that no test sees more than they do.
            return cast("T", pickle.loads(made.read_bytes()))  # noqa: S301 - a file of this run
