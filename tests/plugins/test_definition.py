"""The TOML schema: strict, with file, path and suggestion in every message, and shipped as JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import update_all.plugins
from update_all.core.errors import InvalidDefinitionError
from update_all.plugins.decoding import parse_definition
from update_all.plugins.definition import Definition, json_schema, seconds
from update_all.plugins.template import new_definition

SCHEMA = Path(update_all.plugins.__file__).parent / "schema" / "plugin.schema.json"

HEAD = """
schema = 1
name = "demo"
description = "A demonstration"

[detect]
command = "demo"
"""
STEP = """
[[step]]
name = "update"
description = "Update everything"
cmd = ["demo", "update"]
"""
FORWARD = '[[step]]\nname = "update"\ndescription = "Update"\nfast-forward = "{}"\n'
OUTDATED = """
[outdated]
cmd = ["demo", "outdated"]
regex = '^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$'
"""


def parsed(text: str) -> Definition:
    return parse_definition(text, "demo.toml")


def refused(text: str) -> InvalidDefinitionError:
    with pytest.raises(InvalidDefinitionError) as caught:
        parsed(text)
    assert caught.value.message.startswith("demo.toml: ")
    return caught.value


def test_a_definition_of_everything() -> None:
    definition = parsed(
        HEAD
        + 'identity = { cmd = ["demo", "--version"], regex = "^demo" }\n'
        + OUTDATED
        + STEP
        + """
depends-on = ["fetch"]
mutexes = ["demo", "network"]
sudo = true
ok-codes = [0, 3]
timeout = "2h"
interval = "7d"
idempotent = false
check = { cmd = ["demo", "pending"], ok-codes = [1] }
drops-sudo = true

[[step]]
name = "fetch"
description = "Fetch"
phase = "download"
cmds = [["demo", "fetch", "{channel}"], ["demo", "verify"]]

[[fact]]
name = "channel"
cmd = ["demo", "channel"]
regex = '(?P<value>\\w+)'

[[mutex]]
name = "demo"
reason = "one database"

[[sample]]
of = "outdated"
output = "a 1 2"
expect = [{ item = "a", old = "1", new = "2" }]
"""
    )
    assert [step.name for step in definition.step] == ["update", "fetch"]
    assert definition.step[0].check is not None


def test_the_template_is_valid_as_it_stands() -> None:
    assert parsed(new_definition("demo")).name == "demo"
    with pytest.raises(InvalidDefinitionError):
        new_definition("../demo")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (HEAD + STEP + 'depend-on = ["x"]', "$.step[0].depend-on: unknown key", "'depends-on'"),
        (HEAD + STEP.replace("cmd =", "comand ="), "$.step[0].comand: unknown key", "'cmd'"),
        ("nam = 'x'" + HEAD + STEP, "$.nam: unknown key", "'name'"),
        (HEAD + STEP + 'phase = "exekute"', "$.step[0].phase: 'exekute' is not known", "'execute'"),
        (
            HEAD + STEP.replace('["demo", "update"]', '"demo update"'),
            "$.step[0].cmd: expected a list, got a text",
            "",
        ),
        (HEAD + STEP + "timeout = true", "$.step[0].timeout: ", ""),
        (HEAD + STEP + 'timeout = "5 days"', "$.step[0].timeout: ", ""),
        (HEAD + STEP + "ok-codes = [300]", "$.step[0].ok-codes[", ""),
        (HEAD, "lacks the key 'step'", ""),
        (HEAD.replace("schema = 1", "") + STEP, "lacks the key 'schema'", ""),
        (HEAD.replace("schema = 1", "schema = 2") + STEP, "$.schema: version 2 is newer", "update"),
        (HEAD + STEP + STEP, "Duplicate step name: 'update'", ""),
        (HEAD + STEP + 'depends-on = ["updat"]', "Unknown dependency", ""),
        (HEAD + STEP + 'depends-on = ["update"]', "Circular dependency", ""),
        (HEAD + STEP + "idempotent = false", "$.step[0]: is not idempotent", ""),
        (HEAD + STEP + 'cmds = [["x"]]', "$.step[0]: must have exactly one of cmd, cmds", ""),
        (HEAD + STEP + 'for-each = "outdated"', "$.step[0].for-each: needs an [outdated]", ""),
        (HEAD + STEP.replace('"update"]', '"{version}"]'), "{version} is no fact", "plain braces"),
        (HEAD + STEP.replace('"demo", ', '"./demo", '), "$.step[0].cmd[0]: './demo' must be absolute", ""),
        (HEAD + STEP.replace('"demo", ', '"/x/../y", '), "$.step[0].cmd[0]: ", ""),
        (HEAD + STEP + 'cwd = "work"', "$.step[0].cwd: 'work' must be absolute", ""),
        (HEAD + STEP + 'fast-forward = "/x"', "$.step[0]: must have exactly one of cmd, cmds, fast-f", ""),
        (HEAD + FORWARD.format("x"), "$.step[0].fast-forward: 'x' must be absolute", ""),
        (HEAD + FORWARD.format("/x") + "sudo = true", "go with commands, not with `fast-forward`", ""),
        (HEAD + STEP + 'error-patterns = ["(a+)+$"]', "$.step[0].error-patterns[0]: the pattern", ""),
        (HEAD + STEP + 'error-patterns = ["("]', "is no regular expression", ""),
        (HEAD + OUTDATED.replace("regex", "columns = ['item']\nregex") + STEP, "one of regex, json", ""),
        (HEAD + OUTDATED.replace("?P<item>", "?P<itm>") + STEP, "$.outdated: 'itm' is not one of", "'item'"),
        (HEAD + "[outdated]\ncmd = ['x']\njson = 'a..b'\nfields = {item = 'n'}" + STEP, "no JSON path", ""),
        (HEAD + OUTDATED.replace("outdated]", "available]", 1) + STEP, "$.available", ""),
        (HEAD + STEP + "[[sample]]\nof = 'outdatd'", "$.sample[0].of: 'outdatd'", ""),
        (HEAD.replace('"demo"', '"../demo"', 1) + STEP, "$.name: '../demo'", ""),
        (HEAD.replace('command = "demo"', "") + STEP, "$.detect: must give", ""),
        (HEAD.replace('command = "demo"', 'paths = ["demo"]') + STEP, "$.detect.paths[0]: 'demo'", ""),
        (HEAD + STEP + '[[fact]]\nname = "v"\ncmd = ["x"]\n', "$.fact[0]: must have exactly one", ""),
        ("schema = ", "is not TOML", ""),
        ("x = " + "[" * 5000, "is not TOML", ""),
        (HEAD + HEAD, "is not TOML", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, message: str, hint: str) -> None:
    error = refused(text)
    assert message in error.message
    assert hint in error.hint


def test_every_key_that_is_misspelt_finds_its_neighbour() -> None:
    for key in ("mutexs", "sud", "ok-code", "error-pattern", "uninteruptible", "retrys", "descripton"):
        assert "did you mean" in refused(HEAD + STEP + f"{key} = 1").hint


def test_durations() -> None:
    assert [seconds(one) for one in (90, "90s", "2m", "6h", "7d", "1w")] == [
        90,
        90,
        120,
        21600,
        604800,
        604800,
    ]


def test_the_shipped_schema_is_the_one_of_the_types() -> None:
    """To renew the file: write json.dumps(json_schema(), indent=2, ensure_ascii=False) and a newline."""
    assert json.loads(SCHEMA.read_text("utf-8")) == json.loads(json.dumps(json_schema()))
