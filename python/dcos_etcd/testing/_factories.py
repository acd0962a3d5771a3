"""What the fixtures of `dcos_etcd.pytest_plugin` hand to tests; tests name these classes in annotations."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from dcos_etcd.testing._cluster import PORT_ATTEMPTS, Cluster
from dcos_etcd.testing._interrupts import held_signals
from dcos_etcd.testing._member import PortTakenError
from dcos_etcd.testing._snapshots import make_snapshot
from dcos_etcd.testing._state import spoilt

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from dcos_etcd.testing._binaries import EtcdBinaries
    from dcos_etcd.testing._certificates import Certificates
    from dcos_etcd.testing._releases import Releases
    from dcos_etcd.testing._snapshots import Keys

    StrPath = str | os.PathLike[str]

DEFAULT_MEMBERS = 3
"""Members of a cluster of which nobody says how many it has."""

LOG_LEVEL = "info"
"""What servers log: it is shown for tests that fail."""


class ClusterFactory:
    """Makes clusters, not started, that are closed with the test: what the fixture `etcd_cluster` is."""

    def __init__(
        self,
        binaries: EtcdBinaries,
        releases: Releases,
        directory: Path,
        defaults: Mapping[str, Any],
        made: list[Cluster],
    ) -> None:
        """Not for callers: the fixture makes it.

        Args:
            binaries: The release of clusters that say none.
            releases: Where others are found.
            directory: Where the directories of the clusters go.
            defaults: Arguments of `Cluster` that stand where a call does not say another.
            made: Gets every cluster that it makes.
        """
        self._binaries = binaries
        self._releases = releases
        self._directory = directory
        self._defaults = dict(defaults)
        self._made = made

    @property
    def marked_members(self) -> int | None:
        """How many members the mark of the test says."""
        return self._defaults.get("members")

    def __call__(
        self,
        members: int | None = None,
        version: str | None = None,
        *,
        binaries: EtcdBinaries | None = None,
        tls: bool | Certificates | None = None,
        auth: bool | tuple[str, str] | None = None,
        extra_args: Iterable[str] | None = None,
        directory: StrPath | None = None,
        token: str | None = None,
        names: str | None = None,
        log_level: str | None = None,
    ) -> Cluster:
        """A cluster, not started: `with` starts it and takes it down.

        Args:
            members: How many; 3 unless the mark of the test says another number.
            version: Another release than that of the test.
            binaries: The programs, instead of `version`.
            tls: See `Cluster`, as for all that follow. What is not given comes from the mark of the test.
            auth: See `Cluster`.
            extra_args: See `Cluster`.
            directory: See `Cluster`; one below that of the test by default.
            token: See `Cluster`.
            names: See `Cluster`.
            log_level: See `Cluster`; `info` by default, for the report of a test that fails.
        """
        given = {
            "members": members,
            "tls": tls,
            "auth": auth,
            "extra_args": extra_args,
            "token": token,
            "names": names,
            "log_level": log_level,
        }
        options: dict[str, Any] = {"members": DEFAULT_MEMBERS, "log_level": LOG_LEVEL} | self._defaults
        options |= {name: value for name, value in given.items() if value is not None}
        if binaries is None:
            binaries = self._binaries if version is None else self._releases.find(version)
        into = self._directory / f"cluster{len(self._made) + 1}" if directory is None else directory
        self._made.append(Cluster(binaries=binaries, directory=into, **options))
        return self._made[-1]

    def close(self) -> None:
        """Close every cluster that it made."""
        _close(self._made)


class SnapshotFactory:
    """Makes snapshot files out of keys, without a server: what the fixture `etcd_snapshot` is."""

    def __init__(self, directory: Path) -> None:
        """Not for callers: the fixture makes it.

        Args:
            directory: Where the files go.
        """
        self._directory = directory
        self._made = 0

    def __call__(self, keys: Keys) -> Path:
        """A new file, see `make_snapshot`.

        Args:
            keys: Keys with the value of each; or with a list of its versions, oldest first, `None` for a deletion.
        """
        self._made += 1
        path = self._directory / f"snapshot{self._made}.db"
        make_snapshot(path, keys)
        return path


class RestoredFactory:
    """Boots clusters from snapshots; they are closed with the test: what the fixture `restored_etcd` is."""

    def __init__(self, clusters: ClusterFactory) -> None:
        """Not for callers: the fixture makes it.

        Args:
            clusters: What makes the clusters.
        """
        self._clusters = clusters

    def __call__(
        self,
        snapshot: StrPath | Keys,
        members: int | None = None,
        version: str | None = None,
        **options: Any,  # noqa: ANN401 - those of `ClusterFactory`
    ) -> Cluster:
        """A running cluster whose members were restored from a snapshot.

        Args:
            snapshot: A file, or keys as `etcd_snapshot` takes them.
            members: How many; 1 unless the mark of the test says another number.
            version: Another release than that of the test.
            options: See `ClusterFactory`. A snapshot with authentication needs `auth`, a user of it.

        Raises:
            EtcdError: The snapshot can't be restored; see `dcos_etcd.restore`.
            NotReadyError: The cluster did not come up.
        """
        if members is None:
            members = self._clusters.marked_members or 1
        attempts_left = PORT_ATTEMPTS
        while True:
            attempts_left -= 1
            cluster = self._clusters(members, version, **options)
            cluster.restore(snapshot)
            try:
                cluster.start()
            except PortTakenError:
                # The data directories hold the URLs, so other ports need other directories.
                cluster.close()
                if not attempts_left:
                    raise
            else:
                return cluster


class SharedClusters:
    """Clusters that the tests of a session share, each test with a state of its own."""

    def __init__(self, make_directory: Callable[[], Path]) -> None:
        """Nothing is started yet.

        Args:
            make_directory: Gives a new directory.
        """
        self._make_directory = make_directory
        self._running: dict[tuple[object, ...], Cluster] = {}

    def get(
        self, snapshot: StrPath | Keys, binaries: EtcdBinaries, members: int = 1, extra_args: Iterable[str] = ()
    ) -> Cluster:
        """The cluster of this kind, with the keys of the snapshot.

        One that a test has spoilt, so that its state can't be put back, gives way to a new one.
        """
        kind = (binaries, members, tuple(extra_args))
        cluster = self._running.get(kind)
        if cluster and spoilt(cluster):
            self._running.pop(kind).close()
            cluster = None
        if cluster is None:
            cluster = Cluster(
                members,
                binaries=binaries,
                extra_args=extra_args,
                directory=self._make_directory(),
                log_level=LOG_LEVEL,
            )
            # Before it is started: whatever interrupts that, it is closed with the others.
            self._running[kind] = cluster
            cluster.__enter__()
        cluster.reset(snapshot)
        return cluster

    def close(self) -> None:
        """Close every one of them."""
        _close(self._running.values())


def _close(clusters: Iterable[Cluster]) -> None:
    """Close all of them, although one can't be."""
    with held_signals(), ExitStack() as closing:
        for cluster in clusters:
            closing.callback(cluster.close)
