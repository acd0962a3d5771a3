from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import sample_reports
from command_line import run
from dcos_etcd import api, cli, exceptions
from dcos_etcd.cli import _flags
from dcos_etcd.cli._flags import UsageError, cluster_arguments, duration, settle_booleans
from dcos_etcd.models import BackupReport, Diagnosis, RestoreReport, Status, Tls, VerifyReport
from sample_reports import changed

HELP_FILE = Path(__file__).parent.parent / "docs" / "cli_help.txt"
COMMANDS = ("backup", "restore", "diagnostic", "verify", "status", "keys", "get", "stats", "diff", "put-back")


class Verb:
    """Stands for a verb of the API: keeps what it was called with, and answers."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.arguments: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}

    def __call__(self, *arguments: Any, **options: Any) -> object:
        self.arguments = arguments
        self.options = options
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture(autouse=True)
def no_etcdctl_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ETCDCTL_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def signal_handlers_as_before() -> Any:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def install(monkeypatch: pytest.MonkeyPatch, name: str, answer: object) -> Verb:
    verb = Verb(answer)
    monkeypatch.setattr(api, name, verb)
    return verb


@pytest.fixture
def backup(monkeypatch: pytest.MonkeyPatch) -> Verb:
    return install(monkeypatch, "backup", BackupReport._from_json(sample_reports.BACKUP))


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> Verb:
    return install(monkeypatch, "restore", RestoreReport._from_json(sample_reports.RESTORE))


@pytest.fixture
def diagnose(monkeypatch: pytest.MonkeyPatch) -> Verb:
    return install(monkeypatch, "diagnose", Diagnosis._from_json(sample_reports.DIAGNOSIS))


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Verb:
    return install(monkeypatch, "verify", VerifyReport._from_json(sample_reports.VERIFY))


# Help.


def help_texts() -> str:
    parts = []
    for command in ((), *((name,) for name in COMMANDS)):
        result = run(*command, "--help", env={**os.environ, "COLUMNS": "40"})
        assert (result.returncode, result.stderr) == (0, "")
        parts.append(f"$ {' '.join(['dcos-etcdctl', *command, '--help'])}\n{result.stdout}")
    return "\n".join(parts)


def test_help_is_as_docs_cli_help_says() -> None:
    """With DCOS_ETCD_UPDATE_HELP=1 the file is written anew."""
    text = help_texts()
    if os.environ.get("DCOS_ETCD_UPDATE_HELP") == "1":
        HELP_FILE.write_text(text, encoding="utf-8")

    assert HELP_FILE.read_text(encoding="utf-8") == text


def test_help_of_restore_names_every_flag_of_etcdutl() -> None:
    text = run("restore", "--help").stdout

    for flag in (
        "--data-dir",
        "--name",
        "--initial-cluster",
        "--initial-advertise-peer-urls",
        "--initial-cluster-token",
        "--wal-dir",
        "--bump-revision",
        "--mark-compacted",
        "--skip-hash-check",
    ):
        assert f"{flag} " in text


def test_help_loads_neither_the_core_nor_rich() -> None:
    program = (
        "import sys; from dcos_etcd import cli; cli.main(['--help']);"
        "sys.exit(sorted({'dcos_etcd._core', 'dcos_etcd.models', 'rich', 'asyncio', 'json'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert result.stderr == "[]\n"


def test_wrong_usage_points_to_the_help_of_its_command() -> None:
    result = run("restore")

    assert result.returncode == 2
    assert "hint: 'dcos-etcdctl restore --help' lists what there is" in result.stderr


def test_version_is_printed() -> None:
    from dcos_etcd import __version__  # noqa: PLC0415 - loads the core

    assert run("--version").stdout == f"dcos-etcdctl {__version__}\n"


# Usage.


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["backup"],
        ["backup", "a", "b"],
        ["backup", "a", "--dial-timeout", "5"],
        ["backup", "a", "--stall-timeout", "-1s"],
        *(
            ["backup", "a", f"--max-rate={rate}"]
            for rate in ("0", "-1", "0.4", "", "fast", "1m", "1MiB/s", "1e3", "inf")
        ),
        ["backup", "a", "--max-rate", "1" + "0" * 400],
        ["backup", "a", "--max-rate", str(1 << 64)],
        ["backup", "a", "--insecure-skip-tls-verify"],
        ["backup", "a", "--endpoint", "http://a"],
        ["restore", "a", "--bump-revision", "-1"],
        ["restore", "a", "--bump-revision", str(1 << 64)],
        ["restore", "a", "--skip-hash-check=maybe"],
        ["status", "a", "-w", "xml"],
        ["diagnostic", "-w", "simple"],
        ["backup", "a", "--cert", "c.pem"],
        ["backup", "a", "--key", "c.key"],
        ["backup", "a", "--password", "p"],
    ],
)
def test_wrong_usage_exits_2_with_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("dcos-etcdctl: error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1h", 3600.0),
        ("2h45m", 9900.0),
        ("100us", 1e-4),
        ("100\u00b5s", 1e-4),
        ("100\u03bcs", 1e-4),
        ("10ns", 1e-8),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5S", "-5s", "1s5", "1d", "five", "0s", "1e3s", "\u0665s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        (["--skip-hash-check=true", "x"], ["--skip-hash-check", "x"]),
        (["--skip-hash-check=false", "x"], ["x"]),
        (["--mark-compacted=1"], ["--mark-compacted"]),
        (["--dry-run"], ["--dry-run"]),
        (["--name=true"], ["--name=true"]),
        (["--", "--dry-run=false"], ["--", "--dry-run=false"]),
    ],
)
def test_boolean_flags_take_a_value_as_etcdutls_do(given: list[str], settled: list[str]) -> None:
    assert settle_booleans(given) == settled


# Cluster flags and their variables.


def cluster(arguments: list[str], **environment: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    _flags.add_cluster_flags(parser)
    return cluster_arguments(parser.parse_args(arguments), environment)


def test_without_flags_the_defaults_are_etcdctls() -> None:
    assert cluster([]) == {"tls": None, "user": None, "dial_timeout": 2.0, "command_timeout": 5.0}


def test_endpoints_may_be_listed_and_repeated() -> None:
    given = cluster(["--endpoints", "http://a:2379, http://b:2379", "--endpoints=http://c:2379"])

    assert given["endpoints"] == ["http://a:2379", "http://b:2379", "http://c:2379"]


def test_every_variable_of_etcdctl_is_honoured() -> None:
    given = cluster(
        [],
        ETCDCTL_ENDPOINTS="https://a:2379,https://b:2379",
        ETCDCTL_CACERT="ca.pem",
        ETCDCTL_CERT="c.pem",
        ETCDCTL_KEY="c.key",
        ETCDCTL_USER="root",
        ETCDCTL_PASSWORD="secret",
        ETCDCTL_DIAL_TIMEOUT="1s",
        ETCDCTL_COMMAND_TIMEOUT="1m",
    )

    assert given == {
        "endpoints": ["https://a:2379", "https://b:2379"],
        "tls": Tls(cacert="ca.pem", cert="c.pem", key="c.key"),
        "user": ("root", "secret"),
        "dial_timeout": 1.0,
        "command_timeout": 60.0,
    }


def test_a_flag_wins_over_its_variable() -> None:
    given = cluster(
        ["--endpoints", "http://flag:2379", "--dial-timeout", "3s"],
        ETCDCTL_ENDPOINTS="http://variable:2379",
        ETCDCTL_DIAL_TIMEOUT="9s",
    )

    assert (given["endpoints"], given["dial_timeout"]) == (["http://flag:2379"], 3.0)


def test_a_password_may_hold_colons() -> None:
    assert cluster(["--user", "root:a:b"])["user"] == ("root", "a:b")
    assert cluster(["--user", "root:"])["user"] == ("root", "")
    assert cluster(["--user", "a:b", "--password", "c"])["user"] == ("a:b", "c")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "1"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "perhaps"),
        ("ETCDCTL_INSECURE_TRANSPORT", "false"),
        ("ETCDCTL_DISCOVERY_SRV", "example.org"),
        ("ETCDCTL_DISCOVERY_SRV_NAME", "etcd"),
        ("ETCDCTL_API", "2"),
        ("ETCDCTL_DIAL_TIMEOUT", "5"),
    ],
)
def test_a_variable_that_cannot_be_honoured_is_an_error(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=variable):
        cluster([], **{variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "false"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "0"),
        ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", ""),
        ("ETCDCTL_INSECURE_TRANSPORT", "true"),
        ("ETCDCTL_API", "3"),
    ],
)
def test_a_variable_that_changes_nothing_is_let_be(variable: str, value: str) -> None:
    assert cluster([], **{variable: value}) == cluster([])


def test_flags_may_stand_before_the_command_as_with_etcdctl(backup: Verb) -> None:
    arguments = ["--endpoints", "http://a:2379", "--dial-timeout=1s", "backup", "x", "--endpoints", "http://b:2379"]

    assert cli.main(arguments) == 0
    assert backup.options["endpoints"] == ["http://a:2379", "http://b:2379"]
    assert backup.options["dial_timeout"] == 1.0


def test_a_missing_password_without_a_terminal_is_an_error() -> None:
    # setsid leaves the process without a terminal, whatever runs the tests.
    result = run("backup", "x", "--user", "root", stdin=subprocess.DEVNULL, start_new_session=True)

    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == (
        "dcos-etcdctl: error: no password for user 'root', and no terminal to ask for it"
    )


# The commands.


def test_backup_passes_its_flags_and_prints_its_report(backup: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["backup", "etcd.tar.gz", "--stall-timeout", "1m"]) == 0
    out, err = capsys.readouterr()
    assert backup.arguments == ("etcd.tar.gz",)
    assert backup.options["stall_timeout"] == 60.0
    assert f"sha256:        {'ab' * 32}\n" in out
    assert err == "dcos-etcdctl: warning: a learner sent it\n"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1", 1),
        ("500000", 500_000),
        ("800k", 800_000),
        ("800K", 800_000),
        ("800KiB", 800 << 10),
        ("20MiB", 20 << 20),
        ("20Mi", 20 << 20),
        ("20MB", 20_000_000),
        (".5M", 500_000),
        ("1.5G", 1_500_000_000),
        ("2Gi", 2 << 30),
    ],
)
def test_rates_are_read_with_their_units(backup: Verb, text: str, rate: int) -> None:
    assert cli.main(["backup", "etcd.tar.gz", "--max-rate", text]) == 0
    assert backup.options["max_rate"] == rate


def test_backup_as_json_is_one_document(backup: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    del backup

    assert cli.main(["backup", "etcd.tar.gz", "-w", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == sample_reports.BACKUP


def test_restore_without_flags_has_etcdutls_defaults(restore: Verb) -> None:
    assert cli.main(["restore", "x"]) == 0
    assert restore.arguments == ("x",)
    assert restore.options == {
        "data_dir": "default.etcd",
        "name": "default",
        "initial_cluster": "default=http://localhost:2380",
        "initial_advertise_peer_urls": "http://localhost:2380",
        "initial_cluster_token": "etcd-cluster",
        "wal_dir": None,
        "existing": "refuse",
        "owner": None,
        "bump_revision": None,
        "mark_compacted": False,
        "revision": None,
        "prefixes": [],
        "exclude_prefixes": [],
        "compact": False,
        "clear_alarms": False,
        "disable_auth": False,
        "drop_leases": False,
        "skip_hash_check": False,
        "dry_run": False,
        "progress": True,
    }


def test_restore_puts_a_named_member_beside_others(restore: Verb) -> None:
    assert cli.main(["restore", "x", "--name", "m1"]) == 0
    assert restore.options["data_dir"] == "m1.etcd"


def test_restore_passes_every_flag(restore: Verb) -> None:
    command = (
        "restore x --data-dir d --wal-dir w --name m --initial-cluster m=http://a:1 --initial-cluster-token t "
        "--initial-advertise-peer-urls http://a:1 --bump-revision 7 --mark-compacted --skip-hash-check=true --dry-run "
        "--replace --owner 7:8 --revision 40 --prefix /a --prefix=/b --exclude-prefix /a/x --compact --clear-alarms "
        "--disable-auth --drop-leases"
    )

    assert cli.main(command.split()) == 0
    assert restore.options == {
        "data_dir": "d",
        "name": "m",
        "initial_cluster": "m=http://a:1",
        "initial_advertise_peer_urls": "http://a:1",
        "initial_cluster_token": "t",
        "wal_dir": "w",
        "existing": "keep",
        "owner": (7, 8),
        "bump_revision": 7,
        "mark_compacted": True,
        "revision": 40,
        "prefixes": [b"/a", b"/b"],
        "exclude_prefixes": [b"/a/x"],
        "compact": True,
        "clear_alarms": True,
        "disable_auth": True,
        "drop_leases": True,
        "skip_hash_check": True,
        "dry_run": True,
        "progress": True,
    }


def test_a_dry_run_prints_the_plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, "restore", RestoreReport._from_json(changed(sample_reports.RESTORE, dry_run=True)))

    assert cli.main(["restore", "x", "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("plan, nothing was written:\n  1. verify etcd.tar.gz\n  2. write m1.etcd\n")


def test_an_unhealthy_cluster_exits_1(diagnose: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnostic", "--expect", "10.0.0.1,10.0.0.2", "--expect", "10.0.0.3"]) == 1
    out = capsys.readouterr().out
    assert diagnose.options["expect"] == "10.0.0.1,10.0.0.2,10.0.0.3"
    assert "CRITICAL endpoint-unreachable [http://127.0.0.1:1]: the member does not answer" in out
    assert out.endswith("verdict: unhealthy\n")


def test_a_healthy_cluster_exits_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy = changed(sample_reports.DIAGNOSIS, findings=[], healthy=True)
    install(monkeypatch, "diagnose", Diagnosis._from_json(healthy))

    assert cli.main(["diagnostic"]) == 0
    assert capsys.readouterr().out.endswith("verdict: healthy\n")


def test_a_diagnosis_as_json_is_one_document(diagnose: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    del diagnose

    assert cli.main(["diagnostic", "-w", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == sample_reports.DIAGNOSIS


def test_verify_of_a_sound_snapshot_exits_0(verify: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "x", "--skip-hash-check"]) == 0
    assert verify.options["skip_hash_check"] is True
    assert capsys.readouterr().out.endswith("sound\n")


def test_no_text_from_elsewhere_steers_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    defects = [exceptions.Defect(code="tar-entry", message="entry \x1b[2J\x9b1m of the tar")]
    install(monkeypatch, "verify", exceptions.CorruptSnapshotError("x", path="x\x1b]0;title\x07", defects=defects))

    assert cli.main(["verify", "x"]) == 1
    out, err = capsys.readouterr()
    assert out == "tar-entry: entry \\x1b[2J\\x9b1m of the tar\n"
    assert err == "dcos-etcdctl: error: x\\x1b]0;title\\x07 is damaged: 1 defect found\n"


def test_verify_lists_every_defect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    defects = [exceptions.Defect(code="page-order", message=f"page {page} wrong", page=page) for page in range(300)]
    install(monkeypatch, "verify", exceptions.CorruptSnapshotError("x is damaged", path="x", defects=defects))

    assert cli.main(["verify", "x"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"page-order: page {page} wrong (page {page})" for page in range(300)]
    assert err == "dcos-etcdctl: error: x is damaged: 300 defects found\n"

    assert cli.main(["verify", "x", "-w", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["sound"] is False
    assert document["defects"][299] == {
        "code": "page-order",
        "message": "page 299 wrong",
        "page": 299,
        "offset": None,
    }


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("json", '{"hash":554914620,"revision":10,"totalKey":7,"totalSize":20480,"version":"3.6.0"}\n'),
        ("simple", "2113533c, 10, 7, 20 kB, 3.6.0\n"),
    ],
)
def test_status_is_printed_as_etcdutl_prints_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str, text: str
) -> None:
    install(monkeypatch, "status", Status._from_json(sample_reports.STATUS))

    assert cli.main(["status", "x", "-w", form]) == 0
    assert capsys.readouterr().out == text


# Failures.


@pytest.mark.parametrize(
    ("error", "code", "first_line", "hint"),
    [
        (
            exceptions.ArchiveExistsError("x exists already; choose another name or move it away", path="x"),
            1,
            "x exists already; choose another name or move it away",
            None,
        ),
        (exceptions.InvalidArgumentError("bump needs mark"), 2, "bump needs mark", None),
        (exceptions.BootstrapError("couldn't find local name"), 1, "couldn't find local name", "--initial-cluster"),
        (exceptions.MissingHashError("x: no hash", path="x"), 1, "x: no hash", "--skip-hash-check"),
        (
            exceptions.StalledError("a: silent", endpoint="a", after=1.0, received=0, expected=None),
            1,
            "a: silent",
            "--stall-timeout",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), 1, "x: No such file or directory", None),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "x: No space left on device", None),
        (exceptions.EtcdError("two\nlines"), 1, "two lines", None),
    ],
)
def test_a_failure_is_one_line_and_perhaps_a_hint(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    first_line: str,
    hint: str | None,
) -> None:
    install(monkeypatch, "backup", error)

    assert cli.main(["backup", "x"]) == code
    out, err = capsys.readouterr()
    first, *rest = err.splitlines()
    assert out == ""
    assert first == f"dcos-etcdctl: error: {first_line}"
    assert len(rest) == (hint is not None)
    assert all(line.startswith("hint: ") and hint in line for line in rest if hint)


def test_a_bug_is_not_dressed_up_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "backup", ValueError("a bug"))

    with pytest.raises(ValueError, match="a bug"):
        cli.main(["backup", "x"])


def test_an_interrupt_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install(monkeypatch, "backup", KeyboardInterrupt())

    assert cli.main(["backup", "x"]) == 130
    assert capsys.readouterr().err == "dcos-etcdctl: error: interrupted\n"


def test_a_reader_that_goes_away_is_no_news() -> None:
    command = f"'{sys.executable}' -m dcos_etcd --version; echo $? >&2"
    process = subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {{ sleep 0.2; {command}; }} | true"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=60)

    assert (out, err) == ("", "141\n")


def silent_server() -> tuple[Any, str]:
    import socket  # noqa: PLC0415

    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("command", ["backup", "diagnostic"])
def test_a_signal_stops_at_once_although_the_server_is_silent(
    tmp_path: Path, command: str, number: signal.Signals, code: int
) -> None:
    listener, endpoint = silent_server()
    archive = [str(tmp_path / "x.tar.gz")] if command == "backup" else []
    arguments = [command, *archive, "--endpoints", endpoint, "--dial-timeout", "60s", "--command-timeout", "60s"]
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "from dcos_etcd.cli import main; sys.exit(main(sys.argv[1:]))"
    # A job in the background of a shell ignores SIGINT, and so would its children; hence the handler.
    command_line = [sys.executable, "-c", program, *arguments]
    with (
        listener,
        subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        connection, _ = listener.accept()
        with connection:
            time.sleep(0.2)
            sent = time.monotonic()
            process.send_signal(number)
            _, err = process.communicate(timeout=30)
            waited = time.monotonic() - sent

    assert process.returncode == code, err
    assert waited < 3
    assert list(tmp_path.iterdir()) == []
