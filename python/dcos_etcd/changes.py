"""Differences and planned changes, a line at a time and summed up; keys and values as in `listing`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dcos_etcd._sheet import Sheet, Table, fields, one_line
from dcos_etcd.display import human_size, plain, to_json
from dcos_etcd.listing import member, readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dcos_etcd.models import (
        Comparison,
        Conflict,
        Entry,
        KeyDifference,
        PlannedChange,
        PutBackCounts,
        PutBackReport,
        StateDifference,
        Unanswered,
    )

DIFFERENCE_HEAD = "CHANGE     REVISION A REVISION B     SIZE A     SIZE B  KEY"
PLAN_HEAD = "ACTION         SIZE  KEY"


def difference_line(difference: KeyDifference, *, values: bool) -> str:
    """Tell of a key in a table, with its values below."""
    shown = " ".join(f"{figure:>10}" for figure in _figures(difference))
    lines = [f"{difference.change:10} {shown}  {readable(difference.key)}"]
    if values:
        sides = (("-", difference.a), ("+", difference.b))
        lines += [f"  {sign} {readable(entry.value)}" for sign, entry in sides if entry is not None]
    return "\n".join(lines)


def difference_json(difference: KeyDifference, *, values: bool) -> str:
    """Tell of a key."""
    document: dict[str, Any] = {"part": "keys", **member("key", difference.key), "change": difference.change}
    document["a"] = _entry(difference.a, difference.size_a, values=values)
    document["b"] = _entry(difference.b, difference.size_b, values=values)
    return to_json(document)


def state_line(difference: StateDifference) -> str:
    """Tell in a line or two of what differs beside the keys."""
    a, b = _shown(difference.a), _shown(difference.b)
    if difference.a is None or difference.b is None:
        change, shown = ("added", [b]) if difference.a is None else ("removed", [a])
    else:
        change, shown = "changed", [a, b]
    head = f"{difference.part} {change}" + (f" {difference.name}" if difference.name else "")
    return one_line(f"{head}: {' -> '.join(shown)}")


def state_json(difference: StateDifference) -> str:
    """Tell of what differs beside the keys."""
    document = {"part": difference.part, "name": difference.name}
    return to_json({**document, "a": _state(difference.a), "b": _state(difference.b)})


def comparison_sheet(comparison: Comparison) -> Sheet:
    """Sum a comparison up, and show what it kept of the differences."""
    tables = (_differences(comparison.keys), _states(comparison.state))
    kept = tuple(table for table in tables if table.rows)
    return Sheet("Comparison", (*kept, *comparison_summary(comparison).blocks))


def comparison_summary(comparison: Comparison) -> Sheet:
    """Sum a comparison up."""
    counts = comparison.counts
    pairs = [
        ("revisions", f"{comparison.revision_a} and {comparison.revision_b}"),
        ("keys", f"{counts.keys_a} and {counts.keys_b}"),
        ("added", counts.added),
        ("removed", counts.removed),
        ("other value", counts.value),
        ("other lease", counts.lease),
        ("rewritten", counts.rewritten),
        ("the same", counts.same),
        ("compared", ", ".join(comparison.compared)),
        ("verdict", "equal" if comparison.equal else "different"),
    ]
    return Sheet("Comparison", (fields(pairs, "good" if comparison.equal else "warning"),))


def _differences(keys: Iterable[KeyDifference]) -> Table:
    columns = ("CHANGE", "REVISION A", "REVISION B", "SIZE A", "SIZE B", "KEY")
    rows = ((one.change, *_figures(one), readable(one.key)) for one in keys)
    return Table("keys that differ", columns, tuple(rows), frozenset(columns[1:5]), ruled=False)


def _figures(one: KeyDifference) -> tuple[str, ...]:
    """Give revisions and sizes on both sides."""
    figures = (one.a and one.a.mod_revision, one.b and one.b.mod_revision, one.size_a, one.size_b)
    return tuple("-" if figure is None else str(figure) for figure in figures)


def _states(state: Iterable[StateDifference]) -> Table:
    rows = ((one.part, one.name, *(_shown(side) for side in (one.a, one.b))) for one in state)
    return Table("what differs beside the keys", ("PART", "NAME", "A", "B"), tuple(rows), ruled=False)


def _shown(state: Any) -> str:  # noqa: ANN401 - any model
    if state is None:
        return "-"
    document = _state(state)
    if type(state).__name__ == "Lease":
        # Its name is the id as etcdctl prints it.
        del document["id"]
    return to_json(document)


def comparison_json(comparison: Comparison) -> str:
    """Sum a comparison up."""
    summary = {
        "revision_a": comparison.revision_a,
        "revision_b": comparison.revision_b,
        "keys": plain(comparison.counts),
        "state": len(comparison.state),
        "compared": comparison.compared,
        "equal": comparison.equal,
    }
    return to_json({"summary": summary})


def planned_line(change: PlannedChange) -> str:
    """Tell of a change in a table."""
    size = "-" if change.action == "delete" else change.size
    return f"{change.action:8} {size:>10}  {readable(change.key)}"


def planned_json(change: PlannedChange) -> str:
    """Tell of a change."""
    document = {"action": change.action, **member("key", change.key)}
    return to_json({**document, "size": change.size, "mod_revision": change.mod_revision})


def plan_sheet(counts: PutBackCounts, place: Mapping[str, Any], warnings: Iterable[str] = ()) -> Sheet:
    """Sum a plan up."""
    pairs = [
        ("cluster", f"{place['endpoint']} at revision {place['cluster_revision']}"),
        ("snapshot", f"revision {place['revision']}"),
        ("to create", counts.create),
        ("to update", counts.update),
        ("to delete", counts.delete),
        ("to write", f"{counts.bytes} bytes ({human_size(counts.bytes)})"),
        ("right already", counts.unchanged),
        ("left alone", f"{counts.extra} that the snapshot has not"),
    ]
    return Sheet("What would be put back", (fields(pairs),), tuple(warnings))


def conflict_line(conflict: Conflict) -> str:
    """Tell of a key that somebody else wrote."""
    then = f"at revision {conflict.planned}" if conflict.planned else "not there"
    now = f"at revision {conflict.found}" if conflict.found else "not there"
    return f"{readable(conflict.key)} was {then} and is {now}: somebody else wrote it, so it was left alone"


def unanswered_line(unanswered: Unanswered) -> str:
    """Tell of requests that may still be carried out."""
    return (
        f"a request to {unanswered.endpoint} got no answer and may still be carried out: {unanswered.creates} keys "
        "that it creates would come back if they were deleted before that"
    )


def put_back_sheet(report: PutBackReport) -> Sheet:
    """Sum up what was written."""
    pairs = [
        ("created", report.created),
        ("updated", report.updated),
        ("deleted", report.deleted),
        ("right by then", report.settled),
        *([("lease gone", report.detached)] if report.detached else ()),
        ("conflicts", len(report.conflicts)),
        *([("no answer", sum(one.creates for one in report.unanswered))] if report.unanswered else ()),
        ("transactions", report.transactions),
    ]
    warnings = (*report.warnings, *map(conflict_line, report.conflicts))
    return Sheet("Put back", (fields(pairs),), warnings)


def put_back_json(report: PutBackReport) -> str:
    """Sum up what was written."""
    document = {name: value for name, value in _members(report) if name != "conflicts"}
    document["conflicts"] = [
        {**member("key", one.key), "action": one.action, "planned": one.planned, "found": one.found}
        for one in report.conflicts
    ]
    return to_json({"summary": document})


def plan_json(counts: PutBackCounts, place: Mapping[str, Any]) -> str:
    """Sum a plan up."""
    return to_json({"plan": {**place, **plain(counts)}})


def _members(model: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - any model
    return [(field.name, plain(getattr(model, field.name))) for field in dataclasses.fields(model)]


def _entry(entry: Entry | None, size: int | None, *, values: bool) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "create_revision": entry.create_revision,
        "mod_revision": entry.mod_revision,
        "version": entry.version,
        "lease": entry.lease,
        "size": size,
        **(member("value", entry.value) if values else {}),
    }


def _state(state: Any) -> Any:  # noqa: ANN401 - any model in, any JSON value out
    if state is None or isinstance(state, (str, bool)):
        return state
    document: dict[str, Any] = {name: value for name, value in _members(state) if name != "permissions"}
    match type(state).__name__:
        case "Lease":
            document = {"id": state.id, "ttl": state.ttl}
        case "Role":
            document["permissions"] = [
                {"kind": one.kind, **member("key", one.key), **member("range_end", one.range_end)}
                for one in state.permissions
            ]
        case _:
            pass
    return document
