"""Files on which a test failed, kept for whoever looks into it."""

from __future__ import annotations

import hashlib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = Path(__file__).parent.parent / "target" / "failed-tests"


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """Copy a file aside when the `with` block fails, and print where it is.

    What a test may do to the file has a seed, but the file began with a server, and no two of those write the same.
    """
    try:
        yield
    except BaseException:  # a failure that pytest makes itself is no Exception
        content = path.read_bytes()
        KEPT.mkdir(parents=True, exist_ok=True)
        copy = KEPT / f"{hashlib.sha256(content).hexdigest()[:12]}-{path.name}"
        copy.write_bytes(content)
        sys.stdout.write(f"the file is kept: {copy}\n")
        raise
