"""`dcos-etcdctl diff`: what changed from one snapshot to another, or to a live cluster?"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli import _flags
from dcos_etcd.cli._output import DONE, FAILED, PROGRAM, USAGE, show, warn
from dcos_etcd.cli._parser import add_command, add_write_out

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(commands, "diff", run, summary="list what differs between two snapshots, or one and a cluster")
    parser.usage = f"{PROGRAM} diff A B [flags]"
    # 1 says that they differ, as with diff and cmp.
    parser.set_defaults(failed=USAGE)
    parser.add_argument("a", metavar="A", help="a snapshot, or a cluster as its endpoints (http://..., or https://...)")
    parser.add_argument("b", metavar="B", help="the other one")
    parser.add_argument("--prefix", metavar="P", default="", help="only keys that begin with P")
    parser.add_argument("--revision-a", metavar="R", type=int, help="A as of revision R (default: the newest)")
    parser.add_argument("--revision-b", metavar="R", type=int, help="B as of revision R (default: the newest)")
    parser.add_argument("--values", action="store_true", help="show the values of what differs")
    parser.add_argument(
        "--only-keys", action="store_true", help="leave out members, leases, users, roles, alarms and versions"
    )
    parser.add_argument(
        "--ignore-rewritten", action="store_true", help="the same value on the same lease is the same, of any revision"
    )
    add_write_out(parser, "table", "json")
    _flags.add_cluster_flags(parser)


def run(flags: argparse.Namespace) -> int:
    if getattr(flags, "endpoints", None) or getattr(flags, "endpoints_before", None):
        raise _flags.UsageError("--endpoints is not for diff", "give the endpoints in the place of A or B")
    import warnings  # noqa: PLC0415

    from dcos_etcd import changes, comparing  # noqa: PLC0415

    cluster: dict[str, Any] = {}
    # Two files need no password, whatever the environment says of clusters.
    if comparing.is_live(flags.a) or comparing.is_live(flags.b):
        cluster = _flags.cluster_arguments(flags, os.environ)
        cluster.pop("endpoints", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        differences = comparing.begin(
            flags.a,
            flags.b,
            cluster=cluster,
            prefix=os.fsencode(flags.prefix),
            revisions=(flags.revision_a, flags.revision_b),
            values=flags.values,
            only_keys=flags.only_keys,
            ignore_rewritten=flags.ignore_rewritten,
            progress=True,
        )
    warn(str(one.message) for one in caught)
    as_json = flags.write_out == "json"
    with differences:
        found = 0
        for found, difference in enumerate(differences, start=1):
            if found == 1 and sys.stdout is not None and sys.stdout.isatty():
                # The lines would stand behind the bar.
                differences.end_progress()
            if as_json:
                print(changes.difference_json(difference, values=flags.values))
                continue
            if found == 1:
                print(changes.DIFFERENCE_HEAD)
            print(changes.difference_line(difference, values=flags.values))
        result = differences.result(())
    for state in result.state:
        print(changes.state_json(state) if as_json else changes.state_line(state))
    if as_json:
        print(changes.comparison_json(result))
    else:
        print("\n" * bool(found or result.state), end="")
        show(changes.comparison_summary(result))
    return DONE if result.equal else FAILED
