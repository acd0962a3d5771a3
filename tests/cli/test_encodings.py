"""What goes out where stdout can't take it: a charset without the character, or no stdout at all."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from command_line import environment
from dcos_etcd._sheet import one_line
from dcos_etcd.display import to_json
from dcos_etcd.listing import readable
from dcos_etcd.testing import make_snapshot

if TYPE_CHECKING:
    from pathlib import Path

KEYS: dict[str | bytes, str | bytes] = {
    "plain": "x",
    "\u00e9": "\u65e5\u672c",
    "\u65e5": "y",
    "\U0001f600": "z",
    b"\xff": b"\xfe",
}


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    path = tmp_path / "etcd.db"
    make_snapshot(path, KEYS)
    return path


def shell(command: list[str], charset: str) -> bytes:
    """Run a command whose stdout has this charset."""
    done = subprocess.run(
        [sys.executable, "-m", "dcos_etcd", *command],
        capture_output=True,
        env=environment(PYTHONIOENCODING=charset),
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "utf-8"])
def test_every_key_is_listed_whatever_charset_the_locale_has(snapshot: Path, charset: str) -> None:
    table = shell(["keys", str(snapshot), "-w", "simple"], charset).decode(charset).splitlines()
    rows = [
        json.loads(line) for line in shell(["keys", str(snapshot), "-w", "json"], charset).decode(charset).splitlines()
    ]
    entry = json.loads(shell(["get", str(snapshot), "\u00e9", "-w", "json"], charset).decode(charset))

    assert len(table) == len(KEYS)
    assert [row.get("key") for row in rows] == ["plain", "\u00e9", "\u65e5", "\U0001f600", None]
    assert rows[-1]["key_base64"] == "/w=="
    assert (entry["key"], entry["value"]) == ("\u00e9", "\u65e5\u672c")
    assert ("\\ud83d\\ude00" in table) is (charset != "utf-8")


def test_a_value_goes_nowhere_where_stdout_is_closed(snapshot: Path) -> None:
    program = f"'{sys.executable}' -m dcos_etcd get '{snapshot}' plain --print-value-only >&-"
    done = subprocess.run(["bash", "-c", program], capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_json_spells_out_whatever_the_tables_do() -> None:
    for letter in map(chr, range(0x10000)):
        written = to_json(letter)
        assert json.loads(written) == letter
        if letter != one_line(letter):
            assert letter not in written


def test_no_two_keys_look_alike() -> None:
    pieces = ("k", "\\", "x1b", "\x1b", "n", "\n", "u2028", "\u2028", "base64:", "/w==")
    texts = {"".join(some) for count in range(5) for some in itertools.product(pieces, repeat=count)}
    keys = [text.encode() for text in texts] + [b"\xff", b"\xff\\", b"k\xff"]

    assert len({readable(key) for key in keys}) == len(keys)
    assert all(readable(key).isprintable() for key in keys)
    assert [readable(key) for key in (b"k\x1b", b"k\\x1b", b"\\\x1b")] == ["k\\x1b", "k\\\\x1b", "\\\\\\x1b"]
    assert [readable(key) for key in (b"\xff", b"base64:/w==")] == ["base64:/w==", "base64:YmFzZTY0Oi93PT0="]


@pytest.mark.parametrize("key", ["/calico/ready", "a b", "C:\\dir", "^\\d+$", "\\", "\u65e5", "x-base64:", "k\\x1"])
def test_an_ordinary_key_is_shown_as_it_is(key: str) -> None:
    assert readable(key.encode()) == key
