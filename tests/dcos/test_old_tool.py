"""Archives go both ways between the former tool of DC/OS and this one."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from dcos import old_tool
from dcos.bed import DATA_DIR
from dcos.procedures import ARCHIVE, OLD_ARCHIVE, check_cluster, check_diagnostic, restore_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos.bed import Bed
    from dcos.procedures import Past

    Resume = Callable[..., tuple[Bed, Past]]


def test_the_former_tools_archive_is_restored_by_ours(resume: Resume) -> None:
    bed, past = resume(3)
    with tarfile.open(past.archive(OLD_ARCHIVE)) as archive:
        assert ["etcd_snapshot.db"] == archive.getnames()

    restore_all(bed, OLD_ARCHIVE)
    bed.start()

    check_cluster(bed, past.state)
    check_diagnostic(bed.masters[2], healthy=True)


def test_our_archive_is_restored_by_the_former_tools_steps(resume: Resume) -> None:
    bed, past = resume(3)
    with tarfile.open(past.archive()) as archive:
        assert archive.getnames()[0] == "etcd_snapshot.db"

    bed.each(lambda master: old_tool.restore(master, ARCHIVE))
    assert all(not master.path(f"{DATA_DIR}/fixtures").exists() for master in bed.masters)
    bed.start()

    check_cluster(bed, past.state)


def test_ours_restores_over_what_the_former_tool_restored_and_the_other_way_round(resume: Resume) -> None:
    bed, past = resume(3)

    bed.each(lambda master: old_tool.restore(master, OLD_ARCHIVE))
    restore_all(bed)
    bed.start()
    check_cluster(bed, past.state)
    bed.stop()
    bed.each(lambda master: old_tool.restore(master, ARCHIVE))
    bed.start()

    check_cluster(bed, past.state)
