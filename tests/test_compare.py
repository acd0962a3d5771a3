"""What `compare` and `diff` find is what a plain look at both sides finds, be they files, revisions, or clusters."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from command_line import cluster_flags, environment, run
from conftest import each_line
from dcos_etcd import (
    AccessDeniedError,
    CompactedError,
    EndpointUnavailableError,
    Entry,
    FutureRevisionError,
    InvalidArgumentError,
    KeyDifference,
    changes,
)
from dcos_etcd.models import Role, StateDifference, User
from dcos_etcd.testing import make_snapshot
from gateway import Gateway, delete, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from dcos_etcd.testing import Cluster, ClusterFactory

Space = dict[bytes, Entry]


def expected(a: Space, b: Space) -> dict[bytes, str]:
    """The differences of two mappings, found the plain way."""
    found = {}
    for key in a.keys() | b.keys():
        before, after = a.get(key), b.get(key)
        if before is None:
            found[key] = "added"
        elif after is None:
            found[key] = "removed"
        elif before.value != after.value:
            found[key] = "value"
        elif before.lease != after.lease:
            found[key] = "lease"
        elif before != after:
            found[key] = "rewritten"
    return found


def check(found: Iterable[KeyDifference], a: Space, b: Space, *, values: bool) -> None:
    """Every difference, in order, each with both sides whole."""
    differences = [*found]
    assert [difference.key for difference in differences] == sorted(difference.key for difference in differences)
    assert {difference.key: difference.change for difference in differences} == expected(a, b)
    for difference in differences:
        for entry, size, space in ((difference.a, difference.size_a, a), (difference.b, difference.size_b, b)):
            whole = space.get(difference.key)
            assert size == (None if whole is None else len(whole.value))
            assert entry == (whole if values or whole is None else whole._replace(value=b""))


def some_changes(gateway: Gateway, chance: random.Random, leases: list[int], keys: int = 40) -> None:
    """A few puts, deletions and rewrites."""
    for _ in range(chance.randrange(1, 30)):
        number = chance.randrange(keys)
        key = b"k%d\xff" % number if number % 7 == 0 else b"/k/%d" % number
        if chance.random() < 0.25:
            gateway.transact([delete(key)])
        else:
            gateway.transact([put(key, chance.choice((b"", b"x", b"y" * 5000)), chance.choice(leases))])


def space_at(gateway: Gateway, revision: int) -> Space:
    return {entry.key: entry for entry in gateway.range(b"\0", b"\0", revision=str(revision))}


@each_line
def test_random_states_differ_as_plain_mappings_do(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    with etcd_cluster(1) as cluster:
        chance = random.Random(cluster.binaries.version)
        gateway = connect(cluster)
        leases = [0, *(int(gateway.call("lease/grant", {"TTL": "3600"})["ID"]) for _ in range(2))]
        archives: list[tuple[Path, int]] = []
        for number in range(3):
            some_changes(gateway, chance, leases)
            path = tmp_path / f"{number}{chance.choice(('.tar.gz', '.tar.zst'))}"
            dcos_etcd.backup(path, **cluster.access)
            with dcos_etcd.open(path) as snapshot:
                archives.append((path, snapshot.revision))
        newest = archives[-1][1]
        spaces = {revision: space_at(gateway, revision) for revision in range(2, newest + 1)}

        for _ in range(6):
            (a, at_a), (b, at_b) = chance.choice(archives), chance.choice(archives)
            old_a, old_b = chance.randrange(2, at_a + 1), chance.randrange(2, at_b + 1)
            values = chance.random() < 0.5
            found = dcos_etcd.compare(a, b, revision_a=old_a, revision_b=old_b, values=values)
            check(found.keys, spaces[old_a], spaces[old_b], values=values)
            assert (found.revision_a, found.revision_b) == (old_a, old_b)
            assert found.equal is (not expected(spaces[old_a], spaces[old_b]))
            live = dcos_etcd.compare(a, cluster.endpoints, revision_b=old_b, values=values, **access_of(cluster))
            check(live.keys, spaces[at_a], spaces[old_b], values=values)
            back = dcos_etcd.compare(cluster.endpoints[0], b, prefix="/k/1", only_keys=True, **access_of(cluster))
            narrowed = [
                {key: entry for key, entry in spaces[at].items() if key.startswith(b"/k/1")} for at in (newest, at_b)
            ]
            check(back.keys, narrowed[0], narrowed[1], values=False)
            assert (back.counts.keys_a, back.counts.keys_b) == (len(narrowed[0]), len(narrowed[1]))


def access_of(cluster: Cluster) -> dict[str, Any]:
    return {name: value for name, value in cluster.access.items() if name != "endpoints"}


def alike(found: dcos_etcd.Comparison) -> bool:
    """Tell whether nothing differs but the storage version, which a cluster settles some seconds after its start."""
    return not found.keys and {one.part for one in found.state} <= {"storage_version"}


@each_line
def test_what_lies_beside_the_keys_is_compared_too(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    with etcd_cluster(1, auth=True) as cluster:
        cluster.etcdctl("put", "k", "v")
        cluster.etcdctl("role", "add", "watcher")
        before, after = tmp_path / "before.tar.gz", tmp_path / "after.db.tar.zst"
        dcos_etcd.backup(before, **cluster.access)
        unchanged = dcos_etcd.compare(before, cluster.endpoints, **access_of(cluster))
        assert alike(unchanged), unchanged
        assert bool(unchanged) is not unchanged.equal
        assert {"keys", "members", "leases", "users", "roles", "alarms"} <= {*unchanged.compared}

        cluster.etcdctl("lease", "grant", "600")
        cluster.etcdctl("user", "add", "carol:secret")
        cluster.etcdctl("user", "grant-role", "carol", "watcher")
        cluster.etcdctl("role", "grant-permission", "watcher", "read", "/a/", "/a0")
        dcos_etcd.backup(after, **cluster.access)
        between_files = dcos_etcd.compare(before, after)
        with_cluster = dcos_etcd.compare(before, cluster.endpoints, **access_of(cluster))
        assert alike(dcos_etcd.compare(after, cluster.endpoints, **access_of(cluster)))
        only_keys = dcos_etcd.compare(before, after, only_keys=True)
        [granted] = cluster.etcdctl_json("lease", "list")["leases"]

    for found in (between_files, with_cluster):
        assert not found.equal
        assert not found.keys
        named = {(one.part, one.name): (one.a, one.b) for one in found.state}
        [lease] = [name for part, name in named if part == "leases"]
        assert named["leases", lease][0] is None
        assert getattr(named["leases", lease][1], "ttl", None) == 600
        assert getattr(named["users", "carol"][1], "roles", None) == ("watcher",)
        old, new = named["roles", "watcher"]
        assert isinstance(old, dcos_etcd.Role)
        assert isinstance(new, dcos_etcd.Role)
        assert (old.permissions, [one.range_end for one in new.permissions]) == ((), [b"/a0"])
        assert {part for part, _ in named} - {"storage_version"} == {"leases", "users", "roles"}
    assert (only_keys.equal, only_keys.state, only_keys.compared) == (True, (), ("keys",))
    table, as_json = (run("diff", before, after, "-w", form).stdout for form in ("table", "json"))
    assert f'leases added {granted["id"]:x}: {{"ttl":600}}' in table.splitlines()
    [told] = [row for row in map(json.loads, as_json.splitlines()) if row.get("part") == "leases"]
    assert told == {
        "part": "leases",
        "name": f"{granted['id']:x}",
        "a": None,
        "b": {"id": granted["id"], "ttl": 600},
    }


@pytest.mark.etcd(version="3.5.1")
def test_client_urls_that_an_etcd_did_not_store_are_no_difference(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with etcd_cluster(1) as cluster:
        dcos_etcd.backup(archive, **cluster.access)
        found = dcos_etcd.compare(archive, cluster.endpoints)
        cluster.etcdctl("member", "add", "other", "--peer-urls=http://127.0.0.1:1", "--learner")
        added = dcos_etcd.compare(archive, cluster.endpoints)
    with dcos_etcd.open(archive) as snapshot:
        assert [member.client_urls for member in snapshot.members] == [()]

    assert (found.equal, found.state) == (True, ())
    assert [(one.part, one.a) for one in added.state] == [("members", None)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two snapshots of one cluster with one change of each kind between them."""
    from dcos_etcd.testing import BinariesNotFoundError, Cluster  # noqa: PLC0415

    directory = tmp_path_factory.mktemp("pair")
    try:
        cluster = Cluster(1, directory=directory / "cluster")
    except BinariesNotFoundError:
        pytest.skip("no etcd is on this machine")
    with cluster:
        gateway = Gateway(cluster.endpoints[0])
        lease = int(gateway.call("lease/grant", {"TTL": "3600"})["ID"])
        for key in (b"gone", b"leased", b"same", b"touched", b"\xff\n", b"value"):
            gateway.put(key, b"old")
        old = gateway.put(b"last", b"")["header"]["revision"]
        dcos_etcd.backup(directory / "a.tar.gz", **cluster.access)
        gateway.transact([delete(b"gone")])
        gateway.put(b"leased", b"old", lease)
        gateway.put(b"touched", b"old")
        gateway.put(b"\xff\n", b"\xfe")
        gateway.put(b"value", b"new")
        gateway.put(b"added", b"new")
        dcos_etcd.backup(directory / "b.tar.gz", **cluster.access)
        gateway.call("kv/compaction", {"revision": str(int(old) + 1)})
        dcos_etcd.backup(directory / "c.tar.gz", **cluster.access)
        gateway.close()
        with pytest.raises(CompactedError) as compacted:
            dcos_etcd.compare(directory / "a.tar.gz", cluster.endpoints, revision_b=3)
        with pytest.raises(FutureRevisionError) as future:
            dcos_etcd.compare(cluster.endpoints, directory / "a.tar.gz", revision_a=1000)
    return {"directory": directory, "old": int(old), "compacted": compacted.value, "future": future.value}


def test_a_cluster_tells_of_revisions_that_it_has_not_as_a_snapshot_does(pair: dict[str, Any]) -> None:
    compacted, future = pair["compacted"], pair["future"]
    assert (compacted.revision, compacted.compact_revision) == (3, pair["old"] + 1)
    assert (future.revision, future.current_revision) == (1000, pair["old"] + 6)
    with pytest.raises(CompactedError) as stored:
        dcos_etcd.compare(pair["directory"] / "a.tar.gz", pair["directory"] / "c.tar.gz", revision_b=3)
    assert (stored.value.revision, stored.value.compact_revision) == (compacted.revision, compacted.compact_revision)


def test_two_revisions_of_one_snapshot_may_be_compared(pair: dict[str, Any]) -> None:
    with dcos_etcd.open(pair["directory"] / "b.tar.gz") as snapshot:
        found = dcos_etcd.compare(snapshot.at(pair["old"]), snapshot, ignore_rewritten=True)
        assert not snapshot.closed

    changes = {one.key: one.change for one in found.keys}
    assert changes == {b"gone": "removed", b"leased": "lease", b"\xff\n": "value", b"value": "value", b"added": "added"}
    counts = found.counts
    assert (counts.added, counts.removed, counts.value, counts.lease) == (1, 1, 2, 1)
    assert (counts.rewritten, counts.same, counts.keys_a, counts.keys_b) == (0, 3, 7, 7)
    assert (found.compared, found.complete) == (("keys",), True)


def test_differences_are_counted_beyond_those_that_are_kept(pair: dict[str, Any]) -> None:
    a, b = pair["directory"] / "a.tar.gz", pair["directory"] / "b.tar.gz"
    found = dcos_etcd.compare(a, b, limit=2)

    assert [one.key for one in found.keys] == [b"added", b"gone"]
    assert (found.complete, found.counts.value, found.equal) == (False, 2, False)
    with pytest.raises(InvalidArgumentError, match="limit"):
        dcos_etcd.compare(a, b, limit=-1)
    for wrong in (0, 1 << 63):
        with pytest.raises(InvalidArgumentError, match=rf"revision_b: {wrong} is not between 1 and 2\^63 - 1"):
            dcos_etcd.compare(a, b, revision_b=wrong)
    assert dcos_etcd.compare(a, b, limit=1 << 70).complete
    assert dcos_etcd.compare(a, b, prefix=bytearray(b"val")).counts.keys_a == 1
    with pytest.raises(InvalidArgumentError, match="no path"):
        dcos_etcd.compare(a, 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="there is no such file; is it a cluster, http://localhost:2379"):
        dcos_etcd.compare(a, "localhost:2379")


def test_a_newest_revision_that_is_named_is_the_newest(pair: dict[str, Any]) -> None:
    a = pair["directory"] / "a.tar.gz"

    for side in (a, str(a), dcos_etcd.open(a)):
        found = dcos_etcd.compare(side, a, revision_a=pair["old"])
        assert {"members", "leases", "users"} < {*found.compared}
        assert dcos_etcd.compare(a, side, revision_b=pair["old"] - 1).compared == ("keys",)


def test_the_shell_shows_what_differs_and_says_so_by_its_exit_status(pair: dict[str, Any]) -> None:
    a, b = pair["directory"] / "a.tar.gz", pair["directory"] / "b.tar.gz"
    table = run("diff", a, b)
    assert (table.returncode, table.stderr) == (1, "")
    lines = table.stdout.splitlines()
    assert lines[0].endswith("  KEY")
    assert [(line.split()[0], line.split()[-1]) for line in lines[1:7]] == [
        ("added", "added"),
        ("removed", "gone"),
        ("lease", "leased"),
        ("rewritten", "touched"),
        ("value", "value"),
        ("value", "base64:/wo="),
    ]
    assert "old" not in table.stdout
    assert lines[-1] == "verdict:     different"
    with_values = run("diff", a, b, "--values", "--prefix=value")
    assert with_values.stdout.splitlines()[1:4] == [lines[5], "  - old", "  + new"]

    as_json = run("diff", a, b, "-w", "json", "--values")
    *rows, summary = map(json.loads, as_json.stdout.splitlines())
    keys = {row.get("key", row.get("key_base64")): row for row in rows if row["part"] == "keys"}
    assert keys["gone"]["b"] is None
    with dcos_etcd.open(b) as snapshot:
        assert keys["leased"]["b"]["lease"] == snapshot["leased"].lease != 0
    assert (keys["/wo="]["b"]["value_base64"], keys["/wo="]["a"]["value"]) == ("/g==", "old")
    # The lease was there before: what hangs on it is told with the keys.
    assert [row["part"] for row in rows if row["part"] != "keys"] == []
    assert (summary["summary"]["equal"], summary["summary"]["keys"]["added"]) == (False, 1)

    same = run("diff", a, a)
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "verdict:     equal")
    old = str(pair["old"])
    assert run("diff", b, a, f"--revision-a={old}", "--only-keys").returncode == 0


def test_a_failure_is_no_difference(pair: dict[str, Any], tmp_path: Path) -> None:
    a = pair["directory"] / "a.tar.gz"
    for command in (
        ["diff", a, tmp_path / "nothing"],
        ["diff", a, "http://127.0.0.1:1"],
        ["diff", a, a, "--revision-b=10000"],
        ["diff", a, a, "--revision-a=99999999999999999999"],
        ["diff", a, a, "--endpoints=http://127.0.0.1:1"],
    ):
        failed = run(*command, env=environment())
        assert (failed.returncode, failed.stdout) == (2, "")
        assert failed.stderr.startswith("dcos-etcdctl: error: ")


def test_two_files_are_compared_whatever_the_environment_says_of_clusters(pair: dict[str, Any]) -> None:
    a = pair["directory"] / "a.tar.gz"
    # One would have a password asked for, and the other makes no sense alone.
    for variable, value in (("ETCDCTL_USER", "root"), ("ETCDCTL_CERT", "x.pem")):
        told = environment(**{variable: value})
        same = run("diff", a, a, env=told, start_new_session=True)
        assert (same.returncode, same.stderr) == (0, "")
        assert run("diff", a, "http://127.0.0.1:1", env=told, start_new_session=True).returncode == 2


def test_a_cluster_that_does_not_answer_is_told_of_before_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "no snapshot").write_bytes(b"x")

    with pytest.raises(EndpointUnavailableError):
        dcos_etcd.compare(tmp_path / "no snapshot", "http://127.0.0.1:1")


def test_the_revision_of_a_cluster_is_chosen_when_files_are_indexed(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    make_snapshot(tmp_path / "large.db", {f"/{number}": "" for number in range(5000)})
    with etcd_cluster(1) as cluster:
        gateway = connect(cluster)
        written: list[int] = []

        def compact(_: object) -> None:
            if not written:
                written.append(int(gateway.put(b"k", b"v")["header"]["revision"]))
                gateway.call("kv/compaction", {"revision": str(written[0])})

        for a, b in ((cluster.endpoints, tmp_path / "large.db"), (tmp_path / "large.db", cluster.endpoints)):
            written.clear()
            found = dcos_etcd.compare(a, b, progress=compact, **access_of(cluster))
            assert written[0] in (found.revision_a, found.revision_b)
            newest = {"revision_a" if isinstance(a, list) else "revision_b": written[0]}
            assert "members" in dcos_etcd.compare(a, b, **access_of(cluster) | newest).compared


@pytest.mark.parametrize("part", ["users", "roles"])
def test_a_name_makes_no_lines_of_its_own(part: str) -> None:
    name = "eve\nverdict: equal"
    state = User(name=name, roles=(name,), no_password=False) if part == "users" else Role(name=name, permissions=())
    line = changes.state_line(StateDifference(part=part, name=name, a=None, b=state))

    assert line.splitlines() == [line]
    assert line.startswith(f"{part} added eve\\nverdict: equal: ")


def test_the_first_difference_comes_before_all_are_found(pair: dict[str, Any]) -> None:
    a, b = (str(pair["directory"] / name) for name in ("a.tar.gz", "b.tar.gz"))
    shell = f"'{sys.executable}' -m dcos_etcd diff '{a}' '{b}' -w json | head -n 1"
    found = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=True)

    assert (json.loads(found.stdout)["key"], found.stderr) == ("added", "")


def test_tls_and_a_role_for_some_keys_are_enough_to_compare_those(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    with etcd_cluster(1, tls=True, auth=True) as cluster:
        cluster.etcdctl("put", "/a/1", "x")
        cluster.etcdctl("put", "/b/1", "x")
        cluster.etcdctl("role", "add", "reader")
        cluster.etcdctl("role", "grant-permission", "reader", "--prefix=true", "read", "/a/")
        cluster.etcdctl("user", "add", "carol:secret")
        cluster.etcdctl("user", "grant-role", "carol", "reader")
        archive = tmp_path / "a.tar.gz"
        dcos_etcd.backup(archive, **cluster.access)
        cluster.etcdctl("put", "/a/2", "y")
        # As the user of the certificate, root, where no name is given.
        carol = {**access_of(cluster), "user": ("carol", "secret")}
        found = dcos_etcd.compare(archive, cluster.endpoints, prefix=b"/a/", **carol)
        assert [(one.key, one.change) for one in found.keys] == [(b"/a/2", "added")]
        with pytest.raises(AccessDeniedError, match="permission denied"):
            dcos_etcd.compare(archive, cluster.endpoints, prefix=b"/b/", **carol)
        flags = [flag for flag in cluster_flags(cluster.access) if not flag.startswith("--endpoints")]
        shown = run("diff", archive, cluster.endpoints[0], *flags, env=environment())
        assert (shown.returncode, "/a/2" in shown.stdout) == (1, True)


def test_pages_of_large_values_are_read_as_small_ones_are(
    etcd_cluster: ClusterFactory, tmp_path: Path, connect: Callable[[Cluster], Gateway]
) -> None:
    with etcd_cluster(1) as cluster:
        gateway = connect(cluster)
        for first in range(0, 9000, 100):
            gateway.transact([put(b"/a/%05d" % number, b"") for number in range(first, first + 100)])
        for number in range(70):
            gateway.put(b"/b/%03d" % number, bytes([number]) * 1_000_000)
        archive = tmp_path / "a.tar.zst"
        dcos_etcd.backup(archive, **cluster.access)
        # Alone: a cluster this young may still be settling its storage version.
        found = dcos_etcd.compare(archive, cluster.endpoints, only_keys=True)
        assert (found.equal, found.counts.same) == (True, 9070)
        assert not dcos_etcd.compare(cluster.endpoints, archive, prefix="/b/069", values=True).keys
        cluster.etcdctl("put", "/b/069", "other")
        found = dcos_etcd.compare(archive, cluster.endpoints, values=True)
        [changed] = found.keys
        assert changed.a
        assert changed.b
        assert (changed.a.value, changed.b.value) == (bytes([69]) * 1_000_000, b"other")


def test_a_cluster_that_goes_away_is_an_error(etcd_cluster: ClusterFactory, tmp_path: Path) -> None:
    with etcd_cluster(1) as cluster:
        archive = tmp_path / "a.tar.gz"
        dcos_etcd.backup(archive, **cluster.access)
        cluster.members[0].kill()
        with pytest.raises(EndpointUnavailableError):
            dcos_etcd.compare(archive, cluster.members[0].client_url)
