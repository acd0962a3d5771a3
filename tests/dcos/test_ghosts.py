"""The identity of a restored cluster: who was forgotten stays out, and who is new can come in."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from dcos import old_tool
from dcos.bed import Master
from dcos.procedures import ARCHIVE, OLD_ARCHIVE, check_cluster, check_diagnostic, check_members, patiently, restore_all
from scenario import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos.bed import Bed
    from dcos.procedures import Past

    Resume = Callable[..., tuple[Bed, Past]]

GHOST = "written after the backup, on the master that will be forgotten"


def cluster_id(master: Master) -> str:
    """The cluster that a master's etcd tells its peers; clients of 3.4 hear nothing before there is a majority."""
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE  # the peers of the open variant sign their certificates themselves
    headers, _ = master.machine.ask(f"{master.peer_url}/members", anybody)
    return headers["X-Etcd-Cluster-Id"]


def value(master: Master, key: str, *flags: str) -> str:
    return master.etcdctl("get", "--print-value-only", *flags, key).strip()


def critical(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for finding in said["findings"] if finding["severity"] == "critical"]


def test_a_forgotten_master_is_fenced_off_and_named_until_it_is_restored_too(resume: Resume) -> None:
    bed, past = resume(3)
    *restored, forgotten = bed.masters
    restore_all(bed, masters=restored)
    bed.each(Master.start)
    bed.each(Master.wait, restored)

    for master in restored:
        assert capture(master) == past.state
    first = restored[0]
    first.etcdctl("put", "new", "life")
    assert cluster_id(forgotten) != cluster_id(first) == cluster_id(restored[1])
    # Alone of three it has no majority, so that it serves nobody.
    assert not forgotten.ready()
    assert [value(master, "after the backup") for master in restored] == ["", ""]
    for said in bed.each(lambda master: check_diagnostic(master, healthy=False)):
        [finding] = [each for each in said["findings"] if each["id"] == "master-not-restored"]
        assert finding["endpoint"] == forgotten.client_url
        assert forgotten.ip in finding["message"]
        assert "restore" in finding["advice"]
    text = first.cli("diagnostic")
    assert text.returncode == 1
    assert f"master {forgotten.ip} runs another cluster than most masters do" in text.stdout

    forgotten.stop()
    restore_all(bed, masters=[forgotten])
    forgotten.start(wait=True)

    check_members(bed.masters)
    assert [value(master, "new") for master in bed.masters] == ["life"] * 3
    assert [value(master, "after the backup") for master in bed.masters] == [""] * 3
    check_diagnostic(forgotten, healthy=True)


def test_by_the_former_tools_steps_a_forgotten_master_brings_its_data_into_the_new_cluster(resume: Resume) -> None:
    """Why the token is not the same at every restore: the second restore makes the cluster of the first one again."""
    bed, past = resume(3)
    bed.each(lambda master: old_tool.restore(master, OLD_ARCHIVE))
    bed.start()
    assert GHOST not in {key.decode(errors="replace") for key in past.state.keys}
    bed.masters[2].etcdctl("put", GHOST, "boo")
    bed.stop()
    *restored, forgotten = bed.masters
    bed.each(lambda master: old_tool.restore(master, OLD_ARCHIVE), restored)
    bed.start()

    assert {cluster_id(master) for master in bed.masters} == {cluster_id(forgotten)}
    assert value(forgotten, GHOST, "--consistency=s") == "boo"


def test_the_same_archive_twice_makes_the_same_cluster_and_says_how_to_make_another(resume: Resume) -> None:
    bed, past = resume(3)
    restore_all(bed)
    bed.start()
    first_time = cluster_id(bed.leader)
    bed.masters[2].etcdctl("put", GHOST, "boo")
    bed.stop()

    *restored, forgotten = bed.masters
    warned = bed.each(lambda master: master.cli("restore", ARCHIVE), restored)
    assert all(f"cluster {first_time}" in done.stderr for done in warned)
    assert all("--initial-cluster-token" in done.stderr for done in warned)
    restore_all(bed, ARCHIVE, "--initial-cluster-token=tuesday", masters=restored)
    bed.each(Master.start)
    bed.each(Master.wait, restored)

    for master in restored:
        assert capture(master) == past.state
    assert cluster_id(restored[0]) == cluster_id(restored[1]) != first_time == cluster_id(forgotten)
    assert value(restored[0], GHOST) == ""


def test_two_restored_clusters_beside_each_other_are_seen_as_a_split(resume: Resume) -> None:
    """A split brain out of two operators: each half is told by every master."""
    bed, _ = resume(3)
    restore_all(bed, ARCHIVE, "--masters", bed.ips[0], "--initial-cluster-token=alone", masters=bed.masters[:1])
    restore_all(bed, masters=bed.masters[1:])
    bed.start()

    for said in bed.each(lambda master: check_diagnostic(master, healthy=False)):
        assert [bed.masters[0].client_url] == [
            finding["endpoint"] for finding in said["findings"] if finding["id"] == "master-not-restored"
        ]
        seen = {facts["endpoint"]: facts["members"] for facts in said["endpoints"] if facts["reachable"]}
        assert len(seen[bed.masters[0].client_url]) == 1
        assert len(seen[bed.masters[1].client_url]) == 3


def test_a_replaced_master_joins_the_restored_cluster_as_dcos_lets_it(resume: Resume) -> None:
    """An empty data directory, `member add`, `existing`, and the token that the start script always gives."""
    bed, past = resume(3)
    restore_all(bed)
    bed.start()
    first, _, replaced = bed.masters
    replaced.kill()
    replaced.lose_data()
    [gone] = [member for member in first.member_list() if member["name"] == replaced.name]

    patiently(lambda: first.etcdctl("member", "remove", f"{gone['ID']:x}"))
    patiently(lambda: first.etcdctl("member", "add", replaced.name, f"--peer-urls={replaced.peer_url}"))
    replaced.nodes(bed.masters, "existing")
    replaced.start(wait=True)

    command = replaced.machine.must("sh", "-c", "ps -o args= -C etcd")
    assert "--initial-cluster-state existing --initial-cluster-token etcd-dcos " in command
    [new] = [member for member in first.member_list() if member["name"] == replaced.name]
    assert new["ID"] != gone["ID"]
    check_cluster(bed, past.state)
    check_diagnostic(replaced, healthy=True)
