"""What every command says, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAM = "dcos-etcdctl"

DONE = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + signal.SIGPIPE


def report(error: Exception) -> int:
    """Say on stderr what went wrong, in one line, and what may help."""
    from dcos_etcd import exceptions  # noqa: PLC0415

    if isinstance(error, exceptions.EtcdError):
        message = error.message
    elif isinstance(error, OSError) and error.strerror:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        message = f"{place}{error.strerror}{notes}"
    else:
        raise error
    say("error", message)
    advice = _hint(error)
    if advice:
        say("hint", advice)
    return USAGE if isinstance(error, exceptions.InvalidArgumentError) else FAILED


def _hint(error: Exception) -> str | None:
    from dcos_etcd import exceptions  # noqa: PLC0415

    hints: tuple[tuple[type[Exception], str], ...] = (
        (
            exceptions.DataDirNotEmptyError,
            "choose another --data-dir or --wal-dir, move the old one away, or let --replace do that",
        ),
        (exceptions.MissingHashError, "--skip-hash-check accepts it, if you know where it comes from"),
        (exceptions.CompactedError, "that revision is gone; an older snapshot may hold it"),
        (exceptions.FutureRevisionError, "leave --revision out for the newest"),
        (exceptions.KeyNotFoundError, f"'{PROGRAM} get --history' tells whether it was deleted"),
        (exceptions.CorruptSnapshotError, f"'{PROGRAM} verify' lists every defect; take another backup"),
        (
            exceptions.BootstrapError,
            "--name must be in --initial-cluster, with the URLs of --initial-advertise-peer-urls",
        ),
        (exceptions.EndpointUnavailableError, "check --endpoints, --cacert, --cert and --key"),
        (exceptions.StalledError, "--stall-timeout gives a slow server more time"),
        (exceptions.BrokenStreamError, "try again, or another member with --endpoints"),
    )
    return next((hint for kind, hint in hints if isinstance(error, kind)), None)


def say(kind: str, message: str) -> None:
    """Write one line to stderr, if there is one."""
    if sys.stderr is None:
        return
    prefix = "hint" if kind == "hint" else f"{PROGRAM}: {kind}"
    from dcos_etcd import display  # noqa: PLC0415

    text = " ".join(message.split())
    try:
        print(f"{prefix}: {display.visible(text)}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        # Nobody listens any more; the exit status still tells.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        say("warning", warning)
