"""Endpoints that are down, wary, or dying: each a clear error, at the cost of one time-out, and no litter."""

from __future__ import annotations

import random
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from dcos_etcd.testing import Certificates, Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A member that wants client certificates."""
    with Cluster(members=1, version="3.5.1", tls=True, directory=tmp_path_factory.mktemp("tls")) as cluster:
        cluster.etcdctl("put", "a", "1")
        yield cluster


@pytest.fixture(scope="module")
def authenticated() -> Iterator[Cluster]:
    """A member that wants a user; `reader` has no role."""
    with Cluster(members=1, version="3.5.1", auth=True) as cluster:
        cluster.etcdctl("put", "a", "1")
        cluster.etcdctl("user", "add", "reader:reader")
        yield cluster


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A URL where nobody listens, and nobody else will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """A URL that accepts and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def nothing_left(directory: Path) -> None:
    assert [] == list(directory.iterdir())


def test_a_closed_port_is_named(closed_port: str, tmp_path: Path) -> None:
    """The error says which endpoint, and why."""
    with pytest.raises(dcos_etcd.EndpointUnavailableError) as caught:
        dcos_etcd.backup(tmp_path / "a.tar.gz", endpoints=[closed_port])

    assert caught.value.tried[0][0] == closed_port
    assert "refused" in str(caught.value).lower()
    nothing_left(tmp_path)


def test_a_silent_endpoint_costs_its_time_out_once(silent: str, tmp_path: Path) -> None:
    """Not once for each question that it would have been asked."""
    begun = time.monotonic()
    with pytest.raises(dcos_etcd.EndpointUnavailableError):
        dcos_etcd.backup(tmp_path / "a.tar.gz", endpoints=[silent], dial_timeout=1, command_timeout=1)
    diagnosis = dcos_etcd.diagnose([silent], dial_timeout=1, command_timeout=1)

    assert time.monotonic() - begun < 30, "it hung"
    assert not diagnosis.healthy
    assert any(finding.endpoint == silent for finding in diagnosis.findings)
    nothing_left(tmp_path)


def test_the_first_healthy_endpoint_is_used(closed_port: str, tmp_path: Path) -> None:
    """The report tells which, and why not the others."""
    with Cluster(members=1, version="3.5.1") as cluster:
        cluster.etcdctl("put", "a", "1")
        report = dcos_etcd.backup(tmp_path / "a.tar.gz", endpoints=[closed_port, *cluster.endpoints])

        assert report.endpoint == cluster.endpoints[0]
        assert [closed_port] == [skipped.endpoint for skipped in report.skipped]


def test_a_member_without_quorum_is_backed_up_with_a_warning(tmp_path: Path) -> None:
    """It can't answer a linearizable read, but its data may be all that is left."""
    with Cluster(members=3, version="3.5.1") as cluster:
        cluster.etcdctl("put", "a", "1")
        for member in cluster.members[1:]:
            member.kill()
        report = dcos_etcd.backup(tmp_path / "a.tar.gz", **cluster.access, command_timeout=2)

        assert report.warnings
        assert dcos_etcd.verify(tmp_path / "a.tar.gz").status.total_key == 1


class TestCertificates:
    """mTLS, and what goes wrong with it."""

    def test_the_right_ones(self, guarded: Cluster, tmp_path: Path) -> None:
        dcos_etcd.backup(tmp_path / "a.tar.gz", **guarded.access)

        assert dcos_etcd.diagnose(**guarded.access).healthy

    @pytest.mark.parametrize("missing", ["authority", "client certificate", "scheme"])
    def test_wrong_ones(self, guarded: Cluster, tmp_path: Path, missing: str) -> None:
        right = guarded.certificates
        assert right is not None
        endpoints = guarded.endpoints
        if missing == "authority":
            other = Certificates.create(tmp_path / "other")
            tls = dcos_etcd.Tls(cacert=other.ca, cert=right.client_cert, key=right.client_key)
        elif missing == "client certificate":
            tls = dcos_etcd.Tls(cacert=right.ca)
        else:
            tls = right.tls
            endpoints = [url.replace("https", "http") for url in endpoints]
        directory = tmp_path / "backups"
        directory.mkdir()

        with pytest.raises((dcos_etcd.EndpointUnavailableError, dcos_etcd.AccessDeniedError)) as caught:
            dcos_etcd.backup(directory / "a.tar.gz", endpoints=endpoints, tls=tls, dial_timeout=3, command_timeout=3)

        if missing != "scheme":
            assert "certificate" in str(caught.value).lower()
        nothing_left(directory)

    def test_a_server_name_that_does_not_fit(self, guarded: Cluster, tmp_path: Path) -> None:
        right = guarded.certificates
        assert right is not None
        tls = dcos_etcd.Tls(cacert=right.ca, cert=right.client_cert, key=right.client_key, server_name="other.example")

        with pytest.raises(
            (dcos_etcd.EndpointUnavailableError, dcos_etcd.AccessDeniedError), match=r"other\.example|name"
        ):
            dcos_etcd.backup(tmp_path / "a.tar.gz", endpoints=guarded.endpoints, tls=tls)
        nothing_left(tmp_path)

    def test_a_file_that_is_missing_or_no_certificate(self, guarded: Cluster, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            dcos_etcd.backup(
                tmp_path / "a.tar.gz", endpoints=guarded.endpoints, tls=dcos_etcd.Tls(cacert=tmp_path / "no.pem")
            )
        assert caught.value.filename == str(tmp_path / "no.pem")
        nothing_left(tmp_path)

        text = tmp_path / "text.pem"
        text.write_text("not a certificate")
        with pytest.raises(dcos_etcd.InvalidArgumentError, match=r"text\.pem"):
            dcos_etcd.diagnose(guarded.endpoints, tls=dcos_etcd.Tls(cacert=text))


class TestAuthentication:
    """Users, passwords and roles."""

    def test_root_may(self, authenticated: Cluster, tmp_path: Path) -> None:
        dcos_etcd.backup(tmp_path / "a.tar.gz", **authenticated.access)

        assert dcos_etcd.verify(tmp_path / "a.tar.gz").warnings

    @pytest.mark.parametrize(
        ("user", "words"),
        [
            (("root", "wrong-password-7391"), "password|authentication failed"),
            (("nobody", "x"), "password|authentication failed"),
            (("reader", "reader"), "permission denied|role"),
            (None, "user"),
        ],
        ids=["wrong password", "no such user", "no permission", "no user"],
    )
    def test_others_may_not(
        self, authenticated: Cluster, tmp_path: Path, user: tuple[str, str] | None, words: str
    ) -> None:
        with pytest.raises(dcos_etcd.AccessDeniedError, match=words) as caught:
            dcos_etcd.backup(tmp_path / "a.tar.gz", endpoints=authenticated.endpoints, user=user)

        assert "wrong-password-7391" not in f"{caught.value!r} {caught.value}"
        assert caught.value.endpoint == authenticated.endpoints[0]
        nothing_left(tmp_path)


def test_a_server_that_dies_in_the_middle_of_the_stream(tmp_path: Path) -> None:
    """What had arrived is thrown away, and the error tells how much it was."""
    with Cluster(members=1, version="3.5.1", extra_args=["--quota-backend-bytes=1073741824"]) as cluster:
        for number in range(60):
            cluster.etcdctl("put", f"/{number}", stdin=random_text(number, 1_000_000))

        def kill(progress: Any) -> None:
            if progress.stage == "receive" and progress.done:
                cluster.members[0].kill()

        with pytest.raises((dcos_etcd.BrokenStreamError, dcos_etcd.StalledError)) as caught:
            dcos_etcd.backup(tmp_path / "a.tar.gz", **cluster.access, progress=kill, stall_timeout=5)

        assert isinstance(caught.value, (dcos_etcd.BrokenStreamError, dcos_etcd.StalledError))
        assert 0 < caught.value.received < 60_000_000
        nothing_left(tmp_path)


def random_text(seed: int, size: int) -> bytes:
    """Hex digits that do not compress away."""
    return random.Random(seed).randbytes(size // 2).hex().encode()
