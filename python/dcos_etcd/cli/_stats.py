"""`dcos-etcdctl stats`: what takes the room in a snapshot?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli._output import DONE, show, write_page
from dcos_etcd.cli._parser import add_command, add_html, add_write_out
from dcos_etcd.cli._reading import add_revision, opened

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(
        commands, "stats", run, summary="count keys, bytes and versions of a snapshot by prefix", path="the snapshot"
    )
    parser.add_argument("--prefix", metavar="P", help="only keys that begin with P")
    parser.add_argument("--depth", metavar="N", type=int, default=1, help="parts of a key in a prefix (default 1)")
    parser.add_argument("--top", metavar="N", type=int, default=10, help="largest and most rewritten keys (default 10)")
    add_revision(parser)
    add_html(parser)
    add_write_out(parser, "table", "json")


def run(flags: argparse.Namespace) -> int:
    from dcos_etcd import listing  # noqa: PLC0415

    with opened(flags.path) as snapshot:
        view = snapshot if flags.revision is None else snapshot.at(flags.revision)
        stats = view.stats(flags.depth, prefix=os.fsencode(flags.prefix or ""), top=flags.top)
        size, in_use = snapshot.size, snapshot.size_in_use
    sheet = listing.stats_sheet(stats, size=size, size_in_use=in_use)
    if flags.write_out == "json":
        print(listing.stats_json(stats, size=size, size_in_use=in_use))
    else:
        show(sheet)
    if flags.html is not None:
        write_page(flags.html, sheet)
    return DONE
