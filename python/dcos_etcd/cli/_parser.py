"""The shape of the command line: parsers, and flags that several commands have."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING, Any, NoReturn

from dcos_etcd.cli._output import DONE, PROGRAM, USAGE, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HELP_WIDTH = 80


class Parser(argparse.ArgumentParser):
    """Errors in one line and a hint, as everywhere."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **options)

    def error(self, message: str) -> NoReturn:
        say("error", message)
        say("hint", f"'{self.prog} --help' lists what there is")
        raise SystemExit(USAGE)


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of one width and shape, whatever the terminal and the version of Python."""

    def __init__(self, prog: str, **_options: object) -> None:
        super().__init__(prog, max_help_position=30, width=HELP_WIDTH)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Keep lines apart, and fold those that are too long."""
        options: dict[str, Any] = {"initial_indent": indent, "subsequent_indent": indent, "break_on_hyphens": False}
        return "\n".join("\n".join(textwrap.wrap(line, width, **options)) for line in text.splitlines())

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        return ", ".join(action.option_strings) + value


class Version(argparse.Action):
    """Print the version; it is asked of the core, which is loaded only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_options: object) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version and exit")

    def __call__(self, *_arguments: object) -> NoReturn:
        from dcos_etcd import _core  # noqa: PLC0415

        print(f"{PROGRAM} {_core.__version__}")
        raise SystemExit(DONE)


def add_command(
    commands: Any,  # noqa: ANN401 - argparse keeps the class to itself
    name: str,
    handler: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    path: str | None = None,
) -> argparse.ArgumentParser:
    usage = f"{PROGRAM} {name} {'PATH ' if path else ''}[flags]"
    parser: argparse.ArgumentParser = commands.add_parser(
        name, prog=f"{PROGRAM} {name}", description=summary, help=summary, usage=usage
    )
    parser.set_defaults(handler=handler)
    if path:
        parser.add_argument("path", metavar="PATH", help=path)
    return parser


def add_write_out(parser: argparse.ArgumentParser, *choices: str) -> None:
    parser.add_argument(
        "-w",
        "--write-out",
        metavar="FORMAT",
        choices=choices,
        default="table",
        help=f"{', '.join(choices[:-1])} or {choices[-1]} (default table)",
    )


def add_html(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--html", metavar="FILE", help="also write it as one page for a browser; takes the place of an old one"
    )


def unsigned(text: str) -> int:
    try:
        number = int(text, 10)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 2^64 - 1")
    return number
