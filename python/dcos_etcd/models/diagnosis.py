"""What is to be thought of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dcos_etcd.models._filling import filled
from dcos_etcd.models._shown import Shown
from dcos_etcd.models.cluster import EndpointFacts, Member, ResponseHeader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something about a cluster that an operator should know.

    Attributes:
        id: Stable kebab-case name; scripts may match on it.
        severity: How bad it is.
        endpoint: The endpoint concerned; `None` when it is the cluster.
        message: What is the matter.
        evidence: The facts that say so.
        advice: What to do.
    """

    id: str
    severity: Literal["critical", "warning", "info"]
    endpoint: str | None
    message: str
    evidence: str
    advice: str

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Finding:
        return filled(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis(Shown):
    """What a cluster says of itself, and what is to be thought of it.

    Attributes:
        header: Who listed the members; `None` when nobody did.
        members: The members, as the cluster lists them.
        endpoints: What each endpoint said of itself.
        findings: What is the matter, worst first.
        healthy: Whether nothing critical was found.
    """

    header: ResponseHeader | None
    members: tuple[Member, ...]
    endpoints: tuple[EndpointFacts, ...]
    findings: tuple[Finding, ...]
    healthy: bool

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Diagnosis:
        header = data["header"]
        return filled(
            cls,
            data,
            header=None if header is None else ResponseHeader._from_etcd(header),
            members=tuple(Member._from_etcd(member) for member in data["members"]),
            endpoints=tuple(EndpointFacts._from_json(facts) for facts in data["endpoints"]),
            findings=tuple(Finding._from_json(finding) for finding in data["findings"]),
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the members side by side: what their databases take, and what of it holds something.

        Args:
            ax: Where to draw; `None` makes a figure of its own.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        from dcos_etcd import plots  # noqa: PLC0415 - matplotlib takes long to load

        return plots.members(self, ax)
