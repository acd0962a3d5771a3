"""What people would rather look at than read: what takes the room, and members side by side; through matplotlib."""

# matplotlib leaves the types of most of its keywords open.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import TYPE_CHECKING

from dcos_etcd.display import human_size
from dcos_etcd.exceptions import InvalidArgumentError, MissingDependencyError
from dcos_etcd.listing import readable, weight

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dcos_etcd.models import Diagnosis, EndpointFacts, Stats

# Legible on white and on black, and told apart by people who see few colours.
_NOW, _HISTORY, _FREE = "#4a90d9", "#e0913a", "#9aa5b1"
_LONGEST_LABEL = 40
_BAR_HEIGHT, _MARGIN_HEIGHT = 0.32, 1.4
# Of ticks: sizes are written with two digits.
_STEPS = (1, 2, 5, 10)


def room(stats: Stats, ax: Axes | None, *, by: str, most: int) -> Axes:
    """Draw what takes the room, by prefix or by revision."""
    if by not in ("prefix", "revision"):
        raise InvalidArgumentError(f"by: {by!r} is neither 'prefix' nor 'revision'")
    if most < 1:
        raise InvalidArgumentError(f"most: {most} is no number of bars")
    return _by_revision(stats, ax) if by == "revision" else _by_prefix(stats, ax, most)


def _by_prefix(stats: Stats, ax: Axes | None, most: int) -> Axes:
    groups = sorted(stats.prefixes, key=lambda group: (-weight(group), group.prefix))
    if len(groups) == most + 1:
        # The last one takes no more room than a bar for the others.
        most += 1
    labels = [_label(readable(group.prefix) or "(none)") for group in groups[:most]]
    bars = [[group] for group in groups[:most]]
    if rest := groups[most:]:
        labels.append(f"{len(rest)} others")
        bars.append(rest)
    now = [sum(group.key_bytes + group.value_bytes for group in bar) for bar in bars]
    before = [sum(group.version_bytes - group.value_bytes for group in bar) for bar in bars]
    drawn = _axes(ax, len(bars), "stats.plot()")
    drawn.barh(range(len(bars)), now, color=_NOW, label="keys and values now")
    drawn.barh(range(len(bars)), before, left=now, color=_HISTORY, label="older versions")
    ends = [sum(both) for both in zip(now, before, strict=True)]
    _sized(drawn, labels, [f" {human_size(end)}" for end in ends], ends)
    drawn.set_title(f"What takes the room at revision {stats.revision}")
    _explained(drawn)
    return drawn


def _by_revision(stats: Stats, ax: Axes | None) -> Axes:
    drawn = _axes(ax, 10, "stats.plot()")
    widths = [span.last - span.first + 1 for span in stats.spans]
    drawn.bar(
        [span.first for span in stats.spans],
        [span.version_bytes for span in stats.spans],
        widths,
        align="edge",
        color=_NOW,
        edgecolor=drawn.get_facecolor(),
    )
    drawn.yaxis.set_major_formatter(_human)
    drawn.xaxis.set_major_formatter(_whole)
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - loaded with the axes

    drawn.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    drawn.set_xlabel("revision")
    drawn.set_ylabel("values still in the file")
    drawn.set_title(f"What was written when, up to revision {stats.revision}")
    return drawn


def members(diagnosis: Diagnosis, ax: Axes | None) -> Axes:
    """Draw each member's database: what holds something, and what is free."""
    asked = diagnosis.endpoints
    in_use = [_first(facts.db_size_in_use, facts.db_size) for facts in asked]
    size = [_first(facts.db_size) for facts in asked]
    drawn = _axes(ax, len(asked), "diagnosis.plot()")
    drawn.barh(range(len(asked)), in_use, color=_NOW, label="in use")
    free = [all_of_it - used for all_of_it, used in zip(size, in_use, strict=True)]
    drawn.barh(range(len(asked)), free, left=in_use, color=_FREE, label="free in the file")
    notes = [f" {_said(facts)}" for facts in asked]
    _sized(drawn, [_label(facts.name or facts.endpoint) for facts in asked], notes, size)
    databases = f"Databases of {len(asked)} members" if len(asked) != 1 else "Database of one member"
    drawn.set_title(f"{databases}: {'healthy' if diagnosis.healthy else 'unhealthy'}")
    _explained(drawn)
    return drawn


def _first(*sizes: int | None) -> int:
    return next((size for size in sizes if size is not None), 0)


def _said(facts: EndpointFacts) -> str:
    if facts.db_size is None:
        return "did not answer" if not facts.reachable else "did not tell"
    leads = ["leader"] if facts.leader and facts.leader == facts.member_id else []
    revision = [] if facts.revision is None else [f"revision {facts.revision}"]
    return ", ".join([human_size(facts.db_size), *leads, *revision])


def _axes(ax: Axes | None, bars: int, what: str) -> Axes:
    """Make a figure of the right height where no axes are given; pyplot knows it, so that a notebook shows it."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot as plt  # noqa: PLC0415 - it takes long to load
    except ImportError:
        raise MissingDependencyError(
            f"{what} needs matplotlib: pip install 'dcos-etcd[notebook]'", package="matplotlib", extra="notebook"
        ) from None
    _, made = plt.subplots(figsize=(8, bars * _BAR_HEIGHT + _MARGIN_HEIGHT), layout="constrained")
    return made


def _sized(ax: Axes, labels: list[str], notes: list[str], ends: list[int]) -> None:
    """Name horizontal bars, the first on top, and write beside each what it is."""
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    for place, (note, end) in enumerate(zip(notes, ends, strict=True)):
        ax.text(end, place, note, va="center", fontsize="small")
    # Room for the notes to the right of the longest bar.
    ax.set_xlim(0, max([*ends, 1]) * 1.45)
    ax.xaxis.set_major_formatter(_human)
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - whoever gave axes has matplotlib

    ax.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))


def _explained(ax: Axes) -> None:
    """Put the legend below the axes, whatever their height."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=2.2, ncols=2, frameon=False)


def _human(size: float, _place: object = None) -> str:
    return human_size(round(size)) if size >= 0 else ""


def _whole(revision: float, _place: object = None) -> str:
    return f"{revision:.0f}" if revision == round(revision) else ""


def _label(text: str) -> str:
    """Shorten a name in its middle; a dollar sign would begin a formula."""
    if len(text) > _LONGEST_LABEL:
        half = (_LONGEST_LABEL - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return text.replace("$", r"\$")
