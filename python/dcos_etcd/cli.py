"""`dcos-etcdctl`: parse, call the public API, print.

stdout is data, stderr is the rest. Exit status: 0 done (`diagnostic`: healthy), 1 it failed or is unhealthy,
2 wrong usage, 130 interrupted, 141 the reader of stdout went away, 143 terminated.

Only what parsing needs is imported above; a handler imports the rest, so that `--help` comes at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from dcos_etcd import _flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DONE = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + signal.SIGPIPE

_PROGRAM = "dcos-etcdctl"
_HELP_WIDTH = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: The command line without the program's name; `None` for that of the process.
    """
    # A path that is no UTF-8 goes out as the bytes that it came in as.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say("error", "interrupted")
        return INTERRUPTED
    except BrokenPipeError as error:
        if error.filename is not None:
            return _report(error)
        # Else the interpreter would complain when it flushes on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    else:
        return code


def _run(arguments: Sequence[str]) -> int:
    parser = _parser()
    try:
        flags = parser.parse_args(_flags.settle_booleans(arguments))
        handler: Callable[[argparse.Namespace], int] = flags.handler
        _stop_on_sigterm()
        return handler(flags)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILED
    except _flags.UsageError as error:
        _say("error", str(error))
        if error.hint:
            _say("hint", error.hint)
        return USAGE
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - what is no failure but a bug is raised again
        return _report(error)


def _stop_on_sigterm() -> None:
    """Let `kill`, and a terminal that is closed, clean up as Ctrl-C does; `nohup` keeps its meaning."""

    def stop(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    # Only the main thread may set handlers; elsewhere the process belongs to somebody else.
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, stop)


def _report(error: Exception) -> int:
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
    _say("error", message)
    hint = _hint(error)
    if hint:
        _say("hint", hint)
    return USAGE if isinstance(error, exceptions.InvalidArgumentError) else FAILED


def _hint(error: Exception) -> str | None:
    from dcos_etcd import exceptions  # noqa: PLC0415

    hints: tuple[tuple[type[Exception], str], ...] = (
        (exceptions.DataDirNotEmptyError, "choose another --data-dir or --wal-dir, or move the old one away"),
        (exceptions.MissingHashError, "--skip-hash-check accepts it, if you know where it comes from"),
        (exceptions.CorruptSnapshotError, f"'{_PROGRAM} verify' lists every defect; take another backup"),
        (
            exceptions.BootstrapError,
            "--name must be in --initial-cluster, with the URLs of --initial-advertise-peer-urls",
        ),
        (exceptions.EndpointUnavailableError, "check --endpoints, --cacert, --cert and --key"),
        (exceptions.StalledError, "--stall-timeout gives a slow server more time"),
        (exceptions.BrokenStreamError, "try again, or another member with --endpoints"),
    )
    return next((hint for kind, hint in hints if isinstance(error, kind)), None)


def _say(kind: str, message: str) -> None:
    """Write one line to stderr, if there is one."""
    if sys.stderr is None:
        return
    prefix = "hint" if kind == "hint" else f"{_PROGRAM}: {kind}"
    from dcos_etcd import display  # noqa: PLC0415

    text = " ".join(message.split())
    try:
        print(f"{prefix}: {display.visible(text)}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        # Nobody listens any more; the exit status still tells.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        _say("warning", warning)


# The commands.


def _backup(flags: argparse.Namespace) -> int:
    cluster = _flags.cluster_arguments(flags, os.environ)
    from dcos_etcd import api, display  # noqa: PLC0415

    report = api.backup(flags.path, stall_timeout=flags.stall_timeout, progress=True, **cluster)
    _warn(report.warnings)
    print(
        display.to_json(display.plain(report))
        if flags.write_out == "json"
        else display.visible(display.backup_text(report))
    )
    return DONE


def _restore(flags: argparse.Namespace) -> int:
    from dcos_etcd import api, display  # noqa: PLC0415

    report = api.restore(
        flags.path,
        data_dir=flags.data_dir or f"{flags.name}.etcd",
        name=flags.name,
        initial_cluster=flags.initial_cluster,
        initial_advertise_peer_urls=flags.initial_advertise_peer_urls,
        initial_cluster_token=flags.initial_cluster_token,
        wal_dir=flags.wal_dir or None,
        bump_revision=flags.bump_revision,
        mark_compacted=flags.mark_compacted,
        skip_hash_check=flags.skip_hash_check,
        dry_run=flags.dry_run,
        progress=True,
    )
    _warn(report.warnings)
    print(
        display.to_json(display.plain(report))
        if flags.write_out == "json"
        else display.visible(display.restore_text(report))
    )
    return DONE


def _diagnostic(flags: argparse.Namespace) -> int:
    cluster = _flags.cluster_arguments(flags, os.environ)
    from dcos_etcd import api, display  # noqa: PLC0415

    diagnosis = api.diagnose(expect=",".join(flags.expect or ()), **cluster)
    as_json = flags.write_out == "json"
    print(display.diagnosis_json(diagnosis) if as_json else display.visible(display.diagnosis_text(diagnosis)))
    return DONE if diagnosis.healthy else FAILED


def _verify(flags: argparse.Namespace) -> int:
    from dcos_etcd import api, display  # noqa: PLC0415
    from dcos_etcd.exceptions import CorruptSnapshotError  # noqa: PLC0415

    as_json = flags.write_out == "json"
    try:
        report = api.verify(flags.path, skip_hash_check=flags.skip_hash_check, progress=True)
    except CorruptSnapshotError as error:
        # The defects are what was asked for, so they go to stdout, all of them.
        if as_json:
            print(display.to_json({"path": error.path, "sound": False, "defects": display.plain(error.defects)}))
        else:
            for defect in error.defects:
                print(display.visible(f"{defect.code}: {defect}"))
        count = len(error.defects)
        _say("error", f"{error.path} is damaged: {count} defect{'s' if count != 1 else ''} found")
        return FAILED
    _warn(report.warnings)
    document = {"sound": True, **display.plain(report)}
    print(display.to_json(document) if as_json else display.visible(display.verify_text(report)))
    return DONE


def _status(flags: argparse.Namespace) -> int:
    from dcos_etcd import api, display  # noqa: PLC0415

    status = api.status(flags.path, progress=True)
    show = {"simple": display.status_simple, "table": display.status_table}
    as_json = flags.write_out == "json"
    print(display.status_json(status) if as_json else display.visible(show[flags.write_out](status)))
    return DONE


# The command line.


class _Parser(argparse.ArgumentParser):
    """Errors in one line and a hint, as everywhere."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        _say("error", message)
        _say("hint", f"'{self.prog} --help' lists what there is")
        raise SystemExit(USAGE)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of one width and shape, whatever the terminal and the version of Python."""

    def __init__(self, prog: str, **_options: object) -> None:
        super().__init__(prog, max_help_position=40, width=_HELP_WIDTH)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        return ", ".join(action.option_strings) + value


class _Version(argparse.Action):
    """Print the version; it is asked of the core, which is loaded only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_options: object) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version and exit")

    def __call__(self, *_arguments: object) -> NoReturn:
        from dcos_etcd import _core  # noqa: PLC0415

        print(f"{_PROGRAM} {_core.__version__}")
        raise SystemExit(DONE)


_DESCRIPTION = """\
Back up an etcd v3 cluster into one verified archive, restore it as a new cluster, and diagnose it."""

_EPILOG = """\
commands:
{commands}

PATH is any etcd snapshot: an archive of this tool or of the old one (.tar.gz, .tar.zst), a .db file,
or that compressed with gzip or zstd. It is told by its content, not by its name.

'dcos-etcdctl COMMAND --help' lists the flags of a command; the cluster flags of backup and diagnostic
may also stand before the command.

exit status: 0 done (diagnostic: healthy), 1 failed or unhealthy, 2 wrong usage, 130 interrupted"""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROGRAM, usage=f"{_PROGRAM} COMMAND [flags]", description=_DESCRIPTION)
    parser.add_argument("--version", action=_Version)
    _flags.add_cluster_flags(parser, before_command=True)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command", help=argparse.SUPPRESS)
    _add_backup(commands)
    _add_restore(commands)
    _add_diagnostic(commands)
    _add_verify(commands)
    _add_status(commands)
    listed = "\n".join(f"  {name:12}{command.description}" for name, command in commands.choices.items())
    parser.epilog = _EPILOG.format(commands=listed)
    return parser


def _add_command(
    commands: Any,  # noqa: ANN401 - argparse keeps the class to itself
    name: str,
    handler: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    path: str | None = None,
) -> argparse.ArgumentParser:
    usage = f"{_PROGRAM} {name} {'PATH ' if path else ''}[flags]"
    parser: argparse.ArgumentParser = commands.add_parser(
        name, prog=f"{_PROGRAM} {name}", description=summary, usage=usage
    )
    parser.set_defaults(handler=handler)
    if path:
        parser.add_argument("path", metavar="PATH", help=path)
    return parser


def _add_write_out(parser: argparse.ArgumentParser, *choices: str) -> None:
    parser.add_argument(
        "-w",
        "--write-out",
        metavar="FORMAT",
        choices=choices,
        default="table",
        help=f"{', '.join(choices[:-1])} or {choices[-1]} (default table)",
    )


def _add_backup(commands: Any) -> None:  # noqa: ANN401
    parser = _add_command(
        commands,
        "backup",
        _backup,
        summary="stream a snapshot of the cluster into one verified archive",
        path="the archive; must not exist; *.tar.zst is compressed with zstd, all else with gzip",
    )
    parser.add_argument(
        "--stall-timeout",
        metavar="DURATION",
        type=_flags.duration,
        default=30.0,
        help="give up after so long without a byte (default 30s)",
    )
    _add_write_out(parser, "table", "json")
    _flags.add_cluster_flags(parser)


def _add_restore(commands: Any) -> None:  # noqa: ANN401
    parser = _add_command(
        commands,
        "restore",
        _restore,
        summary="write the data directory of one member of a new cluster",
        path="the snapshot",
    )
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="where to; must be empty or not exist (default NAME.etcd)")
    add("--wal-dir", metavar="DIR", help="where the write-ahead log goes (default member/wal in the data dir)")
    add("--name", metavar="NAME", default="default", help="this member's name (default default)")
    add(
        "--initial-cluster",
        metavar="NAME=URL,...",
        default="default=http://localhost:2380",
        help="every member of the new cluster (default default=http://localhost:2380)",
    )
    add(
        "--initial-advertise-peer-urls",
        metavar="URL,...",
        default="http://localhost:2380",
        help="this member's peer URLs (default http://localhost:2380)",
    )
    add(
        "--initial-cluster-token",
        metavar="TOKEN",
        default="etcd-cluster",
        help="sets the new cluster apart from others (default etcd-cluster)",
    )
    add(
        "--bump-revision",
        metavar="N",
        type=_unsigned,
        help="raise the revision by N, so that watchers notice; needs --mark-compacted",
    )
    add("--mark-compacted", action="store_true", help="mark old revisions as compacted; needs --bump-revision")
    add("--skip-hash-check", action="store_true", help="accept a db that was copied out of a data directory")
    add("--dry-run", action="store_true", help="print the plan and write nothing")
    _add_write_out(parser, "table", "json")


def _add_diagnostic(commands: Any) -> None:  # noqa: ANN401
    parser = _add_command(
        commands, "diagnostic", _diagnostic, summary="ask every member of the cluster, and judge the answers"
    )
    parser.add_argument(
        "--expect",
        metavar="IP,...",
        action="append",
        help="members that the cluster should have; may be given again",
    )
    _add_write_out(parser, "table", "json")
    _flags.add_cluster_flags(parser)


def _add_verify(commands: Any) -> None:  # noqa: ANN401
    parser = _add_command(
        commands, "verify", _verify, summary="find out whether a snapshot is whole and sound", path="the snapshot"
    )
    parser.add_argument(
        "--skip-hash-check", action="store_true", help="accept a db that was copied out of a data directory"
    )
    _add_write_out(parser, "table", "json")


def _add_status(commands: Any) -> None:  # noqa: ANN401
    parser = _add_command(
        commands, "status", _status, summary="print hash, revision, keys and size of a snapshot", path="the snapshot"
    )
    _add_write_out(parser, "table", "simple", "json")


def _unsigned(text: str) -> int:
    try:
        number = int(text, 10)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 2^64 - 1")
    return number
