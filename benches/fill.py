"""Data for the measurements: JSON documents of 0.2 to 3 KiB, as orchestrators keep them, put into a running etcd."""

from __future__ import annotations

import base64
import http.client
import json
import random
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

PUTS_PER_TXN = 512
"""Keys in one transaction; the server needs `SERVER_FLAGS` for so many."""

SERVER_FLAGS = [
    f"--max-txn-ops={PUTS_PER_TXN}",
    "--max-request-bytes=8388608",
    "--quota-backend-bytes=17179869184",
    "--snapshot-count=1000",
]
"""What the server needs beside its defaults."""

CONNECTIONS = 3

SHORTEST, USUAL, LONGEST = 200, 850, 3072
"""Bytes of a value."""

WORDS = (  # noqa: SIM905 - a line for each word would make a page
    "active agent allocated attributes capacity checkpoint cluster constraint container cpus created deployment disk "
    "endpoint environment executor failed framework gateway gpus group health healthy hostname image instances killed "
    "labels latest lost marathon master memory mesos mounts network node offered overlay owner partition pending port "
    "principal private public quota region replica reserved resources role running scheduler secret service staging "
    "state status subnet task timeout token unreachable updated volume weight zone"
).split()


def document(number: int) -> bytes:
    """The value of a key; the same number gives the same bytes."""
    chance = random.Random(number)  # noqa: S311 - chance that can be repeated is wanted
    fields = [f'{{"id":"{chance.getrandbits(128):032x}","version":{number}']
    length = len(fields[0]) + 1
    wanted = chance.triangular(SHORTEST, LONGEST, USUAL)
    while length < wanted:
        name, first, second = chance.choices(WORDS, k=3)
        field = f',"{name}":{{"{first}":"{second}","digest":"{chance.getrandbits(384):096x}"}}'
        fields.append(field)
        length += len(field)
    return "".join([*fields, "}"]).encode()


def _transaction(numbers: range) -> bytes:
    puts = [
        {
            "requestPut": {
                "key": base64.b64encode(f"/dcos/state/{number:08d}".encode()).decode(),
                "value": base64.b64encode(document(number)).decode(),
            }
        }
        for number in numbers
    ]
    return json.dumps({"success": puts}).encode()


def _worker(url: str, share: list[range]) -> None:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=120)
    for numbers in share:
        connection.request("POST", "/v3/kv/txn", _transaction(numbers), {"Content-Type": "application/json"})
        response = connection.getresponse()
        said = response.read()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"etcd refused to be filled: {response.status} {said[:300]!r}")
    connection.close()


def fill(url: str, keys: int) -> None:
    """Put so many keys into the etcd at a client URL.

    Raises:
        RuntimeError: It refused.
        OSError: It does not answer.
    """
    chunks = [range(first, min(first + PUTS_PER_TXN, keys)) for first in range(0, keys, PUTS_PER_TXN)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(_worker, url, chunks[n::CONNECTIONS]) for n in range(CONNECTIONS)]:
            done.result()
