"""What a notebook shows of an error that came out of a verb: the lines of its user, what happened, and what to do.

Frames of this package tell a user nothing that the message does not; `%debug`, and the traceback that the exception
carries, still have all of them.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from dcos_etcd._hints import hint
from dcos_etcd.exceptions import EtcdError

_PACKAGE = str(Path(__file__).parent)


def lines(error: BaseException) -> list[str]:
    """Give the lines that IPython shows instead of its own."""
    shown = [*_frames_and_message(error)]
    # Of other errors IPython has told it.
    if error.__cause__ is not None and isinstance(error, EtcdError):
        shown += ["cause: " + "".join(traceback.format_exception_only(error.__cause__)).strip()]
    advice = hint(error, words="python")
    return [*shown, f"hint: {advice}"] if advice else shown


def _frames_and_message(error: BaseException) -> list[str]:
    """Let IPython write the frames of its user, in whichever of its modes and colours was chosen."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return "".join(traceback.format_exception_only(error)).splitlines()
    told = _without_context(error) if isinstance(error, EtcdError) else error
    found: list[str] = shell.InteractiveTB.structured_traceback(type(error), told, _outside(error.__traceback__))
    return found


def _without_context(error: EtcdError) -> EtcdError:
    """Make a twin: IPython would go on with the frames of what came before."""
    rebuild, arguments, *_ = error.__reduce__()
    twin: EtcdError = rebuild(*arguments)
    twin.__suppress_context__ = True
    return twin


def _outside(frames: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of this package."""
    kept: list[TracebackType] = []
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            kept.append(frames)
        frames = frames.tb_next
    chain = None
    for frame in reversed(kept):
        chain = TracebackType(chain, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return chain
