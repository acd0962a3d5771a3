from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import dcos_etcd

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "dcos_etcd"
SOURCES = ROOT / "src"


# The list of names.


def test_all_is_sorted_and_holds_no_name_twice() -> None:
    assert dcos_etcd.__all__ == sorted(set(dcos_etcd.__all__))


def test_all_is_what_can_be_imported() -> None:
    for name in dcos_etcd.__all__:
        getattr(dcos_etcd, name)
    public = {name for name, value in vars(dcos_etcd).items() if name[0] != "_" and not inspect.ismodule(value)}

    assert public - {"TYPE_CHECKING", "annotations"} == {*dcos_etcd.__all__} - {"__version__", "aio"}
    assert dir(dcos_etcd) == dcos_etcd.__all__


def test_all_holds_what_models_exceptions_and_api_export() -> None:
    from dcos_etcd import api, comparing, exceptions, models, putting_back, reader  # noqa: PLC0415

    assert set(dcos_etcd.__all__) == {
        *models.__all__,
        *exceptions.__all__,
        *api.__all__,
        *reader.__all__,
        *comparing.__all__,
        *putting_back.__all__,
        "__version__",
        "aio",
    }


def test_a_star_import_gives_every_name() -> None:
    names: dict[str, object] = {}
    exec("from dcos_etcd import *", names)  # noqa: S102

    assert set(dcos_etcd.__all__) <= set(names)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        dcos_etcd.no_such_name  # noqa: B018


def test_everything_public_is_documented() -> None:
    assert [name for name in dcos_etcd.__all__ if not inspect.getdoc(getattr(dcos_etcd, name))] == []


def test_options_of_the_verbs_are_keywords_after_the_subject() -> None:
    for name in ("backup", "verify", "status", "restore", "diagnose", "member_list", "open"):
        _, *options = inspect.signature(getattr(dcos_etcd, name)).parameters.values()
        assert {option.kind for option in options} == {inspect.Parameter.KEYWORD_ONLY}


def test_importing_the_package_loads_nothing_else_of_it() -> None:
    program = "import sys, dcos_etcd; sys.exit(sorted(m for m in sys.modules if m.startswith('dcos_etcd.')))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert result.stderr == "[]\n"
