"""Snapshot files out of plain dicts, without a server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from dcos_etcd.testing._interrupts import held_signals

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    Text: TypeAlias = str | bytes
    Versions: TypeAlias = Text | Sequence[Text | None]

    Keys: TypeAlias = Mapping[Any, Versions]
    """Keys (`str` or `bytes`) with the value of each, or with its versions, oldest first, and `None` for a deletion.

    `Any`, for mappings are invariant in their keys: one with `str` alone would not be one with `str` or `bytes`.
    """


def make_snapshot(path: str | os.PathLike[str], keys: Keys) -> int:
    """Write a snapshot file that holds what a server would after these writes, in the order of the mapping.

        >>> make_snapshot("etcd.db", {"/a": "1", "/b": ["old", "new"], "/c": [b"1", None]})  # doctest: +SKIP
        6

    Every version is a revision of its own, from 2 on. It is a bare snapshot, as `etcdctl snapshot save` writes them,
    of the schema of etcd 3.5, which every supported release takes; without leases, users and members.

    Args:
        path: Must not exist.
        keys: Keys and values, `str` in UTF-8. A list holds the versions of the key, `None` for a deletion.

    Returns:
        The revision of the last write, 1 when there is none.

    Raises:
        ArchiveExistsError: The file exists.
        InvalidArgumentError: A key is empty, has no versions, comes twice, or is deleted when it is not there.
        TypeError: A key or a value is neither `str` nor `bytes`.
        OSError: The file could not be written.
    """
    from dcos_etcd import _core  # noqa: PLC0415 - the servers can do without it

    return _core.make_snapshot(os.fspath(path), list(_changes(keys)))


@contextmanager
def snapshot_file(snapshot: str | os.PathLike[str] | Keys) -> Generator[Path, None, None]:
    """A snapshot as a file, which is a temporary one when it is made of keys."""
    if not isinstance(snapshot, Mapping):
        yield Path(snapshot)
        return
    directory: tempfile.TemporaryDirectory[str] | None = None
    try:
        with held_signals():
            directory = tempfile.TemporaryDirectory(prefix="dcos-etcd-")
        path = Path(directory.name, "snapshot.db")
        make_snapshot(path, snapshot)
        yield path
    finally:
        with held_signals():
            if directory is not None:
                directory.cleanup()


def _changes(keys: Keys) -> Iterable[tuple[bytes, bytes | None]]:
    from dcos_etcd.exceptions import InvalidArgumentError  # noqa: PLC0415 - light, and needed by none but this

    seen: set[bytes] = set()
    for name, given in keys.items():
        key = _encoded(name, "a key")
        versions: Sequence[Text | None] = [given] if isinstance(given, str | bytes) else _listed(given, name)
        if not key:
            raise InvalidArgumentError("a key is empty, which etcd refuses")
        if key in seen:
            raise InvalidArgumentError(f"key {name!r} is there twice, as text and as bytes")
        if not versions:
            raise InvalidArgumentError(f"key {name!r} has no versions: leave it out")
        seen.add(key)
        last = None
        for version in versions:
            value = None if version is None else _encoded(version, f"a value of {name!r}")
            if value is None and last is None:
                raise InvalidArgumentError(f"key {name!r} is deleted when it is not there")
            last = value
            yield key, value


def _listed(given: object, name: Text) -> Sequence[Text | None]:
    if isinstance(given, list | tuple):
        return cast("Sequence[Text | None]", given)
    raise TypeError(f"the value of {name!r} is {type(given).__name__}, not str, bytes or a list of them")


def _encoded(text: object, what: str) -> bytes:
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes):
        return text
    raise TypeError(f"{what} is {type(text).__name__}, not str or bytes")
