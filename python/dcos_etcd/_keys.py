"""Keys, prefixes and revisions as callers give them, in the core's form."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from dcos_etcd.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from typing import TypeGuard

__all__ = ["Key", "is_key", "key", "keys", "number", "revision"]

Key: TypeAlias = bytes | bytearray | memoryview | str

_TYPES = (bytes, bytearray, memoryview, str)
# Numbers that the core takes, and revisions that etcd has, are below it.
_NUMBERS = 1 << 63


def is_key(value: object) -> TypeGuard[Key]:
    """Tell whether it is one key, and not several or something else."""
    return isinstance(value, _TYPES)


def key(name: str, value: object) -> bytes:
    """Take bytes as they are, and text as UTF-8, as etcd's own clients have it.

    A number is no key, although `bytes` takes it for so many NULs.
    """
    if not is_key(value):
        raise InvalidArgumentError(f"{name}: {type(value).__name__} is neither bytes nor str")
    if not isinstance(value, str):
        return bytes(value)
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{name}: {value!r} is no UTF-8: {error.reason} at {error.start}") from None


def keys(name: str, values: Key | Iterable[Key]) -> list[bytes]:
    """Take one key or several."""
    if is_key(values):
        return [key(name, values)]
    if not isinstance(values, Iterable):
        raise InvalidArgumentError(f"{name}: {type(values).__name__} is neither bytes nor str, nor several of them")
    return [key(name, value) for value in values]


def revision(value: int, name: str = "revision") -> int:
    """Refuse what no revision is; the newest is `None` everywhere, which etcd's requests call 0."""
    return number(name, value, least=1)


def number(name: str, value: object, *, least: int = 0) -> int:
    """Refuse what is no number, or none that the core takes."""
    try:
        found = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgumentError(f"{name}: {type(value).__name__} is no whole number") from None
    if not least <= found < _NUMBERS:
        raise InvalidArgumentError(f"{name}: {found} is not between {least} and 2^63 - 1")
    return found
