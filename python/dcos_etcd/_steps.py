"""A verb is written once, as the steps between which the core works, and carried out in two ways.

Its steps are a generator that yields work and is sent what came of it. `blocking` makes of them the verb that waits on
the calling thread; `dcos_etcd.aio` awaits the same steps.
"""

from __future__ import annotations

import sys
import warnings
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio
    from typing import ParamSpec

    P = ParamSpec("P")

__all__ = ["Calculation", "Steps", "Work", "blocking", "shorten", "steps_of", "waited", "warn_caller"]

R = TypeVar("R")


class Work(Protocol[R]):
    """What is about to be done, once: `_core.Work`, or a `Calculation`."""

    @property
    @abstractmethod
    def lasts(self) -> str | None:
        """What `wait` has left behind, once the work came through: also where that raises."""

    @abstractmethod
    def wait(self) -> R:
        """Do it on the calling thread."""

    @abstractmethod
    def start(self) -> asyncio.Future[R]:
        """Do it beside the running event loop."""

    @abstractmethod
    def tell(self) -> None:
        """Tell the callback what has happened since it was started, or told last."""

    @abstractmethod
    def stop(self) -> None:
        """Have it end as soon as it can."""


Steps = Generator[Work[Any], Any, R]


class Calculation(Generic[R]):
    """Work of Python's own, too long for an event loop to do in between."""

    lasts = None

    def __init__(self, calculate: Callable[[], R]) -> None:
        self._calculate = calculate

    def wait(self) -> R:
        """Do it on the calling thread."""
        return self._calculate()

    def start(self) -> asyncio.Future[R]:
        """Do it on a thread of the event loop's executor."""
        import asyncio  # noqa: PLC0415 - only who awaits comes here

        return asyncio.get_running_loop().run_in_executor(None, self._calculate)

    def tell(self) -> None:
        """It has no callback."""

    def stop(self) -> None:
        """It has no place to stop at, and ends soon."""


def blocking(verb: Callable[P, Steps[R]]) -> Callable[P, R]:
    """Make of a verb's steps the verb that waits on the calling thread."""

    @wraps(verb)
    def wait(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return waited(verb(*args, **kwargs))
        except BaseException as error:
            shorten(error)
            raise

    # Signatures and documentation show what the caller gets.
    verb.__annotations__["return"] = verb.__annotations__["return"].removeprefix("Steps[").removesuffix("]")
    return wait


def steps_of(verb: Callable[P, R]) -> Callable[P, Steps[R]]:
    """Give back the steps of a verb that `blocking` made."""
    steps: Callable[P, Steps[R]] = verb.__wrapped__  # type: ignore[attr-defined] # what `wraps` has left
    return steps


def shorten(error: BaseException) -> None:
    """Have a notebook show the frames of its user only, of an error that does not see to that by itself."""
    if "IPython" in sys.modules and not hasattr(error, "_render_traceback_"):
        from dcos_etcd import _traceback  # noqa: PLC0415 - only notebooks pay for it

        error._render_traceback_ = partial(_traceback.lines, error)  # type: ignore[attr-defined] # IPython looks for it


def warn_caller(texts: Iterable[str], category: type[Warning]) -> None:
    """Warn at the place from where this package was called."""
    for text in texts:
        warnings.warn(text, category, stacklevel=_callers_level())


def _callers_level() -> int:
    """Count the frames from this function's caller up to the first that is not of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals):
        level, frame = level + 1, frame.f_back
    return level


def _is_ours(names: Mapping[str, Any]) -> bool:
    # Code that `exec` runs need not have a name.
    return str(names.get("__name__", "")).startswith("dcos_etcd.")


def waited(steps: Steps[R]) -> R:
    """Do one step after the other.

    What is raised when the work came through already, such as by a signal, tells in a note what there is all the same.
    """
    work: Work[Any] | None = None
    try:
        work = next(steps)
        while True:
            try:
                outcome = work.wait()
            except BaseException as error:  # noqa: BLE001, PERF203 - that is an outcome too
                work = steps.throw(error)
            else:
                work = steps.send(outcome)
    except StopIteration as stop:
        result: R = stop.value
        return result
    except BaseException as error:
        if work is not None and work.lasts is not None:
            add_note(error, work.lasts)
        raise


def add_note(error: BaseException, note: str) -> None:
    """Do what `BaseException.add_note` does; Python 3.10 keeps notes for those who ask, and shows none."""
    told: list[str] = error.__dict__.setdefault("__notes__", [])
    told.append(note)


def notes(error: BaseException) -> tuple[str, ...]:
    """Give the notes of an exception."""
    return tuple(getattr(error, "__notes__", ()))
