"""A reader of bbolt files in plain Python, written from the format and not from the Rust core.

Small and slow; it reads every page that can be reached, and asserts that each is as bbolt writes it.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

Buckets = dict[bytes, dict[bytes, bytes]]

PAGE_HEADER = struct.Struct("<QHHI")
META = struct.Struct("<IIIIQQQQQ")
LEAF_ELEMENT = struct.Struct("<IIII")
BRANCH_ELEMENT = struct.Struct("<IIQ")
BUCKET_HEADER = struct.Struct("<QQ")

BRANCH, LEAF, IS_META = 0x01, 0x02, 0x04
IS_BUCKET = 0x01
MAGIC, VERSION = 0xED0CDAED, 2


@dataclass(frozen=True)
class Meta:
    page_size: int
    root: int
    freelist: int
    high_water_mark: int
    txid: int


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


class Database:
    """An open file; `buckets` reads it all."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        metas = [meta for meta in (self._meta(0), self._meta_after_the_first()) if meta]
        assert metas, f"{path}: no valid meta page"
        self.meta = max(metas, key=lambda meta: meta.txid)
        assert self.meta.high_water_mark * self.meta.page_size <= len(self.data), f"{path} is too short"
        self.leaves: dict[int, list[tuple[bytes, bytes, int]]] = {}
        """Every leaf page that was read, with its entries."""
        self.branch_keys: list[tuple[int, int]] = []
        """Every key of a branch page that was read: where it begins, and its length."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.data.close()

    def _meta_after_the_first(self) -> Meta | None:
        for shift in range(15):
            if (found := self._meta(1024 << shift)) and found.page_size == 1024 << shift:
                return found
        return None

    def _meta(self, offset: int) -> Meta | None:
        start = offset + PAGE_HEADER.size
        if start + META.size + 8 > len(self.data):
            return None
        raw = self.data[start : start + META.size]
        magic, version, page_size, _, root, _, freelist, mark, txid = META.unpack(raw)
        (checksum,) = struct.unpack_from("<Q", self.data, start + META.size)
        if magic != MAGIC or version != VERSION or checksum != fnv1a(raw):
            return None
        return Meta(page_size, root, freelist, mark, txid)

    def buckets(self) -> Buckets:
        found: Buckets = {}
        for name, value, flags in self._tree(self.meta.root):
            assert flags == IS_BUCKET, f"{name!r} in the root is no bucket"
            root, _ = BUCKET_HEADER.unpack_from(value)
            entries = self._tree(root) if root else self._leaf(memoryview(value), BUCKET_HEADER.size)
            found[name] = {}
            for key, entry, entry_flags in entries:
                assert entry_flags == 0, f"a bucket inside {name!r}"
                found[name][key] = entry
        return found

    def _tree(self, page: int) -> list[tuple[bytes, bytes, int]]:
        assert 2 <= page < self.meta.high_water_mark, f"page {page} is out of bounds"
        start = page * self.meta.page_size
        number, flags, count, overflow = PAGE_HEADER.unpack_from(self.data, start)
        assert number == page, f"page {page} says that it is {number}"
        view = memoryview(self.data)[start : start + (overflow + 1) * self.meta.page_size]
        if flags == LEAF:
            self.leaves[page] = self._leaf(view, 0)
            return self.leaves[page]
        assert flags == BRANCH, f"page {page} has flags {flags:#x}"
        entries: list[tuple[bytes, bytes, int]] = []
        for index in range(count):
            at = PAGE_HEADER.size + index * BRANCH_ELEMENT.size
            position, size, child = BRANCH_ELEMENT.unpack_from(view, at)
            below = self._tree(child)
            assert bytes(view[at + position : at + position + size]) == below[0][0], f"page {page}: not the first key"
            self.branch_keys.append((start + at + position, size))
            entries += below
        return ascending(entries)

    def _leaf(self, view: memoryview, base: int) -> list[tuple[bytes, bytes, int]]:
        _, flags, count, _ = PAGE_HEADER.unpack_from(view, base)
        assert flags == LEAF, f"an inline page has flags {flags:#x}"
        entries = []
        for index in range(count):
            at = base + PAGE_HEADER.size + index * LEAF_ELEMENT.size
            element_flags, position, key_size, value_size = LEAF_ELEMENT.unpack_from(view, at)
            key = at + position
            value = key + key_size
            assert value + value_size <= len(view), "an element reaches past its page"
            entries.append((bytes(view[key:value]), bytes(view[value : value + value_size]), element_flags))
        return ascending(entries)


def ascending(entries: list[tuple[bytes, bytes, int]]) -> list[tuple[bytes, bytes, int]]:
    assert all(a[0] < b[0] for a, b in pairwise(entries)), "keys out of order"
    return entries


def read(path: Path) -> Buckets:
    """Every bucket of a file with every key."""
    with Database(path) as database:
        return database.buckets()


def damage_leaf(path: Path, key: bytes, damaged: Path) -> int:
    """Copy a file, with an invalid type for the page that holds the newest version of an etcd key.

    The page is one that can be reached: free pages keep what they held, a copy of the same version among it.

    Returns:
        The page's number.
    """
    record = b"\x0a" + bytes([len(key)]) + key  # mvccpb.KeyValue begins with its key
    with Database(path) as database:
        database.buckets()
        _, page = max(
            (at, page)
            for page, entries in database.leaves.items()
            for at, value, _ in entries
            if value.startswith(record)
        )
        content = bytearray(database.data[:])
        struct.pack_into("<H", content, page * database.meta.page_size + 8, 0x77)
    damaged.write_bytes(content)
    return page


def revision(key: bytes) -> int:
    """The main part of an etcd revision key, as in `meta/scheduledCompactRev`."""
    (main,) = struct.unpack_from(">q", key)
    return int(main)
