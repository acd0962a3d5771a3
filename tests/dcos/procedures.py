"""What operators do with a cluster, and what must then be true of it."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dcos import old_tool
from dcos.bed import BACKUPS, DATA_DIR, OWNER, STATE, Bed, Certificates
from dcos_etcd.testing import CommandFailedError
from scenario import State, capture, fill_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from dcos.bed import Master, Variant
    from dcos_etcd.testing import EtcdBinaries

ARCHIVE = f"{BACKUPS}/etcd.tar.gz"
"""Our backup, on every master."""

OLD_ARCHIVE = f"{BACKUPS}/old.tar.gz"
"""The former tool's, of the same moment."""


@dataclass(frozen=True)
class Past:
    """A cluster that was backed up, went on living, and was stopped."""

    directory: Path
    state: State
    """At the backup."""
    later: State
    """When it was stopped."""
    members: list[dict[str, Any]]
    backup_said: str
    """What `dcos-etcdctl backup` printed."""
    certificates: Certificates | None

    def lay(self, bed: Bed) -> None:
        """Put everything where the masters of another bed look for it, the archives too."""
        bed.load(self.directory / "masters")
        for master in bed.masters:
            for path in (ARCHIVE, OLD_ARCHIVE):
                shutil.copyfile(self.archive(path), master.path(path))

    def archive(self, path: str = ARCHIVE) -> Path:
        """An archive, off the cluster."""
        return self.directory / path.rpartition("/")[2]


def make_past(machines: type[Bed], directory: Path, masters: int, variant: Variant, release: EtcdBinaries) -> Past:
    """Form a cluster, fill it, back it up on the leader, change it, and take it down."""
    with machines(directory / "bed", masters, [release], variant) as bed:
        bed.form()
        leader = bed.leader
        fill_keys(leader)
        if variant == "enterprise":
            leader.etcdctl("role", "add", "reader")
            leader.etcdctl("role", "grant-permission", "reader", "read", "/calico/", "--prefix")
            leader.etcdctl("user", "add", "alice:wonderland")
            leader.etcdctl("user", "grant-role", "alice", "reader")
        state = capture(leader)
        said = leader.must_cli("backup", ARCHIVE)
        old_tool.backup(leader, OLD_ARCHIVE)
        leader.etcdctl("put", "after the backup", "must be gone")
        leader.etcdctl("put", "/calico/versioned", "changed after the backup")
        leader.etcdctl("del", "leased/", "--prefix")
        past = Past(directory, state, capture(leader), leader.member_list(), said, bed.certificates)
        for path in (ARCHIVE, OLD_ARCHIVE):
            shutil.copyfile(leader.path(path), past.archive(path))
        bed.save(directory / "masters")
        return past


def restore_all(bed: Bed, archive: str = ARCHIVE, *flags: str, masters: Iterable[Master] | None = None) -> list[str]:
    """`dcos-etcdctl restore` on every master; returns what each printed."""
    return bed.each(lambda master: master.must_cli("restore", archive, *flags), masters)


def check_cluster(bed: Bed, state: State, masters: Iterable[Master] | None = None) -> None:
    """The cluster is exactly that state on every master, consists of these masters, and takes writes.

    Its last part writes, so that the state is no longer that one.
    """
    chosen = bed.masters if masters is None else list(masters)
    for found in bed.each(capture, chosen):
        assert found == state
    hashes = bed.each(lambda master: hash_kv(master, state.revision), chosen)
    assert len(set(hashes)) == 1
    check_members(chosen)
    for master in chosen:
        master.etcdctl("put", f"written on {master.name}", master.ip)
    for master in chosen:
        for other in chosen:
            assert f"{other.ip}\n" == master.etcdctl("get", "--print-value-only", f"written on {other.name}")


def check_members(masters: list[Master]) -> None:
    """Every master lists exactly these masters, all started."""
    expected = [(m.name, [m.peer_url], m.client_urls) for m in sorted(masters, key=lambda m: m.name)]
    for master in masters:
        found = master.member_list()
        assert [(entry["name"], entry["peerURLs"], entry["clientURLs"]) for entry in found] == expected


def hash_kv(master: Master, revision: int) -> tuple[int, int]:
    [entry] = master.etcdctl_json("endpoint", "hashkv", f"--rev={revision}")
    return entry["HashKV"]["hash"], entry["HashKV"].get("compact_revision", 0)


def check_diagnostic(master: Master, healthy: bool) -> dict[str, Any]:  # noqa: FBT001 - the verdict
    """`dcos-etcdctl diagnostic` on a master gives that verdict; returns what it said to machines."""
    done = master.cli("diagnostic", "-w", "json")
    assert done.returncode == (0 if healthy else 1), done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["healthy"] is healthy
    return said


def tree(master: Master, path: str = STATE) -> dict[str, tuple[str, int, int, bytes]]:
    """Everything that lies below a directory of a master: kind, mode, owner, and what is in it."""
    found = {}
    base = master.path(path)
    for place in [base, *sorted(base.rglob("*"))]:
        info = place.lstat()
        content = place.read_bytes() if place.is_file() else b""
        kind = "file" if place.is_file() else "directory"
        found[str(place.relative_to(base))] = (kind, info.st_mode & 0o7777, info.st_uid, content)
    return found


def kept_data(master: Master) -> list[str]:
    """The old data directories that restores left under dated names, the oldest first."""
    return sorted(f"{STATE}/{path.name}" for path in master.path(STATE).glob("default.etcd.old-*"))


def check_owners(master: Master) -> None:
    """Everything of etcd belongs to its user, and no one else may read its data."""
    base = master.path(STATE)
    for place in [base, *base.rglob("*")]:
        info = place.lstat()
        assert (info.st_uid, info.st_gid) == (OWNER, OWNER), place
    for place in [master.path(DATA_DIR), *master.path(DATA_DIR).rglob("*")]:
        if place.is_dir():
            assert place.stat().st_mode & 0o777 == 0o700, place


def patiently(change: Callable[[], object], timeout: float = 30) -> None:
    """Try until the cluster takes it: it wants to have been whole for five seconds before its members change."""
    deadline = time.monotonic() + timeout
    while not taken(change, last=time.monotonic() > deadline):
        time.sleep(0.2)


def taken(change: Callable[[], object], *, last: bool) -> bool:
    try:
        change()
    except CommandFailedError:
        if last:
            raise
        return False
    return True
