"""`dcos-etcdctl restore`: out of a snapshot, into a data directory."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dcos_etcd.cli import _master
from dcos_etcd.cli._flags import UsageError
from dcos_etcd.cli._output import DONE, noting, show, warn
from dcos_etcd.cli._parser import add_command, add_write_out, unsigned


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
    add("--name", metavar="NAME", help="this member's name (default default)")
    add(
        "--initial-cluster",
        metavar="NAME=URL,...",
        help="every member of the new cluster (default default=http://localhost:2380)",
    )
    add(
        "--initial-advertise-peer-urls",
        metavar="URL,...",
        help="this member's peer URLs (default http://localhost:2380)",
    )
    add(
        "--initial-cluster-token",
        metavar="TOKEN",
        help="sets the new cluster apart from others (default etcd-cluster; on a DC/OS master it comes "
        "from the snapshot and what is taken of it)",
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
    add(
        "--replace",
        action="store_true",
        help="take the place of a data dir that holds something; it is kept as DIR.old-DATE",
    )
    add("--discard-old", action="store_true", help="as --replace, and delete the old data dir at the end")
    add("--owner", metavar="USER[:GROUP]", type=owner, help="give everything to this user, by name or id")
    add("--dry-run", action="store_true", help="print the plan and write nothing")
    add_write_out(parser, "table", "json")
    _master.add_master_flags(parser, "--data-dir, --name or --initial-cluster", masters=True)


# Those that say which member is restored, and where to; with none of them a DC/OS master knows it all.
_WHICH = ("data_dir", "wal_dir", "name", "initial_cluster", "initial_advertise_peer_urls")


def owner(text: str) -> tuple[int, int]:
    """Read `USER[:GROUP]`; without a group it is the user's own."""
    import grp  # noqa: PLC0415 - seldom needed
    import pwd  # noqa: PLC0415

    user, _, group = text.partition(":")
    try:
        uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
        if group:
            return uid, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        return uid, pwd.getpwuid(uid).pw_gid
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.args[0]}") from None


def _or(given: str | None, default: str) -> str:
    return default if given is None else given


def run(flags: argparse.Namespace) -> int:
    from dcos_etcd import api, display  # noqa: PLC0415

    shared: dict[str, Any] = {
        "bump_revision": flags.bump_revision,
        "mark_compacted": flags.mark_compacted,
        "revision": flags.revision,
        "prefixes": flags.prefix,
        "exclude_prefixes": flags.exclude_prefix,
        "compact": flags.compact,
        "clear_alarms": flags.clear_alarms,
        "disable_auth": flags.disable_auth,
        "drop_leases": flags.drop_leases,
        "skip_hash_check": flags.skip_hash_check,
        "dry_run": flags.dry_run,
        "progress": True,
    }
    which = [f"--{name.replace('_', '-')}" for name in _WHICH if getattr(flags, name) is not None]
    if _master.on_master(flags, which):
        if flags.owner is not None:
            raise UsageError("--owner needs --data-dir on a DC/OS master", "there the files are given to dcos_etcd")
        if not Path(flags.path).is_file():
            raise UsageError(f"argument PATH: {flags.path} is no file")
        from dcos_etcd import dcos  # noqa: PLC0415 - 40 ms that only a master pays

        report = dcos.restore(
            flags.path,
            masters=_master.masters(flags),
            initial_cluster_token=flags.initial_cluster_token,
            discard_old=flags.discard_old,
            root=_master.root(flags),
            **shared,
        )
    else:
        name = _or(flags.name, "default")
        report = api.restore(
            flags.path,
            data_dir=flags.data_dir or f"{name}.etcd",
            name=name,
            initial_cluster=_or(flags.initial_cluster, "default=http://localhost:2380"),
            initial_advertise_peer_urls=_or(flags.initial_advertise_peer_urls, "http://localhost:2380"),
            initial_cluster_token=_or(flags.initial_cluster_token, "etcd-cluster"),
            wal_dir=flags.wal_dir or None,
            existing="discard" if flags.discard_old else "keep" if flags.replace else "refuse",
            owner=flags.owner,
            **shared,
        )
    stands = f"the data directory {report.data_dir} is whole and in its place all the same"
    with nullcontext() if flags.dry_run else noting(stands):
        warn(report.warnings)
        if flags.write_out == "json":
            print(display.to_json(display.plain(report)))
        else:
            show(display.restore_sheet(report))
    return DONE
