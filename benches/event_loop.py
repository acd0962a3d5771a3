"""How late an event loop gets to its other work while it awaits ours: `make bench-loop`.

A heartbeat shares the loop with each verb, and another one beats beside it in a process of its own that does nothing
else. Prints a table as Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import dcos_etcd
from bench import HERE, WRITER, remove
from cost import quantile
from dcos_etcd import aio
from dcos_etcd.testing import Cluster, EtcdBinaries
from fill import SERVER_FLAGS
from heartbeat import Beat, Heartbeat
from report import table

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dcos_etcd import Progress

KEYS = 680_000
"""Gives a database of about 1.5 GiB."""

IDLE = 5.0
"""Seconds that are measured without any work."""

AFTER = 0.05
"""Seconds for which the heart goes on beating, so that a beat which the end of the work held up counts."""


class Work(NamedTuple):
    """What is awaited.

    Attributes:
        begin: Makes the coroutine.
        makes: What is removed before.
    """

    begin: Callable[[], Coroutine[Any, Any, object]]
    makes: Path | None = None


def told(_: Progress) -> None:
    """Take notice of progress, which is what the loop has to do for the verb."""


def works(directory: Path, written: Path, access: dict[str, Any]) -> dict[str, Work]:
    """What is awaited, by name; the backups come first, for the others read what they made."""
    archives = {f".{kind}": directory / f"made.{kind}" for kind in ("tar.gz", "tar.zst")}
    files = {**archives, ".db": written}
    restored = directory / "restored"
    backup = partial(aio.backup, **access, progress=told)
    return {
        "nothing": Work(partial(asyncio.sleep, IDLE)),
        **{f"aio.backup {kind}": Work(partial(backup, path), path) for kind, path in archives.items()},
        **{f"aio.verify {kind}": Work(partial(aio.verify, path, progress=told)) for kind, path in files.items()},
        **{
            f"aio.restore {kind}": Work(partial(aio.restore, path, data_dir=restored, progress=told), restored)
            for kind, path in files.items()
        },
    }


def measured(work: Work) -> tuple[list[Beat], list[Beat]]:
    """Do the work; gives the beats of its loop, and those of the idle loop beside it."""
    if work.makes:
        remove(work.makes)
    # What was written before must not be paid for by what is measured now.
    os.sync()
    with subprocess.Popen(
        [sys.executable, HERE / "heartbeat.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as idle:
        if idle.stdin is None:
            raise RuntimeError("the idle loop has no pipe")
        beats = asyncio.run(beating(work, idle.stdin))
        said, _ = idle.communicate()
    return beats, [Beat(*beat) for beat in json.loads(said)]


async def beating(work: Work, orders: IO[str]) -> list[Beat]:
    """Do the work on the loop that beats, and have the idle one beat meanwhile."""
    heartbeat = Heartbeat()
    # By then both have started, and neither has anything to do.
    await asyncio.sleep(1)
    orders.write("begin\n")
    orders.flush()
    heartbeat.begin()
    await work.begin()
    await asyncio.sleep(AFTER)
    return heartbeat.end()


HEADINGS = [
    "while",
    "heartbeat",
    "beats",
    "late p50, ms",
    "p99, ms",
    "max, ms",
    "not queued p99, ms",
    "max, ms",
    "on a processor max, ms",
]


def line(what: str, where: str, beats: list[Beat]) -> list[str]:
    """The cells of a line."""
    late, held = [beat.late for beat in beats], [beat.held for beat in beats]
    figures = [quantile(late, 50), quantile(late, 99), max(late), quantile(held, 99), max(held)]
    figures.append(max(beat.ran for beat in beats))
    return [what, where, str(len(beats)), *(f"{1000 * figure:.2f}" for figure in figures)]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="where the files go: on a disk, with 8 GiB of room")
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    beats: dict[tuple[str, str], list[Beat]] = {}
    with tempfile.TemporaryDirectory(dir=args.directory) as name:
        directory = Path(name)
        written = directory / "written.db"
        subprocess.run([HERE.parent / WRITER, written, str(args.keys)], check=True)
        with Cluster(
            members=1, binaries=EtcdBinaries.find("3.5"), directory=directory / "cluster", extra_args=SERVER_FLAGS
        ) as cluster:
            [member] = cluster.members
            member.stop()
            cluster.remove_data()
            dcos_etcd.restore(written, **member.restore_arguments)
            member.start()
            for _ in range(args.rounds):
                for what, work in works(directory, written, cluster.access).items():
                    ours, idle = measured(work)
                    beats.setdefault((what, "the verb's loop"), []).extend(ours)
                    beats.setdefault((what, "an idle process"), []).extend(idle)
    print(table(HEADINGS, [line(what, where, of) for (what, where), of in beats.items()]))


if __name__ == "__main__":
    main()
