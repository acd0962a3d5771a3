"""`dcos-etcdctl get`: what does a snapshot hold under a key?"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli import _flags
from dcos_etcd.cli._output import DONE, FAILED, say
from dcos_etcd.cli._parser import add_command, add_write_out
from dcos_etcd.cli._reading import add_revision, opened

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(
        commands, "get", run, summary="print the value of a key of a snapshot, or its history", path="the snapshot"
    )
    parser.usage = parser.usage and parser.usage.replace("PATH", "PATH KEY")
    parser.add_argument("key", metavar="KEY", help="the key")
    add_revision(parser)
    parser.add_argument("--history", action="store_true", help="every version that is in the file, deletions too")
    parser.add_argument("--print-value-only", action="store_true", help="the bytes of the value and nothing else")
    add_write_out(parser, "table", "json")


def run(flags: argparse.Namespace) -> int:
    from dcos_etcd import listing  # noqa: PLC0415

    if flags.print_value_only and (flags.history or flags.write_out == "json"):
        raise _flags.UsageError("--print-value-only excludes --history and --write-out json")
    # A key may be any bytes, and so may an argument.
    key = os.fsencode(flags.key)
    with opened(flags.path) as snapshot:
        view = snapshot if flags.revision is None else snapshot.at(flags.revision)
        if flags.history:
            entries = view.history(key)
            if not entries:
                say("error", f"there is no version of key {key!r} up to revision {view.revision}")
                say("hint", "'dcos-etcdctl keys --prefix' lists those that are there; an older snapshot may hold it")
                return FAILED
            shown = listing.entry_json if flags.write_out == "json" else listing.version_line
            if flags.write_out != "json":
                print(listing.VERSION_HEAD)
            for entry in entries:
                print(shown(entry))
            return DONE
        entry = view[key]
    if flags.print_value_only:
        # As print does, where the shell has closed it.
        if sys.stdout is not None:
            sys.stdout.flush()
            sys.stdout.buffer.write(entry.value)
    elif flags.write_out == "json":
        print(listing.entry_json(entry))
    else:
        print(listing.entry_text(entry))
    return DONE
