"""`dcos-etcdctl` as a process of its own, as a shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any


def run(*arguments: str | os.PathLike[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command with its output captured; whatever its exit status."""
    command = [sys.executable, "-m", "dcos_etcd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without etcdctl's variables, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
    return {**kept, **variables}


def cluster_flags(access: dict[str, Any]) -> list[str]:
    """`Cluster.access` as flags."""
    flags = [f"--endpoints={','.join(access['endpoints'])}"]
    if tls := access["tls"]:
        flags += [f"--cacert={tls.cacert}", f"--cert={tls.cert}", f"--key={tls.key}"]
    if user := access["user"]:
        flags.append(f"--user={':'.join(user)}")
    return flags
