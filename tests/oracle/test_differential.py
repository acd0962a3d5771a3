"""What `dcos_etcd` makes of a snapshot against what etcd's own `etcdutl` makes of it.

The differences that are allowed are those of docs/format.md, each in one place here: `expected_buckets` for the
database, and the decoders of `oracle.raft`, which fill in the fields that 3.7 leaves out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from conftest import LINES, release
from oracle import bbolt, raft

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dcos_etcd.testing import EtcdBinaries
    from scenario import Source

UTILITY_LINES = LINES[1:]
"""3.4 has no etcdutl, and what its etcdctl restores does not come up on later releases."""

SEGMENT_SIZE = 64_000_000

CLUSTERS = {
    1: {"m1": "http://127.0.0.1:42700"},
    3: {f"m{n}": f"http://127.0.0.1:4290{n}" for n in (1, 2, 3)},
}

BUMP = 1_000_000


@pytest.mark.parametrize("bumped", [False, True], ids=["as it is", "bumped"])
@pytest.mark.parametrize("size", CLUSTERS, ids="{} members".format)
@pytest.mark.parametrize("utility", UTILITY_LINES)
@pytest.mark.parametrize("origin", LINES)
def test_a_restored_member_is_what_etcdutl_restores(
    origin: str,
    utility: str,
    size: int,
    bumped: bool,  # noqa: FBT001 - a parameter
    source: Callable[[str], Source],
    scratch: Path,
) -> None:
    etcdutl = release(utility)
    snapshot = source(origin)
    name, cluster, token = "m1", CLUSTERS[size], "tok"
    ours, theirs = scratch / "ours", scratch / "theirs"
    report = dcos_etcd.restore(
        snapshot.db,
        data_dir=ours,
        name=name,
        initial_cluster=cluster,
        initial_cluster_token=token,
        bump_revision=BUMP if bumped else None,
        mark_compacted=bumped,
    )
    etcdutl.run_etcdutl(
        "snapshot",
        "restore",
        snapshot.db,
        f"--data-dir={theirs}",
        f"--name={name}",
        f"--initial-cluster={','.join(f'{n}={url}' for n, url in cluster.items())}",
        f"--initial-advertise-peer-urls={cluster[name]}",
        f"--initial-cluster-token={token}",
        *([f"--bump-revision={BUMP}", "--mark-compacted"] if bumped else []),
    )
    assert files(ours) == files(theirs)
    ids = assert_same_log(ours, theirs, etcdutl)
    assert int(report.member_id, 16) == ids["node"]
    assert int(report.cluster_id, 16) == ids["cluster"]
    assert_same_v2_store(ours, theirs, etcdutl)
    found, reference = (bbolt.read(side / "member" / "snap" / "db") for side in (ours, theirs))
    assert found.keys() == reference.keys()
    for bucket, expected in expected_buckets(reference, found).items():
        assert found[bucket] == expected, bucket


def files(data_dir: Path) -> dict[str, int]:
    """Names, and the size of the segment."""
    return {
        str(path.relative_to(data_dir)): path.stat().st_size if path.suffix == ".wal" else 0
        for path in data_dir.rglob("*")
    }


def assert_same_log(ours: Path, theirs: Path, etcdutl: EtcdBinaries) -> dict[str, Any]:
    """Equal byte for byte before 3.7, and record for record in 3.7; returns the ids that the log is of."""
    segment = "member/wal/0000000000000000-0000000000000000.wal"
    records = raft.wal(ours / segment)
    assert records == raft.wal(theirs / segment)
    assert (ours / segment).stat().st_size == SEGMENT_SIZE
    if etcdutl.line < (3, 7):
        assert (ours / segment).read_bytes() == (theirs / segment).read_bytes()
    return next(content for kind, content in records if kind == raft.METADATA)


def assert_same_v2_store(ours: Path, theirs: Path, etcdutl: EtcdBinaries) -> None:
    """Equal byte for byte in 3.5; later releases put the members in by chance, and 3.7 leaves zeros out."""
    [found] = ours.glob("member/snap/*.snap")
    [reference] = theirs.glob("member/snap/*.snap")
    if etcdutl.line < (3, 6):
        assert found.read_bytes() == reference.read_bytes()
    store, metadata = raft.snap(found)
    reference_store, reference_metadata = raft.snap(reference)
    assert metadata == reference_metadata
    assert raft.without_creation_order(store) == raft.without_creation_order(reference_store)


def expected_buckets(reference: bbolt.Buckets, found: bbolt.Buckets) -> bbolt.Buckets:
    """The database that etcdutl made, as ours has to be: it boots on every release, and names no old member."""
    expected = {name: dict(entries) for name, entries in reference.items()}
    expected[b"cluster"] = {}
    meta = expected[b"meta"]
    meta.pop(b"storageVersion", None)
    voters = [json.loads(member)["id"] for member in reference[b"members"].values()]
    conf_state = json.loads(found[b"meta"][b"confState"])
    assert conf_state == {"voters": sorted(voters), "auto_leave": False}
    meta[b"confState"] = found[b"meta"][b"confState"]
    return expected


@pytest.mark.parametrize("utility", UTILITY_LINES)
@pytest.mark.parametrize("origin", LINES)
def test_status_is_what_etcdutl_says(origin: str, utility: str, source: Callable[[str], Source]) -> None:
    etcdutl = release(utility)
    snapshot = source(origin)
    expected = json.loads(etcdutl.run_etcdutl("snapshot", "status", snapshot.db, "--write-out=json"))
    found = dcos_etcd.status(snapshot.db)
    assert (found.hash, found.revision, found.total_size) == (
        expected["hash"],
        expected["revision"],
        expected["totalSize"],
    )
    if etcdutl.line < (3, 6):
        # It counts the entries of every bucket there; since 3.6 it counts keys.
        assert expected["totalKey"] == sum(map(len, bbolt.read(snapshot.db).values()))
    else:
        assert (found.total_key, found.version) == (expected["totalKey"], expected["version"])


@pytest.mark.parametrize("origin", LINES)
def test_a_snapshot_is_the_same_in_an_archive(origin: str, source: Callable[[str], Source]) -> None:
    """The archive and etcdctl's file were made a moment apart: the compaction had gone on, the content had not."""
    snapshot = source(origin)
    archived, saved = dcos_etcd.status(snapshot.archive), dcos_etcd.status(snapshot.db)
    assert archived.revision == saved.revision == snapshot.state.revision
    assert archived.version == saved.version
    assert archived.total_key == saved.total_key
