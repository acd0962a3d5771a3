"""The pages of the documentation: their code blocks, their headings, and their links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parent.parent

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

CODE = {"python", "pycon", "sh", "console", "output", "cron", "ini", "json", "toml", "text"}
"""Languages of code blocks, each with a way to check it; `text` is what is no code, such as a diagram."""

DIRECTIVES = {"{toctree}", "{literalinclude}", "{eval-rst}"}
"""What Sphinx, not a reader, makes of a fenced block."""

ELSEWHERE = "# on "
"""How a block begins that is typed on machines which are not there, such as `# on every master`."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file that it stands in.
        line: Number of its first line of code.
        language: What its fence says.
        text: The code.
    """

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, as editors jump to it."""
        return f"{name(self.page)}:{self.line}"

    @property
    def elsewhere(self) -> bool:
        """Whether its commands belong to other machines."""
        return self.language == "sh" and self.text.startswith(ELSEWHERE)

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if its first line is a comment with one."""
        found = re.match(r"(?:#!.*\n)?# ([\w./-]+\.(?:py|sh|toml|ini|service|timer))\n", self.text)
        return found[1] if found else None


def name(page: Path) -> str:
    """The name of a page, as seen from the root of the project."""
    return str(page.relative_to(ROOT))


def parse(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """Every block of code, in order; indented ones have the language ''."""
    found = []
    for token in parse(page):
        if token.type in {"fence", "code_block"} and token.map:
            language = token.info.split()[0] if token.info.strip() else ""
            if language not in DIRECTIVES:
                found.append(Block(page, token.map[0] + (token.type == "fence") + 1, language, token.content))
    return found


def inline(page: Path) -> Iterator[tuple[int, Token]]:
    """Every piece of running text, with its line."""
    for token in parse(page):
        if token.type == "inline" and token.map:
            for child in token.children or ():
                yield token.map[0] + 1, child


def anchors(page: Path) -> set[str]:
    """What a link to a part of the page may say behind its `#`."""
    tokens = parse(page)
    titles = [
        "".join(child.content for child in after.children or ())
        for token, after in pairwise(tokens)
        if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Where links and pictures lead to, with their lines."""
    for line, token in inline(page):
        target = token.attrs.get("href") if token.type == "link_open" else token.attrs.get("src")
        if isinstance(target, str):
            yield line, target


def fault(page: Path, target: str) -> str | None:
    """What is wrong with a link, without a look at the network."""
    parts = urlsplit(target)
    if parts.scheme:
        return None if parts.scheme == "https" and "." in parts.netloc else "neither a page of ours nor https://"
    other = page.parent / unquote(parts.path) if parts.path else page
    if not other.exists():
        return "is not there"
    if (ROOT / "docs") in page.parents and (ROOT / "docs") not in other.resolve().parents:
        return "leads out of docs/, where the site ends"
    if parts.fragment and (other.suffix != ".md" or parts.fragment not in anchors(other)):
        return f"{name(other.resolve())} has no heading for #{parts.fragment}"
    return None
