"""Reports as HTML: the words of their text, no scripts, nothing remote, and whatever a key is called stays a word."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

import browser
from cli.conftest import install
from dcos_etcd import cli, models, showing
from dcos_etcd._text import to_text
from dcos_etcd.models import Diagnosis, KeyFigure
from sample_models import FINDINGS, REPORTS, STATS
from sample_reports import DIAGNOSIS, changed

if TYPE_CHECKING:
    from pathlib import Path

MADE = "dcos-etcd 0.1.0, 2026-11-23 05:40:00 UTC"

ELEMENTS = (
    "section style p div table caption thead tbody tr th td span strong ol li html head meta title body main h1 footer"
)
"""What a page is made of; nothing of it loads or runs anything."""

VOID = {"meta"}

each = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)


class Page(HTMLParser):
    """The elements with their attributes, and the words that somebody sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.captions: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "caption" in self.open:
            self.captions.append(data)
        elif not {"style", "title", "h1", "footer"} & set(self.open):
            self.words += data.split()


def shown(report: Any) -> Page:
    """Read a page, without the head that it has and text has not."""
    return Page(showing.page(report._sheet(), made=MADE))


def words_of_text(report: Any) -> list[str]:
    """Without rules and the numbers of steps; what is no UTF-8 as the page spells it, which can't hold its bytes."""
    text = re.sub(r"^  \d+\. ", "", to_text(report._sheet(), warnings=True), flags=re.MULTILINE)
    text = re.sub(r"^\+[-+]+\+$", "", text, flags=re.MULTILINE)
    text = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)
    return [word for word in text.replace("| ", " ").replace(" |", " ").split() if word != "|"]


def bare(words: list[str]) -> list[str]:
    return [word.removesuffix(":") for word in words if word != ":"]


@each
def test_a_page_has_the_words_of_the_text_in_their_order(report: Any) -> None:
    assert bare(shown(report).words) == bare(words_of_text(report))


@each
def test_pages_are_made_of_elements_that_run_and_load_nothing(report: Any) -> None:
    page = shown(report)

    assert {tag for tag, _ in page.elements} <= set(ELEMENTS.split())
    assert page.open == []
    names = {name for _, attributes in page.elements for name in attributes}
    assert names <= {
        *("class", "style", "role", "tabindex", "aria-label", "aria-hidden", "scope", "colspan"),
        *("lang", "charset", "content", "name", "http-equiv"),
    }
    assert {attributes["style"] for _, attributes in page.elements if "style" in attributes} <= {
        f"width:{tenths / 10:.1f}%" for tenths in range(1001)
    }


@each
def test_what_stands_in_a_notebook_brings_its_own_rules_and_no_others(report: Any) -> None:
    html = report._repr_html_()

    assert html.startswith('<section class="dcos-etcd"')
    rules = re.sub(r"@media\([^)]*\)\{|/\*.*?\*/", "", html[html.index("<style>") + 7 : html.index("</style>")])
    selectors = [rule.split("{")[0].strip(" }\n") for rule in rules.split("}") if "{" in rule]
    assert [selector for selector in selectors if not selector.startswith(".dcos-etcd")] == []
    assert "url(" not in html
    assert "@import" not in html


@each
def test_tables_can_be_heard(report: Any) -> None:
    page = shown(report)
    tables = sum(tag == "table" for tag, _ in page.elements)
    remarks = sum(attributes.get("role") == "note" for _, attributes in page.elements)

    assert len(page.captions) + remarks >= tables
    assert all(page.captions)
    assert {attributes.get("scope") for tag, attributes in page.elements if tag == "th"} <= {"row", "col"}
    bars = sum("style" in attributes for _, attributes in page.elements)
    assert bars == sum(attributes.get("aria-hidden") == "true" for _, attributes in page.elements)


def test_no_character_turns_text_around_or_steers_anything() -> None:
    html = showing.page(STATS._sheet(), made=MADE)

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", html)
    assert "\\u202eelbadaer\\u2066\\u2028" in html
    assert html.encode()


def test_a_path_that_is_no_utf8_is_spelled_out() -> None:
    assert "<td>\\xff&lt;b&gt;.tar.gz</td>" in REPORTS["hostile path"]._repr_html_()


def test_a_notebook_keeps_the_beginning_of_a_long_table_and_a_page_all_of_it() -> None:
    long = dataclasses.replace(STATS, largest=tuple(KeyFigure(f"key-{n}".encode(), n) for n in range(80)))

    assert "and 30 more" in long._repr_html_()
    assert "key-50" not in long._repr_html_()
    assert "key-79" in showing.page(long._sheet(), made=MADE)


def test_every_report_shows_itself_and_the_parts_of_reports_do_not() -> None:
    shows = {name for name in models.__all__ if hasattr(getattr(models, name), "_repr_html_")}

    assert shows == {type(report).__name__ for report in REPORTS.values()}


def test_ipython_on_a_terminal_gets_the_text() -> None:
    class Printer:
        def text(self, text: str) -> None:
            self.got = text

    printer = Printer()
    REPORTS["backup"]._repr_pretty_(printer, cycle=False)

    assert printer.got.startswith("archive:       etcd.tar.gz\n")
    assert printer.got.endswith("\n\nwarning: a learner sent it")


def test_diagnostic_writes_a_page_beside_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, "diagnose", Diagnosis._from_json(changed(DIAGNOSIS, findings=FINDINGS)))
    page = tmp_path / "health.html"

    assert cli.main(["diagnostic", "--html", str(page)]) == 1
    printed = capsys.readouterr().out
    assert cli.main(["diagnostic"]) == 1
    assert capsys.readouterr().out == printed
    assert "compact &amp; defragment" in page.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_an_error_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, "diagnose", Diagnosis._from_json(changed(DIAGNOSIS, findings=[], healthy=True)))

    assert cli.main(["diagnostic", "--html", str(tmp_path / "no" / "health.html")]) == 1
    assert capsys.readouterr().err == f"dcos-etcdctl: error: {tmp_path}/no/health.html: No such file or directory\n"


# In a browser.


def test_a_browser_shows_hostile_names_as_words_and_has_no_complaint(tmp_path: Path) -> None:
    page = tmp_path / "stats.html"
    page.write_text(showing.page(STATS._sheet(), made=MADE), encoding="utf-8")

    seen = browser.look(page)

    assert seen.console == []
    document = Page(seen.text)
    assert bare(document.words) == bare(words_of_text(STATS))
    assert {tag for tag, _ in document.elements} & {"script", "img"} == set()


@pytest.mark.parametrize("name", ["members", "diagnosis", "comparison", "stats"])
def test_where_there_is_little_room_tables_are_moved_and_words_stay_whole(tmp_path: Path, name: str) -> None:
    page = tmp_path / "narrow.html"
    measure = """
        const words = document.createRange();
        document.body.dataset.lines = [...document.querySelectorAll("thead + tbody td:not(.de-open, .de-bar)")]
            .map(cell => (words.selectNodeContents(cell), words.getClientRects().length)).join(" ");
        document.body.dataset.wide = document.body.scrollWidth;
    """
    page.write_text(
        f"<!DOCTYPE html><body style='width:400px'>{REPORTS[name]._repr_html_()}<script>{measure}</script>", "utf-8"
    )

    [body] = [attributes for tag, attributes in Page(browser.look(page).text).elements if tag == "body"]

    assert {int(lines) for lines in (body["data-lines"] or "").split()} <= {0, 1}
    assert body["data-wide"] == "400"


def test_a_page_that_did_run_something_would_be_noticed(tmp_path: Path) -> None:
    """What the tests above rely on: the policy of the page refuses, and the browser says so."""
    page = tmp_path / "bad.html"
    good = showing.page(STATS._sheet(), made=MADE)
    page.write_text(good.replace("<h1>", "<script>1</script><img src='http://example.org/x.png'><h1>"), "utf-8")

    console = browser.look(page).console

    assert len(console) == 2
    assert all("violates the following Content Security Policy" in line for line in console)


@pytest.mark.parametrize("name", ["stats", "diagnosis"])
def test_pages_are_light_or_dark_as_their_reader_is(tmp_path: Path, name: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(showing.page(REPORTS[name]._sheet(), made=MADE), encoding="utf-8")

    brightness: dict[browser.Theme, tuple[int, int]] = {}
    themes: tuple[browser.Theme, ...] = ("light", "dark")
    for theme in themes:
        seen = browser.look(page, theme, screenshot=tmp_path / f"{theme}.png")
        assert seen.console == []
        with Image.open(tmp_path / f"{theme}.png") as image:
            shades = image.convert("L").histogram()
        # What most of the page is, and the words that stand out most against it.
        ground = shades.index(max(shades))
        words = max((shade for shade in range(256) if shades[shade] > 50), key=lambda shade: abs(shade - ground))
        brightness[theme] = ground, words

    [(light_ground, dark_words), (dark_ground, light_words)] = brightness.values()
    assert light_ground > 240
    assert dark_words < 60
    assert dark_ground < 40
    assert light_words > 180
