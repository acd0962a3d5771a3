"""Builds the fuzz targets and runs each for some time, two beside each other; ends with 1 when one found something.

A corpus of real files is made first where there is none (`corpus.py`). What libFuzzer adds to it stays in `corpus/` for
the next run, and a file that broke something in `findings/`: give that to the target as its only argument to see it
again.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
FINDINGS = HERE / "findings"

TARGETS = ("bbolt", "snapshot", "archive", "wal", "codecs", "snap")

LIMITS = ("-max_len=65536", "-rss_limit_mb=2048", "-timeout=30")
"""Bytes of an input, MiB of the whole process, and seconds for one input. Budgets of memory are in the targets."""

BESIDE_EACH_OTHER = 2

MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of its own is made in it


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}; all of them by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: %(default)s)")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    subprocess.run(["cargo", "build", "--release", "--quiet", "--locked"], cwd=HERE, check=True)
    if not CORPUS.is_dir():
        subprocess.run([sys.executable, HERE / "corpus.py", CORPUS], check=True)
    FINDINGS.mkdir(exist_ok=True)
    with ThreadPoolExecutor(BESIDE_EACH_OTHER) as pool:
        sound = list(pool.map(lambda target: run(target, arguments.seconds), targets))
    return 0 if all(sound) else 1


def run(target: str, seconds: int) -> bool:
    """Run one target; say how many inputs it had, and what it made of them."""
    # Every input is a file.
    scratch = tempfile.mkdtemp(prefix=f"dcos-etcd-fuzz-{target}-", dir=MEMORY if MEMORY.is_dir() else None)
    try:
        done = subprocess.run(
            [
                binary(target),
                *LIMITS,
                f"-max_total_time={seconds}",
                f"-artifact_prefix={FINDINGS}/{target}-",
                "-print_final_stats=1",
                CORPUS / target,
            ],
            env={**os.environ, "TMPDIR": scratch, "RUST_BACKTRACE": "0"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    figures = dict(re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
    coverage = re.findall(r"cov: (\d+)", done.stderr) or ["0"]
    print(
        f"{target:8} {figures.get('number_of_executed_units', '?'):>9} inputs, {coverage[-1]} edges,"
        f" slowest {figures.get('slowest_unit_time_sec', '?')} s, {figures.get('peak_rss_mb', '?')} MiB:"
        f" {'nothing found' if done.returncode == 0 else 'FOUND SOMETHING'}",
        flush=True,
    )
    if done.returncode:
        print("\n".join(done.stderr.splitlines()[-60:]), flush=True)
    return done.returncode == 0


def binary(target: str) -> Path:
    """The program, in the directory of whatever machine this is."""
    [found] = HERE.glob(f"target/*/release/{target}")
    return found


if __name__ == "__main__":
    sys.exit(main())
