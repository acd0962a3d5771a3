"""Models out of the core's JSON."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

Model = TypeVar("Model")


def filled(cls: type[Model], data: Mapping[str, Any], **converted: object) -> Model:
    """A model out of the fields of its own names in `data`, lists as tuples, but for those that are given."""
    values = {field.name: data[field.name] for field in fields(cls) if field.name not in converted}  # type: ignore[arg-type]
    return cls(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}, **converted
    )


def hex_id(number: int) -> str:
    return f"{number:x}"


def utc(text: str) -> datetime:
    """Read RFC 3339; before Python 3.11 `fromisoformat` knows no `Z`."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.astimezone(timezone.utc)
