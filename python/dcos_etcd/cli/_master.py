"""The commands on a DC/OS master: which flags make one plain, and those that only the master's profile has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcos_etcd.cli._flags import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


def add_master_flags(parser: argparse.ArgumentParser, plain: str, *, masters: bool) -> None:
    """Add the flags of the profile; `plain` names those that switch it off."""
    about = f"There everything is known without flags, unless {plain} are given."
    group = parser.add_argument_group("flags on a DC/OS master", about)
    if masters:
        group.add_argument(
            "--masters",
            metavar="IP,...",
            action="append",
            help="all masters; may be given again (default from Mesos-DNS, else initial-nodes)",
        )
    group.add_argument("--root", metavar="DIR", help="what stands before every path of DC/OS (default /)")


def on_master(flags: argparse.Namespace, plain: Iterable[str]) -> bool:
    """Decide between the profile and the plain verb; `plain` names the flags that were given and ask for the latter.

    Raises:
        UsageError: Flags of both were given.
    """
    asking = [f"--{name}" for name in ("masters", "root") if getattr(flags, name, None) is not None]
    against = list(plain)
    if asking and against:
        raise UsageError(
            f"{asking[0]} and {against[0]} exclude each other",
            f"{asking[0]} is for a DC/OS master, where no such flag is needed",
        )
    if asking or against:
        return bool(asking)
    from dcos_etcd.dcos import is_master  # noqa: PLC0415 - neither help nor flags that decide need it

    return is_master()


def root(flags: argparse.Namespace) -> str:
    return flags.root or "/"


def masters(flags: argparse.Namespace) -> str | None:
    return None if flags.masters is None else ",".join(flags.masters)
