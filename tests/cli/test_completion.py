"""The scripts of `completion`, in the shells that they are for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from command_line import run

if TYPE_CHECKING:
    from pathlib import Path

COMPLETE = """
source "$1"; shift
COMP_WORDS=(dcos-etcdctl "$@")
COMP_CWORD=$#
COMP_LINE="${COMP_WORDS[*]}"
COMP_POINT=${#COMP_LINE}
complete -p dcos-etcdctl >/dev/null || exit 1
_shtab_dcos_etcdctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "dcos-etcdctl.bash"
    path.write_text(run("completion", "bash").stdout, encoding="utf-8")
    return path


def complete(script: Path, *words: str, cwd: Path | None = None) -> set[str]:
    """What bash offers for the last word."""
    command = ["bash", "--noprofile", "--norc", "-c", COMPLETE, "bash", str(script), *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd=cwd)
    assert result.stderr == ""
    return set(result.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], {"restore"}),
        (["di"], {"diagnostic", "diff"}),
        (["put"], {"put-back"}),
        (["stats", "--ht"], {"--html"}),
        (["restore", "--initial-cl"], {"--initial-cluster", "--initial-cluster-token"}),
        (["status", "-w", ""], {"table", "simple", "json"}),
        (["diagnostic", "--write-out", "j"], {"json"}),
        (["completion", "z"], {"zsh"}),
    ],
)
def test_bash_completes_commands_flags_and_choices(script: Path, words: list[str], offered: set[str]) -> None:
    assert complete(script, *words) == offered


def test_bash_completes_every_command_that_help_lists(script: Path) -> None:
    listed = run("--help").stdout.partition("commands:\n")[2].partition("\n\n")[0]

    assert complete(script, "") == {line.split()[0] for line in listed.splitlines()}


def test_bash_completes_files_where_files_are_asked_for(script: Path, tmp_path: Path) -> None:
    (tmp_path / "etcd.tar.gz").touch()
    (tmp_path / "etcd.d").mkdir()

    assert complete(script, "verify", "et", cwd=tmp_path) == {"etcd.tar.gz", "etcd.d"}
    assert complete(script, "restore", "etcd.tar.gz", "--data-dir", "et", cwd=tmp_path) == {"etcd.d"}
    assert complete(script, "backup", "--cacert", "etcd.t", cwd=tmp_path) == {"etcd.tar.gz"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_what_their_shells_can_read(shell: str, tmp_path: Path) -> None:
    script = run("completion", shell)
    path = tmp_path / "script"
    path.write_text(script.stdout, encoding="utf-8")

    assert (script.returncode, script.stderr) == (0, "")
    assert "stream a snapshot" in script.stdout or shell == "bash"
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not on this machine")
    assert subprocess.run([program, "-n", path], capture_output=True, check=False).stderr == b""


def test_without_shtab_it_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['shtab'] = None; from dcos_etcd import cli; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "completion", "bash"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert result.returncode == 1
    assert result.stderr == "dcos-etcdctl: error: completion needs shtab: pip install 'dcos-etcd[completion]'\n"


def test_another_shell_is_wrong_usage() -> None:
    assert run("completion", "csh").returncode == 2
