"""Models out of the core's JSON."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeGuard

    from _typeshed import DataclassInstance

Model = TypeVar("Model", bound="DataclassInstance")


def filled(cls: type[Model], data: Mapping[str, Any], **converted: object) -> Model:
    """A model out of the fields of its own names in `data`, lists as tuples, but for those that are given."""
    values = {field.name: data[field.name] for field in fields(cls) if field.name not in converted}
    return cls(**{name: _settled(value) for name, value in values.items()}, **converted)


def _settled(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    return tuple(value) if _is_list(value) else value


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def hex_id(number: int) -> str:
    return f"{number:x}"


def utc(text: str) -> datetime:
    """Read RFC 3339; before Python 3.11 `fromisoformat` knows no `Z`."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.astimezone(timezone.utc)
