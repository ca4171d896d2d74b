"""The JSON Schema of config.toml, for editors; shipped as core/schema/config.schema.json."""

from __future__ import annotations

import json
import sys
import typing
from enum import StrEnum

from update_all.core.config_schema import PLUGIN_TABLE, RATE, Key, keys, limit_key, plain, plugin_keys
from update_all.core.models import NAME, JsonValue


def json_schema() -> dict[str, JsonValue]:
    """The JSON Schema (draft 2020-12) of config.toml, for editors."""
    top = _table_schema()
    for key in keys().values():
        table = top
        for part in key.path[:-1]:
            table = typing.cast("dict[str, JsonValue]", _properties(table).setdefault(part, _table_schema()))
        _properties(table)[key.path[-1]] = _value_schema(key)
    limit = _value_schema(limit_key("any"))
    _properties(top)["limits"] = {"type": "object", "additionalProperties": limit}
    plugin: dict[str, JsonValue] = {name: _value_schema(key) for name, key in plugin_keys("any").items()}
    _properties(top)[PLUGIN_TABLE] = {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
        "additionalProperties": {"type": "object", "properties": plugin},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "update-all", **top}


def json_schema_text() -> str:
    """The shipped file: `python -m update_all.core.config_json_schema` writes it to stdout."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _table_schema() -> dict[str, JsonValue]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _properties(table: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return typing.cast("dict[str, JsonValue]", table["properties"])


def _value_schema(key: Key) -> dict[str, JsonValue]:
    schema: dict[str, JsonValue] = {"description": key.doc}
    if key.rate:
        schema["anyOf"] = [{"type": "integer"}, {"type": "string", "pattern": f"^{RATE.pattern}$"}]
    elif issubclass(key.kind, StrEnum):
        schema["enum"] = [str(member) for member in key.kind]
    elif key.kind is tuple:
        schema |= {"type": "array", "items": {"type": "string"}}
    else:
        schema["type"] = {bool: "boolean", int: "integer", str: "string"}[key.kind]
    if key.minimum is not None:
        schema["minimum"] = key.minimum
    if key.pattern:
        schema["pattern"] = f"^{key.pattern}$"
    if key.default is not None:
        schema["default"] = plain(key.default)
    return schema


if __name__ == "__main__":
    sys.stdout.write(json_schema_text())
