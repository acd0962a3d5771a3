"""What becomes of the argument `progress`: nothing, a bar on a terminal or in a notebook, or the caller's callback."""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from dcos_etcd.display import human_size
from dcos_etcd.exceptions import InvalidArgumentError
from dcos_etcd.models import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Stage = Literal["receive", "read", "check", "write", "sync"]
    CoreCallback = Callable[[Stage, int, int | None], object]

__all__ = ["prepare", "reporting"]

_LABELS = {"receive": "receiving", "read": "reading", "check": "checking", "write": "writing", "sync": "syncing"}


@contextmanager
def reporting(progress: bool | Callable[[Progress], object] | None) -> Generator[CoreCallback | None]:  # noqa: FBT001
    """Yield the callback that the core gets; a bar is drawn only in a notebook, and where stderr is a terminal."""
    if progress is None or progress is False:
        yield None
    elif progress is True:
        if _in_notebook():
            with _notebook_bars() as callback:
                yield callback
        elif _has_terminal():
            with _bar() as callback:
                yield callback
        else:
            yield None
    elif inspect.iscoroutinefunction(progress):
        raise InvalidArgumentError("progress: a coroutine function would be called and never awaited; give a plain one")
    elif not callable(progress):
        raise InvalidArgumentError(f"progress: {progress!r} is neither a bool nor callable")
    else:
        yield _events(progress)


def prepare() -> None:
    """Load what a bar takes, where one would be drawn: that is long for an event loop."""
    if _in_notebook():
        if _has_widgets():
            import_module("tqdm.notebook")
    elif _has_terminal():
        import_module("rich.console")
        import_module("rich.progress")


def _has_terminal() -> bool:
    # A daemon may have closed its stderr; then it is None.
    return sys.stderr is not None and sys.stderr.isatty()


def _events(callback: Callable[[Progress], object]) -> CoreCallback:
    def update(stage: Stage, done: int, total: int | None) -> None:
        callback(Progress(stage=stage, done=done, total=total))

    return update


@contextmanager
def _bar() -> Generator[CoreCallback]:
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
                if _has_not_begun(stage, done):
                    return
                tasks[stage] = bar.add_task(_LABELS.get(stage, stage), total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield update


def _has_not_begun(stage: Stage, done: int) -> bool:
    # A bare file is checked where it lies: its reading is announced, and nothing comes of that.
    return stage == "read" and done == 0


def _in_notebook() -> bool:
    """Tell whether an IPython kernel runs this; where IPython is not loaded, there is none."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def _has_widgets() -> bool:
    # Without ipywidgets tqdm has but its bar for terminals, which notebooks show as an error's output.
    return find_spec("tqdm") is not None and find_spec("ipywidgets") is not None


@contextmanager
def _notebook_bars() -> Generator[CoreCallback]:
    """Draw a bar for each stage, and take them away at the end, whatever that is."""
    make = _TqdmBar if _has_widgets() else _OwnBar
    bars: dict[str, _TqdmBar | _OwnBar] = {}
    try:

        def update(stage: Stage, done: int, total: int | None) -> None:
            if stage not in bars:
                if _has_not_begun(stage, done):
                    return
                bars[stage] = make(_LABELS.get(stage, stage))
            bars[stage].show(done, total)

        yield update
    finally:
        for bar in bars.values():
            bar.close()


class _TqdmBar:
    """tqdm's widget."""

    def __init__(self, label: str) -> None:
        tqdm: Any = import_module("tqdm.notebook").tqdm
        self._bar = tqdm(desc=label, unit="B", unit_scale=True, leave=False, display=False)
        self._shown = _Shown(self._bar.container)

    def show(self, done: int, total: int | None) -> None:
        if total is not None and total != self._bar.total:
            # A bar that was made without a total is a narrow one, until it is told.
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()
        self._shown.end()


class _OwnBar:
    """The browser's own, through a display that is written anew."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._shown = _Shown()

    def show(self, done: int, total: int | None) -> None:
        share = "" if total is None else f' max="{max(total, 1)}" value="{done}"'
        of = "" if total is None else f" of {human_size(total)}"
        text = f"{self._label} <progress{share}></progress> {human_size(done)}{of}"
        self._shown.write(f"<label>{text}</label>")

    def close(self) -> None:
        self._shown.end()


class _Shown:
    """A place below the cell; a notebook that is kept keeps nothing there, least of all a widget that nobody has."""

    def __init__(self, widget: object = None) -> None:
        ipython: Any = import_module("IPython.display")
        self._html = ipython.HTML
        self._place = ipython.display(self._html("") if widget is None else widget, display_id=True)

    def write(self, html: str) -> None:
        self._place.update(self._html(html))

    def end(self) -> None:
        self.write("")
