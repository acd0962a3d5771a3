"""`dcos-etcdctl diagnostic`: is the cluster healthy?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli import _flags
from dcos_etcd.cli._output import DONE, FAILED
from dcos_etcd.cli._parser import add_command, add_write_out

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
    add_write_out(parser, "table", "json")
    _flags.add_cluster_flags(parser)


def run(flags: argparse.Namespace) -> int:
    cluster = _flags.cluster_arguments(flags, os.environ)
    from dcos_etcd import api, display  # noqa: PLC0415

    diagnosis = api.diagnose(expect=",".join(flags.expect or ()), **cluster)
    as_json = flags.write_out == "json"
    print(display.diagnosis_json(diagnosis) if as_json else display.visible(display.diagnosis_text(diagnosis)))
    return DONE if diagnosis.healthy else FAILED
