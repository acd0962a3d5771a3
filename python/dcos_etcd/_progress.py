"""What becomes of the argument `progress`: nothing, a bar on a terminal, or the caller's own callback."""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from dcos_etcd.exceptions import InvalidArgumentError
from dcos_etcd.models import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Stage = Literal["receive", "read", "check", "write", "sync"]
    CoreCallback = Callable[[Stage, int, int | None], object]

__all__ = ["prepare", "reporting"]

_LABELS = {"receive": "receiving", "read": "reading", "check": "checking", "write": "writing", "sync": "syncing"}


@contextmanager
def reporting(progress: bool | Callable[[Progress], object] | None) -> Iterator[CoreCallback | None]:  # noqa: FBT001
    """Yield the callback that the core gets; a bar is drawn only where stderr is a terminal."""
    if progress is None or progress is False:
        yield None
    elif progress is True:
        if _has_terminal():
            with _bar() as callback:
                yield callback
        else:
            yield None
    elif inspect.iscoroutinefunction(progress):
        raise InvalidArgumentError("progress: a coroutine function would be called and never awaited; give a plain one")
    else:
        yield _events(progress)


def prepare() -> None:
    """Load what a bar takes, where one would be drawn: that is long for an event loop."""
    if _has_terminal():
        import rich.console  # noqa: PLC0415 - only a terminal pays
        import rich.progress  # noqa: PLC0415, F401 - loaded for later


def _has_terminal() -> bool:
    # A daemon may have closed its stderr; then it is None.
    return sys.stderr is not None and sys.stderr.isatty()


def _events(callback: Callable[[Progress], object]) -> CoreCallback:
    def update(stage: Stage, done: int, total: int | None) -> None:
        callback(Progress(stage=stage, done=done, total=total))

    return update


@contextmanager
def _bar() -> Iterator[CoreCallback]:
    from rich import progress as rich  # noqa: PLC0415 - 90 ms that only a terminal pays
    from rich.console import Console  # noqa: PLC0415

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    bar = rich.Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )
    tasks: dict[str, Any] = {}
    with bar:

        def update(stage: Stage, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(_LABELS.get(stage, stage), total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield update
