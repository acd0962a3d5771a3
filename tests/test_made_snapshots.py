"""A snapshot that was made out of keys is what a server would have sent: to our verifier, to etcdutl, to every etcd."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from conftest import LINES, each_line, release
from dcos_etcd.testing import make_snapshot
from scenario import b64

if TYPE_CHECKING:
    from pathlib import Path

    from dcos_etcd.testing import Cluster, RestoredFactory, SnapshotFactory

KEYS: dict[str | bytes, Any] = {
    "/plain": "1",
    b"\x00\xff": b"\xff\x00",
    "/versions": ["old", b"new"],
    "/came-back": ["1", None, "2"],
    "/gone": ["1", None],
    "/empty": "",
    "/große": "ä" * 5000,
}

ENTRIES = {
    b"/plain": (b"1", 2, 2, 1),
    b"\x00\xff": (b"\xff\x00", 3, 3, 1),
    b"/versions": (b"new", 4, 5, 2),
    b"/came-back": (b"2", 8, 8, 1),
    b"/empty": (b"", 11, 11, 1),
    "/große".encode(): ("ä".encode() * 5000, 12, 12, 1),
}
"""Value, create revision, mod revision and version of the keys that live."""


def test_what_is_made_verifies_and_reads_as_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.db"
    assert make_snapshot(path, KEYS) == 12
    report = dcos_etcd.verify(path)
    assert (report.status.revision, report.status.total_key, report.warnings) == (12, len(ENTRIES), ())
    with dcos_etcd.open(path) as snapshot:
        read = {e.key: (e.value, e.create_revision, e.mod_revision, e.version) for e in snapshot.range()}
        assert snapshot.at(6)["/came-back"].value == b"1"
    assert read == ENTRIES


@each_line
def test_every_etcd_takes_it_and_goes_on_from_there(restored_etcd: RestoredFactory) -> None:
    cluster = restored_etcd(KEYS)
    answer = cluster.etcdctl_json("get", "", "--prefix")
    read = {
        b64(kv["key"]): (b64(kv.get("value", "")), kv["create_revision"], kv["mod_revision"], kv["version"])
        for kv in answer["kvs"]
    }
    assert (answer["header"]["revision"], read) == (12, ENTRIES)
    assert value_at(cluster, "/versions", 4) == "old\n"
    cluster.etcdctl("put", "/versions", "newest")
    assert cluster.etcdctl_json("get", "/versions")["kvs"][0]["version"] == 3
    cluster.restart()
    assert value_at(cluster, "/gone", 9) == "1\n"


def value_at(cluster: Cluster, key: str, revision: int) -> str:
    return cluster.etcdctl("get", key, f"--rev={revision}", "--print-value-only")


@pytest.mark.parametrize("line", LINES[1:])
def test_etcdutl_finds_in_it_what_our_status_does(line: str, etcd_snapshot: SnapshotFactory) -> None:
    path = etcd_snapshot({f"/many/{number:05}": "x" * 100 for number in range(5000)})
    told = json.loads(release(line).run_etcdutl("snapshot", "status", path, "--write-out=json"))
    status = dcos_etcd.status(path)
    assert (told["hash"], told["revision"], told["totalSize"]) == (status.hash, status.revision, status.total_size)
    assert status.revision == 5001


def test_a_snapshot_of_no_keys_boots_empty(restored_etcd: RestoredFactory) -> None:
    cluster = restored_etcd({}, members=3)
    assert cluster.etcdctl_json("get", "", "--prefix")["header"]["revision"] == 1
    assert len(cluster.member_list()) == 3


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"": "1"}, "a key is empty"),
        ({"/a": []}, "key '/a' has no versions"),
        ({"/a": [None]}, "key '/a' is deleted when it is not there"),
        ({"/a": ["1", None, None]}, "key '/a' is deleted when it is not there"),
        ({"/a": "1", b"/a": "2"}, "key b'/a' is there twice"),
    ],
)
def test_keys_that_no_server_has_are_refused_by_name(tmp_path: Path, keys: Any, words: str) -> None:
    with pytest.raises(dcos_etcd.InvalidArgumentError, match=words):
        make_snapshot(tmp_path / "snapshot.db", keys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({1: "1"}, "a key is int"),
        ({"/a": 1}, "the value of '/a' is int"),
        ({"/a": ["1", 2]}, "a value of '/a' is int"),
    ],
)
def test_keys_and_values_of_other_types_are_refused(tmp_path: Path, keys: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make_snapshot(tmp_path / "snapshot.db", keys)


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "snapshot.db").write_text("mine")
    with pytest.raises(FileExistsError):
        make_snapshot(tmp_path / "snapshot.db", {"/a": "1"})
    assert (tmp_path / "snapshot.db").read_text() == "mine"
