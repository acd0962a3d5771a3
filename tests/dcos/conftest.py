"""Beds of masters: some that begin with a cluster that was backed up and went on living."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conftest import release
from dcos.bed import Bed
from dcos.namespaces import obstacle
from dcos.procedures import Past, make_past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dcos.bed import Variant
    from workshop import Workshop

MAIN_RELEASE = "3.4"
"""What DC/OS runs."""


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> type[Bed]:
    """The class of beds, where machines can be made; elsewhere its tests are skipped, and say why."""
    if reason := obstacle(tmp_path_factory.mktemp("probe")):
        pytest.skip(f"no DC/OS masters here: {reason}")
    return Bed


@pytest.fixture
def make_bed(machines: type[Bed], tmp_path: Path) -> Iterator[Callable[..., Bed]]:
    """Makes beds without a cluster; they are taken down with the test."""
    made: list[Bed] = []

    def make(masters: int = 3, variant: Variant = "open", *later_releases: str) -> Bed:
        releases = [release(line) for line in (MAIN_RELEASE, *later_releases)]
        made.append(machines(tmp_path / f"bed{len(made) + 1}", masters, releases, variant))
        return made[-1]

    yield make
    for bed in made:
        bed.close()


@pytest.fixture(scope="session")
def past(machines: type[Bed], workshop: Workshop) -> Callable[[int, Variant], Past]:
    """What clusters left behind, by number of masters and variant; made when first asked for."""

    def get(masters: int, variant: Variant) -> Past:
        return workshop.get(
            f"past-{masters}-{variant}",
            lambda directory: make_past(machines, directory, masters, variant, release(MAIN_RELEASE)),
        )

    return get


@pytest.fixture
def resume(
    past: Callable[[int, Variant], Past], machines: type[Bed], tmp_path: Path
) -> Iterator[Callable[..., tuple[Bed, Past]]]:
    """Makes beds on which a cluster lies that was backed up and went on living; etcd does not run yet."""
    made: list[Bed] = []

    def make(masters: int = 3, variant: Variant = "open", *later_releases: str) -> tuple[Bed, Past]:
        before = past(masters, variant)
        releases = [release(line) for line in (MAIN_RELEASE, *later_releases)]
        bed = machines(tmp_path / f"resumed{len(made) + 1}", masters, releases, variant, before.certificates)
        made.append(bed)
        before.lay(bed)
        return bed, before

    yield make
    for bed in made:
        bed.close()
