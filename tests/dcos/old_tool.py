"""What the former `dcos-etcdctl` of DC/OS does, step by step, out of etcd's own client and a tar archive."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dcos.bed import CLUSTER_STATE, DATA_DIR, MESOS_DNS, NODES, OWNER

if TYPE_CHECKING:
    from dcos.bed import Master

SNAPSHOT = "etcd_snapshot.db"
TOKEN = "etcd-dcos"


def backup(master: Master, path: str) -> None:
    """Save a snapshot and put it into a new archive, of which it is the only entry."""
    with tempfile.TemporaryDirectory(dir=master.path("/run/dcos"), suffix="-back-etcd") as directory:
        name = Path(directory).name
        master.etcdctl("snapshot", "save", f"/run/dcos/{name}/{SNAPSHOT}")
        with tarfile.open(master.path(path), mode="x:gz") as archive:
            archive.add(Path(directory) / SNAPSHOT, arcname=SNAPSHOT)


def restore(master: Master, path: str, token: str = TOKEN) -> None:
    """Delete the old data, have `etcdctl snapshot restore` make new, and tell the start script of a new cluster."""
    shutil.rmtree(master.path(DATA_DIR), ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=master.path("/run/dcos"), suffix="-restore-etcd") as directory:
        with tarfile.open(master.path(path), mode="r:gz") as archive:
            archive.extractall(directory)  # noqa: S202 - as the tool did
        ips = [host["ip"] for host in json.loads(master.machine.get(MESOS_DNS))]
        cluster = ",".join(f"etcd-{ip}=https://{ip}:2380" for ip in ips)
        master.etcdctl(
            "snapshot",
            "restore",
            f"/run/dcos/{Path(directory).name}/{SNAPSHOT}",
            f"--name={master.name}",
            f"--data-dir={DATA_DIR}",
            f"--initial-cluster={cluster}",
            f"--initial-advertise-peer-urls={master.peer_url}",
            f"--initial-cluster-token={token}",
        )
    for place, text in ((NODES, cluster), (CLUSTER_STATE, "new")):
        master.path(place).write_text(text)
    own(master.path(DATA_DIR))
    own(master.path(NODES))


def own(place: Path) -> None:
    """Give a file, or a directory and all that is in it, to the user of etcd."""
    os.chown(place, OWNER, OWNER)
    for directory, names, files in os.walk(place):
        for name in (*names, *files):
            os.chown(Path(directory) / name, OWNER, OWNER, follow_symlinks=False)
