"""Files and destinations that are not what they should be: each its own error, and nothing is lost."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
import trailer
from dcos_etcd.testing import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAN: dict[str, Any] = {"name": "m", "initial_cluster": {"m": "http://127.0.0.1:2380"}}


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    """A single running member with a few keys."""
    with Cluster(members=1, version="3.5.1") as cluster:
        for number in range(10):
            cluster.etcdctl("put", f"/key/{number}", "value")
        yield cluster


@pytest.fixture(scope="module")
def saved(member: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `etcdctl snapshot save` writes."""
    path = tmp_path_factory.mktemp("saved") / "snapshot.db"
    member.etcdctl("snapshot", "save", str(path))
    return path


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.type = kind
    info.linkname = link
    return info, content


def archive(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as made:
        for info, content in entries:
            made.addfile(info, io.BytesIO(content))
    return path


def refused(path: Path, tmp_path: Path) -> dcos_etcd.SnapshotError:
    """Both verbs refuse; nothing appears anywhere near the destination."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(dcos_etcd.SnapshotError) as verified:
        dcos_etcd.verify(path)
    with pytest.raises(dcos_etcd.SnapshotError):
        dcos_etcd.restore(path, data_dir=tmp_path / "data", **PLAN)
    assert before == sorted(tmp_path.rglob("*"))
    assert str(path) in str(verified.value)
    return verified.value


class TestBackupRefuses:
    """Before a byte is asked for, the destination must be right."""

    def test_an_archive_that_exists(self, member: Cluster, tmp_path: Path) -> None:
        path = tmp_path / "etcd.tar.gz"
        path.write_text("precious")

        with pytest.raises(dcos_etcd.ArchiveExistsError, match="exists already") as caught:
            dcos_etcd.backup(path, **member.access)

        assert path.read_text() == "precious"
        assert caught.value.filename == str(path)
        assert [path] == list(tmp_path.iterdir())

    def test_a_parent_that_is_missing(self, member: Cluster, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            dcos_etcd.backup(tmp_path / "missing" / "etcd.tar.gz", **member.access)

        assert str(tmp_path / "missing") in str(caught.value)
        assert [] == list(tmp_path.iterdir())

    def test_a_parent_that_is_a_file(self, member: Cluster, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")

        with pytest.raises(NotADirectoryError):
            dcos_etcd.backup(tmp_path / "file" / "etcd.tar.gz", **member.access)

    def test_a_parent_that_cannot_be_written(self, member: Cluster) -> None:
        with pytest.raises(OSError, match="/proc"):
            dcos_etcd.backup(Path("/proc/etcd.tar.gz"), **member.access)


class TestNoSnapshot:
    """Files that hold none, told apart by what they hold."""

    def test_no_such_file(self, tmp_path: Path) -> None:
        for verb in (dcos_etcd.verify, dcos_etcd.status):
            with pytest.raises(FileNotFoundError) as caught:
                verb(tmp_path / "missing.tar.gz")
            assert caught.value.filename == str(tmp_path / "missing.tar.gz")
        with pytest.raises(FileNotFoundError):
            dcos_etcd.restore(tmp_path / "missing.tar.gz", data_dir=tmp_path / "data", **PLAN)
        assert [] == list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (b"", "empty"),
            (b"not a snapshot at all\n" * 50, ""),
            (b"PK\x03\x04" + b"\0" * 600, "zip"),
            (b"\x1f\x8b", ""),
        ],
        ids=["empty", "text", "zip", "half a gzip header"],
    )
    def test_something_else(self, tmp_path: Path, content: bytes, word: str) -> None:
        path = tmp_path / "etcd.tar.gz"
        path.write_bytes(content)

        assert word in str(refused(path, tmp_path))

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises((IsADirectoryError, dcos_etcd.NotASnapshotError)):
            dcos_etcd.verify(tmp_path)

    def test_gzipped_text(self, tmp_path: Path) -> None:
        path = tmp_path / "etcd.tar.gz"
        path.write_bytes(gzip.compress(b"not a snapshot at all\n" * 100))

        assert isinstance(refused(path, tmp_path), dcos_etcd.NotASnapshotError)


class TestHostileArchives:
    """Entries that a careless `extractall` would fall for."""

    def test_no_snapshot_in_it(self, tmp_path: Path) -> None:
        empty = refused(archive(tmp_path / "empty.tar.gz"), tmp_path)
        other = refused(archive(tmp_path / "other.tar.gz", entry("notes.txt", b"hello")), tmp_path)

        assert "empty tar archive" in str(empty)
        assert "etcd_snapshot.db" in str(other)

    def test_two_snapshots_in_it(self, tmp_path: Path, saved: Path) -> None:
        snapshot = entry("etcd_snapshot.db", saved.read_bytes())

        refused(archive(tmp_path / "a.tar.gz", snapshot, snapshot), tmp_path)

    @pytest.mark.parametrize(
        "bad",
        [
            entry("../etcd_snapshot.db", b"x"),
            entry("/etc/etcd_snapshot.db", b"x"),
            entry("sub/../../etcd_snapshot.db", b"x"),
            entry("etcd_snapshot.db", kind=tarfile.SYMTYPE, link="/etc/passwd"),
            entry("etcd_snapshot.db", kind=tarfile.LNKTYPE, link="/etc/passwd"),
            entry("etcd_snapshot.db", kind=tarfile.CHRTYPE),
            entry("etcd_snapshot.db", kind=tarfile.BLKTYPE),
            entry("etcd_snapshot.db", kind=tarfile.FIFOTYPE),
            entry("etcd_snapshot.db", kind=tarfile.DIRTYPE),
        ],
        ids=[
            "..",
            "absolute",
            "hidden ..",
            "symlink",
            "hard link",
            "character device",
            "block device",
            "fifo",
            "directory",
        ],
    )
    @pytest.mark.parametrize("alone", [True, False], ids=["alone", "behind a sound one"])
    def test_an_entry_that_climbs_out_or_is_no_file(
        self, tmp_path: Path, saved: Path, bad: tuple[tarfile.TarInfo, bytes], *, alone: bool
    ) -> None:
        good = [] if alone else [entry("etcd_snapshot.db", saved.read_bytes())]

        refused(archive(tmp_path / "a.tar.gz", *good, bad), tmp_path)

    def test_a_manifest_of_other_bytes(self, tmp_path: Path, member: Cluster) -> None:
        """The manifest's own hash and size must be those of the database beside it."""
        ours = tmp_path / "ours.tar.gz"
        dcos_etcd.backup(ours, **member.access)
        member.etcdctl("put", "/another", "x" * 100_000)
        with tarfile.open(ours) as made:
            manifest = made.extractfile("manifest.json")
            assert manifest is not None
            content = manifest.read()
        member.etcdctl("snapshot", "save", str(tmp_path / "later.db"))
        later = (tmp_path / "later.db").read_bytes()
        mixed = archive(tmp_path / "mixed.tar.gz", entry("etcd_snapshot.db", later), entry("manifest.json", content))

        error = refused(mixed, tmp_path)

        assert isinstance(error, dcos_etcd.CorruptSnapshotError)
        assert "manifest-hash" in {defect.code for defect in error.defects}


class TestHash:
    """A snapshot without its hash is taken only on demand."""

    def test_a_database_without_its_trailer(self, tmp_path: Path, saved: Path) -> None:
        path = tmp_path / "bare.db"
        path.write_bytes(trailer.database(saved))

        with pytest.raises(dcos_etcd.MissingHashError, match="--skip-hash-check"):
            dcos_etcd.verify(path)
        report = dcos_etcd.verify(path, skip_hash_check=True)

        assert not report.hash_checked
        assert dcos_etcd.restore(path, data_dir=tmp_path / "data", skip_hash_check=True, **PLAN).sha256 == report.sha256

    def test_a_wrong_trailer(self, tmp_path: Path, saved: Path) -> None:
        path = tmp_path / "wrong.db"
        path.write_bytes(trailer.database(saved) + b"\0" * 32)

        error = refused(path, tmp_path)

        assert isinstance(error, dcos_etcd.CorruptSnapshotError)
        assert [defect.code for defect in error.defects] == ["hash-mismatch"]

    def test_a_database_of_a_stopped_member(self, tmp_path: Path, saved: Path) -> None:
        """A `db` copied out of a data directory is longer than its high water mark, and has no trailer."""
        path = tmp_path / "copied.db"
        path.write_bytes(trailer.database(saved) + b"\0" * 4096 * 10)

        assert dcos_etcd.verify(path, skip_hash_check=True).warnings


class TestAccepts:
    """What operators already have."""

    def test_a_bare_and_a_gzipped_database_and_the_old_tools_archive(self, tmp_path: Path, saved: Path) -> None:
        """The old tool wrote `tarfile.open(path, "w:gz")` and one `add`."""
        gzipped = tmp_path / "snapshot.db.gz"
        gzipped.write_bytes(gzip.compress(saved.read_bytes()))
        old = tmp_path / "old.tar.gz"
        with tarfile.open(old, "w:gz") as made:
            made.add(saved, arcname="etcd_snapshot.db")

        reports = [dcos_etcd.verify(path) for path in (saved, gzipped, old)]

        assert ["db", "db.gz", "tar.gz"] == [report.kind for report in reports]
        assert len({report.sha256 for report in reports}) == 1
        assert all(report.hash_checked for report in reports)

    def test_the_name_does_not_matter(self, tmp_path: Path, saved: Path) -> None:
        path = tmp_path / "misleading.tar.zst"
        path.write_bytes(saved.read_bytes())

        assert dcos_etcd.verify(path).kind == "db"


class TestRestoreRefuses:
    """Plans that contradict themselves, in etcd's own words."""

    @pytest.mark.parametrize(
        ("plan", "words"),
        [
            ({"name": "x", "initial_cluster": "m=http://127.0.0.1:1"}, "couldn't find local name"),
            (
                {
                    "name": "m",
                    "initial_cluster": "m=http://127.0.0.1:1",
                    "initial_advertise_peer_urls": "http://127.0.0.1:2",
                },
                "--initial-advertise-peer-urls",
            ),
            ({"name": "m", "initial_cluster": "m=http://127.0.0.1:1,n=http://127.0.0.1:1"}, "duplicate url"),
            ({"name": "m", "initial_cluster": "m=127.0.0.1"}, "URL"),
            ({"name": "m", "initial_cluster": "m=http://127.0.0.1:1/"}, "path"),
            ({"name": "m", "initial_cluster": "m=ftp://127.0.0.1:1"}, "scheme"),
        ],
        ids=["name", "advertised", "duplicate", "no scheme", "path", "scheme"],
    )
    def test_a_plan(self, tmp_path: Path, saved: Path, plan: dict[str, Any], words: str) -> None:
        with pytest.raises(dcos_etcd.BootstrapError, match=words):
            dcos_etcd.restore(saved, data_dir=tmp_path / "data", **plan)
        assert [] == list(tmp_path.iterdir())

    def test_a_destination_that_holds_something(self, tmp_path: Path, saved: Path) -> None:
        data_dir = tmp_path / "data"
        data_dir.mkdir()
        (data_dir / "precious").write_text("x")

        with pytest.raises(dcos_etcd.DataDirNotEmptyError, match="not empty or could not be read"):
            dcos_etcd.restore(saved, data_dir=data_dir, **PLAN)

        assert ["precious"] == [path.name for path in data_dir.iterdir()]
        assert ["data"] == [path.name for path in tmp_path.iterdir()]

    def test_a_wal_directory_that_holds_something(self, tmp_path: Path, saved: Path) -> None:
        wal_dir = tmp_path / "wal"
        wal_dir.mkdir()
        (wal_dir / "precious").write_text("x")

        with pytest.raises(dcos_etcd.DataDirNotEmptyError):
            dcos_etcd.restore(saved, data_dir=tmp_path / "data", wal_dir=wal_dir, **PLAN)

        assert ["wal"] == [path.name for path in tmp_path.iterdir()]

    @pytest.mark.parametrize(
        ("bump", "mark"), [(5, False), (None, True), (2**63 - 1, True)], ids=["alone", "mark alone", "too far"]
    )
    def test_half_a_bump_or_one_too_far(self, tmp_path: Path, saved: Path, bump: int | None, *, mark: bool) -> None:
        with pytest.raises(dcos_etcd.InvalidArgumentError, match="--bump-revision"):
            dcos_etcd.restore(saved, data_dir=tmp_path / "data", bump_revision=bump, mark_compacted=mark, **PLAN)
        assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", [dcos_etcd.verify, dcos_etcd.status])
def test_a_progress_callback_that_raises_stops_the_work(saved: Path, verb: Callable[..., object]) -> None:
    """Its own exception comes through."""

    class Enough(Exception):
        pass

    def callback(_: object) -> None:
        raise Enough

    with pytest.raises(Enough):
        verb(saved, progress=callback)
