"""One flipped bit, or a cut anywhere: `verify` and `restore` refuse the file, or nothing of it changed."""

from __future__ import annotations

import random
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
import trailer
from conftest import release
from dcos_etcd.testing import Cluster
from evidence import kept
from gateway import Gateway
from oracle import bbolt

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = 1_000
KINDS = ["tar.gz", "tar.zst", "db"]


@dataclass(frozen=True)
class Pristine:
    """A sound snapshot in every container."""

    paths: dict[str, Path]
    reports: dict[str, dcos_etcd.VerifyReport]

    def bytes(self, kind: str) -> bytearray:
        return bytearray(self.paths[kind].read_bytes())


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Pristine:
    """Taken from a real server: keys with versions, a tombstone, a lease, and a value with overflow pages."""
    directory = tmp_path_factory.mktemp("pristine")
    paths = {kind: directory / f"snapshot.{kind}" for kind in KINDS}
    with Cluster(members=1, version="3.5.1") as cluster:
        for number in range(40):
            cluster.etcdctl("put", f"/key/{number % 25}", "value " * (number * 7))
        cluster.etcdctl("put", "/large", "x" * 20_000)
        cluster.etcdctl("del", "/key/3")
        lease = cluster.etcdctl("lease", "grant", "600").split()[1]
        cluster.etcdctl("put", f"--lease={lease}", "/leased", "1")
        dcos_etcd.backup(paths["tar.gz"], **cluster.access)
        dcos_etcd.backup(paths["tar.zst"], **cluster.access)
        cluster.etcdctl("snapshot", "save", str(paths["db"]))
    return Pristine(paths, {kind: dcos_etcd.verify(path) for kind, path in paths.items()})


def judged(path: Path, data_dir: Path) -> dcos_etcd.VerifyReport | None:
    """What `verify` says, after `restore` said the same; `None` for a refusal by both."""
    plan: dict[str, Any] = {"data_dir": data_dir, "name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}
    try:
        report = dcos_etcd.verify(path)
    except dcos_etcd.SnapshotError:
        with pytest.raises(dcos_etcd.SnapshotError):
            dcos_etcd.restore(path, **plan)
        assert not data_dir.exists()
        return None
    assert dcos_etcd.restore(path, dry_run=True, **plan).sha256 == report.sha256
    return report


def facts(report: dcos_etcd.VerifyReport) -> tuple[object, ...]:
    return (report.kind, report.sha256, report.database_size, report.status, report.manifest)


def unpacked(path: Path) -> list[bytes]:
    """What Python's own reader of archives gets."""
    found = []
    with tarfile.open(path, "r:gz") as archive:
        for name in ("etcd_snapshot.db", "manifest.json"):
            file = archive.extractfile(name)
            assert file is not None
            found.append(file.read())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_refused_or_harmless(pristine: Pristine, kind: str, tmp_path: Path) -> None:
    """In a bare database every bit counts; in an archive a few say only when it was made, and by what system."""
    whole = pristine.bytes(kind)
    dice = random.Random(20_000 + len(kind))
    victim = tmp_path / f"victim.{kind}"
    harmless = []
    for _ in range(FLIPS):
        at, bit = dice.randrange(len(whole)), dice.randrange(8)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        victim.write_bytes(damaged)
        with kept(victim):
            report = judged(victim, tmp_path / "data")
            if report is None:
                continue
            harmless.append((at, bit))
            assert facts(report) == facts(pristine.reports[kind]), f"bit {bit} of byte {at} changed what comes out"
            if kind == "tar.gz":
                assert unpacked(victim) == unpacked(pristine.paths[kind])

    # In gzip many tokens have a twin: among zeros, any distance leads to the same bytes.
    most = FLIPS // 6 if kind == "tar.gz" else FLIPS // 20
    assert len(harmless) < most, f"too many flips pass unnoticed: {harmless}"
    if kind == "db":
        assert harmless == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_refused_wherever_it_was_cut(pristine: Pristine, kind: str, tmp_path: Path) -> None:
    """Every 4 KiB, and every one of the last 64 bytes, where trailers and end marks lie."""
    whole = pristine.bytes(kind)
    victim = tmp_path / f"victim.{kind}"
    for length in [*range(0, len(whole), 4096), *range(len(whole) - 64, len(whole))]:
        victim.write_bytes(whole[:length])

        with kept(victim):
            assert judged(victim, tmp_path / "data") is None, f"{length} of {len(whole)} bytes passed"


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_added_behind_the_end_are_refused(pristine: Pristine, kind: str, tmp_path: Path) -> None:
    """Whatever appended them, the file is not what was written."""
    victim = tmp_path / f"victim.{kind}"
    victim.write_bytes(pristine.bytes(kind) + b"more")

    with kept(victim):
        assert judged(victim, tmp_path / "data") is None


def test_every_defect_of_a_database_is_listed_with_its_place(pristine: Pristine, tmp_path: Path) -> None:
    """Two pages that lie about their number, and a wrong trailer, are three findings and more."""
    whole = pristine.bytes("db")
    page_size = 4096
    for page in (0, 1):
        whole[page * page_size + 16 + 56] ^= 1
    victim = tmp_path / "victim.db"
    victim.write_bytes(whole)

    with pytest.raises(dcos_etcd.CorruptSnapshotError) as caught:
        dcos_etcd.verify(victim)

    codes = [defect.code for defect in caught.value.defects]
    assert "hash-mismatch" in codes
    assert len(codes) >= 3
    assert str(victim) in str(caught.value)


def test_verify_and_status_leave_the_file_as_it_is(pristine: Pristine, tmp_path: Path) -> None:
    """Neither its bytes, nor its times, nor its directory change."""
    for kind in KINDS:
        path = tmp_path / f"snapshot.{kind}"
        path.write_bytes(pristine.bytes(kind))
        path.chmod(0o400)
        before = (path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir()))

        dcos_etcd.verify(path)
        dcos_etcd.status(path)

        assert before == (path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir()))


def test_a_file_on_which_a_test_fails_is_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evidence.KEPT", tmp_path / "kept")
    victim = tmp_path / "victim.db"
    victim.write_bytes(b"bytes")
    with kept(victim):
        pass
    assert not (tmp_path / "kept").exists()

    with pytest.raises(AssertionError, match="wrong"), kept(victim):
        raise AssertionError("wrong")

    [copy] = (tmp_path / "kept").iterdir()
    assert copy.read_bytes() == b"bytes"
    assert capsys.readouterr().out == f"the file is kept: {copy}\n"


def leases_come_and_go(gateway: Gateway, dice: random.Random, path: Path, cluster: Cluster) -> list[Path]:
    """Snapshots of a server while its trees of leases and revisions grow and shrink anywhere."""
    live: list[int] = []
    saved = []
    for turn in range(3):
        for _ in range(300):
            live.append(1 + dice.getrandbits(62))
            gateway.call("lease/grant", {"TTL": "36000", "ID": str(live[-1])})
            gateway.put(b"/key/%d" % dice.randrange(400), b"x" * dice.randrange(300))
        live.sort()
        # Some in a row, so that whole leaves become empty, and some here and there.
        gone = live[50:150] + dice.sample(live[150:], 50)
        for lease in gone:
            gateway.call("lease/revoke", {"ID": str(lease)})
        live = sorted(set(live) - set(gone))
        cluster.etcdctl("compact", "--physical", str(gateway.put(b"/last", b"")["header"]["revision"]))
        saved.append(path / f"{turn}.db")
        cluster.etcdctl("snapshot", "save", str(saved[-1]))
    return saved


@pytest.mark.parametrize("line", ["3.4", "3.7"])
def test_a_key_of_a_branch_is_the_first_one_below_it_and_a_flipped_bit_there_is_refused(
    line: str, tmp_path: Path
) -> None:
    """The trailer is right, as that of damage before the snapshot is; the keys of some leaf are all in order."""
    dice = random.Random(line)
    with Cluster(1, binaries=release(line), directory=tmp_path / "cluster") as cluster:
        gateway = Gateway(cluster.endpoints[0])
        saved = leases_come_and_go(gateway, dice, tmp_path, cluster)
        gateway.close()
    assert all(dcos_etcd.verify(path).warnings == () for path in saved)
    with bbolt.Database(saved[-1]) as database:
        database.buckets()
        keys = database.branch_keys
    assert {8, 17} <= {size for _, size in keys}
    whole = bytearray(trailer.database(saved[-1]))
    victim = tmp_path / "victim.db"
    for at, size in keys:
        for bit in dice.sample(range(size * 8), 16):
            whole[at + bit // 8] ^= 1 << bit % 8
            victim.write_bytes(trailer.hashed(whole))
            with pytest.raises(dcos_etcd.CorruptSnapshotError) as caught:
                dcos_etcd.verify(victim)
            assert {"branch-key", "key-below-branch", "key-order"} & {defect.code for defect in caught.value.defects}
            whole[at + bit // 8] ^= 1 << bit % 8
