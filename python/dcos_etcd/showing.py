"""Reports of every kind as notebooks and people see them: the sheet of a model, and what is drawn of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcos_etcd import _html, changes, display, listing
from dcos_etcd._text import to_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos_etcd._sheet import Sheet

_SHEETS: dict[str, Callable[[Any], Sheet]] = {
    "BackupReport": display.backup_sheet,
    "Comparison": changes.comparison_sheet,
    "Diagnosis": display.diagnosis_sheet,
    "Inspection": display.inspection_sheet,
    "MemberList": display.member_list_sheet,
    "PutBackReport": changes.put_back_sheet,
    "RestoreReport": display.restore_sheet,
    "Stats": listing.stats_sheet,
    "Status": display.status_sheet,
    "VerifyReport": display.verify_sheet,
}


def sheet(report: object) -> Sheet:
    """Give the sheet of a report."""
    return _SHEETS[type(report).__name__](report)


def html(shown: Sheet) -> str:
    """Draw a sheet where somebody else's page is around it."""
    return _html.fragment(shown)


def page(shown: Sheet, *, made: str) -> str:
    """Draw a sheet as a page of its own; `made` says by whom and when."""
    return _html.page(shown, made=made)


def text(shown: Sheet) -> str:
    """Write a sheet with its warnings."""
    return to_text(shown, warnings=True)
