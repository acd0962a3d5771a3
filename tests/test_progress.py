from __future__ import annotations

import io
import os
import signal
import socket
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from dcos_etcd._progress import reporting
from dcos_etcd.models import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A URL that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("progress", [None, False])
def test_without_progress_nobody_is_told(progress: bool | None) -> None:  # noqa: FBT001
    with reporting(progress) as callback:
        assert callback is None


def test_a_callable_gets_events() -> None:
    events: list[Progress] = []

    with reporting(events.append) as callback:
        assert callback is not None
        callback("read", 1, None)
        callback("read", 2, 2)

    assert events == [Progress(stage="read", done=1, total=None), Progress(stage="read", done=2, total=2)]


def stderr_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """No fixture: pytest puts its own stderr back between the set-up of a test and the test."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    return terminal


@pytest.mark.parametrize("stderr", [io.StringIO(), None])
def test_no_bar_is_drawn_without_a_terminal(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None) -> None:
    monkeypatch.setattr("sys.stderr", stderr)

    with reporting(True) as callback:
        assert callback is None


def test_a_bar_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stderr_on_a_terminal(monkeypatch)

    with reporting(True) as callback:
        assert callback is not None
        callback("receive", 500, 1000)
        callback("check", 1000, 1000)

    assert "receiving" in terminal.getvalue()
    assert "checking" in terminal.getvalue()


def test_what_nobody_can_call_is_refused_before_any_work(tmp_path: Path) -> None:
    untyped: Any = 3
    with pytest.raises(dcos_etcd.InvalidArgumentError, match="progress: 3 is neither a bool nor callable"):
        dcos_etcd.verify(tmp_path / "absent.tar.gz", progress=untyped)


def test_a_stage_that_is_announced_and_never_begun_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stderr_on_a_terminal(monkeypatch)

    with reporting(True) as callback:
        assert callback is not None
        callback("read", 0, 1000)
        callback("check", 1000, 1000)

    assert "reading" not in terminal.getvalue()
    assert "checking" in terminal.getvalue()


def test_an_exception_of_the_callback_comes_through_as_itself(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    enough = Enough()

    def callback(_: Progress) -> None:
        raise enough

    snapshot = tmp_path / "etcd_snapshot.db"
    snapshot.write_bytes(os.urandom(4 << 20))
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(snapshot, snapshot.name)
    with pytest.raises(Enough) as caught:
        dcos_etcd.verify(tmp_path / "x.tar.gz", progress=callback)

    assert caught.value is enough


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_of_fork_talks_to_servers_too(silent_server: str) -> None:
    """The runtime of the parent has no threads in the child; it must not be waited for."""
    with pytest.raises(dcos_etcd.EndpointUnavailableError):
        dcos_etcd.member_list(silent_server, dial_timeout=0.2, command_timeout=0.2)

    child = os.fork()
    if child == 0:
        try:
            dcos_etcd.member_list(silent_server, dial_timeout=0.2, command_timeout=0.2)
        except dcos_etcd.EndpointUnavailableError:
            os._exit(7)
        finally:
            os._exit(1)
    alarm = threading.Timer(30, os.kill, (child, signal.SIGKILL))
    alarm.start()
    _, status = os.waitpid(child, 0)
    alarm.cancel()

    assert os.waitstatus_to_exitcode(status) == 7


def test_other_threads_run_while_a_verb_waits(silent_server: str) -> None:
    ticks = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.01):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        with pytest.raises(dcos_etcd.EndpointUnavailableError):
            dcos_etcd.member_list(silent_server, dial_timeout=0.5, command_timeout=0.5)
    finally:
        done.set()
        thread.join()

    assert len(ticks) > 2
