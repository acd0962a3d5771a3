"""Snapshots as tables: whoever speaks Arrow's PyCapsule interface takes them, in batches of bounded size."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped] # it brings no types
import pytest

import dcos_etcd
from dcos_etcd import Entry
from gateway import Gateway, put
from oracle import bbolt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dcos_etcd.testing import ClusterFactory
    from scenario import Source

COLUMNS = ["key", "value", "create_revision", "mod_revision", "version", "lease"]


@pytest.fixture
def one(source: Callable[[str], Source]) -> Source:
    return source("3.6")


def entries(table: Any) -> list[Entry]:
    return [Entry(**{name: row[name] for name in COLUMNS}) for row in table.to_pylist()]


def test_a_table_holds_the_live_keys_in_the_order_of_their_changes(one: Source) -> None:
    for path in (one.archive, one.db):
        with dcos_etcd.open(path) as snapshot:
            table = pa.table(snapshot.to_arrow())
            older = snapshot.at(one.compacted)
            revisions = table["mod_revision"].to_pylist()
            assert revisions == sorted(revisions)
            assert sorted(entries(table)) == [*snapshot.values()]
            assert sorted(entries(pa.table(older.to_arrow()))) == [*older.values()]
            assert table.column_names == COLUMNS
            assert {str(table.schema.field(name).type) for name in COLUMNS} == {"binary", "int64"}
            assert not any(table.schema.field(name).nullable for name in COLUMNS)
            table.validate(full=True)


def test_a_table_of_the_history_has_every_version_and_needs_no_index(one: Source) -> None:
    with dcos_etcd.open(one.db) as snapshot:
        table = pa.table(snapshot.to_arrow(history=True))
        back = snapshot.history("back")
        older = pa.table(snapshot.at(one.compacted).to_arrow(history=True, prefix="back"))

    rows = table.to_pylist()
    assert table.column_names == [*COLUMNS, "deleted"]
    assert [row["mod_revision"] for row in rows] == sorted(row["mod_revision"] for row in rows)
    assert [Entry(**{name: row[name] for name in COLUMNS}) for row in rows if row["key"] == b"back"] == back
    assert {row["deleted"] for row in rows} == {True, False}
    assert all(row["deleted"] == (row["version"] == 0) for row in rows)
    assert {row["key"] for row in older.to_pylist()} == {b"back"}


def test_a_table_of_a_prefix_or_of_keys_alone_has_no_more(one: Source) -> None:
    with dcos_etcd.open(one.archive) as snapshot:
        table = pa.table(snapshot.to_arrow(prefix="leased/", keys_only=True))
        expected = [entry.key for entry in snapshot.range(prefix="leased/")]
        between = pa.table(snapshot.to_arrow(start="leased/", end="leased/4"))

    assert table.column_names == [name for name in COLUMNS if name != "value"]
    assert table["key"].to_pylist() == expected
    assert between["key"].to_pylist() == [key for key in expected if key < b"leased/4"]


def test_a_stream_can_be_taken_again_and_outlives_its_snapshot(one: Source) -> None:
    with dcos_etcd.open(one.db) as snapshot:
        stream = snapshot.to_arrow()
        first = pa.table(stream)
    second = pa.RecordBatchReader.from_stream(stream).read_all()

    assert first.equals(second)


def test_an_empty_table_has_its_columns(one: Source) -> None:
    with dcos_etcd.open(one.db) as snapshot:
        table = pa.table(snapshot.to_arrow(prefix="nothing begins so"))

    assert (table.num_rows, table.column_names) == (0, COLUMNS)


def test_batches_are_cut_by_rows_and_by_bytes(scratch: Path, etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    gateway = Gateway(cluster.endpoints[0])
    for number in range(700):
        gateway.transact([put(b"small/%d/%d" % (number, sub), b"x") for sub in range(100)])
    for number in range(20):
        gateway.put(b"large/%d" % number, bytes(1_000_000))
    gateway.close()
    path = scratch / "etcd.tar.zst"
    dcos_etcd.backup(path, **cluster.access)
    with dcos_etcd.open(path) as snapshot:
        batches = list(pa.RecordBatchReader.from_stream(snapshot.to_arrow()))

    assert [batch.num_rows for batch in batches[:1]] == [65536]
    assert sum(batch.num_rows for batch in batches) == 70_020
    assert max(batch.nbytes for batch in batches) < 10 << 20
    assert len(batches) >= 4


def test_damage_ends_the_stream_with_its_place(one: Source, scratch: Path) -> None:
    path = scratch / "damaged.db"
    page = bbolt.damage_leaf(one.db, b"back", path)

    with dcos_etcd.open(path) as snapshot, pytest.raises(Exception, match=f"page {page}: invalid type"):
        pa.table(snapshot.to_arrow(history=True))


def test_ctrl_c_ends_a_table(one: Source) -> None:
    program = (
        "import signal, sys, dcos_etcd, pyarrow\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with dcos_etcd.open(sys.argv[1]) as snapshot:\n"
        "    stream = snapshot.to_arrow(history=True)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)\n"
        "    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))\n"
        "    while True:\n"
        "        pyarrow.table(stream)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, one.db], capture_output=True, text=True, timeout=60, check=False
    )

    assert "KeyboardInterrupt" in result.stderr


def test_pandas_takes_a_table(one: Source) -> None:
    pandas = pytest.importorskip(
        "pandas", minversion="3.0", reason="pandas takes tables since 3.0, which needs Python 3.11"
    )
    with dcos_etcd.open(one.archive) as snapshot:
        frame = pandas.DataFrame.from_arrow(snapshot.to_arrow())

    assert len(frame) == len(one.state.keys)
    assert dict(zip(frame["key"], frame["value"], strict=True)) == {
        key: found.value for key, found in one.state.keys.items()
    }


def test_polars_takes_a_table(one: Source) -> None:
    with dcos_etcd.open(one.archive) as snapshot:
        frame = pl.DataFrame(snapshot.to_arrow())
        series = pl.from_arrow(snapshot.to_arrow())

    assert isinstance(series, pl.Series)
    assert series.struct.unnest().equals(frame)
    assert frame.height == len(one.state.keys)
    assert dict(frame.select("key", "value").rows()) == {key: found.value for key, found in one.state.keys.items()}


def test_duckdb_takes_a_table(one: Source) -> None:
    with dcos_etcd.open(one.archive) as snapshot:
        stream = snapshot.to_arrow()  # noqa: F841 - DuckDB finds it by its name
        answer = duckdb.sql("SELECT count(*), sum(octet_length(value)) FROM stream")
        assert answer is not None
        [(count, size)] = answer.fetchall()

    assert (count, size) == (len(one.state.keys), sum(len(key.value) for key in one.state.keys.values()))


def test_no_library_for_tables_is_loaded_by_reading(one: Source) -> None:
    program = (
        "import sys, dcos_etcd\n"
        "with dcos_etcd.open(sys.argv[1]) as snapshot:\n"
        "    snapshot.to_arrow().__arrow_c_stream__()\n"
        "sys.exit(sorted({'pyarrow', 'pandas', 'polars', 'numpy'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, one.db], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.stderr == "[]\n"


def test_memory_of_a_stream_does_not_grow_with_the_file(scratch: Path, etcd_cluster: ClusterFactory) -> None:
    cluster = etcd_cluster(1)
    cluster.start()
    gateway = Gateway(cluster.endpoints[0])
    for number in range(150):
        gateway.put(b"large/%d" % number, bytes([number]) * 1_400_000)
    gateway.close()
    path = scratch / "etcd.tar.zst"
    dcos_etcd.backup(path, **cluster.access)
    program = (
        "import sys, resource, dcos_etcd, pyarrow\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with dcos_etcd.open(sys.argv[1]) as snapshot:\n"
        "    total = sum(batch.nbytes for batch in pyarrow.RecordBatchReader.from_stream(snapshot.to_arrow()))\n"
        "print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60, check=True
    )
    total, grown = map(int, result.stdout.split())

    assert total > 200 << 20
    assert grown < 120 << 10


UNWANTED = """
import os, signal, sys, time
import dcos_etcd, pyarrow
from dcos_etcd.testing import make_snapshot

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
make_snapshot(sys.argv[1], dict.fromkeys((b"/%06d" % number for number in range(200_000)), bytes(400)))
size = os.path.getsize(sys.argv[1])


def threads():
    return len(os.listdir("/proc/self/task"))


def share_read(take):
    with open("/proc/self/io") as io:
        before = int(io.read().split()[1])
    take()
    while threads() > idle:
        time.sleep(0.01)
    with open("/proc/self/io") as io:
        return (int(io.read().split()[1]) - before) / size


def read():
    stream = snapshot.to_arrow(history=True, prefix="none begins so")
    pyarrow.RecordBatchReader.from_stream(stream).read_next_batch()


def let_go():
    snapshot.to_arrow(history=True, prefix="none begins so").__arrow_c_stream__()


def interrupt():
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        try:
            read()
        except pyarrow.ArrowInvalid:
            for _ in range(1000):
                time.sleep(0.01)
        raise SystemExit("it was not interrupted")
    except KeyboardInterrupt:
        pass


with dcos_etcd.open(sys.argv[1]) as snapshot:
    # pyarrow has threads of its own, from its first use on.
    read()
    time.sleep(0.5)
    idle = threads()
    print(sum(share_read(let_go) for _ in range(8)))
    interrupt()
"""


def test_a_stream_of_no_rows_is_not_read_on_once_it_is_let_go_of_or_interrupted(scratch: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", UNWANTED, scratch / "many.db"], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.returncode == 0, result.stderr
    # Of eight: who reads on reads 8.
    assert float(result.stdout) < 4
