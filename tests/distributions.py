"""Looks into what `make dist` built, and tries it in clean environments of every CPython on the machine.

    python tests/distributions.py check   # names, contents and metadata of dist/
    python tests/distributions.py test    # the wheel, and the wheel that the sdist makes, installed and tested

An environment is clean: a venv of its own with the distribution, its extras `completion` and `testing`, and pytest. The
sdist is built in one, where Rust and pip are all that there is.
"""

# ruff: noqa: T201 - it prints what it found

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

from packaging.metadata import Metadata
from packaging.utils import parse_sdist_filename, parse_wheel_filename

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
PACKAGE = ROOT / "python" / "dcos_etcd"

FLOOR = (3, 10)

ABOUT = "import sys, sysconfig; print(*sys.version_info[:2], bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"

REQUIREMENTS = ["pytest>=9.0,<10", "pytest-timeout>=2.4,<3"]

TESTS = [
    "test_public_api.py",
    "test_exceptions.py",
    "test_models.py",
    "test_made_snapshots.py",
    "cli",
    "test_cli_live.py",
]
"""What is tried everywhere: names, models, the command line, and a real cluster backed up and restored."""

NOT_IN_SDIST = re.compile(r"/(target|dist|\.venv|\.git|\.ci)/|\.so$|__pycache__")


class Python(NamedTuple):
    """An interpreter."""

    version: tuple[int, int]
    free_threaded: bool
    path: Path

    def __str__(self) -> str:
        """Its name, as `python3.14t`."""
        return f"python{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"


def pythons() -> list[Python]:
    """Every CPython on the machine that is supported, one of each version, the oldest first."""
    names = [f"python3.{minor}{kind}" for minor in range(FLOOR[1], 20) for kind in ("", "t")]
    places = [*map(Path, os.environ["PATH"].split(os.pathsep)), *Path.home().glob(".pyenv/versions/*/bin")]
    found: dict[tuple[tuple[int, int], bool], Python] = {}
    for path in [Path(sys.executable), *(place / name for place in places for name in names)]:
        if not path.exists():
            continue
        told = subprocess.run([path, "-I", "-c", ABOUT], capture_output=True, text=True, check=False)
        if told.returncode == 0:
            major, minor, free_threaded = told.stdout.split()
            one = Python((int(major), int(minor)), free_threaded == "True", path)
            found.setdefault((one.version, one.free_threaded), one)
    return sorted(one for one in found.values() if one.version >= FLOOR)


def only(pattern: str) -> Path:
    """The one file of `dist` with such a name."""
    [found] = DIST.glob(pattern)
    return found


# Looking


def check() -> None:
    """Fail unless the files of `dist` are what they should be."""
    wheels = sorted(DIST.glob("*.whl"))
    stable = [wheel for wheel in wheels if "-abi3-" in wheel.name]
    assert len(stable) == 1, f"one wheel serves every CPython with a GIL, and there are {stable}"
    for wheel in wheels:
        check_wheel(wheel)
    check_sdist(only("*.tar.gz"))


def check_wheel(wheel: Path) -> None:
    """Its name, that it holds the package and nothing else, and its metadata."""
    name, version, _, tags = parse_wheel_filename(wheel.name)
    assert name == "dcos-etcd"
    assert all(tag.platform.startswith("manylinux") for tag in tags), f"{wheel.name} is of this machine only"
    info = f"dcos_etcd-{version}.dist-info"
    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())
        check_metadata(opened.read(f"{info}/METADATA"))
        scripts = opened.read(f"{info}/entry_points.txt").decode()
    modules = {
        f"dcos_etcd/{path.relative_to(PACKAGE)}"
        for pattern in ("*.py", "*.pyi", "py.typed")
        for path in PACKAGE.rglob(pattern)
    }
    core = {one for one in held if re.fullmatch(r"dcos_etcd/_core\.[\w-]+\.so", one)}
    about = {one for one in held if one.startswith(f"{info}/")}
    libraries = {one for one in held if one.startswith("dcos_etcd.libs/")}
    assert len(core) == 1, f"{wheel.name}: extension modules: {core}"
    assert held == modules | core | about, f"{wheel.name}: {held ^ (modules | core | about)}"
    assert not libraries
    assert {f"{info}/licenses/LICENSE", f"{info}/RECORD"} <= about
    assert "dcos-etcdctl=dcos_etcd.cli:main" in scripts.replace(" ", "")
    print(f"{wheel.name}: {len(held)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def check_sdist(sdist: Path) -> None:
    """Its name, that it holds what a build takes, nothing that was built, and its metadata."""
    _, version = parse_sdist_filename(sdist.name)
    top = f"dcos_etcd-{version}"
    with tarfile.open(sdist) as opened:
        held = {member.name for member in opened.getmembers() if member.isfile()}
        about = opened.extractfile(f"{top}/PKG-INFO")
        assert about is not None
        check_metadata(about.read())
    wanted = {"Cargo.toml", "Cargo.lock", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "src/lib.rs"}
    wanted |= {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.py*") if path.suffix != ".pyc"}
    assert {f"{top}/{name}" for name in wanted} <= held, {f"{top}/{name}" for name in wanted} - held
    assert [name for name in held if NOT_IN_SDIST.search(name)] == []
    print(f"{sdist.name}: {len(held)} files, {sdist.stat().st_size / 1e6:.1f} MB")


def check_metadata(text: bytes) -> None:
    """What an index would look at, and more."""
    about = Metadata.from_email(text, validate=True)
    parsed = email.message_from_bytes(text)
    assert about.name == "dcos-etcd"
    assert str(about.license_expression) == "Apache-2.0"
    assert about.license_files == ["LICENSE"]
    assert str(about.requires_python) == ">=3.10"
    assert (about.description_content_type or "").startswith("text/markdown")
    assert (about.description or str(parsed.get_payload())).startswith("# dcos-etcd")
    assert "Typing :: Typed" in (about.classifiers or [])
    always = [one for one in about.requires_dist or [] if one.marker is None]
    assert len(always) <= 3, f"what everybody has to install: {always}"


# Trying


def test() -> None:
    """Build the sdist in a clean environment; install both wheels into others, and run tests there."""
    there = pythons()
    print("found:", *there)
    if not any(python.free_threaded for python in there):
        print("no free-threaded CPython is on this machine: its wheel is neither built nor tried")
    with tempfile.TemporaryDirectory(prefix="dcos-etcd-wheels-") as name:
        directory = Path(name)
        with_gil = [python for python in there if not python.free_threaded]
        built = build(with_gil[0], directory)
        for python in there:
            environment = make_environment(python, directory / str(python))
            for wheel in [only("*-abi3-*.whl"), built] if python in with_gil else free_threaded_wheels(python):
                attempt(python, environment, wheel)


def free_threaded_wheels(python: Python) -> list[Path]:
    """The wheel for one free-threaded CPython."""
    return [only(f"*-cp{python.version[0]}{python.version[1]}t-*.whl")]


def build(python: Python, directory: Path) -> Path:
    """Make a wheel of the sdist, with nothing but pip, Rust, and what the sdist itself asks for."""
    environment = make_environment(python, directory / "build")
    started = time.monotonic()
    command = ["-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(directory / "made"), str(only("*.tar.gz"))]
    run(environment, *command, CARGO_TARGET_DIR=str(ROOT / "target" / "sdist"))
    [wheel] = (directory / "made").glob("*.whl")
    print(f"{python}: {only('*.tar.gz').name} makes {wheel.name} in {time.monotonic() - started:.0f} s", flush=True)
    return wheel


def make_environment(python: Python, directory: Path) -> Path:
    """A venv with the newest pip and nothing else; returns its interpreter."""
    subprocess.run([python.path, "-I", "-m", "venv", directory], check=True)
    interpreter = directory / "bin" / "python"
    run(interpreter, "-m", "pip", "install", "--quiet", "--upgrade", "pip")
    return interpreter


def attempt(python: Python, environment: Path, wheel: Path) -> None:
    """Install a wheel, and run the tests of it away from the source."""
    started = time.monotonic()
    run(environment, "-m", "pip", "install", "--quiet", f"{wheel}[completion,testing]", *REQUIREMENTS)
    run(environment, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel))
    away = environment.parent.parent / "source"
    shutil.rmtree(away, ignore_errors=True)
    for name in ("tests", "docs"):
        shutil.copytree(ROOT / name, away / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", away)
    tests = [str(away / "tests" / name) for name in TESTS]
    told = run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, directory=away)
    where = run(environment, "-c", "import dcos_etcd; print(dcos_etcd.__file__)")
    assert Path(where.strip()).is_relative_to(environment.parent.parent), where
    print(f"{python}: {wheel.name}: {told.splitlines()[-1]}, {time.monotonic() - started:.0f} s in all", flush=True)


def run(interpreter: Path, *arguments: str, directory: Path | None = None, **variables: str) -> str:
    """Run an interpreter without what this one was told by its environment; gives what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [interpreter, *arguments],
        cwd=directory or interpreter.parent,
        env={**kept, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{interpreter} {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-8000:]}")
    return done.stdout


if __name__ == "__main__":
    {"check": check, "test": test}[sys.argv[1]]()
