"""In Jupyter: the notebooks of the documentation against real etcd, tracebacks, and progress, in a real kernel."""

from __future__ import annotations

import contextlib
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat.v4
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from PIL import Image

import browser
from dcos_etcd.testing import make_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs" / "notebooks").glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

Message = dict[str, Any]


def read(path: Path) -> Any:
    return nbformat.v4.reads(path.read_text(encoding="utf-8"))  # type: ignore[no-untyped-call]


@each_notebook
def test_notebooks_are_kept_without_what_they_printed(path: Path) -> None:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]

    assert cells
    assert [cell for cell in cells if cell.outputs or cell.execution_count] == []


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """Runs a notebook when it is first asked for."""
    made: dict[Path, Any] = {}

    def get(path: Path) -> Any:
        if path not in made:
            made[path] = read(path)
            place = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
            NotebookClient(made[path], timeout=120, resources=place).execute()
        return made[path]

    return get


@each_notebook
def test_notebooks_run_and_show_tables_and_plots(path: Path, executed: Callable[[Path], Any]) -> None:
    outputs = [output for cell in executed(path).cells for output in cell.get("outputs", [])]

    assert [output for output in outputs if output.get("name") == "stderr"] == []
    tables = [output.data for output in outputs if "text/html" in output.get("data", {})]
    assert len(tables) >= 1
    assert all("text/plain" in data for data in tables)
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) >= 1


@each_notebook
def test_pages_of_notebooks_can_be_read_by_day_and_by_night(
    path: Path, tmp_path: Path, executed: Callable[[Path], Any]
) -> None:
    brightness = []
    themes: tuple[browser.Theme, ...] = ("light", "dark")
    for theme in themes:
        page = tmp_path / f"{theme}.html"
        page.write_text(as_page(executed(path), theme), encoding="utf-8")
        seen = browser.look(page, theme, screenshot=page.with_suffix(".png"))
        assert seen.console == []
        with Image.open(page.with_suffix(".png")) as image:
            shades = image.convert("L").histogram()
        brightness.append(shades.index(max(shades)))

    assert brightness[0] > 230
    assert brightness[1] < 60


def as_page(notebook: Any, theme: str) -> str:
    """A page as `jupyter nbconvert` makes it, but for the libraries that it would fetch for formulas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nbconvert import HTMLExporter  # noqa: PLC0415 - it warns of itself

        nothing = dict.fromkeys(("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url"), "")
        exporter: Any = HTMLExporter(theme=theme, **nothing)  # type: ignore[no-untyped-call]
        body: str = exporter.from_notebook_node(notebook)[0]
    return body


# A kernel, cell by cell.


class Kernel:
    """A running kernel; gives what a cell sends to its notebook."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, cell: str) -> list[Message]:
        messages: list[Message] = []
        self.client.execute_interactive(cell, output_hook=messages.append, timeout=60, store_history=True)
        return messages

    def traceback(self, cell: str) -> list[str]:
        """The lines of the error that a cell ends with, without colours."""
        [error] = [message["content"] for message in self.run(cell) if message["msg_type"] == "error"]
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"])).splitlines()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kernel = Kernel()
    kernel.run("import dcos_etcd")
    yield kernel
    kernel.client.stop_channels()
    with contextlib.suppress(RuntimeError):
        kernel.manager.shutdown_kernel(now=True)


REFUSED = 'dcos_etcd.member_list("http://127.0.0.1:1", dial_timeout=0.2, command_timeout=0.2)'


def test_a_traceback_is_the_users_line_the_message_and_what_to_do(kernel: Kernel) -> None:
    lines = kernel.traceback(REFUSED)

    assert len(lines) < 10
    assert any(line.startswith("Cell In[") for line in lines)
    assert f"----> 1 {REFUSED}" in lines
    [message] = [line for line in lines if line.startswith("EndpointUnavailableError: ")]
    assert "http://127.0.0.1:1" in message
    assert lines[-1].startswith("hint: check that the endpoints")
    assert "python/dcos_etcd" not in "\n".join(lines)


def test_functions_of_the_user_stay_in_a_traceback(kernel: Kernel) -> None:
    kernel.run(f"def my_backup():\n    return {REFUSED}")
    lines = kernel.traceback("my_backup()")

    assert "----> 1 my_backup()" in lines
    assert f"----> 2     return {REFUSED}" in lines


def test_the_cause_of_an_error_is_told_in_a_line(kernel: Kernel) -> None:
    raising = (
        "try:\n    raise dcos_etcd.StalledError('a: silent', endpoint='a', after=1.0, received=0, expected=None)\n"
        "except dcos_etcd.StalledError as error:\n"
        "    raise dcos_etcd.PutBackStoppedError('stopped with 1 of 2 changes confirmed', done=1, planned=2) from error"
    )
    lines = kernel.traceback(raising)

    assert "PutBackStoppedError: stopped with 1 of 2 changes confirmed" in lines
    assert lines[-2:] == [
        "cause: dcos_etcd.exceptions.StalledError: a: silent",
        "hint: run it again when the cause is gone: what is written already is passed over",
    ]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('dcos_etcd.verify("/absent.db")', "FileNotFoundError: [Errno 2] No such file or directory: '/absent.db'"),
        (
            'dcos_etcd.compare("/absent.db", "/b")',
            "FileNotFoundError: [Errno 2] No such file or directory: '/absent.db'",
        ),
        (
            'await dcos_etcd.aio.verify("/absent.db")',
            "FileNotFoundError: [Errno 2] No such file or directory: '/absent.db'",
        ),
        ("dcos_etcd.status()", "TypeError: status() missing 1 required positional argument: 'path'"),
    ],
)
def test_errors_that_are_pythons_own_have_short_tracebacks_too(kernel: Kernel, cell: str, message: str) -> None:
    kernel.run("import dcos_etcd.aio")
    lines = [line for line in kernel.traceback(cell) if not line.startswith("while ")]

    assert f"----> 1 {cell}" in lines
    assert lines[-1] == message
    assert "_steps.py" not in "\n".join(lines)


def test_a_callback_that_raises_is_shown_with_its_line(kernel: Kernel, tmp_path: Path) -> None:
    make_snapshot(tmp_path / "a.db", {"a": "1"})
    kernel.run("def full(event):\n    raise OSError(28, 'no room for my log')")
    lines = kernel.traceback(f"dcos_etcd.verify({str(tmp_path / 'a.db')!r}, progress=full)")

    assert "----> 2     raise OSError(28, 'no room for my log')" in lines
    assert lines[-1] == "OSError: [Errno 28] no room for my log"
    assert "python/dcos_etcd" not in "\n".join(lines)


def test_the_exception_itself_keeps_every_frame(kernel: Kernel) -> None:
    kernel.traceback(REFUSED)
    [printed] = [
        message["content"]["text"]
        for message in kernel.run(
            "import sys, traceback; print([frame.name for frame in traceback.extract_tb(sys.last_traceback)])"
        )
        if message["msg_type"] == "stream"
    ]

    assert "member_list" in printed


PROGRESS = """
from dcos_etcd import _progress
with _progress.reporting(True) as callback:
    callback("receive", 250, 1000)
    callback("receive", 1000, 1000)
    callback("check", 10, None)
"""


def test_progress_in_a_notebook_is_a_bar_that_goes_away(kernel: Kernel) -> None:
    kernel.run("from dcos_etcd import _progress; found = _progress.find_spec; _progress.find_spec = lambda name: None")
    messages = kernel.run(PROGRESS)
    kernel.run("_progress.find_spec = found")

    shown: dict[str, list[str]] = {}
    for message in messages:
        if message["msg_type"] in ("display_data", "update_display_data"):
            content = message["content"]
            shown.setdefault(content["transient"]["display_id"], []).append(content["data"]["text/html"])
    assert list(shown.values()) == [
        [
            "",
            '<label>receiving <progress max="1000" value="250"></progress> 250 B of 1.0 kB</label>',
            '<label>receiving <progress max="1000" value="1000"></progress> 1.0 kB of 1.0 kB</label>',
            "",
        ],
        ["", "<label>checking <progress></progress> 10 B</label>", ""],
    ]
    assert [message for message in messages if message["msg_type"] in ("stream", "error")] == []


def test_a_bar_goes_away_when_the_work_fails(kernel: Kernel) -> None:
    kernel.run("from dcos_etcd import _progress; found = _progress.find_spec; _progress.find_spec = lambda name: None")
    messages = kernel.run(PROGRESS + "    raise RuntimeError('no')")
    kernel.run("_progress.find_spec = found")

    last = [message["content"]["data"]["text/html"] for message in messages if "display" in message["msg_type"]][-2:]
    assert last == ["", ""]


def test_progress_is_tqdms_where_tqdm_has_its_widget(kernel: Kernel) -> None:
    pytest.importorskip("ipywidgets")
    messages = kernel.run(PROGRESS)

    opened = [message["content"]["data"]["state"] for message in messages if message["msg_type"] == "comm_open"]
    models = [state["_model_name"] for state in opened]
    assert models.count("FloatProgressModel") == 2
    assert [message for message in messages if message["msg_type"] in ("stream", "error")] == []


def test_a_notebook_that_is_kept_holds_no_widget_that_is_gone(kernel: Kernel) -> None:
    pytest.importorskip("ipywidgets")
    last: dict[str, list[str]] = {}
    for message in kernel.run(PROGRESS):
        if message["msg_type"] in ("display_data", "update_display_data"):
            content = message["content"]
            last[content["transient"]["display_id"]] = sorted(content["data"])

    assert list(last.values()) == [["text/html", "text/plain"]] * 2


def test_a_bar_is_as_wide_as_others_once_the_total_is_known(kernel: Kernel) -> None:
    """A backup learns it with the first message; tqdm draws a bar without a total 20 pixels wide."""
    pytest.importorskip("ipywidgets")
    messages = kernel.run(
        "from dcos_etcd import _progress\n"
        "with _progress.reporting(True) as callback:\n"
        '    callback("receive", 0, None)\n'
        '    callback("receive", 500, 1000)\n'
    )

    told = [message["content"]["data"].get("state", {}) for message in messages if message["msg_type"] == "comm_msg"]
    assert [state["width"] for state in told if "width" in state] == ["20px", None]
    assert [state["max"] for state in told if "max" in state] == [1000.0]
