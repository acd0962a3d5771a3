"""What lies in a snapshot, a line at a time: keys and values are bytes, and most of them are text.

In JSON a name tells which it is: `key` and `value` hold text, `key_base64` and `value_base64` what is no UTF-8.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from dcos_etcd.display import fields, human_size, plain, to_json, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcos_etcd.models import Entry, KeyFigure, PrefixStats, Stats

KEY_HEAD = "  REVISION   VERSION       SIZE  KEY"
VERSION_HEAD = "  REVISION   VERSION       SIZE  VALUE"
_PREFIX_HEAD = "      KEYS       BYTES  VERSIONS  DELETIONS  PREFIX"

# What a line of 80 columns leaves for a value behind three numbers.
_VALUE_WIDTH = 47


def readable(data: bytes) -> str:
    """Show bytes on one line: text as it is, with control characters spelled out, else base64."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data).decode()}"
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def member(name: str, data: bytes) -> dict[str, str]:
    """Give the member of a JSON object that holds `data`."""
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def key_line(entry: Entry) -> str:
    """Tell of a key in a table."""
    return f"{entry.mod_revision:10} {entry.version:9} {len(entry.value):10}  {readable(entry.key)}"


def key_simple(entry: Entry) -> str:
    """Give a key alone."""
    return readable(entry.key)


def key_json(entry: Entry) -> str:
    """Tell of a key without its value."""
    return to_json({**member("key", entry.key), **_numbers(entry), "size": len(entry.value)})


def entry_json(entry: Entry) -> str:
    """Tell of a version of a key; a deletion has no value."""
    value = {"deleted": True} if entry.deleted else member("value", entry.value)
    return to_json({**member("key", entry.key), **_numbers(entry), **value})


def entry_text(entry: Entry) -> str:
    """Tell of a key, the value last and at its full length."""
    head = fields(
        [
            ("key", readable(entry.key)),
            ("create revision", entry.create_revision),
            ("mod revision", entry.mod_revision),
            ("version", entry.version),
            ("lease", f"{entry.lease:x}" if entry.lease else "none"),
            ("size", f"{len(entry.value)} bytes"),
        ]
    )
    try:
        return f"{head}\n\n{visible(entry.value.decode())}"
    except UnicodeDecodeError:
        return f"{head}\n\n{readable(entry.value)}"


def version_line(entry: Entry) -> str:
    """Tell of a version in a table, with as much of the value as 80 columns take."""
    if entry.deleted:
        return f"{entry.mod_revision:10} {'deleted':>9}"
    value = readable(entry.value)
    shown = value if len(value) <= _VALUE_WIDTH else f"{value[: _VALUE_WIDTH - 3]}..."
    return f"{entry.mod_revision:10} {entry.version:9} {len(entry.value):10}  {shown}"


def stats_json(stats: Stats, *, size: int, size_in_use: int) -> str:
    """Tell of the figures of a snapshot."""
    document = {
        "revision": stats.revision,
        "size": size,
        "size_in_use": size_in_use,
        "total": _group(stats.total),
        "prefixes": [_group(group, prefix=True) for group in stats.prefixes],
        "largest": [{**member("key", key), "value_bytes": figure} for key, figure in stats.largest],
        "most_rewritten": [{**member("key", key), "versions": figure} for key, figure in stats.most_rewritten],
    }
    return to_json(document)


def stats_text(stats: Stats, *, size: int, size_in_use: int) -> str:
    """Show the figures of a snapshot, the prefixes that take most first."""
    total = stats.total
    head = fields(
        [
            ("revision", stats.revision),
            ("database size", f"{size} bytes ({human_size(size)})"),
            ("in use", f"{size_in_use} bytes ({human_size(size_in_use)})"),
            ("keys", f"{total.keys} ({human_size(total.key_bytes)})"),
            ("values", human_size(total.value_bytes)),
            ("versions", f"{total.versions} ({human_size(total.version_bytes)})"),
            ("deletions", total.tombstones),
        ]
    )
    parts = [head, "\n".join([_PREFIX_HEAD, *map(_prefix_line, sorted(stats.prefixes, key=_weight))])]
    if stats.largest:
        parts.append(_tops("  BYTES", "LARGEST VALUES", stats.largest))
    if stats.most_rewritten:
        parts.append(_tops("VERSIONS", "MOST REWRITTEN KEYS", stats.most_rewritten))
    return "\n\n".join(parts)


def _numbers(entry: Entry) -> dict[str, int]:
    return {
        "create_revision": entry.create_revision,
        "mod_revision": entry.mod_revision,
        "version": entry.version,
        "lease": entry.lease,
    }


def _group(group: PrefixStats, *, prefix: bool = False) -> dict[str, Any]:
    document: dict[str, Any] = plain(group)
    del document["prefix"]
    return {**(member("prefix", group.prefix) if prefix else {}), **document}


def _weight(group: PrefixStats) -> tuple[int, bytes]:
    return -(group.key_bytes + group.version_bytes), group.prefix


def _prefix_line(group: PrefixStats) -> str:
    size = human_size(group.key_bytes + group.value_bytes)
    return f"{group.keys:10} {size:>11} {group.versions:9} {group.tombstones:10}  {readable(group.prefix) or '(none)'}"


def _tops(unit: str, title: str, tops: Iterable[KeyFigure]) -> str:
    return "\n".join([f"{unit:>10}  {title}", *(f"{figure:10}  {readable(key)}" for key, figure in tops)])
