from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from command_line import run

HELP_FILE = Path(__file__).parents[2] / "docs" / "cli_help.txt"
COMMANDS = (
    "backup",
    "restore",
    "diagnostic",
    "verify",
    "status",
    "keys",
    "get",
    "stats",
    "diff",
    "put-back",
    "completion",
)


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


def test_help_fits_80_columns() -> None:
    assert max(map(len, HELP_FILE.read_text(encoding="utf-8").splitlines())) <= 80


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
        "late = {'dcos_etcd._core', 'dcos_etcd.models', 'rich', 'shtab', 'asyncio', 'json'};"
        "sys.exit(sorted(late & set(sys.modules)))"
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
