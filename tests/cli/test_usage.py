from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from dcos_etcd import cli
from dcos_etcd.cli._flags import duration, settle_booleans
from dcos_etcd.cli._main import _parser

if TYPE_CHECKING:
    from cli.conftest import Verb


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["backup"],
        ["backup", "a", "b"],
        ["backup", "a", "--dial-timeout", "5"],
        ["backup", "a", "--stall-timeout", "-1s"],
        *(
            ["backup", "a", f"--max-rate={rate}"]
            for rate in ("0", "-1", "0.4", "", "fast", "1m", "1MiB/s", "1e3", "inf")
        ),
        ["backup", "a", "--max-rate", "1" + "0" * 400],
        ["backup", "a", "--max-rate", str(1 << 64)],
        ["backup", "a", "--insecure-skip-tls-verify"],
        ["backup", "a", "--endpoint", "http://a"],
        ["restore", "a", "--bump-revision", "-1"],
        ["restore", "a", "--bump-revision", str(1 << 64)],
        ["restore", "a", "--skip-hash-check=maybe"],
        ["status", "a", "-w", "xml"],
        ["diagnostic", "-w", "simple"],
        ["backup", "a", "--cert", "c.pem"],
        ["backup", "a", "--key", "c.key"],
        ["backup", "a", "--password", "p"],
    ],
)
def test_wrong_usage_exits_2_with_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("dcos-etcdctl: error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1h", 3600.0),
        ("2h45m", 9900.0),
        ("100us", 1e-4),
        ("100\u00b5s", 1e-4),
        ("100\u03bcs", 1e-4),
        ("10ns", 1e-8),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5S", "-5s", "1s5", "1d", "five", "0s", "1e3s", "\u0665s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        (["--skip-hash-check=true", "x"], ["--skip-hash-check", "x"]),
        (["--skip-hash-check=false", "x"], ["x"]),
        (["--mark-compacted=1"], ["--mark-compacted"]),
        (["--dry-run"], ["--dry-run"]),
        (["--name=true"], ["--name=true"]),
        (["--", "--dry-run=false"], ["--", "--dry-run=false"]),
    ],
)
def test_boolean_flags_take_a_value_as_etcdutls_do(given: list[str], settled: list[str]) -> None:
    assert settle_booleans(given, _parser()) == settled


def test_every_flag_that_takes_no_value_takes_true_and_false() -> None:
    [commands] = (action.choices for action in _parser()._actions if isinstance(action.choices, dict))
    bare = {
        (name, option)
        for name, command in commands.items()
        for action in command._actions
        for option in action.option_strings
        if action.nargs == 0 and option.startswith("--") and option != "--help"
    }
    assert {("restore", "--compact"), ("put-back", "--yes"), ("get", "--history")} <= bare
    for _, option in bare:
        assert settle_booleans([f"{option}=true", f"{option}=false"], _parser()) == [option]


@pytest.mark.parametrize("says", ["true", "false"])
def test_the_flags_of_a_repair_take_a_value(restore: Verb, says: str) -> None:
    repairs = ("compact", "clear_alarms", "disable_auth", "drop_leases")

    assert cli.main(["restore", "x", *(f"--{name.replace('_', '-')}={says}" for name in repairs)]) == 0
    assert {restore.options[name] for name in repairs} == {says == "true"}
