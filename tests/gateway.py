"""etcd's JSON gateway over one connection: thousands of calls a second, where etcdctl manages some dozens."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from dcos_etcd.models import Entry


class GatewayError(Exception):
    """etcd refused."""


class Gateway:
    """A connection to one member."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.connection.request("POST", f"/v3/{path}", json.dumps(body), {"Content-Type": "application/json"})
        with self.connection.getresponse() as response:
            answer = json.load(response)
        if response.status != http.HTTPStatus.OK:
            raise GatewayError(answer.get("error") or answer.get("message"))
        return dict(answer)

    def put(self, key: bytes, value: bytes, lease: int = 0) -> dict[str, Any]:
        return self.call("kv/put", put(key, value, lease)["request_put"])

    def transact(self, operations: list[dict[str, Any]]) -> dict[str, Any]:
        return self.call("kv/txn", {"success": operations})

    def range(self, key: bytes, range_end: bytes = b"", **options: Any) -> list[Entry]:
        answer = self.call("kv/range", {"key": text(key), "range_end": text(range_end), **options})
        return [entry(kv) for kv in answer.get("kvs", [])]

    def close(self) -> None:
        self.connection.close()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def put(key: bytes, value: bytes, lease: int = 0) -> dict[str, Any]:
    return {"request_put": {"key": text(key), "value": text(value), "lease": str(lease)}}


def delete(key: bytes, range_end: bytes = b"") -> dict[str, Any]:
    return {"request_delete_range": {"key": text(key), "range_end": text(range_end)}}


def entry(kv: dict[str, Any]) -> Entry:
    """A key value as the gateway spells it: zeros left out, 64-bit numbers as text."""
    return Entry(
        base64.b64decode(kv["key"]),
        base64.b64decode(kv.get("value", "")),
        int(kv["create_revision"]),
        int(kv["mod_revision"]),
        int(kv["version"]),
        int(kv.get("lease", 0)),
    )
