"""What a report is made of, before it is text, tables on a terminal, or a page: names, values, rows and remarks.

Whoever draws a sheet draws the same words; and each cell is made harmless by `one_line`, for names that a cluster or an
archive brings must not steer a terminal, nor turn the words of a line around.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Tone = Literal["plain", "good", "info", "warning", "critical"]

# Line and paragraph separators, marks and overrides of the direction of writing.
_UNSEEN = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"},
    **{code: f"\\u{code:04x}" for code in _UNSEEN},
}
_BREAKS = {**_CONTROLS, ord("\n"): "\\n", ord("\t"): "\\t"}


def visible(text: str) -> str:
    """Spell out control characters and those that turn text around, but for line feeds and tabs."""
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """Spell out line feeds and tabs too."""
    return text.translate(_BREAKS)


@dataclass(frozen=True, slots=True)
class Fields:
    """Names with their values.

    Attributes:
        pairs: Each name with its value.
        tone: How the last value is meant, where that is a verdict.
    """

    pairs: tuple[tuple[str, str], ...]
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells.

    Attributes:
        title: What the rows are; only a page says so. Empty where the head of the last column does.
        columns: Heads of the columns.
        rows: The cells.
        right: Columns that are set flush right.
        ruled: Whether text draws rules around the cells, as etcdctl does; the last column is open without.
        shares: What a page draws a bar of, from 0 to 1, for each row.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()
    ruled: bool = True
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done one after the other.

    Attributes:
        title: What they are, as a line of its own.
        steps: A line each.
    """

    title: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that somebody should know.

    Attributes:
        tone: How bad it is.
        head: What it is about.
        text: What is the matter.
        details: More of it, by name.
    """

    tone: Tone
    head: str
    text: str
    details: tuple[tuple[str, str], ...] = ()


Block = Fields | Table | Steps | Remark


@dataclass(frozen=True, slots=True)
class Sheet:
    """A whole report.

    Attributes:
        title: What it is about; only a page says so.
        blocks: Its parts, from top to bottom.
        warnings: What a command says on stderr, and a page below.
    """

    title: str
    blocks: tuple[Block, ...]
    warnings: tuple[str, ...] = ()


def fields(pairs: Iterable[tuple[str, object]], tone: Tone = "plain") -> Fields:
    """Make fields of anything that can be text."""
    return Fields(tuple((name, str(value)) for name, value in pairs), tone)


def shares(weights: Iterable[int]) -> tuple[float, ...]:
    """Give each weight's part of the greatest."""
    listed = list(weights)
    most = max(listed, default=0)
    return tuple(weight / most if most else 0.0 for weight in listed)
