"""What the tests of several workers share is made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workshop import Workshop

ASK = """
import os, sys
from pathlib import Path
from workshop import Workshop

def make(directory):
    (directory / str(os.getpid())).touch()
    return directory, os.getpid()

sys.stdin.read()
directory, maker = Workshop(Path(sys.argv[1])).get("thing", make)
print(maker, *(path.name for path in directory.iterdir()))
"""


def test_processes_that_ask_at_once_get_what_one_of_them_made(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK, str(tmp_path / "workshop")]
    asking = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
        for _ in range(3)
    ]
    for process in asking:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    told = {process.communicate(timeout=60)[0] for process in asking}

    [answer] = told
    maker, *files = answer.split()
    assert [maker] == files
    assert int(maker) in {process.pid for process in asking}


def test_what_could_not_be_made_is_tried_anew_in_an_empty_directory(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "workshop")

    def fail(directory: Path) -> list[Path]:
        (directory / "half").touch()
        raise LookupError("no etcd")

    with pytest.raises(LookupError):
        workshop.get("thing", fail)

    assert workshop.get("thing", lambda directory: sorted(directory.iterdir())) == []
    assert workshop.get("thing", fail) == []
