"""Keys and prefixes as callers spell them, as the bytes that cross into the core."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dcos_etcd.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from typing import TypeAlias, TypeGuard

    Key: TypeAlias = bytes | bytearray | memoryview | str

_TYPES = (bytes, bytearray, memoryview, str)


def is_key(value: object) -> TypeGuard[Key]:
    """Tell whether it is one key, and not several or something else."""
    return isinstance(value, _TYPES)


def key_bytes(name: str, value: object) -> bytes:
    """Take one key; text is UTF-8, as etcd's own clients have it.

    A number is none, although `bytes` takes it for so many NULs.
    """
    if not is_key(value):
        raise InvalidArgumentError(f"{name}: {type(value).__name__} is neither bytes nor str")
    return value.encode() if isinstance(value, str) else bytes(value)


def keys_bytes(name: str, values: Key | Iterable[Key]) -> list[bytes]:
    """Take one key or several."""
    if is_key(values):
        return [key_bytes(name, values)]
    if not isinstance(values, Iterable):
        raise InvalidArgumentError(f"{name}: {type(values).__name__} is neither bytes nor str, nor several of them")
    return [key_bytes(name, value) for value in values]
