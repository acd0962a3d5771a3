"""What plots draw: the numbers of the report, at names that are names whatever they look like."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import Rectangle

from dcos_etcd.exceptions import InvalidArgumentError, MissingDependencyError
from sample_models import HOSTILE, REPORTS, STATS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

DIAGNOSIS = REPORTS["diagnosis"]


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    """Draw on paper that nobody sees, and throw it away."""
    with mpl.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


def bars(ax: Axes) -> list[tuple[float, float]]:
    """Where each bar begins, and how long it is, in the order in which they were drawn."""
    return [(bar.get_x(), bar.get_width()) for bar in ax.patches if isinstance(bar, Rectangle)]


def labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_prefixes_have_bars_of_what_is_live_and_of_what_was() -> None:
    ax = STATS.plot(most=2)

    others = len(HOSTILE)
    assert labels(ax) == ["/apps/", "/calico/", f"{others} others"]
    live = [20_010, 40_010, others * 110]
    older = [6_000_000 - 20_000, 3_000_000 - 40_000, 0]
    assert bars(ax) == [*((0, width) for width in live), *zip(live, older, strict=True)]
    assert [text.get_text().strip() for text in ax.texts] == ["6.0 MB", "3.0 MB", "1.2 kB"]
    assert ax.yaxis_inverted()


def test_a_single_prefix_is_never_one_of_the_others() -> None:
    ax = STATS.plot(most=len(STATS.prefixes) - 1)

    assert len(labels(ax)) == len(STATS.prefixes)
    assert not any(label.endswith("others") for label in labels(ax))


def test_revisions_have_bars_as_wide_as_their_spans() -> None:
    ax = STATS.plot(by="revision")

    assert bars(ax) == [(1 + 1000 * n, 1000) for n in range(4)]
    heights = [bar.get_height() for bar in ax.patches if isinstance(bar, Rectangle)]
    assert heights == [900_000, 1_800_000, 2_700_000, 3_600_000]
    assert ax.get_xlabel() == "revision"


def test_members_stand_side_by_side_and_one_without_an_answer_says_so() -> None:
    ax = DIAGNOSIS.plot()

    assert labels(ax) == ["m1", "http://127.0.0.1:1"]
    assert bars(ax) == [(0, 16384), (0, 0), (16384, 4096), (0, 0)]
    assert [text.get_text().strip() for text in ax.texts] == ["20 kB, leader, revision 10", "did not answer"]
    assert ax.get_title() == "Databases of 2 members: unhealthy"


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_between_the_bars_is_the_paper(style: str) -> None:
    with plt.style.context(style):
        ax = STATS.plot(by="revision")

    edges = {bar.get_edgecolor() for bar in ax.patches if isinstance(bar, Rectangle)}
    assert edges == {ax.get_facecolor()}


def test_one_member_is_one() -> None:
    ax = dataclasses.replace(DIAGNOSIS, endpoints=DIAGNOSIS.endpoints[:1]).plot()

    assert ax.get_title() == "Database of one member: unhealthy"


def test_plots_go_where_they_are_told() -> None:
    figure, (left, right) = plt.subplots(1, 2)

    assert STATS.plot(left) is left
    assert DIAGNOSIS.plot(ax=right) is right
    assert STATS.plot(by="revision").figure is not figure


@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_hostile_names_are_drawn_as_they_are() -> None:
    """A dollar sign begins a formula, and one that can't be read would stop the drawing."""
    ax = STATS.plot(most=len(HOSTILE) + 2)
    plt.gcf().savefig(io.BytesIO(), format="png")

    written = labels(ax)
    assert r"\$\frac{1}{0}\$" in written
    assert "<script>alert(1)</script>" in written
    assert max(map(len, written)) <= 42
    assert all(name.isprintable() for name in written)


@pytest.mark.parametrize("stats", [dataclasses.replace(STATS, prefixes=(), spans=())])
@pytest.mark.parametrize("by", ["prefix", "revision"])
def test_an_empty_snapshot_is_drawn_too(stats: Any, by: Any) -> None:
    ax = stats.plot(by=by)
    plt.gcf().savefig(io.BytesIO(), format="png")

    assert bars(ax) == []


@pytest.mark.parametrize("wrong", [{"by": "size"}, {"most": 0}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        STATS.plot(**wrong)


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    for plot, name in ((STATS.plot, "stats"), (DIAGNOSIS.plot, "diagnosis")):
        with pytest.raises(
            MissingDependencyError, match=rf"{name}\.plot\(\) needs .*'dcos-etcd\[notebook\]'"
        ) as caught:
            plot()
        assert caught.value.name == caught.value.package == "matplotlib"


def test_reports_are_read_without_matplotlib_ipython_or_rich() -> None:
    program = (
        "import sys, sample_models as s; [r._repr_html_() for r in s.REPORTS.values()];"
        "sys.exit(sorted({'matplotlib', 'IPython', 'rich', 'tqdm'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
        timeout=30,
    )

    assert result.stderr == "[]\n"
