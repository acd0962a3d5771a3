"""Which releases of etcd the tests run against: what the options and the marks of `dcos_etcd.pytest_plugin` choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dcos_etcd.testing._binaries import BinariesNotFoundError, EtcdBinaries

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

ALL = "all"
"""`--etcd-version all`: every release that is there."""

LINES = "lines"
"""`--etcd-version lines`: the newest release of each line that is there."""


@dataclass(frozen=True)
class Choice:
    """A release to run a test against, or why there is none.

    Attributes:
        name: What the test is called by, within its brackets.
        binaries: The release.
        reason: Why there is none.
        skipped: Whether that skips the test, and does not fail it.
    """

    name: str
    binaries: EtcdBinaries | None = None
    reason: str = ""
    skipped: bool = False


class Releases:
    """The releases of etcd that a test run chooses from: what the fixture `etcd_releases` is.

    Attributes:
        directories: What `--etcd-bin` says; where it says nothing, the places of `EtcdBinaries.find` count.
    """

    def __init__(self, directories: Sequence[str | os.PathLike[str]] = (), versions: Sequence[str] = ()) -> None:
        """Nothing is looked for yet.

        Args:
            directories: What `--etcd-bin` says.
            versions: What `--etcd-version` says.
        """
        self.directories: tuple[str | os.PathLike[str], ...] = tuple(directories)
        self._versions = tuple(versions)
        self._chosen: list[Choice] | None = None

    def find(self, version: str | None = None) -> EtcdBinaries:
        """The newest release that fits, see `EtcdBinaries.find`.

        Raises:
            BinariesNotFoundError: There is none.
        """
        return EtcdBinaries.find(version, directories=self.directories)

    def available(self) -> list[EtcdBinaries]:
        """Every release that is there, newest first."""
        return EtcdBinaries.available(self.directories)

    def choose(self, wanted: Sequence[str | None] = (None,)) -> list[Choice]:
        """The releases for a test.

        Args:
            wanted: What its mark says: one version for a test that runs once unless the options choose several, or
                several for one that runs with each of them.

        Raises:
            ValueError: A version is no range.
        """
        chosen = self._options()
        if not chosen:
            alone = [self._one(version) for version in wanted]
            return list({choice.name: choice for choice in alone}.values())
        if missing := [choice for choice in chosen if choice.binaries is None]:
            return missing[:1]
        fitting: dict[str, Choice] = {}
        for version in wanted:
            found = [choice for choice in chosen if choice.binaries and choice.binaries.fits(version)]
            fitting.update((choice.name, choice) for choice in (found if len(wanted) == 1 else found[:1]))
        if fitting:
            return list(fitting.values())
        names = " or ".join(str(version) for version in wanted)
        have = ", ".join(choice.name for choice in chosen)
        return [Choice(names, reason=f"needs etcd {names}, and --etcd-version chose {have}", skipped=True)]

    def _options(self) -> list[Choice]:
        """What `--etcd-version` chooses, newest first within each of its words; nothing where it was not given."""
        if self._chosen is None:
            chosen: dict[str, Choice] = {}
            for version in self._versions:
                chosen.update((choice.name, choice) for choice in self._option(version))
            self._chosen = list(chosen.values())
        return self._chosen

    def _option(self, version: str) -> list[Choice]:
        if version not in (ALL, LINES):
            return [self._one(version, skipped=False)]
        releases = self.available()
        if version == LINES:
            newest: dict[tuple[int, int], EtcdBinaries] = {}
            for release in releases:
                newest.setdefault(release.line, release)
            releases = list(newest.values())
        return [Choice(release.version, release) for release in releases] or [self._one(None)]

    def _one(self, version: str | None, *, skipped: bool = True) -> Choice:
        try:
            found = self.find(version)
        except BinariesNotFoundError as error:
            # Without any etcd a suite that is skipped from end to end would look like one that passed.
            skips = skipped and version is not None and bool(self.available())
            return Choice(version or "none", reason=str(error), skipped=skips)
        return Choice(found.version, found)
