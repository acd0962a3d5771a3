"""How a report shows itself where somebody looks at it.

Notebooks ask an object how it looks by the methods below, so that this is the one place of the package where a module
calls those above it; they are loaded when somebody looks, and never before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dcos_etcd._sheet import Sheet

    class Printer(Protocol):
        """IPython's pretty printer."""

        def text(self, text: str) -> None:
            """Take text as it is."""


class Shown:
    """A report that notebooks show as tables, and IPython on a terminal as the command line prints it."""

    __slots__ = ()

    def _sheet(self) -> Sheet:
        from dcos_etcd import showing  # noqa: PLC0415 - see the module

        return showing.sheet(self)

    def _repr_html_(self) -> str:
        from dcos_etcd import showing  # noqa: PLC0415

        return showing.html(self._sheet())

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:  # noqa: FBT001 - as IPython calls it
        del cycle  # no report holds itself
        from dcos_etcd import showing  # noqa: PLC0415

        printer.text(showing.text(self._sheet()))
