"""`dcos-etcdctl backup`: out of a cluster, into an archive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli import _flags, _master
from dcos_etcd.cli._output import DONE, noting, show, warn
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
    parser.add_argument(
        "--max-rate",
        metavar="RATE",
        type=_flags.rate,
        help="take at most so many bytes a second from the server, such as 20MiB or 500k",
    )
    add_write_out(parser, "table", "json")
    _flags.add_cluster_flags(parser)
    _master.add_master_flags(parser, "cluster flags", masters=False)


def run(flags: argparse.Namespace) -> int:
    cluster = _flags.cluster_arguments(flags, os.environ)
    from dcos_etcd import api, dcos, display  # noqa: PLC0415

    if _master.on_master(flags, _flags.given_to_choose_servers(cluster)):
        _refuse_path(Path(flags.path))
        report = dcos.backup(
            flags.path,
            stall_timeout=flags.stall_timeout,
            max_rate=flags.max_rate,
            dial_timeout=cluster["dial_timeout"],
            command_timeout=cluster["command_timeout"],
            root=_master.root(flags),
            progress=True,
        )
    else:
        report = api.backup(
            flags.path, stall_timeout=flags.stall_timeout, max_rate=flags.max_rate, progress=True, **cluster
        )
    with noting(f"the archive {report.path} is whole all the same"):
        warn(report.warnings)
        if flags.write_out == "json":
            print(display.to_json(display.plain(report)))
        else:
            show(display.backup_sheet(report))
    return DONE


def _refuse_path(path: Path) -> None:
    """Refuse what the former tool refuses as a wrong argument."""
    if os.path.lexists(path):
        raise _flags.UsageError(f"argument PATH: {path} already exists", "nothing is overwritten; choose another name")
    if not path.absolute().parent.is_dir():
        raise _flags.UsageError(f"argument PATH: the parent directory of {path} does not exist")
