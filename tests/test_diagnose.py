"""What a diagnosis says of real clusters, each brought into the state that the finding is about."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from command_line import cluster_flags, environment, run
from conftest import each_line, release
from dcos_etcd.testing import Cluster, CommandFailedError
from diagnosing import SLOW, UNHURRIED, ask, exit_status, ids, only, until
from processes import frozen
from scenario import raise_alarm

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from dcos_etcd.testing import ClusterFactory


MIB = 1 << 20


class Listener:
    """Accepts connections, counts them, and never says a word."""

    def __init__(self) -> None:
        self.accepted: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self.accepted.append(self._socket.accept()[0])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for connection in self.accepted:
            connection.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with closing(Listener()) as listening:
        yield listening


# The document.


@each_line
def test_the_document_begins_as_member_list_does_and_shows_the_loss_of_members(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3)
    cluster.start()
    cluster.etcdctl("put", "a", "b")
    first = cluster.members[0].client_url

    flags = [f"--endpoints={first}", "--command-timeout=2s"]
    listed = cluster.etcdctl("member", "list", "--write-out=json", endpoints=[first]).rstrip("\n")
    result, statuses = between_looks_that_agree(cluster, "diagnostic", "-w", "json", *flags)
    assert (result.returncode, result.stderr) == (0, "")
    # To the byte: whoever reads `member list` finds in this document what it looks for.
    assert result.stdout.startswith(listed.removesuffix("}") + ",")
    document = json.loads(result.stdout)
    assert list(document) == ["header", "members", "endpoints", "findings", "healthy"]
    assert [finding for finding in document["findings"] if finding["id"] != SLOW] == []
    assert {entry["name"] for entry in document["endpoints"]} == {"m1", "m2", "m3"}
    for entry in document["endpoints"]:
        status = statuses[entry["endpoint"]]
        assert entry["member_id"] == status["header"]["member_id"]
        assert entry["member_id_hex"] == f"{status['header']['member_id']:x}"
        assert entry["cluster_id_hex"] == f"{document['header']['cluster_id']:x}"
        assert entry["leader_hex"] == f"{status['leader']:x}"
        assert (entry["version"], entry["revision"]) == (status["version"], status["header"]["revision"])
        assert (entry["db_size"], entry["raft_term"]) == (status["dbSize"], status["raftTerm"])
        assert entry["linearizable"]["healthy"]
        assert entry["serializable"]["healthy"]
        assert entry["linearizable"]["took_seconds"] > 0
    assert len({entry["hash_kv"]["hash"] for entry in document["endpoints"]}) == 1
    table = run("diagnostic", *flags, env=environment()).stdout
    assert table.endswith("\n\nverdict: healthy\n")

    follower = next(member for member in cluster.members if member is not cluster.leader())
    follower.kill()
    diagnosis = ask(cluster)
    assert ids(diagnosis) == [("critical", "member-unreachable"), ("warning", "key-space-not-compared")]
    assert only(diagnosis, "member-unreachable").endpoint == follower.client_url
    assert follower.name in only(diagnosis, "key-space-not-compared").evidence

    left = next(member for member in cluster.members if member.running)
    for member in cluster.members:
        if member is not left:
            member.kill()
    awaited = {"member-unreachable", "no-leader", "quorum-lost", "linearizable-read-failed"}
    lost = until(cluster, *awaited)
    assert {finding.id for finding in lost.findings if finding.severity == "critical"} == awaited
    assert only(lost, "quorum-lost").message == "1 of 3 voting members answer, and 2 are needed"
    assert sum(finding.id == "member-unreachable" for finding in lost.findings) == 2
    assert [member.name for member in lost.members] == [member["name"] for member in json.loads(listed)["members"]]
    assert run("diagnostic", f"--endpoints={left.client_url}", "--command-timeout=1s").returncode == 1


def between_looks_that_agree(
    cluster: Cluster, *command: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]]:
    """Run a command while no database grows, as those of young members do; with it what etcdctl says of each member."""

    def look() -> dict[str, dict[str, Any]]:
        return {entry["Endpoint"]: entry["Status"] for entry in cluster.etcdctl_json("endpoint", "status")}

    for _ in range(50):
        before, result, after = look(), run(*command, env=environment()), look()
        if [status["dbSize"] for status in before.values()] == [status["dbSize"] for status in after.values()]:
            return result, after
    pytest.fail("the databases go on growing")


def test_large_ids_are_text_too(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    document = json.loads(run("diagnostic", "-w", "json", *cluster_flags(cluster.access)).stdout)
    [entry] = document["endpoints"]

    assert int(entry["member_id_hex"], 16) == entry["member_id"] == document["members"][0]["ID"]
    assert int(entry["cluster_id_hex"], 16) == document["header"]["cluster_id"]


# Membership.


def test_endpoints_of_two_clusters_are_told_apart(etcd_cluster: ClusterFactory) -> None:
    one, other = etcd_cluster(1), etcd_cluster(1, token="other")
    one.start()
    other.start()
    one.etcdctl("put", "a", "b")
    diagnosis = dcos_etcd.diagnose([*one.endpoints, *other.endpoints])

    # One voter each: no two voters, and no two leaders of one cluster.
    assert ids(diagnosis) == [
        ("critical", "cluster-id-mismatch"),
        ("critical", "member-list-mismatch"),
        ("warning", "key-space-not-compared"),
    ]
    for cluster in (one, other):
        member = f"{cluster.members[0].id:x}"
        assert member in only(diagnosis, "member-list-mismatch").evidence
        assert cluster.endpoints[0] in only(diagnosis, "cluster-id-mismatch").evidence


def test_lost_quorum_is_told_beside_another_cluster_that_works(etcd_cluster: ClusterFactory) -> None:
    one, other = etcd_cluster(2), etcd_cluster(1, token="other")
    one.start()
    other.start()
    one.members[1].kill()
    diagnosis = dcos_etcd.diagnose([one.members[0].client_url, *other.endpoints], command_timeout=2)

    assert only(diagnosis, "quorum-lost").message == "1 of 2 voting members answer, and 2 are needed"


@each_line
def test_a_learner_is_told_and_is_not_ill(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3, extra_args=UNHURRIED)
    cluster.start()
    learner = cluster.add_member(learner=True)
    diagnosis = ask(cluster)

    assert diagnosis.healthy
    assert f"{learner.id:x}" in only(diagnosis, "member-is-learner").message
    # A learner answers neither HashKV nor MemberList; that its keys were not compared is said, and why.
    assert ids(diagnosis) == [("warning", "key-space-not-compared"), ("info", "member-is-learner")]
    assert "learner" in only(diagnosis, "key-space-not-compared").evidence
    [entry] = [entry for entry in diagnosis.endpoints if entry.is_learner]
    assert entry.name == learner.name


# Space and alarms.


@each_line
def test_the_quota_comes_near_and_is_reached(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1, extra_args=[f"--quota-backend-bytes={48 * MIB}"])
    cluster.start()
    near: list[list[tuple[str, str]]] = []
    for number in range(60):
        try:
            cluster.etcdctl("put", f"k{number}", stdin=b"x" * 1_400_000)
        except CommandFailedError:
            break
        if number >= 16:
            near.append(ids(ask(cluster)))
    else:
        pytest.fail("the quota was never reached")
    # Before 3.6 a server does not tell its quota.
    told = [("warning", "database-near-quota")]
    assert (told in near) == (cluster.binaries.line >= (3, 6)), near
    diagnosis = ask(cluster)
    alarm = only(diagnosis, "alarm-nospace")
    assert ids(diagnosis)[0] == ("critical", "alarm-nospace")
    assert f"{cluster.members[0].id:x}" in alarm.evidence
    assert alarm.endpoint == cluster.endpoints[0]
    assert diagnosis.endpoints[0].alarms == ("NOSPACE",)
    assert exit_status(cluster) == 1


@each_line
def test_corrupt_data_raises_an_alarm_that_is_told(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    raise_alarm(cluster, "CORRUPT")
    diagnosis = ask(cluster)

    assert only(diagnosis, "alarm-corrupt").severity == "critical"
    assert diagnosis.endpoints[0].alarms == ("CORRUPT",)
    assert exit_status(cluster) == 1


def test_much_free_space_is_told_until_it_is_given_back(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    for number in range(84):
        cluster.etcdctl("put", f"k{number}", stdin=b"x" * 1_400_000)
    assert ids(ask(cluster)) == []
    cluster.etcdctl("del", "k", "--prefix")
    cluster.etcdctl("compact", "86", "--physical")
    for _ in range(200):
        if cluster.etcdctl_json("endpoint", "status")[0]["Status"]["dbSizeInUse"] < MIB:
            break
    diagnosis = ask(cluster)

    assert ids(diagnosis) == [("warning", "database-fragmented")]
    assert f"etcdctl defrag --endpoints={cluster.endpoints[0]}" in only(diagnosis, "database-fragmented").advice
    cluster.etcdctl("defrag")
    assert ids(ask(cluster)) == []


# Versions.


def test_a_rolling_upgrade_is_mixed_versions_and_no_difference_of_keys(etcd_cluster: ClusterFactory) -> None:
    old, new = release("3.4"), release("3.5")
    cluster = etcd_cluster(3, binaries=old)
    cluster.start()
    # A tombstone at the compacted revision: 3.5.30 hashes it, and 3.4.23 does not.
    cluster.etcdctl("put", "a", "1")
    cluster.etcdctl("del", "a")
    cluster.etcdctl("put", "b", "1")
    cluster.etcdctl("compact", "3", "--physical")
    upgraded = cluster.members[2]
    upgraded.stop()
    cluster.binaries = new
    upgraded.start()
    cluster.binaries = old
    diagnosis = ask(cluster)

    mixed = only(diagnosis, "mixed-versions")
    assert (mixed.severity, diagnosis.healthy) == ("warning", True)
    assert f"{new.version}: m3" in mixed.evidence
    assert {name for _, name in ids(diagnosis)} <= {"mixed-versions", "key-space-not-compared"}
    hashes = {entry.hash_kv.hash for entry in diagnosis.endpoints if entry.hash_kv}
    assert (("warning", "key-space-not-compared") in ids(diagnosis)) == (len(hashes) > 1)


def test_a_version_that_loses_data_is_told(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1, version="3.5.1")
    cluster.start()

    assert ids(ask(cluster)) == [("warning", "version-loses-data")]
    assert exit_status(cluster) == 0


# Contents.


@pytest.mark.damages
@each_line
def test_members_with_different_keys_are_found(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3)
    cluster.start()
    for _ in range(3):
        cluster.etcdctl("put", "key", "as-it-was-written")
    wrong = next(member for member in cluster.members if member is not cluster.leader())
    wrong.stop()
    pages = wrong.db.read_bytes()
    assert b"as-it-was-written" in pages
    wrong.db.write_bytes(pages.replace(b"as-it-was-written", b"as-it-was-garbled"))
    wrong.start()
    diagnosis = ask(cluster)

    assert ids(diagnosis) == [("critical", "key-space-mismatch")]
    assert f"so {wrong.name} ({wrong.client_url}) is wrong" in only(diagnosis, "key-space-mismatch").advice
    assert exit_status(cluster) == 1


# Silence.


def test_a_frozen_member_is_unreachable(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(3)
    cluster.start()
    cluster.etcdctl("put", "a", "b")
    follower = next(member for member in cluster.members if member is not cluster.leader())
    asked = next(member for member in cluster.members if member is not follower).client_url
    with frozen(follower.pid):
        diagnosis = ask(cluster, endpoints=[asked], command_timeout=2)

    assert ids(diagnosis) == [("critical", "member-unreachable"), ("warning", "key-space-not-compared")]
    assert "no answer" in only(diagnosis, "member-unreachable").evidence


@pytest.mark.parametrize("user", [None, ("root", "pw")], ids=["no user", "user"])
def test_a_silent_endpoint_is_tried_once(listener: Listener, user: tuple[str, str] | None) -> None:
    diagnosis = dcos_etcd.diagnose([listener.url, f"{listener.url}/"], user=user, command_timeout=0.3)

    assert len(listener.accepted) == 1
    assert ids(diagnosis) == [("critical", "cluster-unreachable"), ("critical", "endpoint-unreachable")]
    with pytest.raises(dcos_etcd.EndpointUnavailableError) as caught:
        dcos_etcd.member_list([listener.url], user=user, command_timeout=0.3)
    assert len(listener.accepted) == 2
    assert "no answer" in str(caught.value)


def test_a_silent_endpoint_does_not_hide_the_others(listener: Listener, etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    endpoints = [listener.url, *cluster.endpoints]
    diagnosis = dcos_etcd.diagnose(endpoints, command_timeout=2)

    assert ids(diagnosis) == [("critical", "endpoint-unreachable")]
    assert [entry.endpoint for entry in diagnosis.endpoints] == endpoints
    assert [entry.reachable for entry in diagnosis.endpoints] == [False, True]
    assert dcos_etcd.member_list(endpoints, command_timeout=2).members[0].name == "m1"
    assert len(listener.accepted) == 2
