"""The state of a cluster that many tests share."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dcos_etcd.testing._snapshots import snapshot_file

if TYPE_CHECKING:
    import os

    from dcos_etcd.testing._cluster import Cluster
    from dcos_etcd.testing._snapshots import Keys

ATTEMPTS = 3
"""Times that keys are put back while somebody else writes."""

REQUEST_TIMEOUT = 10.0
"""Seconds for one request to a member."""


def reset(cluster: Cluster, snapshot: str | os.PathLike[str] | Keys) -> None:
    """See `Cluster.reset`."""
    from dcos_etcd.putting_back import put_back  # noqa: PLC0415 - the core

    # First the leases: a key that is there would stay on its own, and go with it later.
    for lease in _ask(cluster, "lease/leases").get("leases", []):
        _revoke(cluster, lease["ID"])
    with snapshot_file(snapshot) as path:
        for attempts_left in reversed(range(ATTEMPTS)):
            conflicts = put_back(path, prefix="", delete_extra=True, **cluster.access).conflicts
            if not conflicts:
                return
            if not attempts_left:
                key = conflicts[0].key
                raise RuntimeError(f"somebody else writes to the cluster while its keys are put back, such as {key!r}")


def _revoke(cluster: Cluster, lease: str) -> None:
    try:
        _ask(cluster, "lease/revoke", ID=lease)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:  # it ran out meanwhile
            raise


def spoilt(cluster: Cluster) -> str | None:
    """What `reset` can't put back of what a test may have left behind; `None` when there is no such thing."""
    if [member.name for member in cluster.members] != list(cluster.initial_cluster):
        return "members were added or removed"
    if stopped := [member.name for member in cluster.members if not member.running]:
        return f"{', '.join(stopped)} does not run"
    try:
        if _ask(cluster, "auth/user/list").get("users") or _ask(cluster, "auth/role/list").get("roles"):
            return "users or roles were added"
        if _ask(cluster, "maintenance/alarm", action="GET").get("alarms"):
            return "an alarm was raised"
    except OSError as error:
        return f"it refuses to answer: {error}"
    return None


def _ask(cluster: Cluster, path: str, **body: str) -> dict[str, Any]:
    """A call of etcd's JSON gateway: a program such as etcdctl would take a hundred times as long to start."""
    url = f"{cluster.endpoints[0]}/v3/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with cluster.opener.open(request, timeout=REQUEST_TIMEOUT) as answer:
        return dict(json.load(answer))
