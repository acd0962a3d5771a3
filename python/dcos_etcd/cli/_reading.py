"""What the commands that read in a snapshot share."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dcos_etcd.cli._output import warn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

    from dcos_etcd.reader import Snapshot


def add_revision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--revision", metavar="R", type=int, help="as of revision R (default: the newest)")


@contextmanager
def opened(path: str) -> Generator[Snapshot]:
    """Open a snapshot, and say on stderr what there is to know of it."""
    import warnings  # noqa: PLC0415

    from dcos_etcd import reader  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snapshot = reader.open(path, progress=True)
    with snapshot:
        warn(snapshot.warnings)
        yield snapshot
