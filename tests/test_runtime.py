"""The threads under the networked verbs: who waits for whom, and what holds where there are none, or no more time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from command_line import run

if TYPE_CHECKING:
    from dcos_etcd.testing import Cluster

NOBODY = (1 << 20) + os.getpid()
"""A user who has no process, even where tests run side by side."""

PATIENCE = 60


def program(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; one that hangs is killed."""
    command = [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_the_first_verbs_of_a_process_may_come_at_once_in_many_threads() -> None:
    """Also where another thread gets its turn while something is registered for the end of the program."""
    ran = program("""
        import atexit, threading, time
        register = atexit.register
        def slow(*arguments):
            time.sleep(0.2)
            return register(*arguments)
        atexit.register = slow
        import dcos_etcd
        told, together = [], threading.Barrier(8)
        def ask():
            together.wait()
            try:
                dcos_etcd.member_list("http://127.0.0.1:1")
            except dcos_etcd.EndpointUnavailableError:
                told.append("unavailable")
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(*told)
    """)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == ["unavailable"] * 8


class TestThreadsAreShort:
    """A user who may have few threads."""

    def run(self, place: Path, limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As that user, who may read and write everything all the same."""
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            pytest.skip("another user's limit needs root and setpriv")
        user = [f"--reuid={NOBODY}", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        limited = f'ulimit -u {limit}; exec "$@"'
        command = ["setpriv", *user, "bash", "-c", limited, "bash", sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=place)

    @pytest.mark.parametrize("limit", [2, 3, 4])
    def test_too_few_are_told_of_and_nothing_is_left(self, member: Cluster, tmp_path: Path, limit: int) -> None:
        ran = self.run(tmp_path, limit, "-m", "dcos_etcd", "backup", "a.tar.gz", f"--endpoints={member.endpoints[0]}")

        assert ran.returncode == 1
        assert ran.stdout == ""
        line = ran.stderr.splitlines()[-1]
        assert line.startswith("dcos-etcdctl: error: ")
        assert "no further thread can be started" in line
        assert "raise ulimit -u, TasksMax or pids.max" in line
        assert list(tmp_path.iterdir()) == []

    def test_one_thread_that_packs_is_enough(self, member: Cluster, tmp_path: Path) -> None:
        """Beside the first one, the two under the network, and the one that writes."""
        ran = self.run(tmp_path, 5, "-m", "dcos_etcd", "backup", "a.tar.gz", f"--endpoints={member.endpoints[0]}")

        assert ran.returncode == 0, ran.stderr
        assert dcos_etcd.verify(tmp_path / "a.tar.gz").database_size > 0

    def test_it_is_an_os_error_and_later_there_may_be_enough(self, member: Cluster, tmp_path: Path) -> None:
        code = """
            import asyncio, errno, resource, sys
            import dcos_etcd
            from dcos_etcd import aio
            soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
            for limit in (1, 2, 3):
                resource.setrlimit(resource.RLIMIT_NPROC, (limit, hard))
                try:
                    dcos_etcd.member_list(sys.argv[1])
                except OSError as error:
                    assert error.errno == errno.EAGAIN, error
            resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
            print(len(dcos_etcd.member_list(sys.argv[1]).members))
            resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
            print(len(asyncio.run(aio.member_list(sys.argv[1])).members))
            try:
                asyncio.run(aio.verify("absent"))
            except OSError as error:
                print(errno.errorcode[error.errno])
        """
        ran = self.run(tmp_path, 50, "-c", textwrap.dedent(code), member.endpoints[0])

        assert ran.stderr == ""
        assert ran.stdout.split() == ["1", "1", "EAGAIN"]


class TestTheEndOfTheProgram:
    """What handlers of atexit may do."""

    def test_a_last_backup_is_awaited(self, member: Cluster, tmp_path: Path) -> None:
        ran = program(
            """
            import asyncio, atexit, sys
            import dcos_etcd
            def last():
                report = asyncio.run(dcos_etcd.aio.backup(sys.argv[1], endpoints=sys.argv[2]))
                print("last", report.manifest.revision)
            atexit.register(last)
            print(len(dcos_etcd.member_list(sys.argv[2]).members))
            """,
            tmp_path / "etcd.tar.gz",
            member.endpoints[0],
        )

        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.splitlines() == ["1", "last 41"]
        dcos_etcd.verify(tmp_path / "etcd.tar.gz")

    def test_a_handler_that_comes_too_late_is_told_so_and_may_block(self, member: Cluster, tmp_path: Path) -> None:
        ran = program(
            """
            import asyncio, atexit, sys
            @atexit.register
            def too_late():
                try:
                    asyncio.run(dcos_etcd.aio.backup(sys.argv[1], endpoints=sys.argv[2]))
                except RuntimeError as error:
                    print(error)
                print(len(dcos_etcd.member_list(sys.argv[2]).members))
            import dcos_etcd
            dcos_etcd.member_list(sys.argv[2])
            """,
            tmp_path / "etcd.tar.gz",
            member.endpoints[0],
        )

        assert (ran.returncode, ran.stderr) == (0, "")
        told, members = ran.stdout.splitlines()
        assert told.startswith("the interpreter is about to end")
        assert members == "1"
        assert [] == list(tmp_path.iterdir())


class TestVerbsWithinVerbs:
    """Callbacks and handlers of signals may do everything."""

    @pytest.mark.parametrize("name", ["etcd.tar.gz", "etcd.tar.zst"])
    def test_in_a_callback(self, member: Cluster, tmp_path: Path, name: str) -> None:
        seen: list[tuple[str, int]] = []

        def callback(event: dcos_etcd.Progress) -> None:
            inner = tmp_path / f"{len(seen)}.tar.zst"
            if len(seen) < 3:
                dcos_etcd.backup(inner, **member.access, progress=lambda _: dcos_etcd.member_list(**member.access))
            seen.append((event.stage, len(dcos_etcd.member_list(**member.access).members)))

        dcos_etcd.backup(tmp_path / name, **member.access, progress=callback)

        assert {members for _, members in seen} == {1}
        assert seen[0][0] == "receive"
        assert len(list(tmp_path.iterdir())) == 4

    def test_many_at_once(self, member: Cluster, tmp_path: Path) -> None:
        """More than the runtime has threads."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        def nested(number: int) -> int:
            asked = []
            dcos_etcd.backup(
                tmp_path / f"{number}.tar.zst",
                **member.access,
                progress=lambda _: asked.append(dcos_etcd.member_list(**member.access)),
            )
            return len(asked)

        with ThreadPoolExecutor(4) as pool:
            assert min(pool.map(nested, range(4))) > 1
        assert len(list(tmp_path.iterdir())) == 4

    def test_in_the_handler_of_a_signal(self, member: Cluster, tmp_path: Path) -> None:
        ran = program(
            """
            import signal, sys
            import dcos_etcd
            def ask(number, frame):
                print(len(dcos_etcd.member_list(sys.argv[2]).members))
            signal.signal(signal.SIGALRM, ask)
            def begun(event):
                if event.done and not once:
                    once.append(event)
                    signal.setitimer(signal.ITIMER_REAL, 0.01)
            once = []
            dcos_etcd.backup(sys.argv[1], endpoints=sys.argv[2], max_rate=30 << 20, progress=begun)
            """,
            tmp_path / "etcd.tar.gz",
            member.endpoints[0],
        )

        assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "1\n")
        dcos_etcd.verify(tmp_path / "etcd.tar.gz")

    def test_the_callback_is_called_on_the_thread_that_waits(self, member: Cluster, tmp_path: Path) -> None:
        import threading  # noqa: PLC0415

        events = []

        def callback(event: dcos_etcd.Progress) -> None:
            events.append((event, threading.get_ident()))

        dcos_etcd.backup(tmp_path / "etcd.tar.gz", **member.access, progress=callback)

        assert {thread for _, thread in events} == {threading.get_ident()}
        done = [event.done for event, _ in events]
        assert done == sorted(done)
        assert done[-1] == events[-1][0].total


LATE = """
import os, pathlib, signal, sys
import dcos_etcd
signal.signal(signal.SIGINT, signal.default_int_handler)
def stands(event):
    if pathlib.Path(sys.argv[2], "member", "snap", "db").exists():
        os.kill(os.getpid(), signal.SIGINT)
"""


class TestTooLateToStop:
    """Whoever is interrupted when the work came through is told what there is."""

    @pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
    def test_a_backup(self, member: Cluster, tmp_path: Path, number: signal.Signals, word: str) -> None:
        """The signal comes while the archive gets its name."""
        if shutil.which("strace") is None:
            pytest.skip("the moment is hit by strace")
        path = tmp_path / "etcd.tar.gz"
        traced = "link,linkat,rename,renameat,renameat2"
        inject = f"{traced}:delay_exit=1000000:when=1"
        ours = ["backup", str(path), f"--endpoints={member.endpoints[0]}"]
        command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={traced}", "-e", f"inject={inject}"]
        with subprocess.Popen(
            [*command, sys.executable, "-m", "dcos_etcd", *ours],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while not path.exists():
                assert process.poll() is None, process.communicate()
            (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(child), number)
            out, errors = process.communicate(timeout=PATIENCE)

        assert process.returncode == 128 + number
        assert errors.splitlines()[-1] == f"dcos-etcdctl: error: {word}; the archive {path} is whole all the same"
        assert out == ""
        assert [path] == list(tmp_path.iterdir())
        dcos_etcd.verify(path)

    def test_a_restore(self, archive: Path, tmp_path: Path) -> None:
        """The signal comes when the old data is about to be deleted."""
        (tmp_path / "m.etcd" / "member" / "snap").mkdir(parents=True)
        ran = program(
            LATE
            + textwrap.dedent("""
            try:
                plan = {"name": "m", "initial_cluster": "m=http://127.0.0.1:2380"}
                dcos_etcd.restore(sys.argv[1], data_dir=sys.argv[2], existing="discard", progress=stands, **plan)
            except KeyboardInterrupt as stop:
                print(*stop.__notes__, sep="\\n")
            """),
            archive,
            tmp_path / "m.etcd",
        )

        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout == f"the data directory {tmp_path / 'm.etcd'} is whole and in its place all the same\n"
        dcos_etcd.verify(tmp_path / "m.etcd" / "member" / "snap" / "db", skip_hash_check=True)

    def test_work_that_was_stopped_in_time_leaves_nothing_to_tell_of(self, member: Cluster, tmp_path: Path) -> None:
        def callback(_: dcos_etcd.Progress) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as caught:
            dcos_etcd.backup(tmp_path / "etcd.tar.gz", **member.access, progress=callback)

        assert not hasattr(caught.value, "__notes__")
        assert [] == list(tmp_path.iterdir())

    def test_a_report_that_cannot_be_printed(self, member: Cluster, tmp_path: Path) -> None:
        path = tmp_path / "etcd.tar.gz"
        with open("/dev/full", "w") as full:  # noqa: PTH123
            command = [
                sys.executable,
                "-u",
                "-m",
                "dcos_etcd",
                "backup",
                str(path),
                f"--endpoints={member.endpoints[0]}",
            ]
            ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)

        assert ran.returncode == 1
        line = ran.stderr.splitlines()[-1]
        assert line == f"dcos-etcdctl: error: No space left on device (the archive {path} is whole all the same)"
        assert run("verify", path).returncode == 0
