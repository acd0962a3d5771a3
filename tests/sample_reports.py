"""Reports as the core hands them over: plain dicts, lists, numbers and texts."""

from __future__ import annotations

import copy
from typing import Any

MANIFEST: dict[str, Any] = {
    "format_version": 1,
    "created_at": "2026-11-22T21:04:05Z",
    "tool": "dcos-etcd 0.1.0",
    "endpoint": "http://127.0.0.1:2379",
    "cluster_id": "95c0b97798b70158",
    "member_id": "2bf4ebf7445e1eb9",
    "etcd_version": "3.6.11",
    "storage_version": "3.6.0",
    "revision": 42,
    "raft_term": 3,
    "raft_index": 99,
    "members": [
        {
            "id": "2bf4ebf7445e1eb9",
            "name": "m1",
            "peer_urls": ["http://127.0.0.1:42901"],
            "client_urls": ["http://127.0.0.1:2379"],
            "is_learner": False,
        }
    ],
    "size": 20480,
    "sha256": "ab" * 32,
}

STATUS: dict[str, Any] = {
    "hash": 554914620,
    "revision": 10,
    "total_key": 7,
    "total_size": 20480,
    "version": "3.6.0",
}

BACKUP: dict[str, Any] = {
    "path": "etcd.tar.gz",
    "compression": "gzip",
    "archive_size": 4096,
    "endpoint": "http://127.0.0.1:2379",
    "skipped": [{"endpoint": "http://127.0.0.1:1", "reason": "connection refused"}],
    "manifest": MANIFEST,
    "duration_seconds": 1.25,
    "warnings": ["a learner sent it"],
}

VERIFY: dict[str, Any] = {
    "path": "etcd.tar.gz",
    "kind": "tar.gz",
    "file_size": 4096,
    "database_size": 20480,
    "sha256": "ab" * 32,
    "hash_checked": True,
    "status": STATUS,
    "manifest": MANIFEST,
    "pages": 5,
    "pages_free": 1,
    "warnings": [],
}

RESTORE: dict[str, Any] = {
    "path": "etcd.tar.gz",
    "data_dir": "m1.etcd",
    "wal_dir": "m1.etcd/member/wal",
    "name": "m1",
    "member_id": "2bf4ebf7445e1eb9",
    "cluster_id": "95c0b97798b70158",
    "initial_cluster_token": "etcd-cluster",
    "members": [{"id": "2bf4ebf7445e1eb9", "name": "m1", "peer_urls": ["http://127.0.0.1:42901"]}],
    "revision": 42,
    "bumped_revision": 1042,
    "snapshot_members": 3,
    "database_size": 20480,
    "sha256": "ab" * 32,
    "rewritten": {
        "revision": 40,
        "keys": 5,
        "versions": 12,
        "versions_dropped": 3,
        "database_size": 16384,
    },
    "replaced": None,
    "dry_run": False,
    "steps": ["verify etcd.tar.gz", "go back to revision 40", "clear 1 alarms", "write m1.etcd"],
    "changes": ["go back to revision 40", "clear 1 alarms"],
    "warnings": [],
}

# The largest id of all: as a JSON number it is damaged by readers that count in doubles.
DIAGNOSIS: dict[str, Any] = {
    "header": {"cluster_id": 8728544135174399746, "member_id": 18446744073709551615, "raft_term": 2},
    "members": [
        {
            "ID": 18446744073709551615,
            "name": "m1",
            "peerURLs": ["http://127.0.0.1:42341"],
            "clientURLs": ["http://127.0.0.1:42340"],
        },
        {"ID": 7, "peerURLs": ["http://127.0.0.1:42343"], "isLearner": True},
    ],
    "endpoints": [
        {
            "endpoint": "http://127.0.0.1:42340",
            "given": True,
            "reachable": True,
            "denied": False,
            "error": None,
            "member_id": 18446744073709551615,
            "member_id_hex": "ffffffffffffffff",
            "cluster_id_hex": "7921fc5a8b8e3c02",
            "name": "m1",
            "version": "3.6.11",
            "storage_version": "3.6.0",
            "db_size": 20480,
            "db_size_in_use": 16384,
            "db_size_quota": 2147483648,
            "leader_hex": "ffffffffffffffff",
            "is_learner": False,
            "raft_term": 2,
            "raft_index": 18,
            "raft_index_later": None,
            "raft_applied_index": 18,
            "revision": 10,
            "alarms": [],
            "errors": [],
            "linearizable": {"healthy": True, "took_seconds": 0.0019, "error": None},
            "serializable": {"healthy": True, "took_seconds": 0.0008, "error": None},
            "hash_kv": {"hash": 537411191, "revision": 10, "compact_revision": -1},
            "hash_kv_error": None,
            "members": ["ffffffffffffffff", "7"],
        },
        {
            "endpoint": "http://127.0.0.1:1",
            "given": False,
            "reachable": False,
            "denied": False,
            "error": "connection refused",
            "member_id": None,
            "member_id_hex": None,
            "cluster_id_hex": None,
            "name": None,
            "version": None,
            "storage_version": None,
            "db_size": None,
            "db_size_in_use": None,
            "db_size_quota": None,
            "leader_hex": None,
            "is_learner": None,
            "raft_term": None,
            "raft_index": None,
            "raft_index_later": None,
            "raft_applied_index": None,
            "revision": None,
            "alarms": [],
            "errors": [],
            "linearizable": None,
            "serializable": None,
            "hash_kv": None,
            "hash_kv_error": None,
            "members": None,
        },
    ],
    "findings": [
        {
            "id": "endpoint-unreachable",
            "severity": "critical",
            "endpoint": "http://127.0.0.1:1",
            "message": "the member does not answer",
            "evidence": "connection refused",
            "advice": "start it",
        }
    ],
    "healthy": False,
}


def changed(report: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Copy a report with some fields replaced."""
    return {**copy.deepcopy(report), **fields}
