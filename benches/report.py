"""What the measurements come to: medians, ratios, and the tables in Markdown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIB = 1 << 20

MEMORY_TARGET = 96 * MIB
"""Peak memory that each of our verbs may have, in bytes."""


@dataclass(frozen=True)
class Run:
    """One run of one program.

    Attributes:
        wall: Seconds.
        cpu: Seconds of all its threads, in the program and in the kernel for it.
        peak: Its largest resident memory, in bytes.
        size: Bytes that it wrote, as the lengths of the files.
        packing: Seconds of CPU of the threads that compress; 0 for programs that have none of that name.
        disk: The most bytes of disk that its files took while they were open for writing: its result and all beside it.
    """

    wall: float
    cpu: float
    peak: int
    size: int
    packing: float = 0.0
    disk: int = 0


@dataclass
class Step:
    """Every run of one program with the same arguments."""

    title: str
    runs: list[Run] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """Median seconds."""
        return statistics.median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        """Median seconds of CPU."""
        return statistics.median(run.cpu for run in self.runs)

    @property
    def packing(self) -> float:
        """Median seconds of CPU of the threads that compress."""
        return statistics.median(run.packing for run in self.runs)

    @property
    def peak(self) -> int:
        """The most memory of any run, in bytes."""
        return max(run.peak for run in self.runs)

    @property
    def disk(self) -> int:
        """The most bytes of disk that any run took at a time."""
        return max(run.disk for run in self.runs)

    @property
    def size(self) -> int:
        """Bytes that the last run wrote."""
        return self.runs[-1].size


def in_turn(steps: Sequence[Step]) -> Step:
    """Steps that are done one after the other, as one: times add up round by round, the last one's result counts."""
    rounds = zip(*(step.runs for step in steps), strict=True)
    return Step(
        " + ".join(step.title for step in steps),
        [
            Run(sum(r.wall for r in runs), sum(r.cpu for r in runs), max(r.peak for r in runs), runs[-1].size)
            for runs in rounds
        ],
    )


@dataclass(frozen=True)
class Row:
    """A comparison.

    Attributes:
        work: What is done.
        ours: Our step.
        peer: The peer's step.
        times: How many times faster than the peer we want to be; `None` without a target.
        size: The largest result that we want, as a multiple of the peer's.
        seconds: The most time that we want to take, whatever the peer takes.
        less_cpu: Whether we want to take less CPU than the peer for all but compression.
    """

    work: str
    ours: Step
    peer: Step
    times: float | None = None
    size: float | None = None
    seconds: float | None = None
    less_cpu: bool = False

    @property
    def verdicts(self) -> dict[str, bool]:
        """Whether each target is reached, memory among them where there is another."""
        ratio, verdicts = self.peer.wall / self.ours.wall, {}
        if self.times is not None:
            verdicts[f"{self.times:.3g}x"] = ratio >= self.times
        if self.size is not None:
            verdicts[f"size {self.size:.3g}x"] = self.ours.size <= self.size * self.peer.size
        if self.seconds is not None:
            verdicts[f"{self.seconds * 1000:.0f} ms"] = self.ours.wall <= self.seconds
        if self.less_cpu:
            verdicts["less CPU"] = self.ours.cpu - self.ours.packing < self.peer.cpu
        if self.ours.peak > MEMORY_TARGET:
            verdicts["96 MiB"] = False
        return verdicts

    def cells(self) -> list[str]:
        """The cells of the table."""
        ratio = self.peer.wall / self.ours.wall
        verdicts = self.verdicts
        verdict = ("yes" if all(verdicts.values()) else "**no**") if verdicts else ""
        bare = f" ({self.ours.cpu - self.ours.packing:.2f})" if self.ours.packing else ""
        return [
            self.work,
            self.peer.title,
            _seconds(self.ours.wall),
            _seconds(self.peer.wall),
            f"{ratio:.2f}x",
            ", ".join(verdicts),
            verdict,
            f"{self.ours.cpu:.2f}{bare} / {self.peer.cpu:.2f}",
            f"{_mib(self.ours.peak)} / {_mib(self.peer.peak)}",
            " / ".join(_mib(step.size) for step in (self.ours, self.peer) if step.size),
        ]


HEADINGS = [
    "work",
    "against",
    "ours, s",
    "peer, s",
    "ratio",
    "target",
    "reached",
    "CPU, s",
    "peak, MiB",
    "result, MiB",
]


def comparison(rows: Iterable[Row]) -> str:
    """The table of comparisons."""
    return table(HEADINGS, [row.cells() for row in rows])


def summary(rows: Sequence[Row]) -> str:
    """Which targets are reached, in words."""
    judged = [(row, target, reached) for row in rows for target, reached in row.verdicts.items()]
    missed = [
        f"- missed: {row.work} against {row.peer.title}, {target}" for row, target, reached in judged if not reached
    ]
    peak = max(row.ours.peak for row in rows)
    return "\n".join(
        [
            f"- {len(judged) - len(missed)} of {len(judged)} targets are reached",
            *missed,
            f"- the most memory of any of our programs: {_mib(peak)} MiB",
        ]
    )


def every_step(steps: Iterable[Step]) -> str:
    """The table of single programs, with how far their runs lie apart."""
    return table(
        ["program", "runs", "median, s", "least to most, s", "CPU, s", "peak, MiB", "result, MiB", "disk, MiB"],
        [
            [
                step.title,
                str(len(step.runs)),
                _seconds(step.wall),
                f"{_seconds(min(run.wall for run in step.runs))} to {_seconds(max(run.wall for run in step.runs))}",
                f"{step.cpu:.2f}",
                _mib(step.peak),
                _mib(step.size) if step.size else "",
                _mib(step.disk) if step.disk >= MIB else "",
            ]
            for step in steps
        ],
    )


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}" if size < 100 * MIB else f"{size / MIB:.0f}"


def table(headings: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; all columns but the first two are flush right."""
    widths = [max(len(line[column]) for line in [headings, *rows]) for column in range(len(headings))]

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(w) if n < 2 else cell.rjust(w) for n, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * w) if n < 2 else "-" * (w - 1) + ":" for n, w in enumerate(widths)]
    return "\n".join([line(headings), line(rule), *map(line, rows)])
