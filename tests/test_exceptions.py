from __future__ import annotations

import errno
import inspect
import pickle
import re
import subprocess
import sys

import pytest

from dcos_etcd import exceptions
from dcos_etcd.exceptions import (
    AccessDeniedError,
    ArchiveExistsError,
    BootstrapError,
    BrokenStreamError,
    CompactedError,
    CorruptSnapshotError,
    DatabaseChangedError,
    DataDirInUseError,
    DataDirNotEmptyError,
    DcosError,
    Defect,
    EndpointUnavailableError,
    EtcdError,
    FutureRevisionError,
    InvalidArgumentError,
    KeyNotFoundError,
    MissingDependencyError,
    MissingHashError,
    NoSpaceError,
    NotASnapshotError,
    PutBackStoppedError,
    RequestRefusedError,
    RestoreUnprovenError,
    SnapshotClosedError,
    SnapshotError,
    StalledError,
    StorageVersionError,
)

DEFECTS = (Defect(code="hash-mismatch", message="another hash", page=3, offset=12288),)

ONE_OF_EACH: list[tuple[EtcdError, type[Exception]]] = [
    (EtcdError("it failed"), Exception),
    (ArchiveExistsError("x exists", path="x"), FileExistsError),
    (DataDirNotEmptyError("x not empty", path="x"), FileExistsError),
    (DataDirInUseError("x is locked", path="x"), OSError),
    (NoSpaceError("x has no room", path="x", needed=7, free=3), OSError),
    (SnapshotError("x is bad", path="x"), ValueError),
    (NotASnapshotError("x is a poem", path="x", reason="a poem"), ValueError),
    (MissingHashError("x has no hash", path="x"), ValueError),
    (CorruptSnapshotError("x is damaged", path="x", defects=DEFECTS), ValueError),
    (StorageVersionError("x is too new", path="x", found="3.8.0", supported="3.7.0"), ValueError),
    (DatabaseChangedError("x changed", path="x", before=7, now=9), ValueError),
    (SnapshotClosedError("x is closed", path="x"), ValueError),
    (CompactedError("gone", revision=3, compact_revision=5), LookupError),
    (FutureRevisionError("to come", revision=9, current_revision=5), LookupError),
    (KeyNotFoundError("no such key", key=b"k", revision=5), KeyError),
    (BootstrapError("no such name"), ValueError),
    (InvalidArgumentError("0 s is no time limit"), ValueError),
    (MissingDependencyError("needs x", package="x", extra="notebook"), ImportError),
    (EndpointUnavailableError("nobody answered", tried=[("a", "refused"), ("b", "timeout")]), ConnectionError),
    (AccessDeniedError("a: no", endpoint="a"), PermissionError),
    (RequestRefusedError("a: no space", endpoint="a"), RuntimeError),
    (PutBackStoppedError("stopped", done=1, planned=2, conflicts=(b"k",)), RuntimeError),
    (BrokenStreamError("a: broken", endpoint="a", received=7, reason="end of file"), ConnectionError),
    (StalledError("a: silent", endpoint="a", after=1.5, received=7, expected=None), TimeoutError),
    (RestoreUnprovenError("x is bad", path="x", defects=DEFECTS), RuntimeError),
    (DcosError("10.0.0.1 is no master"), RuntimeError),
]

each = pytest.mark.parametrize(("error", "builtin"), ONE_OF_EACH, ids=lambda value: getattr(value, "__name__", None))


def classes() -> set[type[EtcdError]]:
    return {value for value in vars(exceptions).values() if inspect.isclass(value) and issubclass(value, EtcdError)}


def test_every_class_has_an_example_here() -> None:
    assert {type(error) for error, _ in ONE_OF_EACH} == classes()


@each
def test_each_is_the_builtin_that_people_catch(error: EtcdError, builtin: type[Exception]) -> None:
    assert isinstance(error, EtcdError)
    assert isinstance(error, builtin)


@each
def test_each_says_its_message_and_nothing_else(error: EtcdError, builtin: type[Exception]) -> None:
    del builtin

    assert str(error) == error.message


@each
def test_each_survives_pickling_whole(error: EtcdError, builtin: type[Exception]) -> None:
    del builtin
    error.__dict__["seen_by"] = "a worker"

    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - made on the line itself

    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)
    assert getattr(copied, "errno", None) == getattr(error, "errno", None)
    assert getattr(copied, "filename", None) == getattr(error, "filename", None)


@each
def test_each_documents_its_attributes(error: EtcdError, builtin: type[Exception]) -> None:
    del builtin
    documented = "".join(inspect.getdoc(cls) or "" for cls in type(error).__mro__ if issubclass(cls, EtcdError))

    assert [name for name in vars(error) if f"{name}: " not in documented and name != "seen_by"] == []


def test_an_existing_archive_is_told_by_errno_and_filename() -> None:
    error = ArchiveExistsError("etcd.tar.gz exists already", path="etcd.tar.gz")

    assert (error.errno, error.filename, error.path) == (errno.EEXIST, "etcd.tar.gz", "etcd.tar.gz")


def test_a_used_data_directory_is_told_by_errno_and_filename() -> None:
    error = DataDirNotEmptyError('data-dir "m1.etcd" not empty or could not be read', path="m1.etcd")

    assert (error.errno, error.filename, error.path) == (errno.ENOTEMPTY, "m1.etcd", "m1.etcd")


def test_defects_say_where_they_were_seen() -> None:
    assert str(Defect(code="c", message="wrong")) == "wrong"
    assert str(Defect(code="c", message="wrong", page=3)) == "wrong (page 3)"
    assert str(Defect(code="c", message="wrong", offset=9)) == "wrong (byte 9)"
    assert str(Defect(code="c", message="wrong", page=3, offset=9)) == "wrong (page 3, byte 9)"


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn = {}
    parents: list[str] = []
    for line in (exceptions.__doc__ or "").splitlines():
        match = re.fullmatch(r"    ([│├└─ ]*)(\w+Error)(?: +\((\w+)\))?", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        parents[depth:] = [match[2]]
        drawn[match[2]] = parents[depth - 1] if depth else "Exception"
        if match[3]:
            assert match[3] in {base.__name__ for base in getattr(exceptions, match[2]).__mro__}

    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in classes()}


def test_the_module_loads_nothing_of_the_package() -> None:
    program = "import sys, dcos_etcd.exceptions; sys.exit(sorted(m for m in sys.modules if m.startswith('dcos_etcd.')))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert result.stderr == "['dcos_etcd.exceptions']\n"
