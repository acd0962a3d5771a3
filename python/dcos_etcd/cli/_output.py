"""What every command says, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dcos_etcd._steps import add_note, notes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import TextIO

    from dcos_etcd._sheet import Sheet

PROGRAM = "dcos-etcdctl"

DONE = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + signal.SIGPIPE


def report(error: Exception) -> int:
    """Say on stderr what went wrong, in one line, and what may help."""
    from dcos_etcd import exceptions  # noqa: PLC0415
    from dcos_etcd._hints import hint  # noqa: PLC0415

    if isinstance(error, exceptions.EtcdError):
        message = error.message
    elif isinstance(error, OSError) and error.strerror:
        noted = "".join(f" ({note})" for note in notes(error))
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        message = f"{place}{error.strerror}{noted}"
    else:
        raise error
    say("error", message)
    advice = hint(error, words="shell")
    if advice:
        say("hint", advice)
    return USAGE if isinstance(error, exceptions.InvalidArgumentError) else FAILED


def show(sheet: Sheet) -> None:
    """Print a report: with the terminal's own means on one, else as plain text."""
    if sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        from dcos_etcd.cli import _terminal  # noqa: PLC0415 - 60 ms that only a terminal pays

        _terminal.show(sheet)
    else:
        from dcos_etcd._text import to_text  # noqa: PLC0415

        print(to_text(sheet))


def write_page(path: str, sheet: Sheet) -> None:
    """Write a report as a page of its own."""
    from datetime import datetime, timezone  # noqa: PLC0415

    from dcos_etcd import _core, showing  # noqa: PLC0415

    now = datetime.now(timezone.utc)
    text = showing.page(sheet, made=f"dcos-etcd {_core.__version__}, {now:%Y-%m-%d %H:%M:%S} UTC")
    Path(path).write_text(text, encoding="utf-8")


def say(kind: str, message: str) -> None:
    """Write one line to stderr, if there is one."""
    if sys.stderr is None:
        return
    prefix = "hint" if kind == "hint" else f"{PROGRAM}: {kind}"
    from dcos_etcd._sheet import visible  # noqa: PLC0415

    text = " ".join(message.split())
    try:
        print(f"{prefix}: {visible(text)}", file=sys.stderr, flush=True)
    except OSError:
        # Nobody listens any more, or the disk is full; the exit status still tells.
        silence(sys.stderr)


@contextmanager
def noting(what: str) -> Generator[None]:
    """Have whatever ends the printing of a report tell in a note what was made before."""
    try:
        yield
    except BaseException as error:
        add_note(error, what)
        raise


def silence(stream: TextIO) -> None:
    """Let go of what could not be written: else the interpreter would complain when it flushes on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        say("warning", warning)
