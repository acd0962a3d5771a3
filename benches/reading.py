"""How fast two million small keys are read, out of a bare file and out of archives.

Run by `make bench-reading`; prints a table as Markdown. No other tool reads them without a server, so there is no peer.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import dcos_etcd
from dcos_etcd.testing import Cluster, make_snapshot

KEYS = 2_000_000
VALUE_LEN = 40

TABLE = "for batch in pyarrow.RecordBatchReader.from_stream(snapshot.to_arrow({})): pass"
WORK = {
    "to_arrow()": TABLE.format(""),
    "to_arrow(keys_only=True)": TABLE.format("keys_only=True"),
    "to_arrow(history=True)": TABLE.format("history=True"),
    "for entry in range()": "for entry in snapshot.range(): pass",
    "stats()": "snapshot.stats()",
    "compare() with itself": "dcos_etcd.compare(path, path)",
}

PROGRAM = """
import re, sys, time
import dcos_etcd, pyarrow
path = sys.argv[1]
# Not what getrusage tells, which begins with what the parent had.
peak = lambda: re.search("VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]
before = peak()
started = time.perf_counter()
with dcos_etcd.open(path) as snapshot:
    {}
print(time.perf_counter() - started, before, peak())
"""


def write(directory: Path) -> list[Path]:
    """Write the same keys as a bare snapshot and, out of a server that has them, as archives of both kinds."""
    chance = random.Random(1)  # noqa: S311 - it is to be the same every time
    keys = {f"/registry/pods/{number % 997:04d}/{number:08d}": chance.randbytes(VALUE_LEN) for number in range(KEYS)}
    bare = directory / "small.db"
    make_snapshot(bare, keys)
    archives = [directory / "small.tar.zst", directory / "small.tar.gz"]
    with tempfile.TemporaryDirectory(dir=directory) as data, Cluster(members=1, directory=data) as cluster:
        [member] = cluster.members
        member.stop()
        cluster.remove_data()
        dcos_etcd.restore(bare, **member.restore_arguments)
        member.start()
        for archive in archives:
            dcos_etcd.backup(archive, **cluster.access)
    return [bare, *archives]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the files go: on a disk, with 2 GiB of room")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        paths = write(Path(directory))
        print("| work | file | seconds | million keys a second | memory beside Python and pyarrow, MiB |")
        print("| --- | --- | ---: | ---: | ---: |")
        for name, code in WORK.items():
            for path in paths:
                seconds, memory = measure(code, path, args.rounds)
                print(f"| `{name}` | {path.suffix} | {seconds:.2f} | {KEYS / seconds / 1e6:.2f} | {memory:.0f} |")


def measure(code: str, path: Path, rounds: int) -> tuple[float, float]:
    """Median of the seconds, and the most MiB of memory above what the start took."""
    command = [sys.executable, "-c", PROGRAM.format(code), str(path)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(rounds)]
    return median(float(run[0]) for run in runs), max(int(run[2]) - int(run[1]) for run in runs) / 1024


if __name__ == "__main__":
    main()
