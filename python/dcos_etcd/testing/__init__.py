"""Real etcd members on loopback, for tests; under pytest there are fixtures over it, see `dcos_etcd.pytest_plugin`.

    >>> from dcos_etcd.testing import Cluster
    >>> with Cluster(members=3) as cluster:  # doctest: +SKIP
    ...     cluster.etcdctl("put", "key", "value")
    ...     dcos_etcd.backup("etcd.tar.gz", **cluster.access)

`async with Cluster(members=3) as cluster` is the same for coroutines. Snapshots need no server, and a cluster may begin
with one:

    >>> make_snapshot("etcd.db", {"/a": "1", "/b": ["old", "new"]})  # doctest: +SKIP
    4
    >>> with Cluster.restored("etcd.db", members=3) as cluster:  # doctest: +SKIP
    ...     cluster.etcdctl("get", "/b")

A `Cluster` that is not started yet has its names and URLs already, so that data directories can be restored for it by
whatever is tested:

    >>> cluster = Cluster(members=3)  # doctest: +SKIP
    >>> for member in cluster.members:  # doctest: +SKIP
    ...     dcos_etcd.restore("etcd.tar.gz", **member.restore_arguments)
    >>> cluster.start()  # doctest: +SKIP

Servers listen on 127.0.0.1 only, on ports that stay theirs for the life of the `Cluster`, and die with the process that
started them, however it dies. Only the standard library is needed; `Certificates.create` needs trustme.

Where the programs are looked for, `EtcdBinaries.find` tells.
"""

from __future__ import annotations

from dcos_etcd.testing._binaries import BinariesNotFoundError, CommandFailedError, EtcdBinaries
from dcos_etcd.testing._certificates import Certificates
from dcos_etcd.testing._cluster import Cluster
from dcos_etcd.testing._factories import ClusterFactory, RestoredFactory, SnapshotFactory
from dcos_etcd.testing._member import Member, NotReadyError, PortTakenError
from dcos_etcd.testing._releases import Releases
from dcos_etcd.testing._snapshots import make_snapshot

__all__ = [
    "BinariesNotFoundError",
    "Certificates",
    "Cluster",
    "ClusterFactory",
    "CommandFailedError",
    "EtcdBinaries",
    "Member",
    "NotReadyError",
    "PortTakenError",
    "Releases",
    "RestoredFactory",
    "SnapshotFactory",
    "make_snapshot",
]
