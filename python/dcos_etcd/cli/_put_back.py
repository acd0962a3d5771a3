"""`dcos-etcdctl put-back`: write keys of a snapshot back into a live cluster."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli import _flags
from dcos_etcd.cli._output import DONE, FAILED, say, show, warn
from dcos_etcd.cli._parser import add_command, add_write_out
from dcos_etcd.cli._reading import add_revision, opened

if TYPE_CHECKING:
    import argparse

    from dcos_etcd.models import PutBackReport
    from dcos_etcd.putting_back import PutBackPlan


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(
        commands, "put-back", run, summary="write keys of a snapshot back into a live cluster", path="the snapshot"
    )
    parser.add_argument("--prefix", metavar="P", required=True, help="the keys that begin with P; '' for all keys")
    add_revision(parser)
    parser.add_argument(
        "--delete-extra", action="store_true", help="delete keys below the prefix that the snapshot has not"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be written")
    parser.add_argument("--skip-hash-check", action="store_true", help="take a .db whose SHA-256 does not fit")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_write_out(parser, "table", "json")
    _flags.add_cluster_flags(parser)


def run(flags: argparse.Namespace) -> int:
    cluster = _flags.cluster_arguments(flags, os.environ)
    may_ask = sys.stdin is not None and sys.stdin.isatty() and flags.write_out != "json"
    if not (flags.dry_run or flags.yes or may_ask):
        raise _flags.UsageError("nobody can be asked here whether to write", "give --yes, or --dry-run for a look")
    from dcos_etcd import changes, putting_back  # noqa: PLC0415

    as_json = flags.write_out == "json"
    with opened(flags.path) as snapshot:
        plan = putting_back.plan_put_back(
            snapshot,
            prefix=os.fsencode(flags.prefix),
            revision=flags.revision,
            delete_extra=flags.delete_extra,
            skip_hash_check=flags.skip_hash_check,
            progress=True,
            **cluster,
        )
    place = {"endpoint": plan.endpoint, "revision": plan.revision, "cluster_revision": plan.cluster_revision}
    if as_json or not flags.yes:
        _show(plan, as_json=as_json)
    if as_json:
        print(changes.plan_json(plan.counts, place))
    else:
        show(plan._sheet())
    warn(plan.warnings)
    if flags.dry_run or (not plan and not as_json) or not (flags.yes or _agreed(len(plan))):
        return DONE
    report = _applied(plan)
    if as_json:
        print(changes.put_back_json(report))
    else:
        print()
        show(changes.put_back_sheet(report))
    _tell(report)
    return FAILED if report.conflicts else DONE


def _applied(plan: PutBackPlan) -> PutBackReport:
    from dcos_etcd import exceptions  # noqa: PLC0415

    try:
        return plan.apply(progress=True)
    except BaseException as error:
        # Also Ctrl-C and SIGTERM: what was left alone till then, another run would overwrite.
        report = plan.report
        if report is not None:
            _tell(report)
            if not isinstance(error, exceptions.EtcdError):
                confirmed = f"{report.done} of {len(plan)} changes confirmed"
                say("warning", f"{confirmed}; those of the last transaction may be made, too")
        raise


def _tell(report: PutBackReport) -> None:
    from dcos_etcd import changes  # noqa: PLC0415

    for conflict in report.conflicts:
        say("warning", changes.conflict_line(conflict))
    warn(map(changes.unanswered_line, report.unanswered))


def _show(plan: PutBackPlan, *, as_json: bool) -> None:
    from dcos_etcd import changes  # noqa: PLC0415

    if plan and not as_json:
        print(changes.PLAN_HEAD)
    for change in plan:
        print(changes.planned_json(change) if as_json else changes.planned_line(change))
    if plan and not as_json:
        print()


def _agreed(changes: int) -> bool:
    # On stderr, as progress is: whoever keeps the plan in a file is asked all the same.
    sys.stdout.flush()
    print(f"\nMake {changes} changes? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing was written")
    return False
