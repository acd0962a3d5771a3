from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import install
from command_line import environment
from dcos_etcd import changes, cli, exceptions
from dcos_etcd.testing import make_snapshot


@pytest.mark.parametrize(
    ("error", "code", "first_line", "hint"),
    [
        (
            exceptions.ArchiveExistsError("x exists already; choose another name or move it away", path="x"),
            1,
            "x exists already; choose another name or move it away",
            None,
        ),
        (exceptions.InvalidArgumentError("bump needs mark"), 2, "bump needs mark", None),
        (exceptions.BootstrapError("couldn't find local name"), 1, "couldn't find local name", "--initial-cluster"),
        (exceptions.MissingHashError("x: no hash", path="x"), 1, "x: no hash", "--skip-hash-check"),
        (
            exceptions.StalledError("a: silent", endpoint="a", after=1.0, received=0, expected=None),
            1,
            "a: silent",
            "--stall-timeout",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), 1, "x: No such file or directory", None),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "x: No space left on device", None),
        (exceptions.EtcdError("two\nlines"), 1, "two lines", None),
    ],
)
def test_a_failure_is_one_line_and_perhaps_a_hint(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    first_line: str,
    hint: str | None,
) -> None:
    install(monkeypatch, "backup", error)

    assert cli.main(["backup", "x"]) == code
    out, err = capsys.readouterr()
    first, *rest = err.splitlines()
    assert out == ""
    assert first == f"dcos-etcdctl: error: {first_line}"
    assert len(rest) == (hint is not None)
    assert all(line.startswith("hint: ") and hint in line for line in rest if hint)


def test_a_bug_is_not_dressed_up_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "backup", ValueError("a bug"))

    with pytest.raises(ValueError, match="a bug"):
        cli.main(["backup", "x"])


def test_an_interrupt_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, "backup", KeyboardInterrupt())

    assert cli.main(["backup", "x"]) == 130
    assert capsys.readouterr().err == "dcos-etcdctl: error: interrupted\n"


def test_a_reader_that_goes_away_is_no_news() -> None:
    command = f"'{sys.executable}' -m dcos_etcd --version; echo $? >&2"
    process = subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {{ sleep 0.2; {command}; }} | true"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=60)

    assert (out, err) == ("", "141\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("keys", 1),
        ("keys large", 1),
        ("get /1 --print-value-only", 1),
        ("diff", 2),
        ("diff large", 2),
        ("--version", 1),
    ],
)
def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path, command: str, code: int) -> None:
    verb, *rest = command.split()
    # More than stdout keeps back, or less.
    keys = 2000 if rest == ["large"] else 3
    for name, value in (("a.db", "1"), ("b.db", "2")):
        make_snapshot(tmp_path / name, {f"/{number}": value for number in range(keys)})
    paths = {"diff": ["a.db", "b.db"], "--version": []}.get(verb, ["a.db"])
    arguments = [verb, *paths, *(one for one in rest if one != "large")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dcos_etcd", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            # What is written at once fails at once.
            env=environment(PYTHONUNBUFFERED=""),
            cwd=tmp_path,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr) == (code, b"dcos-etcdctl: error: No space left on device\n")


def test_a_bug_in_diff_does_not_say_that_they_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_snapshot(tmp_path / "a.db", {"/a": "1"})
    monkeypatch.setattr(changes, "comparison_json", lambda _: 1 / 0)

    assert cli.main(["diff", str(tmp_path / "a.db"), str(tmp_path / "a.db"), "-w", "json"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("ZeroDivisionError: division by zero\n")


def silent_server() -> tuple[Any, str]:
    import socket  # noqa: PLC0415

    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("command", ["backup", "diagnostic"])
def test_a_signal_stops_at_once_although_the_server_is_silent(
    tmp_path: Path, command: str, number: signal.Signals, code: int
) -> None:
    listener, endpoint = silent_server()
    archive = [str(tmp_path / "x.tar.gz")] if command == "backup" else []
    arguments = [command, *archive, "--endpoints", endpoint, "--dial-timeout", "60s", "--command-timeout", "60s"]
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    program += "from dcos_etcd.cli import main; sys.exit(main(sys.argv[1:]))"
    # A job in the background of a shell ignores SIGINT, one behind nohup SIGHUP, and so would their children; hence the
    # handlers.
    command_line = [sys.executable, "-c", program, *arguments]
    with (
        listener,
        subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        connection, _ = listener.accept()
        with connection:
            time.sleep(0.2)
            sent = time.monotonic()
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
            waited = time.monotonic() - sent

    assert process.returncode == code, err
    assert waited < 20
    assert list(tmp_path.iterdir()) == []
