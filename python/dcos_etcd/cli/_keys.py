"""`dcos-etcdctl keys`: which keys does a snapshot hold?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli._output import DONE
from dcos_etcd.cli._parser import add_command, add_write_out
from dcos_etcd.cli._reading import add_revision, opened

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(
        commands, "keys", run, summary="list the keys of a snapshot, as of any revision in it", path="the snapshot"
    )
    parser.add_argument("--prefix", metavar="P", help="only keys that begin with P")
    add_revision(parser)
    parser.add_argument("--limit", metavar="N", type=int, default=0, help="at most N keys (default 0, which is all)")
    add_write_out(parser, "table", "simple", "json")


def run(flags: argparse.Namespace) -> int:
    from dcos_etcd import listing  # noqa: PLC0415

    show = {"table": listing.key_line, "simple": listing.key_simple, "json": listing.key_json}[flags.write_out]
    with opened(flags.path) as snapshot:
        entries = snapshot.range(
            prefix=os.fsencode(flags.prefix or ""),
            revision=flags.revision,
            limit=flags.limit,
            keys_only=flags.write_out == "simple",
        )
        if flags.write_out == "table":
            print(listing.KEY_HEAD)
        for entry in entries:
            print(show(entry))
    return DONE
