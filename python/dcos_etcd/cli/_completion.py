"""`dcos-etcdctl completion`: what a shell needs to complete commands, flags and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcos_etcd.cli._output import DONE, PROGRAM
from dcos_etcd.cli._parser import add_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_SHELLS = ("bash", "zsh", "fish")

_FILES = frozenset({"FILE", "PATH", "A", "B"})
_DIRECTORIES = frozenset({"DIR"})


def add(commands: Any, parser: Callable[[], argparse.ArgumentParser]) -> None:  # noqa: ANN401
    """Add the command; `parser` makes the whole program's, which is what is completed."""
    command = add_command(
        commands,
        "completion",
        lambda flags: run(flags, parser()),
        summary="print the script by which a shell completes this program",
    )
    command.usage = f"{PROGRAM} completion SHELL"
    command.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=f"{', '.join(_SHELLS[:-1])} or {_SHELLS[-1]}")


def run(flags: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    try:
        import shtab  # noqa: PLC0415 - nothing else needs it
    except ImportError:
        from dcos_etcd.exceptions import MissingDependencyError  # noqa: PLC0415

        raise MissingDependencyError(
            "completion needs shtab: pip install 'dcos-etcd[completion]'", package="shtab", extra="completion"
        ) from None
    _prepare(parser, shtab)
    print(shtab.complete(parser, flags.shell))
    return DONE


def _prepare(parser: argparse.ArgumentParser, shtab: Any) -> None:  # noqa: ANN401 - a module without types
    """Tell which arguments are files and directories, by their names in the help, and show what help lists itself."""
    for action in parser._actions:
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        commands: dict[str, argparse.ArgumentParser] | None = getattr(action, "choices", None)
        if isinstance(commands, dict):
            action.help = None
            for command in commands.values():
                _prepare(command, shtab)
