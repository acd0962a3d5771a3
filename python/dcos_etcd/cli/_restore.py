"""`dcos-etcdctl restore`: out of a snapshot, into a data directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dcos_etcd.cli._output import DONE, warn
from dcos_etcd.cli._parser import add_command, add_write_out, unsigned

if TYPE_CHECKING:
    import argparse


def add(commands: Any) -> None:  # noqa: ANN401
    parser = add_command(
        commands,
        "restore",
        run,
        summary="write the data directory of one member of a new cluster",
        path="the snapshot",
    )
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="where to; must be empty or not exist (default NAME.etcd)")
    add("--wal-dir", metavar="DIR", help="where the write-ahead log goes (default member/wal in the data dir)")
    add("--name", metavar="NAME", default="default", help="this member's name (default default)")
    add(
        "--initial-cluster",
        metavar="NAME=URL,...",
        default="default=http://localhost:2380",
        help="every member of the new cluster (default default=http://localhost:2380)",
    )
    add(
        "--initial-advertise-peer-urls",
        metavar="URL,...",
        default="http://localhost:2380",
        help="this member's peer URLs (default http://localhost:2380)",
    )
    add(
        "--initial-cluster-token",
        metavar="TOKEN",
        default="etcd-cluster",
        help="sets the new cluster apart from others (default etcd-cluster)",
    )
    add(
        "--bump-revision",
        metavar="N",
        type=unsigned,
        help="raise the revision by N, so that watchers notice; needs --mark-compacted",
    )
    add("--mark-compacted", action="store_true", help="mark old revisions as compacted; needs --bump-revision")
    add("--revision", metavar="R", type=unsigned, help="go back to revision R: nothing that was written later")
    add(
        "--prefix",
        metavar="P",
        type=os.fsencode,
        action="append",
        default=[],
        help="restore only keys that begin with P, with their history; may be repeated",
    )
    add(
        "--exclude-prefix",
        metavar="P",
        type=os.fsencode,
        action="append",
        default=[],
        help="restore no keys that begin with P; may be repeated",
    )
    add("--compact", action="store_true", help="write the database without its free pages")
    add("--clear-alarms", action="store_true", help="restore without the alarms of the snapshot")
    add("--disable-auth", action="store_true", help="restore with authentication disabled; users and roles stay")
    add("--drop-leases", action="store_true", help="restore keys without their leases, and no leases")
    add("--skip-hash-check", action="store_true", help="accept a db that was copied out of a data directory")
    add("--dry-run", action="store_true", help="print the plan and write nothing")
    add_write_out(parser, "table", "json")


def run(flags: argparse.Namespace) -> int:
    from dcos_etcd import api, display  # noqa: PLC0415

    report = api.restore(
        flags.path,
        data_dir=flags.data_dir or f"{flags.name}.etcd",
        name=flags.name,
        initial_cluster=flags.initial_cluster,
        initial_advertise_peer_urls=flags.initial_advertise_peer_urls,
        initial_cluster_token=flags.initial_cluster_token,
        wal_dir=flags.wal_dir or None,
        bump_revision=flags.bump_revision,
        mark_compacted=flags.mark_compacted,
        revision=flags.revision,
        prefixes=flags.prefix,
        exclude_prefixes=flags.exclude_prefix,
        compact=flags.compact,
        clear_alarms=flags.clear_alarms,
        disable_auth=flags.disable_auth,
        drop_leases=flags.drop_leases,
        skip_hash_check=flags.skip_hash_check,
        dry_run=flags.dry_run,
        progress=True,
    )
    warn(report.warnings)
    print(
        display.to_json(display.plain(report))
        if flags.write_out == "json"
        else display.visible(display.restore_text(report))
    )
    return DONE
