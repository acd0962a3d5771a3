"""What a notebook shows of an error of this package: the lines of its user, what happened, and what to do.

Frames of this package tell a user nothing that the message does not; `%debug`, and the traceback that the exception
carries, still have all of them.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dcos_etcd._hints import hint

if TYPE_CHECKING:
    from dcos_etcd.exceptions import EtcdError

_PACKAGE = str(Path(__file__).parent)


def lines(error: EtcdError) -> list[str]:
    """Give the lines that IPython shows instead of its own."""
    shown = [*_frames_and_message(error)]
    if error.__cause__ is not None:
        shown += ["cause: " + "".join(traceback.format_exception_only(error.__cause__)).strip()]
    advice = hint(error, words="python")
    return [*shown, f"hint: {advice}"] if advice else shown


def _frames_and_message(error: EtcdError) -> list[str]:
    """Let IPython write the frames of its user, in whichever of its modes and colours was chosen."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return "".join(traceback.format_exception_only(error)).splitlines()
    # A twin without a context: IPython would go on with the frames of what came before.
    rebuild, arguments, *_ = error.__reduce__()
    twin = rebuild(*arguments)
    twin.__suppress_context__ = True
    found: list[str] = shell.InteractiveTB.structured_traceback(type(error), twin, _outside(error.__traceback__))
    return found


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
