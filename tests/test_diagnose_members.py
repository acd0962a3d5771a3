"""What a diagnosis says of who is there: expected or not, never started, or several that run as one member."""

from __future__ import annotations

import json
import shutil
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from command_line import run
from conftest import each_line
from diagnosing import UNHURRIED, ask, exit_status, ids, only
from scenario import gateway

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory


def test_who_is_expected_and_who_is_not(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()

    assert ids(ask(cluster, expect=["127.0.0.1"])) == []
    assert ids(ask(cluster, expect="m1")) == []
    assert ids(ask(cluster, expect="127.0.0.1,10.9.9.9")) == [("critical", "expected-member-missing")]
    diagnosis = ask(cluster, expect=["10.9.9.9"])
    assert ids(diagnosis) == [("critical", "expected-member-missing"), ("critical", "unexpected-member")]
    assert "10.9.9.9" in only(diagnosis, "expected-member-missing").message
    assert f"m1 ({cluster.members[0].id:x})" in only(diagnosis, "unexpected-member").message
    assert exit_status(cluster, "--expect", "127.0.0.1") == 0
    assert exit_status(cluster, "--expect", "10.9.9.9", "--expect", "127.0.0.1") == 1


@each_line
def test_a_member_that_was_added_and_never_started(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3, extra_args=UNHURRIED)
    cluster.start()
    cluster.etcdctl("member", "add", "late", "--peer-urls=http://127.0.0.1:1")
    first = cluster.members[0].client_url
    listed = json.loads(cluster.etcdctl("member", "list", "--write-out=json", endpoints=[first]))
    diagnosis = ask(cluster)

    assert ids(diagnosis) == [("warning", "member-unstarted"), ("info", "even-voter-count")]
    [late] = [entry["ID"] for entry in listed["members"] if "name" not in entry]
    assert f"{late:x}" in only(diagnosis, "member-unstarted").message
    assert "http://127.0.0.1:1" in only(diagnosis, "member-unstarted").evidence
    result = run("diagnostic", "-w", "json", f"--endpoints={first}")
    assert (json.loads(result.stdout)["members"], result.returncode) == (listed["members"], 0)


ONE_IDENTITY = ["--initial-advertise-peer-urls=http://localhost:2380", "--initial-cluster=m1=http://localhost:2380"]
"""The peer URL of an etcd that was told none."""


@each_line
def test_servers_that_are_not_one_cluster_and_have_one_member_id(etcd_cluster: ClusterFactory) -> None:
    clusters = [etcd_cluster(1, extra_args=ONE_IDENTITY) for _ in range(3)]
    for number, cluster in enumerate(clusters):
        cluster.start()
        for key in range(3 * number):
            cluster.etcdctl("put", f"k{key}", f"{number}")
    endpoints = [url for cluster in clusters for url in cluster.endpoints]
    diagnosis = dcos_etcd.diagnose(endpoints)

    # No other finding: with whom the keys of which server would have to agree is not known.
    assert ids(diagnosis) == [("critical", "duplicate-member-id")]
    assert [(entry.endpoint, entry.revision) for entry in diagnosis.endpoints] == [
        (url, 1 + 3 * number) for number, url in enumerate(endpoints)
    ]
    [member_id] = {entry.member_id for entry in diagnosis.endpoints}
    found = only(diagnosis, "duplicate-member-id")
    assert found.message == f"3 servers run as one member, {member_id}"
    for number, url in enumerate(endpoints):
        assert f"m1 ({url}): revision {1 + 3 * number}," in found.evidence
    for flag in ("--initial-advertise-peer-urls", "--initial-cluster ", "--initial-cluster-token"):
        assert flag in found.advice
    assert run("diagnostic", f"--endpoints={','.join(endpoints)}").returncode == 1


@pytest.mark.etcd(version=["3.4", "3.7"])
def test_a_copy_of_a_member_that_runs_beside_it(etcd_cluster: ClusterFactory) -> None:
    original, copy = etcd_cluster(1), etcd_cluster(1)
    original.start()
    original.etcdctl("put", "a", "b")
    original.stop()
    shutil.copytree(original.members[0].data_dir, copy.members[0].data_dir)
    original.start()
    copy.start()
    endpoints = [*original.endpoints, *copy.endpoints]
    diagnosis = dcos_etcd.diagnose(endpoints)

    # They hold the same to the byte, and may even stand at one raft index.
    assert {entry.revision for entry in diagnosis.endpoints} == {2}
    assert ids(diagnosis) == [("critical", "duplicate-member-id")]
    for url in endpoints:
        assert url in only(diagnosis, "duplicate-member-id").evidence


@pytest.mark.etcd(version=["3.4", "3.7"])
def test_busy_servers_that_are_reached_at_two_addresses_each_are_well(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3)
    cluster.start()
    endpoints = [url for own in cluster.endpoints for url in (own, own.replace("127.0.0.1", "localhost"))]
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            gateway(cluster, "/v3/kv/put", {"key": "YQ==", "value": "YQ=="})

    writing = threading.Thread(target=write)
    writing.start()
    try:
        diagnoses = [dcos_etcd.diagnose(endpoints) for _ in range(5)]
    finally:
        over.set()
        writing.join()

    newest = [max(entry.revision or 0 for entry in diagnosis.endpoints) for diagnosis in diagnoses]
    assert all(before < after for before, after in pairwise(newest)), newest
    for diagnosis in diagnoses:
        assert "duplicate-member-id" not in {name for _, name in ids(diagnosis)}, diagnosis.findings
        assert [entry.endpoint for entry in diagnosis.endpoints] == cluster.endpoints


@each_line
def test_a_restored_member_that_was_not_started_yet(etcd_cluster: ClusterFactory, archive: Path) -> None:
    cluster = etcd_cluster(3)
    cluster.restore(archive)
    *started, left = cluster.members
    for member in started:
        member.start(wait=False)
    cluster.wait()
    first = started[0].client_url
    diagnosis = ask(cluster)

    # From 3.6 on its name is listed all the same: a restore writes the names of all.
    assert ids(diagnosis) == [("warning", "member-unstarted")]
    assert left.peer_url in only(diagnosis, "member-unstarted").evidence
    [listed] = [member for member in diagnosis.members if not member.client_urls]
    assert f"{listed.id}" in only(diagnosis, "member-unstarted").message
    assert run("diagnostic", f"--endpoints={first}").returncode == 0
