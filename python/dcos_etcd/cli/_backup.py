"""`dcos-etcdctl backup`: out of a cluster, into an archive."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli import _flags
from dcos_etcd.cli._output import DONE, warn
from dcos_etcd.cli._parser import add_command, add_write_out

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(
        commands,
        "backup",
        run,
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
    add_write_out(parser, "table", "json")
    _flags.add_cluster_flags(parser)


def run(flags: argparse.Namespace) -> int:
    cluster = _flags.cluster_arguments(flags, os.environ)
    from dcos_etcd import api, display  # noqa: PLC0415

    report = api.backup(flags.path, stall_timeout=flags.stall_timeout, progress=True, **cluster)
    warn(report.warnings)
    print(
        display.to_json(display.plain(report))
        if flags.write_out == "json"
        else display.visible(display.backup_text(report))
    )
    return DONE
