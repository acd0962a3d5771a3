"""How to reach a cluster, as plain values that cross into the core."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dcos_etcd.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcos_etcd.models import Tls

DEFAULT_ENDPOINTS = ("http://127.0.0.1:2379",)
DIAL_TIMEOUT = 2.0
COMMAND_TIMEOUT = 5.0
STALL_TIMEOUT = 30.0
FASTEST = (1 << 64) - 1


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Access:
    """Endpoints and credentials; without a `repr`, since it holds a password."""

    endpoints: list[str]
    tls: Tls | None
    user: tuple[str, str] | None
    dial_timeout: float
    command_timeout: float


def access(
    endpoints: str | Iterable[str],
    *,
    tls: Tls | None,
    user: tuple[str, str] | None,
    dial_timeout: float | timedelta,
    command_timeout: float | timedelta,
) -> Access:
    """Check what can be checked without a socket."""
    listed = listing(endpoints)
    if not listed:
        raise InvalidArgumentError("endpoints: at least one is needed")
    return Access(
        endpoints=listed,
        tls=tls,
        user=user,
        dial_timeout=seconds("dial_timeout", dial_timeout),
        command_timeout=seconds("command_timeout", command_timeout),
    )


def listing(values: str | Iterable[str]) -> list[str]:
    """Take a list, or the comma-separated text that the command line takes for one."""
    if isinstance(values, str):
        return [piece for piece in map(str.strip, values.split(",")) if piece]
    return list(values)


def seconds(name: str, value: float | timedelta) -> float:
    """Turn a time limit into seconds."""
    number = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not (math.isfinite(number) and number > 0):
        raise InvalidArgumentError(f"{name}: {number} s is no time limit; it must be more than 0")
    return number


def rate(name: str, value: int | None) -> int | None:
    """Check a number of bytes a second."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgumentError(f"{name}: {value!r} is no whole number of bytes a second")
    if not 0 < value <= FASTEST:
        raise InvalidArgumentError(
            f"{name}: {value} bytes a second are no limit; it must be more than 0 and below 2^64"
        )
    return value
