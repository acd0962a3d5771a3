"""The guide for DC/OS operators, typed on masters as it is written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dcos.bed import BACKUPS
from dcos.procedures import check_cluster, kept_data
from documents import ROOT, blocks
from scenario import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcos.bed import Bed, Master
    from dcos.procedures import Past

GUIDE = ROOT / "docs" / "guide" / "dcos.md"

ARCHIVE = f"{BACKUPS}/etcd-backup.tar.gz"

CHOSEN: dict[str, Callable[[Bed], list[Master]]] = {
    "# on the leading master": lambda bed: [bed.leader],
    "# on one master": lambda bed: bed.masters[:1],
    "# on every master": lambda bed: bed.masters,
}


def steps() -> list[tuple[str, str]]:
    """Where each block of the guide is to be typed, and its commands; archives lie where a bed has room for them."""
    texts = [block.text.replace("/root/", f"{BACKUPS}/") for block in blocks(GUIDE) if block.elsewhere]
    return [(text.partition("\n")[0], text) for text in texts]


def typed(text: str, master: Master) -> str:
    return master.machine.must("sh", "-ec", text)


def test_the_guide_brings_the_state_of_its_backup_back(resume: Callable[..., tuple[Bed, Past]]) -> None:
    bed, _ = resume(3)
    bed.start()
    state = capture(bed.leader)
    said: dict[str, list[str]] = {}

    for where, text in steps():
        if "--masters" in text:  # it stands in the guide as another way of the step before
            bed.stop()
        said[text] = bed.each(partial(typed, text), CHOSEN[where](bed))
        if "backup" in text and "restore" not in text:
            bed.spread(bed.leader, ARCHIVE)
            bed.leader.etcdctl("del", "", "--prefix")
        if "systemctl start" in text:
            bed.each(lambda master: master.wait())
            check_cluster(bed, state)
    bed.start()

    [diagnosis] = [told for text, told in said.items() if "diagnostic" in text]
    assert "verdict: healthy" in diagnosis[0]
    check_cluster(bed, state)
    assert [2, 2, 2] == [len(kept_data(master)) for master in bed.masters]
