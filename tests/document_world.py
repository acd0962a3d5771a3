"""Where the documentation's code runs: a directory, and real clusters behind the URLs that pages speak of.

`http://127.0.0.1:2379` is a single etcd, and `https://10.0.0.1:2379` to `https://10.0.0.3:2379` are a cluster of three
with certificates and users. Both are started when a page first speaks of them, at addresses of their own.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import doctest
import io
import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import tomllib

from dcos_etcd.cli import _flags, _main
from dcos_etcd.testing import Certificates, Cluster
from documents import ROOT, name
from scenario import settled

if TYPE_CHECKING:
    from dcos_etcd.testing import EtcdBinaries
    from documents import Block

SINGLE = ["http://127.0.0.1:2379"]
SECURED = [f"https://10.0.0.{number}:2379" for number in (1, 2, 3)]
USER = ("root", "s3cret")

KEYS = {
    "/calico/ready": "true",
    "/calico/pool/10.0.0.0-8": '{"cidr": "10.0.0.0/8"}',
    "/calico/host/m1": "10.0.0.1",
    "/app/limits": "small",
}
"""What the clusters hold when a page begins."""

TIMEOUT = 60
"""Seconds that a command may take."""

PYTEST_TIMEOUT = 240
"""Seconds that all tests of a page may take."""


class World:
    """One page's."""

    def __init__(self, directory: Path, programs: EtcdBinaries) -> None:
        self.directory = directory
        self.programs = programs
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.printed = ""
        self._tests: list[str] = []
        self._clusters: list[Cluster] = []
        self._real: dict[str, str] = {}
        path = os.pathsep.join([str(Path(sys.executable).parent), str(programs.etcd.parent), os.environ["PATH"]])
        python_path = os.pathsep.join(filter(None, [str(ROOT / "python"), os.environ.get("PYTHONPATH")]))
        self.environment = {"PATH": path, "PYTHONPATH": python_path, "HOME": str(directory), "LC_ALL": "C.UTF-8"}

    def close(self) -> None:
        """End what was started."""
        for cluster in self._clusters:
            cluster.close()

    # Addresses and files

    def localized(self, text: str) -> str:
        """A block's text with the addresses and places of this world."""
        if any(url in text for url in SINGLE) and SINGLE[0] not in self._real:
            self._start(SINGLE)
        if any(url in text for url in SECURED) and SECURED[0] not in self._real:
            self._start(SECURED, tls=Certificates.create(self.directory / "certificates"), auth=USER)
            for mine, theirs in (("ca", "ca"), ("client", "client"), ("client-key", "client-key")):
                shutil.copyfile(self.directory / "certificates" / f"{theirs}.pem", self.directory / f"{mine}.pem")
        for documented, real in self._real.items():
            text = text.replace(documented, real)
        return text.replace("/var/lib/etcd", f"{self.directory}/var/lib/etcd").replace(
            "/var/backups", f"{self.directory}/var/backups"
        )

    def documented(self, text: str) -> str:
        """What was printed, as a page would show it."""
        for documented, real in self._real.items():
            text = text.replace(real, documented)
        return text.replace(str(self.directory) + "/var", "/var")

    def _start(self, urls: list[str], **options: Any) -> None:
        servers = self.directory / f"servers{len(self._clusters)}"
        cluster = Cluster(len(urls), binaries=self.programs, directory=servers, **options)
        self._clusters.append(cluster)
        cluster.start()
        for key, value in KEYS.items():
            cluster.etcdctl("put", key, value)
        # Pages show the storage version.
        settled(cluster)
        self._real |= dict(zip(urls, cluster.endpoints, strict=True))
        for directory in ("var/lib", "var/backups"):
            (self.directory / directory).mkdir(parents=True, exist_ok=True)
        if urls == SINGLE:
            self.environment["ETCDCTL_ENDPOINTS"] = cluster.endpoints[0]

    # Blocks

    def run(self, block: Block) -> None:
        """Run a block, or check it in the way of its language."""
        if block.file:
            self._write(block, block.file)
        else:
            getattr(self, f"_run_{block.language}")(block)

    def _write(self, block: Block, file: str) -> None:
        path = self.directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.localized(block.text), encoding="utf-8")
        if path.suffix == ".py":
            compile(block.text, block.place, "exec")
        if path.suffix == ".sh":
            path.chmod(0o755)
        if path.name.startswith("test_"):
            self._tests.append(file)

    def run_tests(self) -> None:
        """Run the files of tests that blocks became, all by one pytest, as they lie in a user's directory."""
        if self._tests:
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *self._tests]
            done = self._process(command, timeout=PYTEST_TIMEOUT)
            assert done.returncode == 0, done.stdout

    def _run_python(self, block: Block) -> None:
        # The block's first line is that of the page, so that a traceback leads there.
        code = compile("\n" * (block.line - 1) + self.localized(block.text), name(block.page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed, self._at_home():
            exec(code, self.names)  # noqa: S102 - that is what is tested
        self.printed = self.documented(printed.getvalue())

    def _run_pycon(self, block: Block) -> None:
        example = doctest.DocTestParser().get_doctest(
            self.localized(block.text), self.names, block.place, name(block.page), block.line - 1
        )
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
        said: list[str] = []
        with self._at_home():
            runner.run(example, out=said.append, clear_globs=False)
        self.names.update(example.globs)
        assert not said, "".join(said)

    def _run_output(self, block: Block) -> None:
        assert_like(block.text, self.printed, block.place)

    def _run_console(self, block: Block) -> None:
        for command, shown in sessions(block.text):
            done = self._process(["bash", "-c", self.localized(command)])
            assert done.returncode == 0, f"{block.place}: {command}: exit status {done.returncode}\n{done.stdout}"
            if shown:
                assert_like(shown, self.documented(done.stdout), f"{block.place}: {command}")

    def _run_sh(self, block: Block) -> None:
        commands = words_of_commands(block)
        if block.elsewhere:
            for words in commands:
                check_command(words, block.place)
        elif all(words[0] == "make" for words in commands):
            # They take minutes, and are run by whoever runs this: it is looked at whether make knows them.
            for words in commands:
                done = self._process(["make", "--no-print-directory", "-n", *words[1:]], cwd=ROOT)
                assert done.returncode == 0, f"{block.place}: {done.stdout}"
        elif all("pip" in words[:3] for words in commands):
            for words in commands:
                check_requirement(words[-1], block.place)
        else:
            done = self._process(["bash", "-euo", "pipefail", "-c", self.localized(block.text)])
            assert done.returncode == 0, f"{block.place}: exit status {done.returncode}\n{done.stdout}"
            self.printed = self.documented(done.stdout)

    def _run_cron(self, block: Block) -> None:
        for line in block.text.splitlines():
            found = re.fullmatch(r"(?:[\d*/,-]+ +){5}(?P<user>\w+) +(?P<command>/\S*/(?P<script>[\w.-]+))", line)
            assert found, f"{block.place}: {line!r} is no line of a crontab with one program"
            assert (self.directory / found["script"]).exists(), f"{block.place}: no block is {found['script']}"

    @staticmethod
    def _run_ini(block: Block) -> None:
        configparser.ConfigParser(interpolation=None).read_string(block.text)

    @staticmethod
    def _run_json(block: Block) -> None:
        json.loads(block.text)

    @staticmethod
    def _run_toml(block: Block) -> None:
        tomllib.loads(block.text)

    @staticmethod
    def _run_text(block: Block) -> None:
        assert not re.search(r"^\$ |^>>> |^import ", block.text, re.MULTILINE), f"{block.place} looks like code"

    # Running

    def _process(
        self, command: list[str], cwd: Path | None = None, timeout: float = TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd or self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextlib.contextmanager
    def _at_home(self) -> Any:
        before = Path.cwd()
        os.chdir(self.directory)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                yield
        finally:
            os.chdir(before)


# What blocks are made of


def sessions(text: str) -> list[tuple[str, str]]:
    """Commands behind `$ ` with what is shown below each."""
    found: list[tuple[str, str]] = []
    continued = False
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
            continued = line.endswith("\\")
        elif found and (continued or (line.startswith("> ") and not found[-1][1])):
            found[-1] = (f"{found[-1][0]}\n{line.removeprefix('> ')}", "")
            continued = line.endswith("\\")
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
        else:
            raise AssertionError(f"{line!r} stands before the first command")
    return found


def assert_like(shown: str, printed: str, place: str) -> None:
    """Compare output with what a page shows of it: `...` stands for anything, and runs of spaces for each other."""
    wanted = r".*".join(re.sub(r"(\\\s|\s)+", r"\\s+", re.escape(part)) for part in shown.strip().split("..."))
    assert re.fullmatch(wanted, printed.strip(), re.DOTALL), f"{place} shows\n{shown}\nand what comes is\n{printed}"


def words_of_commands(block: Block) -> list[list[str]]:
    """The simple commands of a block, by shell words; the shell itself judges the grammar."""
    judged = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, f"{block.place}: {judged.stderr}"
    lexer = shlex.shlex(block.text.replace("\\\n", " ").replace("\n", "\n; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("();<>|&"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def check_command(words: list[str], place: str) -> None:
    """See that `dcos-etcdctl` takes what it is given."""
    while words and re.match(r"\w+=", words[0]):
        words = words[1:]
    if "dcos-etcdctl" in words[:3]:
        arguments = words[words.index("dcos-etcdctl") + 1 :]
        complaints = io.StringIO()
        try:
            # The users of `--owner` are those of other machines.
            with contextlib.redirect_stderr(complaints), mock.patch("pwd.getpwnam", return_value=pwd.getpwuid(0)):
                parser = _main._parser()
                parsed = parser.parse_args(_flags.settle_booleans(arguments, parser))
        except SystemExit:
            raise AssertionError(f"{place}: {shlex.join(words)}: {complaints.getvalue()}") from None
        assert isinstance(parsed, argparse.Namespace)


def check_requirement(requirement: str, place: str) -> None:
    """See that what pip is to install is this project, with extras that it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.fullmatch(r"(?P<name>[\w-]+)(\[(?P<extras>[\w,-]+)\])?", requirement)
    assert found, f"{place}: {requirement!r} is no requirement"
    assert found["name"] == project["name"], f"{place}: {requirement}"
    extras = set(filter(None, (found["extras"] or "").split(",")))
    assert extras <= set(project.get("optional-dependencies", {})), f"{place}: {requirement}"
