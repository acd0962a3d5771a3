"""Puts at a steady rate, and how long each took: `load.py URL`, with orders on stdin.

A line on stdin begins what counts; the end of stdin ends it. Then the latencies of the puts that were due meanwhile go
to stdout as JSON, in seconds.

A put's latency is counted from the moment at which it was due, not from when a connection was free for it: a server
that stops for a second is late with all that was due in that second. A program of its own, so that nothing else has a
share in the figures.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
import threading
import time
import urllib.parse

PUTS_A_SECOND = 100
"""What two cores bear beside a server and a backup; a tenth of one core goes into it."""

CONNECTIONS = 8
"""A put that takes as long as all of them have time for would delay others: 80 ms at this rate."""

KEYS = 1000

VALUE = base64.b64encode(b"v" * 1024).decode()


class Load:
    """The puts of all connections."""

    def __init__(self, url: str) -> None:
        self.host = urllib.parse.urlsplit(url).netloc
        self.started = time.perf_counter()
        self.taken: list[tuple[float, float]] = []
        self.ended = threading.Event()

    def put(self, number: int) -> None:
        """Do every put of one connection."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.connect()
        while not self.ended.is_set():
            due = self.started + number / PUTS_A_SECOND
            time.sleep(max(due - time.perf_counter(), 0))
            key = base64.b64encode(f"/bench/load/{number % KEYS:04d}".encode()).decode()
            body = json.dumps({"key": key, "value": VALUE})
            connection.request("POST", "/v3/kv/put", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status != http.HTTPStatus.OK:
                sys.exit(f"etcd refused a put: {response.status}")
            self.taken.append((due, time.perf_counter() - due))
            number += CONNECTIONS


def main() -> None:
    """Put until told to end."""
    load = Load(sys.argv[1])
    threads = [threading.Thread(target=load.put, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    begun = time.perf_counter()
    sys.stdin.read()
    ended = time.perf_counter()
    load.ended.set()
    for thread in threads:
        thread.join()
    print(json.dumps([latency for due, latency in load.taken if begun <= due < ended]))


if __name__ == "__main__":
    main()
