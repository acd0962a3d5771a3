"""A file imports its own layer and those below it, never one above: see docs/design.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "dcos_etcd"
SOURCES = ROOT / "src"


# The layers of the Rust core, lowest first, and which peers a module may use beside the layers below its own.

RUST_LAYERS: tuple[dict[str, set[str]], ...] = (
    {
        "clock": set(),
        "error": {"defect"},
        "defect": set(),
        "durable": {"clock", "error"},
        "proto": {"error", "defect"},
        "facts": {"hex"},
        "hex": set(),
        "progress": {"error"},
        "read_at": {"defect", "error"},
        "threads": set(),
        "version": set(),
    },
    {
        "bbolt": set(),
        "raft": set(),
        "schema": {"bbolt"},
        "archive": set(),
    },
    {
        "client": set(),
    },
    {
        "snapshot": set(),
        "history": {"snapshot"},
        "compare": {"history"},
        "put_back": {"history", "compare"},
        "compose": set(),
        "data_dir": {"snapshot"},
        "restore": {"snapshot", "data_dir"},
        "backup": {"snapshot"},
        "diagnose": set(),
    },
    {
        "python": set(),
    },
)

# What a module must leave alone although it lies below.
RUST_FORBIDDEN = {
    "restore": {"client", "facts"},
    "snapshot": {"client", "facts"},
    "history": {"client", "facts"},
    "data_dir": {"client", "facts"},
    "client": {"bbolt", "schema"},
}

# The only places that name these crates.
CRATE_HOMES = {
    "pyo3": ("python",),
    "pyo3_async_runtimes": ("python/runtime.rs",),
    "etcd_client": ("client", "backup", "diagnose"),
    "arrow_array": ("python/arrow.rs",),
    "arrow_schema": ("python/arrow.rs",),
    "tonic": ("client", "backup", "diagnose"),
    "tokio": ("client", "backup", "diagnose", "python/runtime.rs"),
}


def rust_files() -> list[Path]:
    return sorted(path for path in SOURCES.rglob("*.rs") if path != SOURCES / "lib.rs")


def without_tests_and_comments(text: str) -> str:
    text = re.sub(r"//[^\n]*", "", text)
    return re.split(r"#\[cfg\((?:test|all\(test)[^\n]*\n\s*(?:pub\S* )?mod \w+ \{", text)[0]


def rust_module(path: Path) -> str:
    return path.relative_to(SOURCES).parts[0].removesuffix(".rs")


def used_modules(text: str) -> set[str]:
    """Find the modules that `crate::` names, those in `crate::{a, b::c}` too."""
    used = set(re.findall(r"\bcrate::(\w+)", text))
    for group in re.findall(r"\bcrate::\{((?:[^{}]|\{[^{}]*\})*)\}", text):
        flat = re.sub(r"\{[^{}]*\}", "", group)
        used |= {piece.strip().split("::")[0] for piece in flat.split(",") if piece.strip()}
    # What lib.rs re-exports comes from the ground.
    return {{"Error": "error", "Result": "error", "Defect": "defect"}.get(name, name) for name in used}


def allowed_modules(module: str) -> set[str]:
    allowed: set[str] = {module}
    for layer in RUST_LAYERS:
        if module in layer:
            return (allowed | layer[module]) - RUST_FORBIDDEN.get(module, set())
        allowed |= set(layer)
    pytest.fail(f"{module} has no layer; give it one in RUST_LAYERS")


def test_every_rust_file_has_a_layer() -> None:
    assert {rust_module(path) for path in rust_files()} <= {module for layer in RUST_LAYERS for module in layer}


@pytest.mark.parametrize("path", rust_files(), ids=lambda path: str(path.relative_to(SOURCES)))
def test_rust_files_use_their_named_peers_and_lower_layers_only(path: Path) -> None:
    used = used_modules(without_tests_and_comments(path.read_text(encoding="utf-8")))

    assert used - allowed_modules(rust_module(path)) == set()


@pytest.mark.parametrize("crate", CRATE_HOMES)
def test_crates_are_named_in_their_own_rooms_only(crate: str) -> None:
    naming = [
        path.relative_to(SOURCES).as_posix()
        for path in rust_files()
        if re.search(rf"\b{crate}::|#\[{crate}\b", without_tests_and_comments(path.read_text(encoding="utf-8")))
    ]

    assert [path for path in naming if not path.startswith(CRATE_HOMES[crate])] == []


def test_the_parser_of_rust_sees_each_way_to_name_a_module() -> None:
    text = """
    use crate::error::{Error, Result};
    use crate::{Defect, bbolt::{self, Meta}, schema};
    // use crate::comment;
    fn f() { crate::raft::bootstrap() }
    #[cfg(test)]
    mod tests { use crate::python; }
    """

    assert used_modules(without_tests_and_comments(text)) == {"error", "defect", "bbolt", "schema", "raft"}


# The layers of the Python package, lowest first. `_core` stands beside `exceptions`: the core raises them.

PYTHON_LAYERS = (
    {"exceptions", "_core"},
    {"_hints", "_keys"},
    {"_traceback"},
    {"models"},
    {"_sheet"},
    {"_text", "_html"},
    {"_access", "_rewrite", "_steps", "display"},
    {"_progress", "listing"},
    {"changes"},
    {"plots", "showing"},
    {"api", "reader"},
    {"comparing", "putting_back"},
    {"aio"},
    {"dcos"},
    {"cli"},
    {"__main__"},
)

# Notebooks ask an object itself how it looks: what is called then is imported then, from above.
PYTHON_LOOKS = {
    "exceptions.py": {"_traceback"},
    "models/_shown.py": {"_sheet", "showing"},
    "models/contents.py": {"plots"},
    "models/diagnosis.py": {"plots"},
}

# Modules that serve tests are free of layers, and nothing imports them.
PYTHON_TEST_SERVANTS = {"testing", "pytest_plugin"}


def python_files() -> list[Path]:
    files = (path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
    return sorted(path for path in files if python_module(path) not in PYTHON_TEST_SERVANTS)


def python_module(path: Path) -> str:
    """Name the room of a file: the module, or the package right below `dcos_etcd`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(source: str) -> set[str]:
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "dcos_etcd":
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dcos_etcd."):
            imported.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"relative import of {node.module}")
        elif isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("dcos_etcd.")}
    return imported


def test_every_python_file_has_a_layer() -> None:
    assert {python_module(path) for path in python_files()} <= set().union(*PYTHON_LAYERS)


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_files_import_lower_layers_only(path: Path) -> None:
    room = python_module(path)
    lower = {room}
    for layer in PYTHON_LAYERS:
        if room in layer:
            break
        lower |= layer

    upward = PYTHON_LOOKS.get(path.relative_to(PACKAGE).as_posix(), set())

    assert imported_modules(path.read_text(encoding="utf-8")) - lower == upward


@pytest.mark.parametrize(
    "path", [*rust_files(), *PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")], ids=lambda path: path.name
)
def test_source_files_stay_readable_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 620
