"""What a DC/OS master is, and the three commands of its operators with nothing left to say.

    >>> from dcos_etcd import dcos
    >>> dcos.backup("/root/etcd.tar.gz")  # doctest: +SKIP
    >>> dcos.restore("/root/etcd.tar.gz")  # doctest: +SKIP
    >>> dcos.diagnostic().healthy  # doctest: +SKIP
    True

Addresses, directories, certificates, users and masters come from the machine; `root` moves all of its paths, for tests
and for a file system that is mounted somewhere. Everything that this finds is told in the reports.
"""

from __future__ import annotations

from dcos_etcd.dcos._backup import backup, member_list
from dcos_etcd.dcos._diagnostic import Diagnostic, diagnostic
from dcos_etcd.dcos._profile import is_master
from dcos_etcd.dcos._restore import restore

__all__ = ["Diagnostic", "backup", "diagnostic", "is_master", "member_list", "restore"]
