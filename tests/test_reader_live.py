"""A member's own database, running, copied or cut: what is read is of one transaction, with a word, or an error."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
import trailer
from conftest import each_line
from dcos_etcd import CompactedError, CorruptSnapshotError, DatabaseChangedError, SnapshotWarning
from dcos_etcd.testing import CommandFailedError
from gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dcos_etcd.testing import Cluster, ClusterFactory

PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}
RUNNING = "is not a snapshot but the database of a running etcd"
COPIED = "is not a snapshot but a copy of a member's database"

PAGE = 4096
META_TXID = 16 + 48
META_CHECKSUM = 16 + 56
"""Offsets in a meta page of bbolt."""

BESIDE: dict[str, Callable[[dcos_etcd.Snapshot], object]] = {
    "members": lambda snapshot: snapshot.members,
    "users": lambda snapshot: snapshot.users,
    "roles": lambda snapshot: snapshot.roles,
    "leases": lambda snapshot: snapshot.leases,
    "alarms": lambda snapshot: snapshot.alarms,
    "auth_enabled": lambda snapshot: snapshot.auth_enabled,
    "cluster_version": lambda snapshot: snapshot.cluster_version,
}


def opened(path: Path) -> dcos_etcd.Snapshot:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SnapshotWarning)
        return dcos_etcd.open(path)


def shell(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dcos_etcd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def running(etcd_cluster: ClusterFactory) -> Cluster:
    """A member with a user, a role, a lease and keys, all of it committed."""
    cluster = etcd_cluster(1)
    cluster.start()
    cluster.etcdctl("user", "add", "alice:x")
    cluster.etcdctl("role", "add", "reader")
    cluster.etcdctl("lease", "grant", "999")
    for number in range(20):
        cluster.etcdctl("put", f"key{number}", "v" * 200)
    commit(cluster)
    return cluster


def commit(cluster: Cluster) -> None:
    """Has etcd write to its file what it holds, as each snapshot does."""
    forced = cluster.members[0].data_dir.parent / "forced"
    forced.unlink(missing_ok=True)
    cluster.etcdctl("snapshot", "save", str(forced))


@pytest.fixture
def copied(running: Cluster, scratch: Path) -> Path:
    """The database of a member that was stopped, elsewhere."""
    running.stop()
    return shutil.copyfile(running.members[0].db, scratch / "copied.db")


@each_line
def test_what_is_beside_the_keys_is_an_error_once_etcd_has_gone_on(running: Cluster) -> None:
    with opened(running.members[0].db) as snapshot:
        assert (len(snapshot.members), len(snapshot.users), len(snapshot.leases)) == (1, 1, 1)
        gateway = Gateway(running.endpoints[0])
        for number in range(120):
            gateway.put(b"k%d" % number, b"x" * 3000)
        for number in range(8):
            gateway.put(b"a", b"%d" % number)
            commit(running)
        gateway.close()

        for name, read in BESIDE.items():
            with pytest.raises(DatabaseChangedError) as error:
                read(snapshot)
            assert error.value.before < error.value.now, name


def test_a_database_that_grows_meanwhile_is_never_called_damaged(running: Cluster, scratch: Path) -> None:
    db = running.members[0].db
    with writing(running):
        for number in range(12):
            with opened(db) as snapshot:
                answers(lambda: len(snapshot))
                answers(snapshot.hash_kv)
                for read in BESIDE.values():
                    answers(lambda: read(snapshot))  # noqa: B023 - it is called at once
            answers(lambda: dcos_etcd.verify(db, skip_hash_check=True))
            data_dir = scratch / f"restored{number}"
            restored = answers(lambda: dcos_etcd.restore(db, data_dir=data_dir, skip_hash_check=True, **PLAN))  # noqa: B023
            assert data_dir.exists() == (restored is not None)
    assert [path.name for path in scratch.iterdir() if path.name.startswith(".")] == []


def answers(read: Callable[[], object]) -> object:
    """What it is, or none where etcd has gone on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SnapshotWarning)
        try:
            return read()
        except DatabaseChangedError:
            return None


class writing:  # noqa: N801 - reads as what goes on meanwhile
    """Somebody who writes all the time, so that the file grows."""

    def __init__(self, cluster: Cluster) -> None:
        self._gateway = Gateway(cluster.endpoints[0])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            self._gateway.put(b"grow%d" % number, b"x" * 20_000)
            time.sleep(0.002)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        self._gateway.close()


def test_verify_status_and_restore_say_that_an_etcd_runs_on_the_file(running: Cluster, scratch: Path) -> None:
    db = running.members[0].db

    with pytest.warns(SnapshotWarning, match=RUNNING) as caught:
        dcos_etcd.status(db)
    assert caught[0].filename == __file__
    assert RUNNING in dcos_etcd.verify(db, skip_hash_check=True).warnings[0]
    report = dcos_etcd.restore(db, data_dir=scratch / "restored", skip_hash_check=True, **PLAN)
    assert sum(RUNNING in warning for warning in report.warnings) == 1
    for arguments in (
        ("status", db),
        ("status", db, "-w", "json"),
        ("verify", db, "--skip-hash-check"),
        ("restore", db, "--skip-hash-check", "--data-dir", scratch / "by shell"),
    ):
        result = shell(*arguments)
        assert result.returncode == 0, result.stderr
        assert RUNNING in " ".join(result.stderr.split()), arguments


@pytest.mark.etcd(version=[">=3.5.30,<3.6", "3.6", "3.7"])
def test_a_copied_database_is_told_from_a_snapshot(running: Cluster, copied: Path, scratch: Path) -> None:
    saved = running.members[0].data_dir.parent / "forced"
    bare = scratch / "bare.db"
    bare.write_bytes(trailer.database(saved))

    for snapshot in (saved, bare):
        with dcos_etcd.open(snapshot) as sound:
            assert sound.warnings == ()
        assert not any("not a snapshot" in word for word in dcos_etcd.verify(snapshot, skip_hash_check=True).warnings)
    with pytest.warns(SnapshotWarning, match=COPIED):
        dcos_etcd.open(copied).close()
    assert COPIED in dcos_etcd.verify(copied, skip_hash_check=True).warnings[0]
    report = dcos_etcd.restore(copied, data_dir=scratch / "restored", skip_hash_check=True, **PLAN)
    assert COPIED in report.warnings[0]


def newest_meta(database: bytes) -> tuple[int, int]:
    """Where it begins, and its transaction."""
    txids = [struct.unpack_from("<Q", database, page * PAGE + META_TXID)[0] for page in (0, 1)]
    newest = txids.index(max(txids))
    return newest * PAGE, txids[newest]


def test_a_damaged_newest_meta_is_told_with_the_transaction_that_is_read(copied: Path) -> None:
    database = bytearray(copied.read_bytes())
    offset, txid = newest_meta(bytes(database))
    database[offset + META_CHECKSUM] ^= 1
    copied.write_bytes(database)

    with pytest.warns(SnapshotWarning, match=rf"one of the two metas is damaged .*transaction {txid - 1} of the other"):
        dcos_etcd.open(copied).close()
    for verb in ("keys", "stats"):
        assert f"transaction {txid - 1} of the other is read" in " ".join(shell(verb, copied).stderr.split())
    assert f"transaction {txid - 1}" in " ".join(shell("get", copied, "key1").stderr.split())


def test_a_file_that_is_cut_while_it_is_open_is_told_with_numbers(copied: Path) -> None:
    before = copied.stat().st_size
    with opened(copied) as whole:
        os.truncate(copied, 3 * PAGE)
        with pytest.raises(CorruptSnapshotError, match=rf"{before} bytes were there .*has {3 * PAGE} bytes now") as cut:
            len(whole)
        [defect] = cut.value.defects
        assert (defect.code, defect.offset is not None and defect.offset >= 3 * PAGE) == ("truncated", True)
        assert defect.page is not None
        os.truncate(copied, 0)
        with pytest.raises(CorruptSnapshotError, match=r"80 bytes are wanted from byte 0 on.* has 0 bytes now"):
            len(whole)


@pytest.mark.parametrize(
    ("name", "property_name"),
    [(b"members", "members"), (b"lease", "leases"), (b"authUsers", "users"), (b"cluster", "cluster_version")],
)
def test_a_bucket_with_a_flipped_bit_in_its_name_is_no_empty_answer(
    copied: Path, name: bytes, property_name: str
) -> None:
    database = copied.read_bytes()
    # The last byte, so that the names are still in order; every copy of the page is damaged alike.
    flipped = name[:-1] + bytes([name[-1] ^ 2])
    copied.write_bytes(database.replace(name, flipped))

    with opened(copied) as snapshot, pytest.raises(CorruptSnapshotError) as error:
        BESIDE[property_name](snapshot)
    assert error.value.defects[0].code == "bucket-name"
    with pytest.raises(CorruptSnapshotError) as judged:
        dcos_etcd.verify(copied, skip_hash_check=True)
    assert "bucket-name" in {defect.code for defect in judged.value.defects}


@pytest.fixture
def compacted(etcd_cluster: ClusterFactory) -> tuple[Cluster, Path]:
    cluster = etcd_cluster(1)
    cluster.start()
    for number in range(9):
        cluster.etcdctl("put", "a", str(number))
    cluster.etcdctl("compact", "5", "--physical")
    saved = cluster.members[0].data_dir.parent / "saved.db"
    cluster.etcdctl("snapshot", "save", str(saved))
    return cluster, saved


@pytest.mark.etcd(version=["3.4", "==3.5.1", ">=3.5.30,<3.6", "3.6", "3.7"])
def test_the_revision_of_the_compaction_is_hashed_where_the_server_does(compacted: tuple[Cluster, Path]) -> None:
    cluster, saved = compacted
    version = cluster.binaries.version
    refuses = version in {"3.4.23", "3.5.1"}

    with dcos_etcd.open(saved) as snapshot:
        if refuses:
            with pytest.raises(CompactedError) as error:
                snapshot.hash_kv(5, etcd_version=version)
            assert (error.value.revision, error.value.compact_revision) == (5, 5)
            with pytest.raises(CompactedError):
                snapshot.at(5).hash_kv(etcd_version=version)
        else:
            assert snapshot.hash_kv(5, etcd_version=version).revision == 5
        assert snapshot.hash_kv(6, etcd_version=version).compact_revision == 5
    if refuses:
        with pytest.raises(CommandFailedError, match="compacted"):
            cluster.etcdctl("endpoint", "hashkv", "--rev=5")
    else:
        assert "compacted" not in cluster.etcdctl("endpoint", "hashkv", "--rev=5")
