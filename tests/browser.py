"""Headless Chromium, as somebody who opens a page: what it shows, in which theme, and what it complains of."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

# As root it has no sandbox; in a container little of /dev/shm. It must not call home, or anybody.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--window-size=1100,900",
)

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class Seen:
    """What came of opening a page.

    Attributes:
        console: What the page, or what the browser refused to do for it, wrote to the console.
        text: The document as the browser holds it.
    """

    console: list[str]
    text: str


def look(page: Path, theme: Theme = "light", *, screenshot: Path | None = None) -> Seen:
    """Open a page; a test that does is skipped where there is no Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is on this machine (apt-get install chromium)")
    shot = ["--dump-dom"] if screenshot is None else [f"--screenshot={screenshot}"]
    profile = page.with_suffix(f".{theme}.profile")
    command = [
        program,
        *FLAGS,
        f"--user-data-dir={profile}",
        f"--blink-settings=preferredColorScheme={int(theme == 'light')}",
        *shot,
        page.as_uri(),
    ]
    try:
        result = browse(command)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        # On a busy machine it may not come up in time: once more then, with a fresh profile.
        shutil.rmtree(profile, ignore_errors=True)
        result = browse(command)
    shutil.rmtree(profile, ignore_errors=True)
    return Seen(console=re.findall(r":CONSOLE[:(]\d+\)?\] (.*)", result.stderr), text=result.stdout)


def browse(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
