"""What a diagnosis shows to whom, and what it shows to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from command_line import cluster_flags, environment, run
from conftest import LINES, each_line, release
from dcos_etcd.testing import Certificates, Cluster
from diagnosing import UNHURRIED, ask, ids, only, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory

PASSWORD = "open-sesame-4711"


@pytest.fixture(scope="module", params=LINES)
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Wants client certificates, and users: the certificate's name is that of the user `root`."""
    directory = tmp_path_factory.mktemp("guarded")
    with Cluster(1, binaries=release(request.param), tls=True, auth=("root", PASSWORD), directory=directory) as cluster:
        cluster.etcdctl("put", "secret-key-name", "secret-value-8150")
        cluster.etcdctl("user", "add", f"nobody:{PASSWORD}")
        yield cluster


@each_line
def test_a_learner_of_a_cluster_with_users_is_not_ill(etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1, auth=("root", PASSWORD), extra_args=UNHURRIED)
    cluster.start()
    cluster.add_member(learner=True)
    diagnosis = ask(cluster)

    assert diagnosis.healthy, diagnosis.findings
    assert {name for _, name in ids(diagnosis)} <= {"facts-incomplete", "key-space-not-compared", "member-is-learner"}
    assert not any("leader" in finding.evidence for finding in diagnosis.findings)


@pytest.mark.parametrize("line", ["3.5", "3.7"])
def test_a_lost_quorum_is_no_refusal_of_the_user(etcd_cluster: ClusterFactory, line: str) -> None:
    cluster = etcd_cluster(2, line, auth=("root", PASSWORD))
    cluster.start()
    cluster.members[1].kill()
    lost = until(cluster, "linearizable-read-failed")

    # Without a leader there is no token, and without a token hardly any answer: not because of this user.
    assert "access-denied" not in {finding.id for finding in lost.findings}
    assert "checking a password needs a leader" in only(lost, "facts-incomplete").evidence


@pytest.mark.parametrize("way", ["user", "name in the certificate"])
def test_tls_and_a_user_see_everything(guarded: Cluster, way: str) -> None:
    access = guarded.access if way == "user" else {**guarded.access, "user": None}
    diagnosis = dcos_etcd.diagnose(**access)
    members = dcos_etcd.member_list(**access)

    assert ids(diagnosis) == []
    assert [member.name for member in members.members] == ["m1"]
    assert members.members == diagnosis.members
    assert members.header.member_id == diagnosis.endpoints[0].member_id
    assert diagnosis.endpoints[0].linearizable is not None


@pytest.mark.parametrize("way", ["wrong password", "no role", "name without a user", "no certificate", "another CA"])
def test_who_is_refused_is_told_why(guarded: Cluster, tmp_path: Path, way: str) -> None:
    access: dict[str, Any] = {**guarded.access, "dial_timeout": 5}
    tls = access["tls"]
    if way == "wrong password":
        access["user"] = ("root", f"{PASSWORD}-wrong")
    elif way == "no role":
        access["user"] = ("nobody", PASSWORD)
    elif way == "no certificate":
        access["tls"] = dcos_etcd.Tls(cacert=tls.cacert)
    else:
        other = Certificates.create(tmp_path / "other", "somebody")
        access["tls"] = dcos_etcd.Tls(cacert=tls.cacert, cert=other.client_cert, key=other.client_key)
        if way == "another CA":
            access["tls"] = other.tls
    diagnosis = dcos_etcd.diagnose(**access)

    if way == "no role":
        # What may be seen without a role differs by release; the health of the member always may.
        assert diagnosis.healthy
        assert {name for _, name in ids(diagnosis)} <= {"facts-incomplete", "member-list-unknown"}
        [entry] = diagnosis.endpoints
        assert "permission denied" in f"{entry.error} {entry.hash_kv_error}"
    else:
        assert ids(diagnosis)[0] == ("critical", "access-denied")
        with pytest.raises(dcos_etcd.AccessDeniedError) as caught:
            dcos_etcd.member_list(**access)
        assert caught.value.endpoint == guarded.endpoints[0]


def test_no_secret_is_ever_shown(guarded: Cluster, tmp_path: Path) -> None:
    shown: list[str] = []
    for password in (PASSWORD, f"{PASSWORD}-wrong"):
        flags = cluster_flags({**guarded.access, "user": ("root", password)})
        for command in (
            ["diagnostic"],
            ["diagnostic", "-w", "json"],
            ["backup", str(tmp_path / f"{len(shown)}.tar.gz")],
            ["backup", str(tmp_path / f"{len(shown)}.tar.gz"), "-w", "json"],
        ):
            result = run(*command, *flags, env=environment())
            shown.append(result.stdout + result.stderr)
        variables = environment(ETCDCTL_USER="root", ETCDCTL_PASSWORD=password)
        result = run("diagnostic", *cluster_flags({**guarded.access, "user": None}), env=variables)
        shown.append(result.stdout + result.stderr)

    assert any("verdict: healthy" in text for text in shown)
    assert any("authentication failed" in text or "password" in text for text in shown)
    for text in shown:
        for secret in (PASSWORD, "secret-key-name", "secret-value-8150", "PRIVATE KEY"):
            assert secret not in text


def test_no_secret_is_in_the_text_of_an_access() -> None:
    from dcos_etcd._access import access  # noqa: PLC0415

    made = access("http://127.0.0.1:1", tls=None, user=("root", PASSWORD), dial_timeout=1, command_timeout=1)

    assert PASSWORD not in f"{made} {made!r}"
