"""Backup on a DC/OS master, and the members as its etcd lists them."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from dcos_etcd import _core, api
from dcos_etcd._access import COMMAND_TIMEOUT, DIAL_TIMEOUT, STALL_TIMEOUT, access
from dcos_etcd.dcos import _masters, _profile
from dcos_etcd.exceptions import DcosError

if TYPE_CHECKING:
    from datetime import timedelta

    from dcos_etcd.api import ProgressArgument, StrPath
    from dcos_etcd.models import BackupReport


def backup(
    path: StrPath,
    *,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    stall_timeout: float | timedelta = STALL_TIMEOUT,
    max_rate: int | None = None,
    root: StrPath = "/",
    progress: ProgressArgument = None,
) -> BackupReport:
    """Back up etcd from the leading master's endpoint, or from this master's when that can't be used.

    Args:
        path: The archive; must not exist.
        dial_timeout: As in `dcos_etcd.backup`.
        command_timeout: As in `dcos_etcd.backup`.
        stall_timeout: As in `dcos_etcd.backup`.
        max_rate: As in `dcos_etcd.backup`.
        root: What stands before every path of DC/OS.
        progress: As in `dcos_etcd.backup`.

    Raises:
        DcosError: This is no DC/OS master.
        EtcdError: As in `dcos_etcd.backup`.
        OSError: The archive could not be written.
    """
    profile = _profile.read(root)
    leader = profile.endpoint(_profile.LEADER)
    report = api.backup(
        path,
        endpoints=[leader, profile.endpoint(profile.address)],
        tls=profile.tls,
        dial_timeout=dial_timeout,
        command_timeout=command_timeout,
        stall_timeout=stall_timeout,
        max_rate=max_rate,
        progress=progress,
    )
    if report.endpoint == leader or not report.skipped:
        return report
    reasons = "; ".join(f"{skipped.endpoint}: {skipped.reason}" for skipped in report.skipped)
    warning = f"the leading master's etcd was not used ({reasons}): taken from {report.endpoint}"
    return dataclasses.replace(report, warnings=(warning, *report.warnings))


def member_list(
    *,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    root: StrPath = "/",
) -> dict[str, Any]:
    """List the members as this master's etcd knows them, or another master's when that does not answer.

    Args:
        dial_timeout: As in `dcos_etcd.member_list`.
        command_timeout: As in `dcos_etcd.member_list`.
        root: What stands before every path of DC/OS.

    Returns:
        What `json.loads` makes of the output of `etcdctl member list -w json`.

    Raises:
        DcosError: This is no DC/OS master.
        EtcdError: As in `dcos_etcd.member_list`.
    """
    profile = _profile.read(root)
    hosts = [profile.address]
    # Where nobody tells the others, this master is the only one that can be asked.
    with contextlib.suppress(DcosError):
        hosts += [host for host in _masters.find(profile, None, lenient=True).addresses if host != profile.address]
    target = access(
        [profile.endpoint(host) for host in hosts],
        tls=profile.tls,
        user=None,
        dial_timeout=dial_timeout,
        command_timeout=command_timeout,
    )
    return _core.member_list(access=target).wait()
