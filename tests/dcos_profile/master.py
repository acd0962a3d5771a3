"""The files of a master below a root, and what tells it of the others."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

import dcos_etcd
from dcos_etcd import dcos

if TYPE_CHECKING:
    from pathlib import Path


MASTERS = ("10.93.0.1", "10.93.0.2", "10.93.0.3")
OWNER = (4242, 4343)
NOWHERE = "http://127.0.0.1:9/"

STOP_POLL = 0.01
"""Seconds between two looks of a server at whether it shall end: every test waits for that."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a restore on a DC/OS master gives files away, as root")


class MesosDns:
    """Answers on loopback with what a test says."""

    def __init__(self) -> None:
        self.answer = "[]"
        self.raw: bytes | None = None
        """Sent instead of an answer, and then the connection ends."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if outer.raw is not None:
                    self.wfile.write(outer.raw)
                    return
                body = outer.answer.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/hosts/master.mesos"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(STOP_POLL,), daemon=True)
        self.thread.start()

    def names(self, *addresses: str) -> None:
        self.answer = json.dumps([{"host": "master.mesos.", "ip": address} for address in addresses])


class Machine:
    """The files of a master below a root."""

    def __init__(self, root: Path, address: str = MASTERS[0], variant: str = "open") -> None:
        self.root = root
        self.write("opt/mesosphere/bin/detect_ip", f"#!/bin/sh\necho {address}\n", 0o755)
        self.configure(dcos_variant=variant)
        self.write("etc/passwd", f"root:x:0:0::/:/bin/sh\ndcos_etcd:x:{OWNER[0]}:99::/:/bin/false\n")
        self.write("etc/group", f"root:x:0:\ndcos_etcd:x:{OWNER[1]}:\n")
        self.unit("inactive")
        self.state_dir = root / "var/lib/dcos/etcd"
        self.data_dir = self.state_dir / "default.etcd"
        self.state_dir.mkdir(parents=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def configure(self, **settings: str) -> None:
        """DC/OS's configuration; by default it does not tell the number of masters."""
        self.write("opt/mesosphere/etc/expanded.config.json", json.dumps({"dcos_variant": "open", **settings}))

    def unit(self, state: str) -> None:
        self.write("usr/bin/systemctl", f"#!/bin/sh\necho {state}\ntest {state} = active\n", 0o755)

    def nodes(self, *addresses: str) -> None:
        text = ",".join(f"etcd-{address}=https://{address}:2380" for address in addresses)
        self.write("var/lib/dcos/etcd/initial-nodes", text)

    def member(self) -> None:
        """An old member: a log whose only fault is that it is empty, certificates, and both files."""
        self.nodes(*MASTERS)
        self.write("var/lib/dcos/etcd/initial-state", "existing")
        for path in ("member/snap/db", "member/wal/0000000000000000-0000000000000000.wal", "fixtures/client/key.pem"):
            self.write(f"var/lib/dcos/etcd/default.etcd/{path}", f"old {path}", 0o600)

    def old_data(self, archive: Path, *masters: str) -> None:
        """An old member that knows these masters."""
        dcos_etcd.restore(
            archive,
            data_dir=self.data_dir,
            name=f"etcd-{masters[0]}",
            initial_cluster={f"etcd-{ip}": f"https://{ip}:2380" for ip in masters},
        )

    def state(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Everything below etcd's home: permissions, owner, content."""
        found = {}
        for path in sorted(self.state_dir.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            name = str(path.relative_to(self.state_dir))
            found[name] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found

    def read(self, name: str) -> str:
        return (self.state_dir / name).read_text()

    def kept(self) -> list[str]:
        return sorted(path.name for path in self.state_dir.iterdir() if path.name.startswith("default.etcd.old-"))


def restored(machine: Machine, archive: Path, **options: Any) -> dcos_etcd.RestoreReport:
    return dcos.restore(archive, root=machine.root, **options)
