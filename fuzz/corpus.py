"""Makes the first corpus of every fuzz target out of real files: snapshots, logs and archives of real etcds.

One small cluster of each release line that is there holds one of everything; what it leaves behind is taken as it is,
in the variants that operators have. Nothing of it is committed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import dcos_etcd
from dcos_etcd.testing import BinariesNotFoundError, Cluster, EtcdBinaries

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from scenario import go_quoted, raise_alarm, transact

if TYPE_CHECKING:
    from collections.abc import Iterator

SEGMENT = b"\nSEGMENT"
"""Between the segments of a log in one input: `dcos_etcd_fuzz::log::SEGMENT`."""

LINES = ("3.4", "3.5", "3.6", "3.7")

MANY = 400
"""Keys of the larger database: enough for branch pages."""

LARGE = b"0" * (140 << 10)
"""A value of which a few fill several blocks of an archive, and next to nothing of a compressed one."""


def main() -> None:
    """Write the corpora below the directory that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where each target gets a directory of its own")
    directory = parser.parse_args().directory
    seeds = 0
    for line in LINES:
        try:
            binaries = EtcdBinaries.find(line)
        except BinariesNotFoundError:
            continue
        with tempfile.TemporaryDirectory(prefix="dcos-etcd-corpus-") as scratch:
            for target, name, content in files_of(binaries, Path(scratch)):
                place = directory / target
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{line}-{name}").write_bytes(content)
                seeds += 1
    if not seeds:
        sys.exit("no etcd was found: make etcd-binaries gets some")
    print(f"{seeds} files of real etcds in {directory}")


def files_of(binaries: EtcdBinaries, scratch: Path) -> Iterator[tuple[str, str, bytes]]:
    """Target, name and content of each seed that one release gives."""
    with Cluster(1, binaries=binaries, extra_args=["--bcrypt-cost=4"], directory=scratch / "cluster") as cluster:
        fill(cluster)
        yield from snapshots(cluster, scratch, "small")
        cluster.etcdctl("alarm", "disarm")
        for start in range(0, MANY, 100):
            keys = (b"many/%04d" % n for n in range(start, start + 100))
            transact(cluster, (f"put {go_quoted(key)} {go_quoted(key * 2)}" for key in keys))
        cluster.etcdctl("compact", "6")
        yield from snapshots(cluster, scratch, "many")
        for n in range(2):
            cluster.etcdctl("put", f"large/{n}", stdin=LARGE)
        yield from packed(cluster, scratch, "large")
        [member] = cluster.members
    yield "wal", "member", log(member.wal_dir)
    for snap in member.db.parent.glob("*.snap"):
        yield "snap", "member", snap.read_bytes()


def fill(cluster: Cluster) -> None:
    """One of everything that a snapshot can hold, in few bytes."""
    for version in range(3):
        cluster.etcdctl("put", "a", f"version {version}")
    transact(cluster, (f"put {go_quoted(bytes([n]))} {go_quoted(bytes([118, n, 0]))}" for n in (0, 47, 255)))
    cluster.etcdctl("put", "/calico/deleted", "gone")
    cluster.etcdctl("del", "/calico/deleted")
    cluster.etcdctl("put", "back", "before")
    cluster.etcdctl("del", "back")
    cluster.etcdctl("put", "back", "again")
    lease = cluster.etcdctl_json("lease", "grant", "3600")["ID"]
    cluster.etcdctl("put", "leased", "x", f"--lease={lease:x}")
    cluster.etcdctl("role", "add", "reader")
    cluster.etcdctl("role", "grant-permission", "reader", "read", "/calico/", "--prefix")
    cluster.etcdctl("user", "add", "alice:wonderland")
    cluster.etcdctl("user", "grant-role", "alice", "reader")
    raise_alarm(cluster, "CORRUPT")
    cluster.etcdctl("alarm", "disarm")
    raise_alarm(cluster)


def snapshots(cluster: Cluster, scratch: Path, name: str) -> Iterator[tuple[str, str, bytes]]:
    """A snapshot of the cluster, and everything that it can be packed into or restored as."""
    yield from packed(cluster, scratch, name)
    plain = unpacked(scratch / f"{name}.tar.gz")
    yield "snapshot", f"{name}.db", plain
    yield "bbolt", f"{name}.db", plain[:-32]
    yield "archive", f"{name}.db", plain
    yield "archive", f"{name}-foreign.tar", tar_of(plain)
    yield "archive", f"{name}-foreign.tar.gz", gzip.compress(tar_of(plain))
    compact = scratch / f"{name}-compact"
    [member] = cluster.members
    dcos_etcd.restore(scratch / f"{name}.tar.gz", **{**member.restore_arguments, "data_dir": compact}, compact=True)
    database = (compact / "member/snap/db").read_bytes()
    yield "bbolt", f"{name}-compact.db", database
    yield "snapshot", f"{name}-compact.db", database + hashlib.sha256(database).digest()
    yield "codecs", f"{name}.db.gz", gzip.compress(database)
    yield "wal", f"{name}-restored", log(compact / "member/wal")
    for snap in (compact / "member/snap").glob("*.snap"):
        yield "snap", f"{name}-restored", snap.read_bytes()


def packed(cluster: Cluster, scratch: Path, name: str) -> Iterator[tuple[str, str, bytes]]:
    """The archives of the product."""
    for suffix in ("tar.gz", "tar.zst"):
        archive = scratch / f"{name}.{suffix}"
        dcos_etcd.backup(archive, **cluster.access)
        yield "archive", f"{name}.{suffix}", archive.read_bytes()


def unpacked(archive: Path) -> bytes:
    """The database in an archive, with its SHA-256."""
    with tarfile.open(archive) as tar:
        entry = tar.extractfile("etcd_snapshot.db")
        if entry is None:
            raise RuntimeError(archive)
        return entry.read()


def tar_of(content: bytes) -> bytes:
    """As Python's `tarfile` writes it, with records of its own before the entry."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("./etcd_snapshot.db")
        entry.size, entry.mtime = len(content), 1_700_000_000.5
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def log(directory: Path) -> bytes:
    """The segments of a log, without the zeros that are allotted behind them but for some."""
    segments = []
    for path in sorted(directory.glob("*.wal")):
        index = int(path.stem.partition("-")[2], 16)
        content = path.read_bytes().rstrip(b"\0")
        content += bytes(-len(content) % 8 + 16)
        segments.append((index, content))
    [(_, first), *others] = segments
    return first + b"".join(SEGMENT + index.to_bytes(8, "little") + content for index, content in others)


if __name__ == "__main__":
    main()
