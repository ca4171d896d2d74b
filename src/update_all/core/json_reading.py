"""Strict readers for JSON that comes from disk: a wrong type is an error that names the field."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from update_all.core.models import JsonValue

T = TypeVar("T", str, int, float, bool)
_NESTING = 64


class Reader:
    """The fields of one JSON object. Every method raises ValueError naming the field."""

    def __init__(self, value: JsonValue, where: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object, got {type(value).__name__}")
        self.data: Mapping[str, JsonValue] = value
        self.where = where

    def get(self, name: str, kind: type[T], default: T | None = None) -> T:
        """A required field, or an optional one with its default."""
        value = self.data.get(name, default)
        if type(value) is not kind and not _is(value, kind):
            raise ValueError(f"{self.where}.{name} must be {kind.__name__}, got {value!r:.60}")
        return cast("T", value)

    def optional(self, name: str, kind: type[T]) -> T | None:
        """A field that may be missing or null."""
        value = self.data.get(name)
        return None if value is None else self.get(name, kind)

    def time(self, name: str) -> datetime | None:
        value = self.optional(name, str)
        try:
            return None if value is None else datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{self.where}.{name}: {error}") from None

    def items(self, name: str) -> list[JsonValue]:
        value = self.data.get(name, [])
        if not isinstance(value, list):
            raise ValueError(f"{self.where}.{name} must be a list, got {value!r:.60}")
        return value

    def strings(self, name: str) -> list[str]:
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"{self.where}.{name} must hold strings")
        return cast("list[str]", values)

    def table(self, name: str) -> dict[str, JsonValue]:
        value = self.data.get(name, {})
        if not isinstance(value, dict):
            raise ValueError(f"{self.where}.{name} must be an object, got {value!r:.60}")
        return value

    def table_of(self, name: str, kind: type[T]) -> dict[str, T]:
        table = self.table(name)
        for key, value in table.items():
            if not _is(value, kind):
                raise ValueError(f"{self.where}.{name}.{key} must be {kind.__name__}, got {value!r:.60}")
        return cast("dict[str, T]", table)


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object holds a key twice")
    return result


def _refuse(constant: str) -> JsonValue:
    raise ValueError(f"{constant} is no JSON number")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number:.20} is too large for a number")
    return value


def _depth(value: JsonValue) -> int:
    deepest, queue = 0, [(value, 1)]
    while queue:
        item, depth = queue.pop()
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            queue += [(child, depth + 1) for child in item.values()]
        elif isinstance(item, list):
            queue += [(child, depth + 1) for child in item]
    return deepest


def loads(data: bytes) -> JsonValue:
    """Strict JSON: no NaN or infinity, no duplicate keys, at most 64 levels. Raises ValueError."""
    try:
        value = cast(
            "JsonValue",
            json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite),
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    if _depth(value) > _NESTING:
        raise ValueError(f"nested more than {_NESTING} levels deep")
    return value
