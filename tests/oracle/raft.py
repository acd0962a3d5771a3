"""A reader of etcd's WAL and .snap files in plain Python, written from the formats and not from the Rust core."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

METADATA, ENTRY, STATE, CRC, SNAPSHOT = range(1, 6)

CASTAGNOLI = []
for value in range(256):
    crc = value
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    CASTAGNOLI.append(crc)


def crc32c(data: bytes, crc: int = 0) -> int:
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CASTAGNOLI[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def message(data: bytes) -> dict[int, list[int | bytes]]:
    """A protobuf message without a schema: values by field number, in order."""
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        found: int | bytes
        found, at = varint(data, at)
        if tag & 7 == 2:
            size = found
            found = data[at : at + size]
            assert len(found) == size, "a field reaches past its message"
            at += size
        else:
            assert tag & 7 == 0, f"wire type {tag & 7}"
        fields.setdefault(tag >> 3, []).append(found)
    return fields


def number(fields: dict[int, list[int | bytes]], field: int) -> int:
    """A number; 0 when it is left out, as releases from 3.7 do."""
    found = fields.get(field, [0])[-1]
    assert isinstance(found, int)
    return found


def data(fields: dict[int, list[int | bytes]], field: int) -> bytes:
    found = fields.get(field, [b""])[-1]
    assert isinstance(found, bytes)
    return found


@dataclass(frozen=True)
class ConfState:
    voters: tuple[int, ...]
    others: tuple[tuple[int, ...], ...]
    auto_leave: int

    @classmethod
    def parse(cls, raw: bytes) -> ConfState:
        fields = message(raw)
        lists = [tuple(v for v in fields.get(field, []) if isinstance(v, int)) for field in (1, 2, 3, 4)]
        return cls(lists[0], tuple(lists[1:]), number(fields, 5))


def record(kind: int, raw: bytes) -> dict[str, Any]:
    """A record's content with every field that its writer may have left out filled in."""
    fields = message(raw)
    if kind == METADATA:
        return {"node": number(fields, 1), "cluster": number(fields, 2)}
    if kind == STATE:
        return {"term": number(fields, 1), "vote": number(fields, 2), "commit": number(fields, 3)}
    if kind == SNAPSHOT:
        conf = ConfState.parse(data(fields, 3)) if 3 in fields else None
        return {"index": number(fields, 1), "term": number(fields, 2), "conf_state": conf}
    assert kind == ENTRY, f"record type {kind}"
    change = message(data(fields, 4))
    assert number(fields, 1) == 1, "an entry that is no ConfChange"
    return {
        "term": number(fields, 2),
        "index": number(fields, 3),
        "change": (number(change, 1), number(change, 2), number(change, 3)),
        "member": json.loads(data(change, 4)),
    }


def wal(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The records of one segment, CRC chain checked; CRC records are left out."""
    content = path.read_bytes()
    records = []
    at = chain = 0
    while at + 8 <= len(content):
        (word,) = struct.unpack_from("<Q", content, at)
        if word == 0:
            break
        length, padding = word & (1 << 56) - 1, (word >> 56) & 7
        assert (length + padding) % 8 == 0
        fields = message(content[at + 8 : at + 8 + length])
        kind, crc = number(fields, 1), number(fields, 2)
        if kind == CRC:
            assert crc == chain
        else:
            chain = crc32c(data(fields, 3), chain)
            assert crc == chain, f"CRC at {at}"
            records.append((kind, record(kind, data(fields, 3))))
        at += 8 + length + padding
    assert not any(content[at:]), "bytes after the last record"
    return records


def snap(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The v2 store of a .snap file, and its metadata."""
    outer = message(path.read_bytes())
    inner = data(outer, 2)
    assert number(outer, 1) == crc32c(inner)
    fields = message(inner)
    metadata = message(data(fields, 2))
    return json.loads(data(fields, 1)), {
        "conf_state": ConfState.parse(data(metadata, 1)),
        "index": number(metadata, 2),
        "term": number(metadata, 3),
    }


def without_creation_order(store: dict[str, Any]) -> dict[str, Any]:
    """A v2 store with what depends on the order in which members were put into it made equal.

    Releases from 3.6 create the members in the random order of a Go map, and count one look that finds nothing.
    """
    store = json.loads(json.dumps(store))
    store["Stats"]["getsFail"] = 0
    members = store["Root"]["Children"]["0"]["Children"]["members"]
    for node in (members, *members["Children"].values()):
        node["CreatedIndex"] = node["ModifiedIndex"] = 0
        for child in (node["Children"] or {}).values():
            child["CreatedIndex"] = child["ModifiedIndex"] = 0
    queue = store["WatcherHub"]["EventHistory"]["Queue"]
    events = [event for event in queue["Events"] if event]
    for event in events:
        event["node"]["createdIndex"] = event["node"]["modifiedIndex"] = 0
    queue["Events"] = [*sorted(events, key=lambda event: str(event["node"]["key"])), len(queue["Events"])]
    return dict(store)
