"""The shipped JSON Schemas and docs/events.md fit what the program really writes, and the code."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from cli_machine import Machine

import update_all
from update_all.core.models import Change, JsonValue
from update_all.core.streaming import EVENT_CLASSES, PlannedPlugin, PlannedStep

SCHEMAS = Path(update_all.__file__).parent / "schemas"
EVENTS_PAGE = Path(__file__).parents[2] / "docs/events.md"
ONE = {"name": "one"}
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
KNOWN = {
    *("$schema", "$defs", "$ref", "title", "description", "format", "type", "enum", "const", "oneOf"),
    *("required", "properties", "additionalProperties", "items"),
}
Schema = Mapping[str, JsonValue]


def faults(value: JsonValue, schema: Schema, root: Schema, where: str = "$") -> Iterator[str]:
    """What of a value does not fit a schema. Of JSON Schema 2020-12 it knows what ours use.

    A member that the schema does not name is a fault too: what is written must be described.
    """
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        yield from faults(value, cast("dict[str, Schema]", root["$defs"])[name], root, where)
    if "oneOf" in schema:
        options = cast("list[Schema]", schema["oneOf"])
        fitting = [option for option in options if not list(faults(value, option, root))]
        if len(fitting) != 1:
            yield f"{where}: fits {len(fitting)} of the alternatives: {value!r}"
    wanted = schema.get("type", [])
    names = [wanted] if isinstance(wanted, str) else cast("list[str]", wanted)
    if names and not any(_is(value, name) for name in names):
        yield f"{where}: {value!r} is no {names}"
    if "const" in schema and value != schema["const"]:
        yield f"{where}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in cast("list[JsonValue]", schema["enum"]):
        yield f"{where}: {value!r} is not in {schema['enum']!r}"
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from faults(item, cast("Schema", schema["items"]), root, f"{where}[{number}]")
    if isinstance(value, dict):
        yield from _member_faults(value, schema, root, where)


def _is(value: JsonValue, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _member_faults(value: dict[str, JsonValue], schema: Schema, root: Schema, where: str) -> Iterator[str]:
    properties = cast("dict[str, Schema]", schema.get("properties", {}))
    others = cast("Schema | None", schema.get("additionalProperties"))
    yield from (
        f"{where}: lacks {name}"
        for name in cast("list[str]", schema.get("required", []))
        if name not in value
    )
    for name, member in value.items():
        known = properties.get(name, others)
        if known is not None:
            yield from faults(member, known, root, f"{where}.{name}")
        elif properties:
            yield f"{where}: {name} is not described"


def schema_of(name: str) -> dict[str, JsonValue]:
    data = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    assert isinstance(data, dict)
    return data


def fits(document: dict[str, JsonValue]) -> list[str]:
    """The faults of a document of `--json`, whose `schema` names the shipped schema."""
    name, version = str(document["schema"]).removeprefix("update-all.").split("/")
    assert version == "1"
    schema = schema_of(name)
    return list(faults(document, schema, schema))


@pytest.fixture
def busy(machine: Machine) -> Machine:
    """A machine with a plugin of every fate."""
    query = {"cmd": ["outdated"], "regex": "^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$"}
    machine.tool("outdated", "echo jq 1.6 1.7")
    machine.tool("current", "exit 0")
    machine.tool("offline", "exit 9")
    machine.plugin("done", {**ONE, "mutexes": ["a"]}, {"name": "two", "check": {"cmd": ["true"]}})
    machine.plugin("updates", ONE, outdated=query)
    machine.plugin("current", ONE, outdated={**query, "cmd": ["current"]})
    machine.plugin("offline", ONE, outdated={**query, "cmd": ["offline"]})
    machine.plugin("failed", {"name": "one", "cmd": ["no-such-tool"]}, {"name": "two", "depends-on": ["one"]})
    machine.plugin("absent", ONE, detect="no-such-tool")
    machine.plugin("broken", text="schema = 1\n")
    return machine


COMMANDS = {
    ("check", "--json"): 100,
    ("plan", "--json"): 2,
    ("run", "--json"): 4,
    ("run", "--dry-run", "--json"): 2,
    ("run", "--yes", "--json"): 1,
    ("status", "--json"): 0,
    ("history", "--json"): 0,
    ("history", "done", "--json"): 0,
    ("resume", "--json"): 1,
    ("plugins", "list", "--json"): 0,
    ("plugins", "check", "broken", "--json"): 1,
    ("config", "show", "--json"): 0,
    ("run", "nosuch", "--json"): 2,
}


def test_every_document_fits_its_shipped_schema(busy: Machine) -> None:
    seen: set[str] = set()
    run = ""
    for command, code in COMMANDS.items():
        ended = busy.run(*command)
        assert ended.code == code, (command, ended)
        document = ended.json
        assert fits(document) == [], command
        seen.add(str(document["schema"]))
        run = str(document.get("run", run))
    document = busy.run("history", run, "--json").json
    assert fits(document) == []
    seen.add(str(document["schema"]))
    shipped = {f"update-all.{path.name.removesuffix('.schema.json')}/1" for path in SCHEMAS.iterdir()}
    assert seen == shipped - {"update-all.event/1"}


def test_the_validator_finds_faults() -> None:
    document: dict[str, JsonValue] = {"schema": "update-all.error/1", "exit_code": 2, "errors": []}
    assert fits(document) == []
    wrongs: tuple[dict[str, JsonValue], ...] = (
        {**document, "exit_code": "2"},
        {**document, "exit_code": True},
        {**document, "more": 1},
        {"schema": "update-all.error/1", "exit_code": 2},
        {**document, "errors": [{"code": "x", "message": "y"}]},
        {**document, "errors": {}},
    )
    for wrong in wrongs:
        assert fits(wrong) != []


def test_every_event_fits_the_shipped_schema(busy: Machine) -> None:
    schema = schema_of("event")
    shown = busy.run("run", "--yes", "--progress", "jsonl").out.splitlines()
    (journal,) = busy.state.glob("runs/*/events.jsonl")
    kept = journal.read_text("utf-8").splitlines()
    for line in (*shown, *kept):
        assert list(faults(json.loads(line), schema, schema)) == []
    kinds = {json.loads(line)["event_type"] for line in shown}
    assert kinds >= {"check", "run_start", "step_start", "step_end", "step_not_run", "completion", "run_end"}


def test_the_schema_of_events_is_that_of_the_code() -> None:
    described = cast("dict[str, dict[str, dict[str, Schema]]]", schema_of("event")["$defs"])
    kinds: dict[str, list[str]] = {}
    for kind, cls in EVENT_CLASSES.items():
        kinds.setdefault(cls.__name__, []).append(str(kind))
    for name, values in kinds.items():
        assert described[name]["properties"]["event_type"] == {"enum": values}
    for cls in {*EVENT_CLASSES.values(), Change, PlannedPlugin, PlannedStep}:
        fields = {field.name for field in dataclasses.fields(cls)}
        assert set(described[cls.__name__]["properties"]) - {"v", "omitted"} == fields, cls


def test_the_page_about_events_names_every_kind_and_field() -> None:
    general, _, kinds = EVENTS_PAGE.read_text("utf-8").partition("\n## The kinds\n")
    common = set(re.findall(r"`(\w+)`", general))
    sections = {
        kind: set(re.findall(r"`(\w+)`", body))
        for heading, body in re.findall(r"^### (.*?)$(.*?)(?=^##)", kinds + "\n##", re.M | re.S)
        for kind in re.findall(r"`(\w+)`", heading)
    }
    assert sections.keys() == {str(kind) for kind in EVENT_CLASSES}
    for kind, cls in EVENT_CLASSES.items():
        fields = {field.name for field in dataclasses.fields(cls)}
        assert fields - common <= sections[str(kind)], kind
    for nested in (Change, PlannedPlugin, PlannedStep):
        assert {field.name for field in dataclasses.fields(nested)} <= set(re.findall(r"`(\w+)`", kinds))


def test_every_field_that_the_page_tells_of_exists() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", EVENTS_PAGE.read_text("utf-8"), re.M)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    fields = {field.name for cls in EVENT_CLASSES.values() for field in dataclasses.fields(cls)}
    assert told - {"omitted"} <= fields
