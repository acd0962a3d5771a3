"""What a backup costs the server: how long puts take at a steady load while a backup runs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from report import table

if TYPE_CHECKING:
    from collections.abc import Callable

LOAD = Path(__file__).resolve().parent / "load.py"

WARM_UP = 2.0
"""Seconds of load before the work begins."""

IDLE = 6.0
"""Seconds that are measured without any work."""


class Cost:
    """Latencies by what ran beside the puts.

    Args:
        url: The client URL of the member that is loaded and backed up.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.latencies: dict[str, list[float]] = {}
        self.seconds: dict[str, list[float]] = {}

    def during(self, what: str, work: Callable[[], object] | None = None) -> None:
        """Do the work under load, or nothing for a while.

        Raises:
            RuntimeError: The load did not come about.
        """
        with subprocess.Popen(
            [sys.executable, LOAD, self.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as load:
            if load.stdin is None or load.stdout is None:
                raise RuntimeError("the load has no pipes")
            try:
                time.sleep(WARM_UP)
                load.stdin.write("begin\n")
                load.stdin.flush()
                started = time.perf_counter()
                if work:
                    work()
                else:
                    time.sleep(IDLE)
                taken = time.perf_counter() - started
                load.stdin.close()
                said = load.stdout.read()
            except BaseException:
                load.kill()
                raise
        if load.returncode:
            raise RuntimeError(f"the load ended with {load.returncode}")
        self.latencies.setdefault(what, []).extend(json.loads(said))
        self.seconds.setdefault(what, []).append(taken)

    def report(self) -> str:
        """The table; the puts of all rounds count together."""
        return table(
            ["puts during", "seconds", "puts", "p50, ms", "p99, ms", "max, ms"],
            [
                [
                    what,
                    f"{statistics.median(self.seconds[what]):.1f}",
                    str(len(latencies)),
                    *(f"{1000 * value:.1f}" for value in (quantile(latencies, 50), quantile(latencies, 99))),
                    f"{1000 * max(latencies):.1f}",
                ]
                for what, latencies in self.latencies.items()
            ],
        )


def quantile(values: list[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
