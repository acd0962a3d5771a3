"""`dcos-etcdctl diagnostic`: is the cluster healthy?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli import _flags, _master
from dcos_etcd.cli._output import DONE, FAILED, show, write_page
from dcos_etcd.cli._parser import add_command, add_html, add_write_out

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(commands, "diagnostic", run, summary="ask every member of the cluster, and judge the answers")
    parser.add_argument(
        "--expect",
        metavar="IP,...",
        action="append",
        help="members that the cluster should have; may be given again",
    )
    add_html(parser)
    add_write_out(parser, "table", "json")
    _flags.add_cluster_flags(parser)
    _master.add_master_flags(parser, "--expect or cluster flags", masters=True)


def run(flags: argparse.Namespace) -> int:
    cluster = _flags.cluster_arguments(flags, os.environ)
    from dcos_etcd import api, dcos, display  # noqa: PLC0415

    expected = ["--expect"] if flags.expect else []
    if _master.on_master(flags, _flags.given_to_choose_servers(cluster) + expected):
        found = dcos.diagnostic(
            masters=_master.masters(flags),
            dial_timeout=cluster["dial_timeout"],
            command_timeout=cluster["command_timeout"],
            root=_master.root(flags),
        )
        diagnosis, sheet = found.diagnosis, found._sheet()
        more = {"masters": found.masters, "masters_source": found.masters_source, "local": found.local}
    else:
        diagnosis = api.diagnose(expect=",".join(flags.expect or ()), **cluster)
        sheet, more = display.diagnosis_sheet(diagnosis), {}
    if flags.write_out == "json":
        print(display.diagnosis_json(diagnosis, **more))
    else:
        show(sheet)
    if flags.html is not None:
        write_page(flags.html, sheet)
    return DONE if diagnosis.healthy else FAILED
