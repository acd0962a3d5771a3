from __future__ import annotations

import argparse
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from command_line import run
from dcos_etcd import cli
from dcos_etcd.cli import _flags
from dcos_etcd.cli._flags import UsageError, cluster_arguments
from dcos_etcd.models import Tls

if TYPE_CHECKING:
    from cli.conftest import Verb


def cluster(arguments: list[str], **environment: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    _flags.add_cluster_flags(parser)
    return cluster_arguments(parser.parse_args(arguments), environment)


def test_without_flags_the_defaults_are_etcdctls() -> None:
    assert cluster([]) == {"tls": None, "user": None, "dial_timeout": 2.0, "command_timeout": 5.0}


def test_endpoints_may_be_listed_and_repeated() -> None:
    given = cluster(["--endpoints", "http://a:2379, http://b:2379", "--endpoints=http://c:2379"])

    assert given["endpoints"] == ["http://a:2379", "http://b:2379", "http://c:2379"]


def test_every_variable_of_etcdctl_is_honoured() -> None:
    given = cluster(
        [],
        ETCDCTL_ENDPOINTS="https://a:2379,https://b:2379",
        ETCDCTL_CACERT="ca.pem",
        ETCDCTL_CERT="c.pem",
        ETCDCTL_KEY="c.key",
        ETCDCTL_USER="root",
        ETCDCTL_PASSWORD="secret",
        ETCDCTL_DIAL_TIMEOUT="1s",
        ETCDCTL_COMMAND_TIMEOUT="1m",
    )

    assert given == {
        "endpoints": ["https://a:2379", "https://b:2379"],
        "tls": Tls(cacert="ca.pem", cert="c.pem", key="c.key"),
        "user": ("root", "secret"),
        "dial_timeout": 1.0,
        "command_timeout": 60.0,
    }


def test_a_flag_wins_over_its_variable() -> None:
    given = cluster(
        ["--endpoints", "http://flag:2379", "--dial-timeout", "3s"],
        ETCDCTL_ENDPOINTS="http://variable:2379",
        ETCDCTL_DIAL_TIMEOUT="9s",
    )

    assert (given["endpoints"], given["dial_timeout"]) == (["http://flag:2379"], 3.0)


def test_a_password_may_hold_colons() -> None:
    assert cluster(["--user", "root:a:b"])["user"] == ("root", "a:b")
    assert cluster(["--user", "root:"])["user"] == ("root", "")
    assert cluster(["--user", "a:b", "--password", "c"])["user"] == ("a:b", "c")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "1"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "perhaps"),
        ("ETCDCTL_INSECURE_TRANSPORT", "false"),
        ("ETCDCTL_DISCOVERY_SRV", "example.org"),
        ("ETCDCTL_DISCOVERY_SRV_NAME", "etcd"),
        ("ETCDCTL_API", "2"),
        ("ETCDCTL_DIAL_TIMEOUT", "5"),
    ],
)
def test_a_variable_that_cannot_be_honoured_is_an_error(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        cluster([], **{variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "false"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "0"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", ""),
        ("ETCDCTL_INSECURE_TRANSPORT", "true"),
        ("ETCDCTL_API", "3"),
    ],
)
def test_a_variable_that_changes_nothing_is_let_be(variable: str, value: str) -> None:
    assert cluster([], **{variable: value}) == cluster([])


def test_flags_may_stand_before_the_command_as_with_etcdctl(backup: Verb) -> None:
    arguments = ["--endpoints", "http://a:2379", "--dial-timeout=1s", "backup", "x", "--endpoints", "http://b:2379"]

    assert cli.main(arguments) == 0
    assert backup.options["endpoints"] == ["http://a:2379", "http://b:2379"]
    assert backup.options["dial_timeout"] == 1.0


def test_a_missing_password_without_a_terminal_is_an_error() -> None:
    # setsid leaves the process without a terminal, whatever runs the tests.
    result = run("backup", "x", "--user", "root", stdin=subprocess.DEVNULL, start_new_session=True)

    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == (
        "dcos-etcdctl: error: no password for user 'root', and no terminal to ask for it"
    )
