"""One run of the program, from its arguments to its exit status."""

from __future__ import annotations

import argparse
import codecs
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from dcos_etcd._steps import notes
from dcos_etcd.cli import (
    _backup,
    _completion,
    _diagnostic,
    _diff,
    _flags,
    _get,
    _keys,
    _put_back,
    _restore,
    _stats,
    _status,
    _verify,
)
from dcos_etcd.cli._output import BROKEN_PIPE, FAILED, INTERRUPTED, PROGRAM, USAGE, report, say, silence
from dcos_etcd.cli._parser import Parser, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# In the order in which `--help` lists them.
_COMMANDS = (_backup, _restore, _diagnostic, _verify, _status, _keys, _get, _stats, _diff, _put_back)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The command line without the program's name; `None` for that of the process.
    """
    codecs.register_error("dcos-etcdctl", _spelled_out)
    reconfigure: Callable[..., object] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="dcos-etcdctl")
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        _flush_the_rest()
    except KeyboardInterrupt as stop:
        say("error", "; ".join(("interrupted", *notes(stop))))
        return INTERRUPTED
    except BrokenPipeError as error:
        if error.filename is not None:
            return report(error)
        if sys.stdout is not None:
            silence(sys.stdout)
        return BROKEN_PIPE
    else:
        return code


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _flush_the_rest() -> None:
    """Flush what was written before a failure, or silently let go of it: a full disk is told of by then."""
    try:
        _flush()
    except BrokenPipeError:
        raise
    except OSError:
        silence(sys.stdout)


def _spelled_out(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode a character that stdout has not.

    A path that is no UTF-8 goes out as the bytes that it came in as. Of what the locale can't write, whose charset need
    not be UTF-8, the numbers are told, in the form that is text to whoever reads JSON.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes((ord(character) - 0xDC00,)), error.start + 1
    units = character.encode("utf-16-be", "surrogatepass")
    text = "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    return text, error.start + 1


def _run(arguments: Sequence[str]) -> int:
    failed = FAILED
    try:
        try:
            parser = _parser()
            flags = parser.parse_args(_flags.settle_booleans(arguments, parser))
            failed = getattr(flags, "failed", FAILED)
            handler: Callable[[argparse.Namespace], int] = flags.handler
            _stop_on_sigterm()
            code = handler(flags)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else FAILED
            if notes(stop):
                say("error", "; ".join(("terminated", *notes(stop))))
        # What is not written yet may still fail.
        _flush()
    except _flags.UsageError as error:
        say("error", str(error))
        if error.hint:
            say("hint", error.hint)
        return USAGE
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - what is no failure but a bug is raised again
        return max(failed, _reported(error, failed))
    else:
        return code


def _reported(error: Exception, failed: int) -> int:
    try:
        return report(error)
    except Exception as bug:
        if bug is not error or failed == FAILED:
            raise
        # The interpreter would end with 1, which is an answer of this command.
        sys.excepthook(type(bug), bug, bug.__traceback__)
        return failed


def _stop_on_sigterm() -> None:
    """Let `kill`, and a terminal that is closed, clean up as Ctrl-C does; `nohup` keeps its meaning."""

    def stop(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    # Only the main thread may set handlers; elsewhere the process belongs to somebody else.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, stop)


_DESCRIPTION = """\
Back up an etcd v3 cluster into one verified archive, restore it as a new
cluster, and diagnose it."""

_EPILOG = """\
commands:
{commands}

PATH is any etcd snapshot: an archive of this tool or of the old one (.tar.gz,
.tar.zst), a .db file, or that compressed with gzip or zstd. It is told by its
content, not by its name.

'dcos-etcdctl COMMAND --help' lists the flags of a command; the cluster flags of
backup and diagnostic may also stand before the command.

exit status: 0 done (diagnostic: healthy, diff: equal), 1 failed, unhealthy,
different or with conflicts, 2 wrong usage (diff: or failed), 130 interrupted"""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, usage=f"{PROGRAM} COMMAND [flags]", description=_DESCRIPTION)
    parser.add_argument("--version", action=Version)
    _flags.add_cluster_flags(parser, before_command=True)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command", help=argparse.SUPPRESS)
    for command in _COMMANDS:
        command.add(commands)
    _completion.add(commands, _parser)
    listed = "\n".join(f"  {name:12}{chosen.description}" for name, chosen in commands.choices.items())
    parser.epilog = _EPILOG.format(commands=listed)
    return parser
