"""Differences and planned changes, a line at a time; keys and values as in `listing`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from dcos_etcd.display import fields, human_size, plain, to_json, visible
from dcos_etcd.listing import member, readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dcos_etcd.models import (
        Comparison,
        Conflict,
        Entry,
        KeyDifference,
        PlannedChange,
        PutBackCounts,
        PutBackReport,
        StateDifference,
    )

DIFFERENCE_HEAD = "CHANGE     REVISION A REVISION B     SIZE A     SIZE B  KEY"
PLAN_HEAD = "ACTION         SIZE  KEY"


def difference_line(difference: KeyDifference, *, values: bool) -> str:
    """Tell of a key in a table, with its values below."""
    a, b = difference.a, difference.b
    figures = (a and a.mod_revision, b and b.mod_revision, difference.size_a, difference.size_b)
    shown = " ".join(f"{'-' if figure is None else figure:>10}" for figure in figures)
    lines = [f"{difference.change:10} {shown}  {readable(difference.key)}"]
    if values:
        lines += [f"  {sign} {readable(entry.value)}" for sign, entry in (("-", a), ("+", b)) if entry is not None]
    return "\n".join(lines)


def difference_json(difference: KeyDifference, *, values: bool) -> str:
    """Tell of a key."""
    document: dict[str, Any] = {"part": "keys", **member("key", difference.key), "change": difference.change}
    document["a"] = _entry(difference.a, difference.size_a, values=values)
    document["b"] = _entry(difference.b, difference.size_b, values=values)
    return to_json(document)


def state_line(difference: StateDifference) -> str:
    """Tell in a line or two of what differs beside the keys."""
    a, b = _state(difference.a), _state(difference.b)
    if difference.a is None or difference.b is None:
        change, shown = ("added", [b]) if difference.a is None else ("removed", [a])
    else:
        change, shown = "changed", [a, b]
    head = f"{difference.part} {change}" + (f" {difference.name}" if difference.name else "")
    return visible(f"{head}: {' -> '.join(map(to_json, shown))}")


def state_json(difference: StateDifference) -> str:
    """Tell of what differs beside the keys."""
    document = {"part": difference.part, "name": difference.name}
    return to_json({**document, "a": _state(difference.a), "b": _state(difference.b)})


def comparison_text(comparison: Comparison) -> str:
    """Sum a comparison up."""
    counts = comparison.counts
    return fields(
        [
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
    )


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


def plan_text(counts: PutBackCounts, place: Mapping[str, Any]) -> str:
    """Sum a plan up."""
    return fields(
        [
            ("cluster", f"{place['endpoint']} at revision {place['cluster_revision']}"),
            ("snapshot", f"revision {place['revision']}"),
            ("to create", counts.create),
            ("to update", counts.update),
            ("to delete", counts.delete),
            ("to write", f"{counts.bytes} bytes ({human_size(counts.bytes)})"),
            ("right already", counts.unchanged),
            ("left alone", f"{counts.extra} that the snapshot has not"),
        ]
    )


def conflict_line(conflict: Conflict) -> str:
    """Tell of a key that somebody else wrote."""
    then = f"at revision {conflict.planned}" if conflict.planned else "not there"
    now = f"at revision {conflict.found}" if conflict.found else "not there"
    return f"{readable(conflict.key)} was {then} and is {now}: somebody else wrote it, so it was left alone"


def put_back_text(report: PutBackReport) -> str:
    """Sum up what was written."""
    return fields(
        [
            ("created", report.created),
            ("updated", report.updated),
            ("deleted", report.deleted),
            ("right by then", report.settled),
            ("conflicts", len(report.conflicts)),
            ("transactions", report.transactions),
        ]
    )


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
        "lease": _hex(entry.lease),
        "size": size,
        **(member("value", entry.value) if values else {}),
    }


def _hex(lease: int) -> str:
    return f"{lease & (1 << 64) - 1:x}"


def _state(state: Any) -> Any:  # noqa: ANN401 - any model in, any JSON value out
    if state is None or isinstance(state, (str, bool)):
        return state
    document: dict[str, Any] = {name: value for name, value in _members(state) if name != "permissions"}
    match type(state).__name__:
        case "Lease":
            document = {"id": _hex(state.id), "ttl": state.ttl}
        case "Role":
            document["permissions"] = [
                {"kind": one.kind, **member("key", one.key), **member("range_end", one.range_end)}
                for one in state.permissions
            ]
        case _:
            pass
    return document
