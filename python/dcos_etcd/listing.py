"""What lies in a snapshot, a line at a time, and its figures: keys and values are bytes, and most of them are text.

In JSON a name tells which it is: `key` and `value` hold text, `key_base64` and `value_base64` what is no UTF-8.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from dcos_etcd._sheet import Sheet, Table, fields, one_line, shares, visible
from dcos_etcd._text import block_text
from dcos_etcd.display import human_size, plain, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcos_etcd.models import Entry, KeyFigure, PrefixStats, RevisionSpan, Stats

KEY_HEAD = "  REVISION   VERSION       SIZE  KEY"
VERSION_HEAD = "  REVISION   VERSION       SIZE  VALUE"

# What a line of 80 columns leaves for a value behind three numbers.
_VALUE_WIDTH = 47

_BASE64 = "base64:"
# What `one_line` writes for a character, and a doubled backslash.
_ESCAPE = re.compile(r"\\(?:[\\nt]|x[0-9a-f]{2}|u[0-9a-f]{4})")


def readable(data: bytes) -> str:
    r"""Show bytes on one line, no two alike: text as it is, else base64.

    Control characters are spelled out, as in `\x1b`; then, and where a text itself looks like that, a backslash is
    doubled. Text that begins with `base64:` is told in base64 too.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _base64(data)
    if text.startswith(_BASE64):
        return _base64(data)
    shown = one_line(text)
    if "\\" in text and (shown != text or "\\" not in _ESCAPE.sub("", text)):
        return one_line(text.replace("\\", "\\\\"))
    return shown


def _base64(data: bytes) -> str:
    return f"{_BASE64}{base64.b64encode(data).decode()}"


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
    head = block_text(
        fields(
            [
                ("key", readable(entry.key)),
                ("create revision", entry.create_revision),
                ("mod revision", entry.mod_revision),
                ("version", entry.version),
                ("lease", f"{entry.lease:x}" if entry.lease else "none"),
                ("size", f"{len(entry.value)} bytes"),
            ]
        )
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
        "spans": [plain(span) for span in stats.spans],
    }
    return to_json(document)


def stats_sheet(stats: Stats, *, size: int | None = None, size_in_use: int | None = None) -> Sheet:
    """Show the figures of a snapshot, the prefixes that take most first; sizes are those of its database."""
    total = stats.total
    sizes = (("database size", size), ("in use", size_in_use))
    head = fields(
        [
            ("revision", stats.revision),
            *((name, f"{number} bytes ({human_size(number)})") for name, number in sizes if number is not None),
            ("keys", f"{total.keys} ({human_size(total.key_bytes)})"),
            ("values", human_size(total.value_bytes)),
            ("versions", f"{total.versions} ({human_size(total.version_bytes)})"),
            ("deletions", total.tombstones),
        ]
    )
    tables = [
        _prefixes(stats.prefixes),
        _tops("BYTES", "LARGEST VALUES", stats.largest),
        _tops("VERSIONS", "MOST REWRITTEN KEYS", stats.most_rewritten),
        _spans(stats.spans),
    ]
    return Sheet("What a snapshot holds", (head, *(table for table in tables if table.rows)))


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


def _prefixes(prefixes: Iterable[PrefixStats]) -> Table:
    groups = sorted(prefixes, key=lambda group: (-weight(group), group.prefix))
    columns = ("KEYS", "BYTES", "VERSIONS", "THEIR BYTES", "DELETIONS", "PREFIX")
    rows = (
        (
            str(group.keys),
            human_size(group.key_bytes + group.value_bytes),
            str(group.versions),
            human_size(group.version_bytes),
            str(group.tombstones),
            readable(group.prefix) or "(none)",
        )
        for group in groups
    )
    return _open("by prefix", columns, rows, map(weight, groups))


def weight(group: PrefixStats) -> int:
    """Give the bytes that a group takes in the file, as far as keys and values tell."""
    return group.key_bytes + group.version_bytes


def _tops(unit: str, title: str, tops: Iterable[KeyFigure]) -> Table:
    listed = list(tops)
    rows = ((str(figure), readable(key)) for key, figure in listed)
    return _open("", (unit, title), rows, (figure for _, figure in listed))


def _spans(spans: Iterable[RevisionSpan]) -> Table:
    listed = list(spans)
    rows = (
        (str(span.versions), human_size(span.version_bytes), str(span.tombstones), f"{span.first} to {span.last}")
        for span in listed
    )
    columns = ("VERSIONS", "THEIR BYTES", "DELETIONS", "WRITTEN IN REVISIONS")
    return _open("by revision", columns, rows, (span.version_bytes for span in listed))


def _open(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], weights: Iterable[int]) -> Table:
    return Table(title, columns, tuple(rows), frozenset(columns[:-1]), ruled=False, shares=shares(weights))
