"""`diagnostic` on a master: every master's own view, with one down, with all down, and nothing that is secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dcos.bed import BACKUPS, DATA_DIR, Master
from dcos.procedures import ARCHIVE, check_cluster, check_diagnostic, restore_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos.bed import Bed
    from dcos.procedures import Past

    Resume = Callable[..., tuple[Bed, Past]]


def test_members_are_what_etcdctl_lists_on_every_master(resume: Resume) -> None:
    bed, past = resume(3)
    bed.start()

    for master in bed.masters:
        said = check_diagnostic(master, healthy=True)
        listed = master.etcdctl_json("member", "list")
        assert said["members"] == listed["members"]
        assert said["header"]["cluster_id"] == listed["header"]["cluster_id"]
        assert [facts["revision"] for facts in said["endpoints"]] == [past.later.revision] * 3
        text = master.cli("diagnostic")
        assert text.returncode == 0
        assert "verdict: healthy" in text.stdout
        for other in bed.masters:
            assert other.name in text.stdout


def test_with_one_master_down_it_is_named_and_the_others_are_told(resume: Resume) -> None:
    bed, _ = resume(3)
    bed.start(bed.masters[:2])

    said = check_diagnostic(bed.masters[0], healthy=False)

    reachable = {facts["endpoint"]: facts["reachable"] for facts in said["endpoints"]}
    assert reachable == {m.client_url: m is not bed.masters[2] for m in bed.masters}
    assert any(finding["endpoint"] == bed.masters[2].client_url for finding in said["findings"])
    assert len(said["members"]) == 3
    # On the one that is down the files speak, and the others are asked all the same.
    local = check_diagnostic(bed.masters[2], healthy=False)
    assert local["local"]["data_dir"] == DATA_DIR
    assert [True, True, False] == [facts["reachable"] for facts in local["endpoints"]]
    assert "local-etcd-silent" in {finding["id"] for finding in local["findings"]}


def test_with_etcd_down_everywhere_the_files_on_disk_tell(resume: Resume) -> None:
    bed, past = resume(3)
    bed.masters[2].lose_data()

    first = check_diagnostic(bed.masters[0], healthy=False)
    third = check_diagnostic(bed.masters[2], healthy=False)

    local = first["local"]
    assert local["name"] == bed.masters[0].name
    [own] = [member for member in past.members if member["name"] == bed.masters[0].name]
    assert int(local["member_id"], 16) == own["ID"]
    assert local["revision"] == past.later.revision
    assert len(local["members"] or local["log_members"]) == 3
    assert "data-dir-missing" in {finding["id"] for finding in third["findings"]}
    advice = " ".join(finding["advice"] for finding in first["findings"])
    assert "systemctl start dcos-etcd" in advice


def test_without_mesos_dns_it_says_what_it_can(resume: Resume) -> None:
    bed, _ = resume(3)
    bed.start()
    bed.each(Master.stop_mesos_dns)

    said = check_diagnostic(bed.masters[2], healthy=True)

    assert said["masters"] == bed.ips
    assert "initial-nodes" in said["masters_source"]


def test_nothing_that_is_stored_is_told(resume: Resume) -> None:
    """The output leaves the cluster in diagnostics bundles."""
    bed, past = resume(3, "enterprise")
    bed.start()
    master = bed.masters[0]

    told = "".join(
        done.stdout + done.stderr for done in (master.cli("diagnostic"), master.cli("diagnostic", "-w", "json"))
    )
    master.stop()
    told += master.cli("diagnostic").stdout

    secrets = [*past.later.keys, *(key.value for key in past.later.keys.values()), b"alice", b"reader", b"wonderland"]
    for secret in secrets:
        text = secret.decode(errors="replace")
        # Keys of a letter or two, and the key "large", are words of everybody's.
        assert len(text) < 6 or text not in told, text
    for line in master.path("/run/dcos/pki/tls/private/etcd-client-root.key").read_text().splitlines()[1:-1]:
        assert line not in told


def test_the_python_functions_do_what_the_commands_do(resume: Resume) -> None:
    bed, past = resume(3)
    bed.start()
    first = bed.leader
    program = """
import sys
from dcos_etcd import dcos
report = dcos.backup(sys.argv[1])
found = dcos.diagnostic()
result = [report.manifest.revision, found.healthy, list(found.masters), dcos.member_list()]
"""
    archive = f"{BACKUPS}/python.tar.gz"
    revision, healthy, masters, members = first.python(program, archive)
    assert (revision, healthy, masters) == (past.later.revision, True, bed.ips)
    listed = json.loads(first.etcdctl("-w", "json", "member", "list"))
    assert members["members"] == listed["members"]
    assert members["header"].keys() == listed["header"].keys()
    assert members["header"]["cluster_id"] == listed["header"]["cluster_id"]

    bed.stop()
    bed.spread(first, archive)
    restore = "import sys\nfrom dcos_etcd import dcos\nresult = dcos.restore(sys.argv[1]).revision"
    assert bed.each(lambda master: master.python(restore, archive)) == [past.later.revision] * 3
    bed.start()

    check_cluster(bed, past.later)


def test_a_member_list_comes_from_another_master_when_the_own_etcd_is_down(resume: Resume) -> None:
    bed, _ = resume(3)
    restore_all(bed, ARCHIVE)
    bed.start(bed.masters[1:])

    members = bed.leader.python("from dcos_etcd import dcos\nresult = dcos.member_list()")

    assert members["members"] == bed.masters[1].etcdctl_json("member", "list")["members"]
