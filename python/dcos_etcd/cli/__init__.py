"""`dcos-etcdctl`: parse, call the public API, print.

stdout is data, stderr is the rest. Exit status: 0 done (`diagnostic`: healthy), 1 it failed or is unhealthy,
2 wrong usage, 130 interrupted, 141 the reader of stdout went away, 143 terminated.

One module a command: `add` gives the parser its flags, `run` carries it out. Only what parsing needs is imported
above; `run` imports the rest, so that `--help` comes at once.
"""

from __future__ import annotations

from dcos_etcd.cli._main import main

__all__ = ["main"]
