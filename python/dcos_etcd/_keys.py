"""Keys and revisions as callers give them, in the core's form."""

from __future__ import annotations

from typing import TypeAlias

from dcos_etcd.exceptions import InvalidArgumentError

__all__ = ["BYTES", "NUMBERS", "Key", "key", "revision"]

Key: TypeAlias = bytes | bytearray | memoryview | str

BYTES = (bytes, bytearray, memoryview)
# Numbers that the core takes, and revisions that etcd has, are below it.
NUMBERS = 1 << 63


def key(name: str, value: Key) -> bytes:
    """Take bytes as they are, and text as UTF-8, as etcd's own clients have it."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, BYTES):
        return bytes(value)
    if not isinstance(value, str):
        raise TypeError(f"{name}: {type(value).__name__} is neither bytes nor str")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{name}: {value!r} is no UTF-8: {error.reason} at {error.start}") from None


def revision(value: int, name: str = "revision") -> int:
    """Refuse what no revision is."""
    if not 0 < value < NUMBERS:
        raise InvalidArgumentError(f"{name}: {value} is not between 1 and 2^63 - 1")
    return value
