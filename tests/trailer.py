"""What `etcdctl snapshot save` writes: a database, and behind it the SHA-256 of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HASH_LEN = 32


def database(saved: Path) -> bytes:
    """A snapshot without its trailer."""
    return saved.read_bytes()[:-HASH_LEN]


def hashed(database: bytes | bytearray) -> bytes:
    """A snapshot with a right trailer."""
    return bytes(database) + hashlib.sha256(database).digest()
