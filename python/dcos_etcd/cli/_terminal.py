"""Reports on a terminal: the same words as in a pipe, laid out for its width, coloured where it has colours.

`NO_COLOR` and the width are rich's to honour. Nothing is cut off: what is too long goes on in the next line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from dcos_etcd._sheet import Fields, Remark, Steps, Table, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from dcos_etcd._sheet import Block, Sheet, Tone

_STYLES: dict[Tone, str] = {
    "plain": "",
    "good": "bold green",
    "info": "bold blue",
    "warning": "bold yellow",
    "critical": "bold red",
}
_GAP = 2
# Below that a column of names and URLs is a heap of letters.
_NARROWEST = 16


def show(sheet: Sheet) -> None:
    """Print a sheet to stdout."""
    console = Console(highlight=False, soft_wrap=False)
    for number, block in enumerate(sheet.blocks):
        if number:
            console.print()
        console.print(_drawn(block, console.width))


def _drawn(block: Block, width: int) -> RenderableType:
    match block:
        case Fields(pairs, tone):
            return _pairs(pairs, _STYLES[tone])
        case Table():
            return _table(block, width)
        case Steps(title, steps):
            grid = Grid.grid(padding=(0, 1))
            for number, step in enumerate(steps, start=1):
                grid.add_row(f"  {number}.", _cell(step))
            return Group(Text(title), grid)
        case Remark(tone, head, text, details):
            line = Text.assemble((one_line(head), _STYLES[tone]), f": {one_line(text)}")
            return Group(line, Padding(_pairs(details), (0, 0, 0, 2)))


def _pairs(pairs: Sequence[tuple[str, str]], last: str = "") -> Grid:
    grid = Grid.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for number, (name, value) in enumerate(pairs, start=1):
        grid.add_row(Text(f"{one_line(name)}:"), _cell(value, last if number == len(pairs) else ""))
    return grid


def _table(table: Table, width: int) -> RenderableType:
    """Draw rows under each other; where they are too wide beside each other; and where that is too, one by one."""
    widths = [max(map(len, cells)) for cells in zip(table.columns, *table.rows, strict=True)]
    if not table.ruled or sum(widths) + _GAP * (len(widths) - 1) <= width:
        return _upright(table)
    label = max(map(len, table.columns))
    if label + len(table.rows) * (_NARROWEST + _GAP) <= width:
        return _side_by_side(table)
    return Group(*_one_by_one(table))


def _upright(table: Table) -> Grid:
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in table.columns:
        flush = column in table.right
        # Numbers stay whole; what is long at the end of an open table goes on below itself.
        grid.add_column(
            Text(column), justify="right" if flush else "left", no_wrap=flush or table.ruled, overflow="fold"
        )
    for row in table.rows:
        grid.add_row(*map(_cell, row))
    return grid


def _side_by_side(table: Table) -> Grid:
    grid = Grid.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True, style="bold")
    for _ in table.rows:
        grid.add_column(overflow="fold")
    for number, column in enumerate(table.columns):
        grid.add_row(Text(column), *(_cell(row[number]) for row in table.rows))
    return grid


def _one_by_one(table: Table) -> list[RenderableType]:
    drawn: list[RenderableType] = []
    for number, row in enumerate(table.rows):
        grid = Grid.grid(padding=(0, _GAP, 0, 0))
        grid.add_column(no_wrap=True, style="bold")
        grid.add_column(overflow="fold")
        for column, cell in zip(table.columns, row, strict=True):
            grid.add_row(Text(column), _cell(cell))
        drawn += [*([Text()] if number else []), grid]
    return drawn


def _cell(text: str, style: str = "") -> Text:
    return Text(one_line(text), style=style)
