"""A restore that is killed, or finds the disk full, at any point: the old member or the new one starts, and a second
try succeeds.

The points are all the moments between two changes that a restore makes below etcd's directory, so that nothing lies in
between that another moment could hit; of the many alike, the writes of the database, some are taken.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from conftest import release
from dcos.bed import BACKUPS, CLUSTER_STATE, DATA_DIR, STATE, Bed, copy_tree
from dcos.procedures import ARCHIVE, tree
from dcos_etcd.testing import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dcos.bed import Master

# A hundred restores, starts and second restores are one test.
pytestmark = pytest.mark.timeout(900)

KILLS = 100
FULL_DISKS = 20
BLOBS = 8
BLOB = 1 << 19
"""Enough writes of the database for a hundred points."""

EVERY = 5
"""After one of so many kills the member of the second try is started too; after the others its exit status tells."""

T = TypeVar("T")

TRACER = Path(__file__).with_name("tracer.py")
OLD = f"{BACKUPS}/before"
FILLER = f"{STATE}/.filler"


@dataclass
class Victim:
    """A DC/OS of one master, whose etcd's directory is a file system of its own in memory."""

    bed: Bed
    points: list[str]
    """What a restore over old data changes, in order."""

    @property
    def master(self) -> Master:
        return self.bed.leader

    def reset(self) -> None:
        """Put the old member back, stopped."""
        self.master.kill()
        for path in self.master.path(STATE).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self.master.path(OLD).iterdir():
            copy_tree(path, self.master.path(f"{STATE}/{path.name}"))

    def traced(self, *how: str) -> tuple[dict[str, Any], str]:
        """A restore under the tracer: its report, and what the restore said."""
        command: list[str | Path] = [
            sys.executable,
            "-I",
            "-S",
            TRACER,
            STATE,
            *how,
            "--",
            "dcos-etcdctl",
            "restore",
            ARCHIVE,
        ]
        done = self.master.machine.run(*command)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    def killed(self, number: int) -> list[str]:
        """Kill a restore before a change; the changes that it had made by then.

        One more or one less than at another run may have come before: the database comes in pieces of many sizes.
        """
        report, _ = self.traced("--kill-at", str(number))
        if report["status"] == 0:
            assert len(report["points"]) < number
            return list(report["points"])
        assert (report["status"], len(report["points"])) == (-9, number)
        return list(report["points"][:-1])

    def generation(self) -> str:
        """Start whichever member is there, as its user, and ask it whose it is; an empty one says nothing."""
        self.master.start(wait=True)
        told = self.master.etcdctl("get", "--print-value-only", "generation").strip()
        blobs = self.master.etcdctl_json("get", "blob", "--prefix", "--keys-only").get("count", 0)
        assert blobs == {"restored": BLOBS, "old": 1, "": 0}[told]
        self.master.kill()
        return told


def make_victim(machines: type[Bed], directory: Path) -> Victim:
    bed = machines(directory, 1, [release("3.4")])
    try:
        master = bed.leader
        # Alone it need not wait for others.
        master.configure(ETCD_HEARTBEAT_INTERVAL="10", ETCD_ELECTION_TIMEOUT="100")
        master.machine.must("sh", "-c", f"mount -t tmpfs -o size=700m,mode=755 tmpfs {STATE}; chown dcos_etcd: {STATE}")
        bed.form()
        master.etcdctl("put", "generation", "restored")
        for number in range(BLOBS):
            master.etcdctl("put", f"blob{number}", stdin=bytes([number]) * BLOB)
        master.must_cli("backup", ARCHIVE)
        master.kill()
        master.lose_data()
        master.nodes(bed.masters, "new")
        master.start(wait=True)
        master.etcdctl("put", "generation", "old")
        master.etcdctl("put", "blob", "one")
        master.kill()
        copy_tree(master.path(STATE), master.path(OLD))
        victim = Victim(bed, [])
        report, said = victim.traced()
        assert report["status"] == 0, said
        victim.points = report["points"]
        assert victim.generation() == "restored"
    except BaseException:
        bed.close()
        raise
    return victim


@pytest.fixture(scope="module")
def victims(machines: type[Bed], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Victim]]:
    """Two, for two cores."""
    if platform.machine() != "x86_64":
        pytest.skip("the tracer knows the system calls of Linux on x86-64 only")
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(make_victim, machines, tmp_path_factory.mktemp("victim") / "bed") for _ in range(2)]
    made = [job.result() for job in jobs if job.exception() is None]
    try:
        for job in jobs:
            job.result()
        yield made
    finally:
        for victim in made:
            victim.bed.close()


def chosen(points: list[str], number: int) -> list[int]:
    """Numbers of that many points, from 1: all that are no writes of the database, and of those some, evenly."""
    alike = [n for n, point in enumerate(points, 1) if point.startswith("write ") and point.endswith("/snap/db")]
    others = [n for n in range(1, len(points) + 1) if n not in set(alike)]
    if len(others) >= number:
        return evenly(others, number)
    return sorted([*others, *evenly(alike, number - len(others))])


def evenly(numbers: Sequence[int], count: int) -> list[int]:
    assert len(numbers) >= count
    return [numbers[n * (len(numbers) - 1) // max(count - 1, 1)] for n in range(count)]


def share(victims: list[Victim], numbers: list[int], work: Callable[[Victim, int], T]) -> list[T]:
    """Do the work at each point, each victim its share; results in the order of the points."""

    def some(which: int) -> list[T]:
        return [work(victims[which], number) for number in numbers[which :: len(victims)]]

    with ThreadPoolExecutor(len(victims)) as pool:
        shares = list(pool.map(some, range(len(victims))))
    return [shares[n % len(victims)][n // len(victims)] for n in range(len(numbers))]


def test_killed_at_any_of_a_hundred_points_the_old_or_the_new_member_starts(victims: list[Victim]) -> None:
    numbers = chosen(victims[0].points, KILLS)
    assert len(set(numbers)) == KILLS

    def kill(victim: Victim, number: int) -> str:
        victim.reset()
        done = victim.killed(number)
        # The exchange of the two directories decides: the old one before it, the new one after it, and nothing else.
        exchanged = any(point.startswith("exchange ") for point in done)
        started = victim.generation()
        assert started == ("restored" if exchanged else "old"), done[-1:]
        victim.master.must_cli("restore", ARCHIVE)
        if number % EVERY == 0:
            assert victim.generation() == "restored", done[-1:]
        leftovers = {path.name for path in victim.master.path(STATE).iterdir() if path.name.startswith(".")}
        assert leftovers == set(), done[-1:]
        return started

    assert {"old", "restored"} == set(share(victims, numbers, kill))


def test_killed_where_the_old_data_is_lost_no_start_makes_an_empty_cluster(victims: list[Victim]) -> None:
    victim = victims[0]
    victim.reset()
    victim.master.lose_data()
    report, said = victim.traced()
    assert report["status"] == 0, said

    def kill(each: Victim, number: int) -> str:
        each.reset()
        each.master.lose_data()
        done = each.killed(number)
        fenced = any(point.endswith(f" {CLUSTER_STATE}") for point in done)
        stands = any(point.endswith(f" {DATA_DIR}") for point in done)
        try:
            found = each.generation()
        except NotReadyError:
            found = "does not start"
        # Before its first change a restore can keep nobody from founding what `initial-state` says.
        assert found == ("restored" if stands else "does not start" if fenced else ""), done[-1:]
        each.master.must_cli("restore", ARCHIVE)
        assert each.generation() == "restored"
        return found

    points = report["points"]
    fence = next(n for n, point in enumerate(points, 1) if point.endswith(f" {CLUSTER_STATE}"))
    swap = next(n for n, point in enumerate(points, 1) if point.endswith(f" {DATA_DIR}"))
    numbers = sorted({1, fence, fence + 1, swap, swap + 1, *evenly(range(1, len(points) + 1), FULL_DISKS)})

    assert {"", "does not start", "restored"} == set(share(victims, numbers, kill))


def test_with_the_disk_full_at_any_of_twenty_points_everything_is_as_it_was(victims: list[Victim]) -> None:
    numbers = evenly(chosen(victims[0].points, KILLS), FULL_DISKS)

    def fill(victim: Victim, number: int) -> tuple[int, str]:
        victim.reset()
        before = tree(victim.master)
        report, said = victim.traced("--fill-at", str(number), FILLER)
        # It is not there when this run had one point less than the one that was counted.
        victim.master.path(FILLER).unlink(missing_ok=True)
        if report["status"] == 0:
            # It was through with all that needs space.
            assert victim.generation() == "restored"
            return 0, "restored"
        assert "No space left on device" in said
        assert "Traceback" not in said
        assert tree(victim.master) == before
        started = victim.generation()
        victim.master.must_cli("restore", ARCHIVE)
        assert victim.generation() == "restored"
        return report["status"], started

    found = share(victims, numbers, fill)

    assert set(found) <= {(1, "old"), (0, "restored")}
    assert found.count((1, "old")) >= FULL_DISKS // 2
