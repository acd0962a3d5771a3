"""File systems that are full soon."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTEMPTS = 50
"""To take a file system down, ten in a second."""


@contextmanager
def mounted(mount: Path, size: str) -> Iterator[Path]:
    """A tmpfs of `size`, as mount(8) spells it, on the new directory `mount`; skips where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.decode().strip()}")
    try:
        yield mount
    finally:
        take_down(mount)


def take_down(mount: Path) -> None:
    # Whoever was stopped may have a file open for a moment more.
    for _ in range(ATTEMPTS):
        if subprocess.run(["umount", str(mount)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", str(mount)], check=True)
