"""Stores of unusual history, backed up and brought up again."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from conftest import each_line

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import Cluster, ClusterFactory

BUMP = 1_000_000


def revision(cluster: Cluster, *command: str) -> int:
    return int(cluster.etcdctl_json(*command)["header"]["revision"])


def compacted_at(cluster: Cluster, since: int) -> int:
    """The compact revision with which a watch from `since` on is cancelled."""
    command = [str(cluster.binaries.etcdctl), f"--endpoints={cluster.endpoints[0]}", "watch", "key", f"--rev={since}"]
    watched = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    [line] = [line for line in watched.stderr.splitlines() if "watch was canceled" in line]
    assert "required revision has been compacted" in line
    return int(cluster.etcdctl_json("endpoint", "hashkv")[0]["HashKV"]["compact_revision"])


@pytest.mark.parametrize("bump", [None, BUMP], ids=["as it is", "bumped"])
@each_line
def test_a_cluster_to_which_nothing_was_ever_written(
    etcd_cluster: ClusterFactory, tmp_path: Path, bump: int | None
) -> None:
    with etcd_cluster(1) as source:
        dcos_etcd.backup(tmp_path / "etcd.tar.gz", **source.access)
    assert dcos_etcd.verify(tmp_path / "etcd.tar.gz").status.total_key == 0

    restored = etcd_cluster(1)
    report = dcos_etcd.restore(
        tmp_path / "etcd.tar.gz",
        **restored.members[0].restore_arguments,
        bump_revision=bump,
        mark_compacted=bump is not None,
    )

    assert report.revision == 1
    with restored:
        assert revision(restored, "put", "key", "value") == 1 + (bump or 0) + 1


@each_line
def test_revisions_go_on_behind_a_bump_though_compaction_had_removed_the_last_key(
    etcd_cluster: ClusterFactory, tmp_path: Path
) -> None:
    """As etcd's own end-to-end tests ask of `--bump-revision`; twice, and each time a client with an old watch."""
    with etcd_cluster(1) as source:
        source.etcdctl("put", "key", "value")
        source.etcdctl("del", "key")
        current = revision(source, "get", "key")
        source.etcdctl("compact", str(current), "--physical")
        dcos_etcd.backup(tmp_path / "0.tar.gz", **source.access)

    for number in range(2):
        bumped = etcd_cluster(1)
        report = dcos_etcd.restore(
            tmp_path / f"{number}.tar.gz",
            **bumped.members[0].restore_arguments,
            bump_revision=BUMP,
            mark_compacted=True,
        )
        bumped_to = current + BUMP
        assert (report.revision, report.bumped_revision) == (current, bumped_to)
        with bumped:
            assert compacted_at(bumped, since=2) == bumped_to
            assert compacted_at(bumped, since=current) == bumped_to
            current = revision(bumped, "put", "other", "value")
            assert current == bumped_to + 1
            dcos_etcd.backup(tmp_path / f"{number + 1}.tar.gz", **bumped.access)
