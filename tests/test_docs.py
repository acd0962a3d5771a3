"""What the documentation says is so: its code runs, its links lead somewhere, nothing is missing."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest

import dcos_etcd
from conftest import release
from documents import CODE, PAGES, ROOT, Block, anchors, blocks, fault, inline, links, name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from document_world import World

DOCS = ROOT / "docs"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    pytest.importorskip("tomllib", reason="the documentation is tested with CPython 3.11 or newer")
    from document_world import World  # noqa: PLC0415 - it needs tomllib

    made = World(tmp_path, release("3.6"))
    yield made
    made.close()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_code_block_says_what_it_is(page: Path) -> None:
    assert [block.place for block in blocks(page) if block.language not in CODE] == []


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_every_code_block_runs(page: Path, world: World) -> None:
    for block in blocks(page):
        world.run(block)
    world.run_tests()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_link_is_dead(page: Path) -> None:
    found = [(line, target, fault(page, target)) for line, target in links(page)]

    assert [f"{name(page)}:{line}: {target}: {what}" for line, target, what in found if what] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_are_there(page: Path) -> None:
    path = re.compile(r"(docs|src|tests|python|benches|demo|\.ci)/[\w./-]*\w/?")
    named = [(line, token.content) for line, token in inline(page) if token.type == "code_inline"]

    assert [
        f"{name(page)}:{line}: {file}" for line, file in named if path.fullmatch(file) and not (ROOT / file).exists()
    ] == []


# The checks themselves.


def a_page(directory: Path, text: str) -> Path:
    page = directory / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


@pytest.mark.parametrize("target", ["gone.md", "#nowhere", "http://plain.example", "page.md#nowhere", "../x/page.md"])
def test_a_dead_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr("documents.ROOT", tmp_path)
    page = a_page(tmp_path, f"# Here\n\n[there]({target})\n")

    [(line, found)] = links(page)

    assert (line, found) == (3, target)
    assert fault(page, found)


@pytest.mark.parametrize("target", ["page.md", "#here-and-there", "page.md#here-and-there", "https://etcd.io/docs"])
def test_a_live_link_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr("documents.ROOT", tmp_path)

    assert fault(a_page(tmp_path, "# Here, and `there`\n"), target) is None


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "1 / 0\n"),
        ("pycon", ">>> 1 + 1\n3\n"),
        ("console", "$ false\n"),
        ("console", "$ echo one\ntwo\n"),
        ("sh", "dcos-etcdctl verify nothing.tar.gz\n"),
        ("sh", "# on every master\ndcos-etcdctl restore PATH --no-such-flag\n"),
        ("sh", "# on every master\nif\n"),
        ("sh", "make no-such-target\n"),
        ("sh", "pip install dcos-etcd[no-such-extra]\n"),
        ("cron", "0 * * * root /usr/bin/x\n"),
        ("json", "{\n"),
        ("toml", "a\n"),
        ("ini", "a\n"),
        ("text", "$ dcos-etcdctl verify x\n"),
        ("output", "something\n"),
    ],
)
def test_a_block_that_is_wrong_fails(tmp_path: Path, world: World, language: str, text: str) -> None:
    page = a_page(tmp_path, f"```{language}\n{text}```\n")
    [block] = blocks(page)
    assert block == Block(page, 2, language, text)
    block = Block(ROOT / "README.md", 2, language, text)

    with pytest.raises(Exception):  # noqa: B017, PT011 - each language has an error of its own
        world.run(block)


# Nothing is missing.


def reference() -> str:
    return "".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md")))


def test_the_reference_holds_every_public_name() -> None:
    listed = re.findall(r"^\.\. auto(?:function|class|exception):: (\w+)", reference(), re.MULTILINE)

    assert sorted(listed) == sorted({*dcos_etcd.__all__} - {"__version__", "aio"})


def test_the_reference_of_dcos_holds_every_public_name() -> None:
    from dcos_etcd import dcos  # noqa: PLC0415

    found = re.search(r"automodule:: dcos_etcd.dcos\n   :members: (.*)", reference())

    assert found
    assert set(found[1].split(", ")) == {*dcos.__all__}


@pytest.mark.parametrize("module", ["dcos_etcd.aio", "dcos_etcd.testing"])
def test_the_reference_holds_a_whole_module(module: str) -> None:
    assert f".. automodule:: {module}\n   :members:\n" in reference()


def test_the_tree_of_exceptions_is_that_of_the_classes() -> None:
    from dcos_etcd import exceptions  # noqa: PLC0415

    drawn = set(re.findall(r"[├└]── (\w+)", inspect.getdoc(exceptions) or ""))

    assert drawn == {found for found in exceptions.__all__ if found.endswith("Error")} - {"EtcdError"}


def test_every_command_has_its_help_and_an_example() -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ (dcos-etcdctl .*--help)$", (DOCS / "cli_help.txt").read_text(), re.MULTILINE)

    assert re.findall(r"^:start-at: \$ (.+)$", text, re.MULTILINE) == commands
    for command in commands[1:]:
        verb = command.split()[1]
        assert verb in anchors(DOCS / "commands.md")
        assert any(f"dcos-etcdctl {verb} " in block.text for block in blocks(DOCS / "commands.md")), verb
