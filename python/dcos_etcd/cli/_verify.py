"""`dcos-etcdctl verify`: is a snapshot whole and sound?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcos_etcd.cli._output import DONE, FAILED, say, show, warn
from dcos_etcd.cli._parser import add_command, add_write_out

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(
        commands, "verify", run, summary="find out whether a snapshot is whole and sound", path="the snapshot"
    )
    parser.add_argument(
        "--skip-hash-check", action="store_true", help="accept a db that was copied out of a data directory"
    )
    add_write_out(parser, "table", "json")


def run(flags: argparse.Namespace) -> int:
    from dcos_etcd import api, display  # noqa: PLC0415
    from dcos_etcd._sheet import visible  # noqa: PLC0415
    from dcos_etcd.exceptions import CorruptSnapshotError  # noqa: PLC0415

    as_json = flags.write_out == "json"
    try:
        report = api.verify(flags.path, skip_hash_check=flags.skip_hash_check, progress=True)
    except CorruptSnapshotError as error:
        # The defects are what was asked for, so they go to stdout, all of them.
        if as_json:
            print(display.to_json({"path": error.path, "sound": False, "defects": display.plain(error.defects)}))
        else:
            for defect in error.defects:
                print(visible(f"{defect.code}: {defect}"))
        count = len(error.defects)
        say("error", f"{error.path} is damaged: {count} defect{'s' if count != 1 else ''} found")
        return FAILED
    warn(report.warnings)
    if as_json:
        print(display.to_json({"sound": True, **display.plain(report)}))
    else:
        show(display.verify_sheet(report))
    return DONE
