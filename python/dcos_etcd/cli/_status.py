"""`dcos-etcdctl status`: the figures of a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcos_etcd.cli._output import DONE, show, warn
from dcos_etcd.cli._parser import add_command, add_write_out

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(
        commands, "status", run, summary="print hash, revision, keys and size of a snapshot", path="the snapshot"
    )
    add_write_out(parser, "table", "simple", "json")


def run(flags: argparse.Namespace) -> int:
    import warnings  # noqa: PLC0415

    from dcos_etcd import api, display  # noqa: PLC0415

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        status = api.status(flags.path, progress=True)
    warn(str(one.message) for one in caught)
    if flags.write_out == "table":
        show(display.status_sheet(status))
    else:
        print({"simple": display.status_simple, "json": display.status_json}[flags.write_out](status))
    return DONE
