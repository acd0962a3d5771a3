"""Measures this tool beside the programs that it replaces, in one run on one machine: `make bench`.

A real etcd is filled, then every program does its part several times, interleaved. Nothing is dropped: the tables show
medians, and how far the runs lie apart. Progress goes to stderr, the tables to stdout. With `--large` the database is
written by a program of ours and restored into the server, since filling that with 8 GiB would take an hour; the old way
through `tarfile` is left out then, for it would take another.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dcos_etcd
from cost import Cost
from dcos_etcd.testing import BinariesNotFoundError, Cluster, EtcdBinaries
from fill import SERVER_FLAGS, fill
from report import Row, Run, Step, comparison, every_step, in_turn, summary

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
GIB = 1 << 30

BIN = Path(sys.executable).parent
OURS = str(BIN / "dcos-etcdctl")

ALL_KEYS = 680_000
"""Gives a database of about 1.35 GiB."""

LARGE_KEYS = 3_600_000
"""Gives one of about 8 GiB, as the writer makes them."""

MOST_DISK = 27 * GIB
"""Bytes of disk that must be free for the large database, an archive of each kind and two copies."""

PACKERS = "dcos-etcd-pack"
"""Name of our threads that compress."""

MAX_RATE = 100
"""Mebibytes a second of the backup that is held back while puts are timed: less than half of what a free one takes."""

DISK_PER_KEY = 8 * GIB // ALL_KEYS
"""Bytes of disk that must be free for each key: the server with its log, every archive and one restored copy."""

WRITER = Path("target", "release", "examples", "large_database")
"""Writes the large database; `make` builds it."""

SHORT_RUNS = 11
"""How often the programs run that take milliseconds."""

PACK = """
import sys, tarfile
with tarfile.open(sys.argv[2], "x:gz") as archive:
    archive.add(sys.argv[1], arcname="etcd_snapshot.db")
"""

UNPACK = """
import sys, tarfile
with tarfile.open(sys.argv[1], "r:gz") as archive:
    archive.extractall(sys.argv[2], **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
"""


def say(what: str) -> None:
    """A line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {what}", file=sys.stderr, flush=True)


class Failed(Exception):  # noqa: N818 - a sentence for the one who runs it
    """A program that is measured did not do its work."""


class Bench:
    """Programs to measure, with the results by name.

    Args:
        directory: Where everything is written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.steps: dict[str, Step] = {}

    def path(self, name: str) -> Path:
        """A path in the directory."""
        return self.directory / name

    def run(self, key: str, title: str, command: list[str | Path], result: Path | None = None) -> None:
        """Run a program once and keep what it took.

        Args:
            key: The name of the step that the run belongs to.
            title: What the tables call the step.
            command: The program and its arguments.
            result: What it makes; removed before.

        Raises:
            Failed: Its exit status is not 0, or it did not make its result.
        """
        if result:
            remove(result)
        # What was written before must not be paid for by what is measured now.
        os.sync()
        taken, output = self.path("taken"), self.path("output")
        program = shutil.which(command[0])
        if program is None:
            raise Failed(f"{command[0]} is not on this machine")
        words = [program, *map(str, command[1:])]
        measure = [sys.executable, "-I", "-S", str(HERE / "measure.py"), str(taken), str(output), *words]
        subprocess.run(measure, check=True, env=environment(), stdin=subprocess.DEVNULL)
        usage, *threads = taken.read_text().splitlines()
        wall, user, system, peak, disk, status = usage.split()
        packing = sum(
            float(seconds) for seconds, _, name in (line.partition(" ") for line in threads) if name == PACKERS
        )
        if status != "0" or (result and not result.exists()):
            raise Failed(f"{title} exited with {status}: {output.read_text(errors='replace')[-2000:]}")
        run = Run(
            float(wall),
            float(user) + float(system),
            int(peak) * 1024,
            size_of(result) if result else 0,
            packing,
            int(disk),
        )
        self.steps.setdefault(key, Step(title)).runs.append(run)
        say(f"{title}: {run.wall:.2f} s")

    def __getitem__(self, key: str) -> Step:
        """The results of a step."""
        return self.steps[key]


# Files


def remove(path: Path) -> None:
    """Remove a file or a directory with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """The length of a file; of a data directory, that of its database."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*db"))
    return path.stat().st_size


def environment() -> dict[str, str]:
    """The environment without what would speak to etcd's programs or to ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ETCD", "DCOS_ETCD", "PYTHON"))}


def filesystem_of(directory: Path) -> str:
    """The type of the file system that a directory is on."""
    said = subprocess.run(["df", "--output=fstype", directory], check=True, capture_output=True, text=True)
    return said.stdout.split()[-1]


# The work


class Networked:
    """Backups of a running member."""

    def __init__(self, bench: Bench, binaries: EtcdBinaries, url: str) -> None:
        self.bench, self.binaries, self.url = bench, binaries, url
        self.etcdctl, self.version = binaries.etcdctl, binaries.version

    def ours(self, name: str) -> None:
        """One pass into an archive."""
        archive = self.bench.path(f"ours.{name}")
        command: list[str | Path] = [OURS, "backup", archive, "--endpoints", self.url]
        self.bench.run(f"backup {name}", f"dcos-etcdctl backup .{name}", command, archive)

    def save(self) -> None:
        """A snapshot."""
        db = self.bench.path("peer.db")
        command: list[str | Path] = [self.etcdctl, f"--endpoints={self.url}", "snapshot", "save", db]
        self.bench.run("save", f"etcdctl {self.version} snapshot save", command, db)

    def theirs(self) -> None:
        """A snapshot, then an archive of it."""
        self.save()
        db, archive = self.bench.path("peer.db"), self.bench.path("peer.tar.gz")
        self.bench.run("pack", "tarfile x:gz", [sys.executable, "-c", PACK, db, archive], archive)

    def round(self, *, backwards: bool) -> None:
        """Everything once."""
        works: list[Callable[[], None]] = [self.theirs, lambda: self.ours("tar.gz"), lambda: self.ours("tar.zst")]
        for work in reversed(works) if backwards else works:
            work()

    def under_load(self, cost: Cost, *, backwards: bool) -> None:
        """Every way to a snapshot once, while puts are timed; these runs are in no other table."""
        aside = Networked(Bench(self.bench.path("aside")), self.binaries, self.url)
        aside.bench.directory.mkdir(exist_ok=True)
        held = aside.bench.path("held.tar.zst")
        slowly: list[str | Path] = [OURS, "backup", held, "--endpoints", self.url, "--max-rate", f"{MAX_RATE}MiB"]
        works: dict[str, Callable[[], None] | None] = {
            "nothing": None,
            f"etcdctl {self.version} snapshot save": aside.save,
            "dcos-etcdctl backup .tar.zst": lambda: aside.ours("tar.zst"),
            "dcos-etcdctl backup .tar.gz": lambda: aside.ours("tar.gz"),
            f"dcos-etcdctl backup .tar.zst --max-rate {MAX_RATE}MiB": lambda: aside.bench.run(
                "held", f"dcos-etcdctl backup .tar.zst --max-rate {MAX_RATE}MiB", slowly, held
            ),
        }
        for what, work in reversed(works.items()) if backwards else works.items():
            cost.during(what, work)
        remove(aside.bench.directory)


class Offline:
    """Restore, status and verify, from the files that the backups left."""

    def __init__(self, bench: Bench, binaries: EtcdBinaries, old: EtcdBinaries | None) -> None:
        self.bench, self.binaries, self.old = bench, binaries, old
        self.db = bench.path("peer.db")

    def restore(self, source: Path, name: str) -> None:
        """Our restore."""
        made = self.bench.path("restored")
        command: list[str | Path] = [OURS, "restore", source, "--data-dir", made]
        self.bench.run(f"restore {name}", f"dcos-etcdctl restore .{name}", command, made)
        remove(made)

    def verify(self, name: str) -> None:
        """Our verify of an archive."""
        archive = self.bench.path(f"ours.{name}")
        self.bench.run(f"verify {name}", f"dcos-etcdctl verify .{name}", [OURS, "verify", archive])

    def unpack(self) -> None:
        """The old tool's way back, as far as the database."""
        into = self.bench.path("unpacked")
        command: list[str | Path] = [sys.executable, "-c", UNPACK, self.bench.path("peer.tar.gz"), into]
        self.bench.run("unpack", "untar", command, into)
        remove(into)

    def etcdutl_restore(self) -> None:
        """The restore of etcd 3.5."""
        made, program = self.bench.path("restored"), self.binaries.etcdutl or "etcdutl"
        command: list[str | Path] = [program, "snapshot", "restore", self.db, "--data-dir", made]
        self.bench.run("etcdutl restore", f"etcdutl {self.binaries.version} snapshot restore", command, made)
        remove(made)

    def etcdctl_restore(self) -> None:
        """The restore of etcd 3.4."""
        if self.old:
            made = self.bench.path("restored")
            command: list[str | Path] = [self.old.etcdctl, "snapshot", "restore", self.db, "--data-dir", made]
            self.bench.run("etcdctl restore", f"etcdctl {self.old.version} snapshot restore", command, made)
            remove(made)

    def our_status(self) -> None:
        """Our figures of a bare database."""
        self.bench.run("status", "dcos-etcdctl status .db", [OURS, "status", self.db])

    def etcdutl_status(self) -> None:
        """The same of etcd 3.5."""
        command: list[str | Path] = [self.binaries.etcdutl or "etcdutl", "snapshot", "status", self.db]
        self.bench.run("etcdutl status", f"etcdutl {self.binaries.version} snapshot status", command)

    def copy(self) -> None:
        """A copy without and with its way to the disk."""
        copy = self.bench.path("copy.db")
        self.bench.run("cp", "cp", ["cp", self.db, copy], copy)
        script = 'cp "$1" "$2" && sync "$2"'
        self.bench.run("cp sync", "cp + sync", ["sh", "-c", script, "sh", self.db, copy], copy)
        remove(copy)

    def digest(self) -> None:
        """One SHA-256 pass."""
        self.bench.run("openssl", "openssl dgst -sha256", ["openssl", "dgst", "-sha256", self.db])

    def round(self, *, backwards: bool, old_way: bool = True) -> None:
        """Everything once."""
        works: list[Callable[[], None]] = [
            lambda: self.restore(self.db, "db"),
            self.etcdutl_restore,
            self.copy,
            self.digest,
            lambda: self.restore(self.bench.path("ours.tar.gz"), "tar.gz"),
            *([self.unpack] if old_way else []),
            lambda: self.restore(self.bench.path("ours.tar.zst"), "tar.zst"),
            *([self.etcdctl_restore] if old_way else []),
            self.our_status,
            self.etcdutl_status,
            lambda: self.verify("tar.gz"),
            lambda: self.verify("tar.zst"),
        ]
        for work in reversed(works) if backwards else works:
            work()


def starts(bench: Bench, binaries: EtcdBinaries) -> None:
    """What it takes before any work begins."""
    for _ in range(SHORT_RUNS):
        bench.run("python", "python -c pass", [sys.executable, "-c", "pass"])
        bench.run("import", "import dcos_etcd", [sys.executable, "-c", "import dcos_etcd"])
        bench.run("import verb", "import one verb", [sys.executable, "-c", "from dcos_etcd import restore"])
        bench.run("help", "dcos-etcdctl --help", [OURS, "--help"])
        bench.run("etcdctl help", f"etcdctl {binaries.version} --help", [binaries.etcdctl, "--help"])


# What it comes to


def rows(bench: Bench) -> list[Row]:
    """The comparisons, with the targets that the project has set itself."""
    save, pack, unpack = bench["save"], bench["pack"], bench["unpack"]
    old_backup, old_restore = in_turn([save, pack]), in_turn([unpack, bench["etcdutl restore"]])
    old_status = in_turn([unpack, bench["etcdutl status"]])
    slower = max(bench["cp"], bench["openssl"], key=lambda step: step.wall)
    made = [
        Row("backup .tar.gz", bench["backup tar.gz"], old_backup, 6, 1.07),
        Row("backup .tar.zst", bench["backup tar.zst"], old_backup, 8, 1),
        Row("backup .tar.zst", bench["backup tar.zst"], save, 1 / 1.1, less_cpu=True),
        Row("restore .tar.gz", bench["restore tar.gz"], old_restore, 5),
        Row("restore .tar.zst", bench["restore tar.zst"], old_restore, 6),
        Row("restore .db", bench["restore db"], bench["etcdutl restore"], 2.5),
        Row("restore .db", bench["restore db"], slower, 1 / 1.3),
        Row("restore .db", bench["restore db"], bench["cp sync"]),
        Row("status .db", bench["status"], bench["etcdutl status"], 1.5),
        Row("verify .tar.gz", bench["verify tar.gz"], old_status, 4),
        Row("verify .tar.zst", bench["verify tar.zst"], old_status, 4),
        Row("import dcos_etcd", bench["import"], bench["python"], seconds=0.050),
        Row("from dcos_etcd import restore", bench["import verb"], bench["python"]),
        Row("--help", bench["help"], bench["etcdctl help"], seconds=0.120),
    ]
    if "etcdctl restore" in bench.steps:
        oldest_restore = in_turn([unpack, bench["etcdctl restore"]])
        made.insert(5, Row("restore .tar.gz", bench["restore tar.gz"], oldest_restore))
    return made


def large_rows(bench: Bench) -> list[Row]:
    """The comparisons on the large database: what it shows is the memory."""
    slower = max(bench["cp"], bench["openssl"], key=lambda step: step.wall)
    return [
        Row("backup .tar.gz", bench["backup tar.gz"], bench["save"]),
        Row("backup .tar.zst", bench["backup tar.zst"], bench["save"], 1 / 1.1, less_cpu=True),
        Row("restore .tar.gz", bench["restore tar.gz"], bench["etcdutl restore"]),
        Row("restore .tar.zst", bench["restore tar.zst"], bench["etcdutl restore"]),
        Row("restore .db", bench["restore db"], bench["etcdutl restore"], 2.5),
        Row("restore .db", bench["restore db"], slower, 1 / 1.3),
        Row("status .db", bench["status"], bench["etcdutl status"], 1.5),
        Row("verify .tar.gz", bench["verify tar.gz"], bench["etcdutl status"]),
        Row("verify .tar.zst", bench["verify tar.zst"], bench["etcdutl status"]),
    ]


def describe(bench: Bench, keys: int, rounds: int) -> str:
    """The machine, the data and the programs."""
    size = size_of(bench.path("peer.db"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    system = os.uname()
    cores = f"{len(os.sched_getaffinity(0))} cores{f' ({cpu[1]})' if cpu else ''}"
    lines = [
        f"dcos-etcd {dcos_etcd.__version__}, commit {commit()}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        f"{cores}, {memory:.0f} GiB of memory, {system.sysname} {system.release}, {filesystem_of(bench.directory)}",
        f"database of {size / GIB:.3f} GiB with {keys} keys, {rounds} rounds",
        f"Python {sys.version.split()[0]}, {first_line('openssl', 'version')}, {first_line('cp', '--version')}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def first_line(*command: str) -> str:
    """The first line that a program prints."""
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    return said.stdout.partition("\n")[0]


def commit() -> str:
    """The commit that is checked out, with a mark when files differ from it."""
    try:
        return first_line("git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def measure(bench: Bench, keys: int, rounds: int) -> str:
    """Measure everything and return the report."""
    binaries = programs()
    try:
        old = EtcdBinaries.find("3.4")
    except BinariesNotFoundError:
        old = None
    with Cluster(members=1, binaries=binaries, directory=bench.path("cluster"), extra_args=SERVER_FLAGS) as cluster:
        member = cluster.members[0]
        say(f"putting {keys} keys into etcd {binaries.version}")
        fill(member.client_url, keys)
        # With a snapshot of its own behind it, the server has no backlog to write while it is measured.
        member.restart()
        say(f"database of {member.db.stat().st_size / GIB:.3f} GiB")
        networked = Networked(bench, binaries, member.client_url)
        for number in range(rounds):
            networked.round(backwards=number % 2 == 1)
        # A put waits for the disk, as everywhere but in tests.
        cluster.extra_args.append("--unsafe-no-fsync=false")
        member.restart()
        cost = Cost(member.client_url)
        for number in range(rounds):
            networked.under_load(cost, backwards=number % 2 == 1)
    remove(bench.path("cluster"))
    offline = Offline(bench, binaries, old)
    for number in range(rounds):
        offline.round(backwards=number % 2 == 1)
    starts(bench, binaries)
    compared = rows(bench)
    tables = [comparison(compared), summary(compared), cost.report(), every_step(bench.steps.values())]
    return "\n\n".join([describe(bench, keys, rounds), *tables])


def measure_large(bench: Bench, keys: int, rounds: int) -> str:
    """Measure what a large database needs and return the report."""
    binaries = programs()
    written = bench.path("written.db")
    say(f"writing a database of {keys} keys")
    subprocess.run([HERE.parent / WRITER, written, str(keys)], check=True)
    with Cluster(members=1, binaries=binaries, directory=bench.path("cluster"), extra_args=SERVER_FLAGS) as cluster:
        member = cluster.members[0]
        cluster.stop()
        cluster.remove_data()
        say(f"restoring its {written.stat().st_size / GIB:.3f} GiB for etcd {binaries.version}")
        subprocess.run([OURS, "restore", written, *member.restore_flags], check=True, stdout=subprocess.DEVNULL)
        remove(written)
        cluster.start()
        networked = Networked(bench, binaries, member.client_url)
        for number in range(rounds):
            works: list[Callable[[], None]] = [
                networked.save,
                lambda: networked.ours("tar.gz"),
                lambda: networked.ours("tar.zst"),
            ]
            for work in reversed(works) if number % 2 else works:
                work()
    remove(bench.path("cluster"))
    offline = Offline(bench, binaries, None)
    for number in range(rounds):
        offline.round(backwards=number % 2 == 1, old_way=False)
    compared = large_rows(bench)
    tables = [comparison(compared), summary(compared), every_step(bench.steps.values())]
    return "\n\n".join([describe(bench, keys, rounds), *tables])


def programs() -> EtcdBinaries:
    """The release that is measured against."""
    binaries = EtcdBinaries.find("3.5")
    if binaries.etcdutl is None:
        raise Failed(f"etcd {binaries.version} came without etcdutl")
    return binaries


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="measure this tool beside those that it replaces")
    parser.add_argument("--large", action="store_true", help="a database of 8 GiB, without the old way through tarfile")
    parser.add_argument("--keys", type=int, help=f"size of the database (default {ALL_KEYS}, large {LARGE_KEYS})")
    parser.add_argument("--rounds", type=int, help="how often each program runs (default 3, large 1)")
    parser.add_argument("--directory", help="where to write, on a disk (default $TMPDIR or /tmp)")
    arguments = parser.parse_args()
    work, keys, rounds, disk = (
        (measure_large, LARGE_KEYS, 1, MOST_DISK // LARGE_KEYS)
        if arguments.large
        else (measure, ALL_KEYS, 3, DISK_PER_KEY)
    )
    keys, rounds = arguments.keys or keys, arguments.rounds or rounds
    # Ended by Ctrl-C or by kill, wherever it was started from: the directory goes.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="dcos-etcd-bench-", dir=arguments.directory) as name:
        directory = Path(name)
        if (kind := filesystem_of(directory)) in {"tmpfs", "ramfs"}:
            parser.exit(
                1, f"{directory.parent} is in memory ({kind}): say where a disk is with --directory or TMPDIR\n"
            )
        needed, free = keys * disk, shutil.disk_usage(directory).free
        if free < needed:
            parser.exit(1, f"{free / GIB:.1f} GiB are free in {directory.parent}, {needed / GIB:.1f} are needed\n")
        try:
            print(work(Bench(directory), keys, rounds))
        except (Failed, BinariesNotFoundError) as error:
            parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
