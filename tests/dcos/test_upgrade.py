"""A restored cluster of 3.4 goes on to 3.5, 3.6 and 3.7, master by master."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

import pytest

from dcos import old_tool
from dcos.bed import READY_TIMEOUT
from dcos.procedures import OLD_ARCHIVE, check_cluster, check_diagnostic, check_members, patiently, restore_all
from dcos_etcd.testing import CommandFailedError, NotReadyError
from scenario import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos.bed import Bed, Master
    from dcos.procedures import Past
    from dcos_etcd.testing import EtcdBinaries

    Resume = Callable[..., tuple[Bed, Past]]

NEW = ("3.5.1", "3.6", "3.7")
"""3.5.1 because releases of 3.5 before 3.5.26 keep what they find; later ones heal what 3.4's own restore leaves."""


def upgrade(bed: Bed, release: EtcdBinaries) -> None:
    """One master after the other, as etcd's manual has it, until the cluster has taken the new version up."""
    for master in bed.masters:
        master.stop()
        master.use_release(release)
        master.start()
        master.wait(20)
    deadline = time.monotonic() + READY_TIMEOUT
    while any(cluster_version(master) != release.line for master in bed.masters):
        assert time.monotonic() < deadline, [cluster_version(master) for master in bed.masters]
        time.sleep(0.1)


def cluster_version(master: Master) -> tuple[int, int]:
    """The version that the members have agreed upon."""
    major, minor, _ = json.loads(master.machine.get("http://127.0.0.1:2379/version"))["etcdcluster"].split(".")
    return int(major), int(minor)


def test_after_our_restore_it_stays_healthy_on_every_release(resume: Resume) -> None:
    bed, past = resume(3, "open", *NEW)
    restore_all(bed)
    bed.start()
    ids = [member["ID"] for member in bed.leader.member_list()]

    for release in bed.releases[1:]:
        upgrade(bed, release)

        assert [capture(master) == past.state for master in bed.masters] == [True] * 3, release.version
        check_members(bed.masters)
        assert ids == [member["ID"] for member in bed.leader.member_list()]
        check_diagnostic(bed.leader, healthy=True)
    check_cluster(bed, past.state)
    # A majority of three, as it must be: none of the members is a memory.
    bed.masters[0].kill()
    patiently(lambda: bed.masters[1].etcdctl("put", "with one of three down", "still written"))


def test_after_etcdctls_own_restore_the_old_members_come_back_to_life(resume: Resume) -> None:
    """3.4 leaves the members of the old cluster in the database, from which 3.6 and later take the membership."""
    bed, past = resume(3, "open", *NEW)
    bed.each(lambda master: old_tool.restore(master, OLD_ARCHIVE))
    bed.start()
    upgrade(bed, bed.releases[1])
    check_members(bed.masters)

    upgrade(bed, bed.releases[2])
    names = [member["name"] for member in bed.leader.member_list()]
    assert len(names) > len(set(names)) == 3
    old = {member["ID"] for member in past.members}
    assert old & {member["ID"] for member in bed.leader.member_list()}

    check_diagnostic(bed.leader, healthy=False)
    # 3.7 counts them all: with one of three down two of five are left, and they are no majority.
    with contextlib.suppress(NotReadyError, AssertionError):
        upgrade(bed, bed.releases[3])
    bed.masters[2].kill()
    with pytest.raises(CommandFailedError):
        patiently(lambda: bed.masters[1].etcdctl("put", "with one of three down", "not written"), 5)
