"""What the etcd of a master tells its peers: before it has a majority, 3.4 tells its clients nothing."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dcos_etcd.dcos._profile import peer_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcos_etcd.dcos._profile import Profile

# Of every answer to `GET /members` on a peer port, in 3.4 to 3.7: the cluster's id as etcd prints it.
_CLUSTER_ID = "X-Etcd-Cluster-Id"


def cluster_ids(profile: Profile, hosts: Iterable[str], timeout: float) -> dict[str, str]:
    """Ask masters side by side which cluster they belong to; those that do not answer are left out."""
    asked = list(hosts)
    if not asked:
        return {}
    try:
        context = _context(profile)
    except OSError:  # a certificate that cannot be read is told elsewhere
        return {}

    def ask(host: str) -> str | None:
        return _ask(host, context, timeout)

    with ThreadPoolExecutor(len(asked)) as pool:
        told = pool.map(ask, asked)
        return {host: found for host, found in zip(asked, told, strict=True) if found}


def _context(profile: Profile) -> ssl.SSLContext:
    tls = profile.tls
    if tls is not None:
        context = ssl.create_default_context(cafile=str(tls.cacert))
        context.load_cert_chain(str(tls.cert), str(tls.key))
        return context
    # With --peer-auto-tls every member signs for itself, and etcd's own peers do not verify either.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _ask(host: str, context: ssl.SSLContext, timeout: float) -> str | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with (
        contextlib.suppress(OSError, http.client.HTTPException),
        opener.open(f"{peer_url(host)}/members", timeout=timeout) as answer,
    ):
        found: str | None = answer.headers[_CLUSTER_ID]
        return found
    return None
