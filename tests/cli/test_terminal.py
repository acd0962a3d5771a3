"""On a terminal of 80 columns, and where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import terminal
from dcos_etcd._text import to_text
from dcos_etcd.cli import _output
from dcos_etcd.testing import make_snapshot
from sample_models import REPORTS, STATS

SHOW = "import sys; from sample_models import REPORTS; from dcos_etcd.cli import _output;"
SHOW += "sys.stdout.reconfigure(errors='surrogateescape'); _output.show(REPORTS[sys.argv[1]]._sheet())"

DIAGNOSTIC = """
import sys
from sample_models import REPORTS
from dcos_etcd import api, cli
api.diagnose = lambda *_, **__: REPORTS["diagnosis"]
sys.exit(cli.main(["diagnostic", *sys.argv[1:]]))
"""


def letters(text: str) -> list[str]:
    """All but spaces and what rules are made of."""
    return sorted(letter for letter in text if letter not in " \n|+-")


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "hostile path"])
def test_every_report_fits_80_columns_loses_nothing_and_steers_nothing(name: str) -> None:
    code, shown = terminal.run(SHOW, name)
    plain = terminal.without_styles(shown)

    assert code == 0
    assert max(map(len, plain.splitlines())) <= terminal.COLUMNS
    assert {letter for letter in plain if not letter.isprintable()} == {"\n"}
    # What is too long goes on in another line; no letter is lost.
    assert letters(plain) == letters(to_text(REPORTS[name]._sheet()))


def test_a_long_key_goes_on_below_itself() -> None:
    shown = terminal.without_styles(terminal.run(SHOW, "stats")[1])

    assert "/long" * 60 in "".join(shown.split())
    assert "…" not in shown


def test_what_is_bad_is_red_and_with_no_color_only_bold() -> None:
    assert "\x1b[1;31mCRITICAL endpoint-unreachable [http://127.0.0.1:1]\x1b[0m" in terminal.run(SHOW, "diagnosis")[1]
    without = terminal.run(SHOW, "diagnosis", NO_COLOR="1")[1]
    assert "\x1b[1mCRITICAL endpoint-unreachable [http://127.0.0.1:1]\x1b[0m" in without
    assert "\x1b[1;3" not in without


def test_a_terminal_that_is_dumb_gets_plain_text() -> None:
    assert terminal.run(SHOW, "diagnosis", TERM="dumb")[1] == to_text(REPORTS["diagnosis"]._sheet()) + "\n"


def test_a_pipe_gets_plain_text_whatever_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"):
        monkeypatch.setenv(variable, "1")

    _output.show(STATS._sheet())

    assert capsys.readouterr().out == to_text(STATS._sheet()) + "\n"


def test_json_on_a_terminal_is_that_of_a_pipe() -> None:
    code, shown = terminal.run(DIAGNOSTIC, "-w", "json")
    environment: dict[str, Any] = {"PYTHONPATH": ":".join(sys.path)}
    piped = subprocess.run(
        [sys.executable, "-c", DIAGNOSTIC, "-w", "json"], capture_output=True, text=True, check=False, env=environment
    )

    assert (code, shown) == (piped.returncode, piped.stdout) == (1, piped.stdout)
    assert shown.startswith('{"header":')


def test_the_plain_text_of_a_pipe_needs_no_rich(capsys: pytest.CaptureFixture[str]) -> None:
    program = f"import sys; sys.modules['rich'] = None; sys.argv = ['', 'stats']; {SHOW}"
    tests = Path(__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tests)
    _output.show(STATS._sheet())

    assert result.stdout == capsys.readouterr().out, result.stderr


# Progress.

DIFF = "import sys; from dcos_etcd.cli import main; sys.exit(main(['diff', *sys.argv[1:]]))"


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_bar_gives_the_terminal_back_before_the_first_difference(tmp_path: Path, form: str) -> None:
    for name, value in (("a.db", "1"), ("b.db", "2")):
        make_snapshot(tmp_path / name, {"/a": value, "/b": value})
    code, written = terminal.run(DIFF, str(tmp_path / "a.db"), str(tmp_path / "b.db"), "-w", form)

    assert code == 1
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1
    first = "CHANGE     REVISION A" if form == "table" else '{"part":'
    assert written.index("\x1b[?25h") < written.index(first)


FAIL = """
from dcos_etcd._progress import reporting
with reporting(True) as callback:
    callback("receive", 500, 1000)
    raise RuntimeError("the disk is full")
"""


def test_a_failure_gives_the_terminal_back_as_it_was() -> None:
    code, written = terminal.run(FAIL)

    assert code == 1
    assert "receiving" in written
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1
    assert written.index("\x1b[?25l") < written.index("\x1b[?25h") < written.index("the disk is full")


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_progress_minds_what_a_terminal_can_do(variables: dict[str, str]) -> None:
    _, written = terminal.run(FAIL, **variables)

    assert "the disk is full" in written
    assert "\x1b[3" not in written.partition("Traceback")[0]
    assert ("\x1b" in written.partition("Traceback")[0]) == ("NO_COLOR" in variables)
