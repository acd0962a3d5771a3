"""Sheets as plain text: what goes into files and pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcos_etcd._sheet import Fields, Remark, Steps, Table, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dcos_etcd._sheet import Block, Sheet


def to_text(sheet: Sheet, *, warnings: bool = False) -> str:
    """Write the blocks under each other, and the warnings where they are asked for."""
    parts = [block_text(block) for block in sheet.blocks]
    if warnings:
        parts += [f"warning: {one_line(warning)}" for warning in sheet.warnings]
    return "\n\n".join(parts)


def block_text(block: Block) -> str:
    """Write one block."""
    match block:
        case Fields(pairs):
            return "\n".join(_lined_up(pairs))
        case Table():
            rows = [[one_line(cell) for cell in row] for row in block.rows]
            return (_ruled if block.ruled else _open)(block.columns, rows, block.right)
        case Steps(title, steps):
            numbered = (f"  {number}. {one_line(step)}" for number, step in enumerate(steps, start=1))
            return "\n".join([title, *numbered])
        case Remark(_, head, text, details):
            return "\n".join([one_line(f"{head}: {text}"), *(f"  {line}" for line in _lined_up(details))])


def _lined_up(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Write one `name: value` a line, the values under each other."""
    lines = [(one_line(name), one_line(value)) for name, value in pairs]
    width = max((len(name) for name, _ in lines), default=0) + 2
    return [f"{name + ':':{width}}{value}".rstrip() for name, value in lines]


def _ruled(columns: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[str]) -> str:
    """Draw a table in the manner of etcdctl."""
    widths = _widths(columns, rows)
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_placed(columns, cells, widths, right)) + " |"

    head = "| " + " | ".join(column.center(width) for column, width in zip(columns, widths, strict=True)) + " |"
    return "\n".join([rule, head, rule, *map(line, rows), *([rule] if rows else [])])


def _open(columns: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[str]) -> str:
    """Draw columns without rules, the last as long as its cells are."""
    widths = _widths(columns, rows)
    return "\n".join("  ".join(_placed(columns, cells, widths, right)).rstrip() for cells in (columns, *rows))


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]


def _placed(
    columns: Sequence[str], cells: Sequence[str], widths: Sequence[int], right: frozenset[str]
) -> Iterable[str]:
    for column, cell, width in zip(columns, cells, widths, strict=True):
        yield cell.rjust(width) if column in right else cell.ljust(width)
