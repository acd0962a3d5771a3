"""Diagnosis from a DC/OS master: every master is asked, and where nobody answers the files on this one tell.

The output is collected into bundles that leave the cluster: it names addresses, ids, files and figures, and never a
key, a value, or what a certificate holds.
"""

from __future__ import annotations

import glob
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dcos_etcd import api, display
from dcos_etcd._access import COMMAND_TIMEOUT, DIAL_TIMEOUT, seconds
from dcos_etcd._sheet import fields
from dcos_etcd.dcos import _masters, _peers, _profile, _service
from dcos_etcd.exceptions import DcosError
from dcos_etcd.models import Diagnosis, Finding
from dcos_etcd.models._shown import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from matplotlib.axes import Axes

    from dcos_etcd._sheet import Sheet
    from dcos_etcd.api import StrPath
    from dcos_etcd.dcos._profile import Profile
    from dcos_etcd.models import EndpointFacts, Inspection

_SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnostic(Shown):
    """What the masters say of etcd, and what is to be thought of it.

    Attributes:
        address: This master's address.
        masters: Addresses of the masters, ascending; empty where nobody tells.
        masters_source: Where they come from, in words.
        diagnosis: Members, endpoints and findings; those about DC/OS are among them.
        local: What the files on this master say, when its etcd does not answer.
    """

    address: str
    masters: tuple[str, ...]
    masters_source: str
    diagnosis: Diagnosis
    local: Inspection | None

    @property
    def healthy(self) -> bool:
        """Whether nothing critical was found."""
        return self.diagnosis.healthy

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is the matter, worst first."""
        return self.diagnosis.findings

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the members side by side, as `Diagnosis.plot` does."""
        return self.diagnosis.plot(ax)

    def _sheet(self) -> Sheet:
        masters = f"{', '.join(self.masters) or 'not known'} (from {self.masters_source})"
        local = [display.inspection_fields(self.local)] if self.local else []
        return display.diagnosis_sheet(self.diagnosis, fields([("masters", masters)]), *local)


def diagnostic(
    *,
    masters: str | Iterable[str] | None = None,
    dial_timeout: float | timedelta = DIAL_TIMEOUT,
    command_timeout: float | timedelta = COMMAND_TIMEOUT,
    root: StrPath = "/",
) -> Diagnostic:
    """Ask etcd on every master, compare what they say, and judge it.

    Args:
        masters: Addresses of all masters; `None` asks Mesos-DNS, and takes every master that is named where that
            is contradicted or silent.
        dial_timeout: As in `dcos_etcd.diagnose`.
        command_timeout: As in `dcos_etcd.diagnose`.
        root: What stands before every path of DC/OS.

    Raises:
        DcosError: This is no DC/OS master.
        InvalidArgumentError: An argument makes no sense.
    """
    profile = _profile.read(root)
    findings: list[Finding] = []
    known = _find(profile, masters, findings)
    # Whatever others say of it, this master's own etcd is asked before it is called silent.
    hosts = tuple(dict.fromkeys((*known.addresses, profile.address)))
    try:
        diagnosis = api.diagnose(
            [profile.endpoint(host) for host in hosts],
            tls=profile.tls,
            dial_timeout=dial_timeout,
            command_timeout=command_timeout,
            expect=known.addresses,
        )
    except OSError as error:
        findings.append(_no_certificate(error))
        diagnosis = Diagnosis(header=None, members=(), endpoints=(), findings=(), healthy=False)
    own = profile.endpoint(profile.address)
    answers = any(facts.endpoint == own and facts.reachable for facts in diagnosis.endpoints)
    local = None if answers else _look_at_files(profile, findings)
    findings += _strangers(
        profile, _clusters(profile, diagnosis.endpoints, hosts, local, seconds("dial_timeout", dial_timeout))
    )
    findings += _left_over(profile)
    every = sorted([*findings, *diagnosis.findings], key=lambda finding: _SEVERITIES.index(finding.severity))
    healthy = diagnosis.healthy and all(finding.severity != "critical" for finding in findings)
    return Diagnostic(
        address=profile.address,
        masters=known.addresses,
        masters_source=known.source,
        diagnosis=replace(diagnosis, findings=tuple(every), healthy=healthy),
        local=local,
    )


def _find(profile: Profile, given: str | Iterable[str] | None, findings: list[Finding]) -> _masters.Masters:
    try:
        known = _masters.find(profile, given, lenient=True)
    except DcosError as error:
        findings.append(
            _finding("masters-unknown", "critical", "it is not known who the masters are", error.message, "--masters")
        )
        return _masters.Masters(addresses=(), source="nobody")
    findings += [
        _finding("masters-unclear", "warning", "the masters are not clear", warning, "say who they are with --masters")
        for warning in known.warnings
    ]
    if profile.address not in known.addresses:
        findings.append(
            _finding(
                "not-a-master",
                "critical",
                f"this machine, {profile.address}, is not among the masters",
                f"{known.source}: {', '.join(known.addresses)}",
                "run this on a master, or see why detect_ip and the list of masters differ",
            )
        )
    return known


def _finding(
    name: str, severity: str, message: str, evidence: str, advice: str, endpoint: str | None = None
) -> Finding:
    return Finding._from_json(
        {
            "id": name,
            "severity": severity,
            "endpoint": endpoint,
            "message": message,
            "evidence": evidence,
            "advice": advice,
        }
    )


def _no_certificate(error: OSError) -> Finding:
    return _finding(
        "certificate-unreadable",
        "critical",
        "no etcd could be asked: a certificate of this master cannot be read",
        f"{error.filename}: {error.strerror}",
        "run this as root; if the file is missing, see whether DC/OS's bootstrap has run on this master",
    )


def _clusters(
    profile: Profile, endpoints: Iterable[EndpointFacts], hosts: Iterable[str], local: Inspection | None, timeout: float
) -> dict[str, tuple[str, str]]:
    """Find each master's cluster and who tells it: its etcd, what that tells its peers, or the files on this master."""
    by_endpoint = {facts.endpoint: facts for facts in endpoints}
    told: dict[str, tuple[str, str]] = {}
    for host in hosts:
        facts = by_endpoint.get(profile.endpoint(host))
        if facts is not None and facts.reachable and facts.cluster_id:
            told[host] = (facts.cluster_id, "")
    silent = _peers.cluster_ids(profile, [host for host in hosts if host not in told], timeout)
    told |= {host: (found, ", as it tells its peers: it serves no client") for host, found in silent.items()}
    if local is not None and local.cluster_id:
        told.setdefault(profile.address, (local.cluster_id, f", by {local.data_dir}"))
    return told


def _strangers(profile: Profile, told: dict[str, tuple[str, str]]) -> list[Finding]:
    """Name the masters that are not of the cluster of most masters: they were forgotten at a restore, say."""
    clusters = {host: found for host, (found, _) in told.items()}
    counted = Counter(clusters.values()).most_common()
    if len(counted) <= 1:
        return []
    [(cluster, number), (_, runner_up), *_] = counted
    if number == runner_up:
        shown = "; ".join(f"{host}: cluster {found}" for host, found in clusters.items())
        return [
            _finding(
                "masters-split",
                "critical",
                "the masters run different clusters, and none of them has most masters",
                shown,
                "stop dcos-etcd on all masters, restore the same archive on every one of them, and start all",
            )
        ]
    return [
        _finding(
            "master-not-restored",
            "critical",
            f"master {host} runs another cluster than most masters do",
            f"{host} is of cluster {found}{told[host][1]}; {number} masters are of cluster {cluster}",
            "if a backup was restored, this master was forgotten, or another archive was restored there: stop etcd on "
            "it (systemctl stop dcos-etcd), restore there the archive of the others, and start it",
            profile.endpoint(host),
        )
        for host, found in clusters.items()
        if found != cluster
    ]


def _look_at_files(profile: Profile, findings: list[Finding]) -> Inspection | None:
    """Say why etcd on this master may be silent."""
    state = _service.unit_state(profile)
    signs = _service.signs(profile)
    findings.append(
        _finding(
            "local-etcd-silent",
            "critical",
            f"etcd on this master, {profile.address}, does not answer",
            "; ".join(signs) if signs else f"the unit {_profile.UNIT} is {state or 'unknown'}, nothing listens",
            f"see its log (journalctl -u {_profile.UNIT}); start it with systemctl start {_profile.UNIT}",
            profile.endpoint(profile.address),
        )
    )
    findings += _start_files(profile)
    try:
        found = _masters.inspect(profile, pages=not signs)
    except OSError as error:
        findings.append(
            _finding(
                "data-dir-unreadable",
                "warning",
                "etcd's data directory on this master cannot be looked into",
                f"{error.filename}: {error.strerror}",
                "run this as root",
            )
        )
        return None
    if not found.exists:
        findings.append(
            _finding(
                "data-dir-missing",
                "critical",
                "this master has no data of etcd",
                f"{found.data_dir}: no such directory",
                "if other masters have theirs, it joins them when it starts; if none has, restore a backup on all",
            )
        )
    elif not signs and not found.in_use:
        findings += _state_of_data(found)
    return found


def _state_of_data(found: Inspection) -> list[Finding]:
    """Judge the data of an etcd that does not run: of one that writes, much looks damaged for a moment."""
    if found.defects:
        return [
            _finding(
                "data-dir-damaged",
                "critical",
                "the data of etcd on this master is damaged",
                "; ".join(f"{defect.code}: {defect}" for defect in found.defects[:3]),
                "do not start it with this data: replace this member alone if the others are healthy, else restore a "
                "backup on all masters",
            )
        ]
    if found.mended_at_start:
        return [
            _finding(
                "data-dir-write-cut-off",
                "info",
                "the last write of etcd on this master was cut off, as by a loss of power",
                "; ".join(f"{defect.code}: {defect}" for defect in found.mended_at_start),
                "etcd mends this when it starts, and keeps a segment of the log that it cuts as *.wal.broken; what was "
                "cut off was never acknowledged, unless the disk lost what it had confirmed",
            )
        ]
    return []


def _start_files(profile: Profile) -> list[Finding]:
    return [
        _finding(
            "start-file-missing",
            "critical",
            "etcd cannot start: its start script reads a file that is not there",
            f"{path}: no such file",
            "a restore writes it; DC/OS's etcd_discovery writes it when the data directory is missing",
        )
        for path in (profile.initial_nodes, profile.initial_state)
        if not path.exists()
    ]


def _left_over(profile: Profile) -> list[Finding]:
    """Find what a restore leaves that was killed after it had exchanged the directories: beside the directory itself.

    Where the data directory's name is a link, that is elsewhere, and so is what lies beside it.
    """
    try:
        real = profile.data_dir.resolve()
        found = sorted(real.parent.glob(f".{glob.escape(real.name)}.exchange-*"))
    except (OSError, RuntimeError):  # the latter is a loop of links, up to Python 3.12
        return []
    return [
        _finding(
            "restore-unfinished",
            "warning",
            "a restore was killed on this master before it had put everything away",
            f"{path} may hold the old data",
            "restore again: that clears it up, and gives old data a dated name",
        )
        for path in found
    ]
