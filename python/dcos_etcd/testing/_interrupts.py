"""What has to come to its end although a signal or a cancelled task would stop it; used by `dcos_etcd.testing`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

T = TypeVar("T")


@contextmanager
def held_signals() -> Generator[None, None, None]:
    """Call the handlers of signals that come within the `with` block after it.

    Handlers may raise, as that of Ctrl-C does, between any two instructions of the main thread, where Python calls
    them; so whatever must not stop half-way stands in such a block. Keep it short.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    held: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def put_off(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))

    try:
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                held[number] = handler
                signal.signal(number, put_off)
        yield
    finally:
        try:
            _put_back(held)
        finally:
            with ExitStack() as calls:
                # The last that is pushed is called first, and each although others raise.
                for signalled, frame in reversed(came):
                    calls.callback(held[signalled], signalled, frame)


def _put_back(handlers: dict[int, Callable[[int, FrameType | None], Any]]) -> None:
    """Install handlers, all of them although one that is back already may raise."""
    raised: BaseException | None = None
    waiting = list(handlers)
    while waiting:
        try:
            while waiting:
                signal.signal(waiting[-1], handlers[waiting[-1]])
                waiting.pop()
        except BaseException as error:  # noqa: BLE001, PERF203 - raised below
            raised = raised or error
    if raised:
        raise raised


async def to_the_end(work: Callable[[], T], give_up: Callable[[], object] = lambda: None) -> T:
    """Do work in a thread of its own, and return no sooner than it is done.

    Args:
        work: What it returns is returned.
        give_up: Called when the task is cancelled meanwhile, each time: the thread can't be, and may look at it.

    Raises:
        CancelledError: The task was cancelled meanwhile; what came of the work is lost.
    """
    done: concurrent.futures.Future[T] | None = None
    interrupted: BaseException | None = None
    try:
        # Neither the loop's own threads, which others may keep busy or have shut down, nor a task, which is cancelled
        # with all others when a loop ends.
        worker = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="etcd-cluster")
        with held_signals():
            done = worker.submit(work)
            worker.shutdown(wait=False)
    except BaseException as error:
        if done is None:
            raise
        interrupted = error
        give_up()
    over = asyncio.wrap_future(done)
    over.add_done_callback(_seen)
    while not done.done():
        try:
            await asyncio.wait([over])
        except GeneratorExit:  # noqa: PERF203 - nobody runs the loop any more
            give_up()
            concurrent.futures.wait([done])
            raise
        except BaseException as error:  # noqa: BLE001 - raised below
            interrupted = interrupted or error
            give_up()
    if interrupted:
        raise interrupted
    return done.result()


def _seen(over: asyncio.Future[Any]) -> None:
    """Keep asyncio from reporting an error that is raised elsewhere."""
    if not over.cancelled():
        over.exception()
