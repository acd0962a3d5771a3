"""What a user writes who reads in snapshots, compares them and puts keys back; nothing runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import dcos_etcd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from typing_extensions import assert_type


def read(path: str) -> bytes:
    with dcos_etcd.open(path, progress=True) as snapshot:
        entries: Mapping[bytes, dcos_etcd.Entry] = snapshot
        entry = snapshot["/calico/ready"]
        missing = snapshot.get(b"/calico/gone")
        other = snapshot.get("/calico/gone", 0)
        if TYPE_CHECKING:
            assert_type(snapshot, dcos_etcd.Snapshot)
            assert_type(entry, dcos_etcd.Entry)
            assert_type(missing, dcos_etcd.Entry | None)
            assert_type(other, dcos_etcd.Entry | int)
            assert_type(snapshot.at(5), dcos_etcd.SnapshotView)
        for key, each in snapshot.at(5).items():
            print(key.decode(), each.mod_revision, each.lease, each.deleted)
        key, value, created, changed, version, lease = entry
        print(key, created + changed + version + lease, len(entries), b"/calico/ready" in entries)
        return value


def ranges(snapshot: dcos_etcd.SnapshotView) -> Iterator[bytes]:
    for entry in snapshot.range(prefix="/calico/", revision=7, limit=10, keys_only=True):
        yield entry.key
    yield from (entry.value for entry in snapshot.history(b"/calico/ready"))


def beside_the_keys(snapshot: dcos_etcd.Snapshot) -> list[str]:
    members: tuple[dcos_etcd.Member, ...] = snapshot.members
    ttl: dict[int, int] = {lease.id: lease.ttl for lease in snapshot.leases}
    roles = {role.name: [permission.kind for permission in role.permissions] for role in snapshot.roles}
    users = [(user.name, user.roles, user.no_password) for user in snapshot.users]
    version: str | None = snapshot.storage_version or snapshot.cluster_version
    print(ttl, roles, users, version, snapshot.auth_enabled, [alarm.name for alarm in snapshot.alarms])
    print(snapshot.kind, snapshot.warnings, snapshot.size - snapshot.size_in_use, snapshot.closed)
    return [url for member in members for url in member.peer_urls]


def figures(snapshot: dcos_etcd.SnapshotView) -> int:
    stats = snapshot.stats(2, prefix="/calico/", top=3)
    for group in (stats.total, *stats.prefixes):
        print(group.prefix, group.keys, group.key_bytes + group.value_bytes, group.tombstones)
    print([(key, size) for key, size in stats.largest], [one.figure for one in stats.most_rewritten])
    return snapshot.hash_kv(etcd_version="3.5.30").hash


def differences() -> dict[bytes, Literal["added", "removed", "value", "lease", "rewritten"]]:
    found = dcos_etcd.compare("monday.tar.gz", ["http://127.0.0.1:2379"], prefix="/calico/", values=True, limit=None)
    for difference in found.keys:
        old = difference.a.value if difference.a else b""
        new: int = difference.size_b or 0
        print(old, new)
    for state in found.state:
        match state.a:
            case dcos_etcd.Member(name=name) | dcos_etcd.User(name=name):
                print(state.part, name)
            case _:
                print(state.part, state.name)
    if found and not found.complete:
        print(found.counts.added, found.counts.same)
    return {difference.key: difference.change for difference in found.keys}


def bring_back(password: str) -> int:
    plan = dcos_etcd.plan_put_back(
        "monday.tar.gz", "http://127.0.0.1:2379", prefix=b"", delete_extra=True, user=("root", password)
    )
    for change in plan:
        if change.action == "delete":
            print(change.key, change.size, change.mod_revision)
    try:
        report = plan.apply(progress=True)
    except dcos_etcd.PutBackStoppedError as error:
        return error.planned - error.done
    conflicts: tuple[dcos_etcd.Conflict, ...] = report.conflicts
    print([(one.planned, one.found) for one in conflicts], plan.counts.bytes, len(plan))
    with dcos_etcd.open("monday.tar.gz") as snapshot:
        return dcos_etcd.put_back(snapshot.at(3), prefix="/calico/").created


def manifest(report: dcos_etcd.VerifyReport | dcos_etcd.BackupReport) -> datetime | None:
    return report.manifest.created_at if report.manifest else None
