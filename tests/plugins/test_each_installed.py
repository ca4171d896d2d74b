"""Tools without a list of updates: one command per installed item. Rows that change nothing are left out."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from update_all.core.errors import InvalidDefinitionError, StepError
from update_all.core.models import CheckResult, CheckStatus
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.decoding import parse_definition
from update_all.plugins.definition import Parser
from update_all.plugins.parsers import NoAnswerError, read_records

TEXT = """
schema = 1
name = "demo"
description = "A demonstration"
[detect]
command = "{tool}"
[installed]
cmd = ["{tool}", "list"]
columns = ["item", "version"]
[[step]]
name = "update"
description = "Update"
cmd = ["{tool}", "update", "{{item}}", "--from={{old}}"]
for-each = "installed"
"""


def plugin(directory: Path, script: str) -> DeclarativePlugin:
    """The definition above, its tool being a script."""
    path = directory / "demo"
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return DeclarativePlugin(parse_definition(TEXT.format(tool=path), "demo.toml"))


@pytest.mark.parametrize("names", [[], ["a"], ["b", "a", "@scope/c"]])
def test_one_command_for_each_installed_item(tmp_path: Path, names: list[str]) -> None:
    listing = "\n".join(f"{name} 1.{number}" for number, name in enumerate(names))
    demo = plugin(tmp_path, f"cat <<'END'\n{listing}\nEND")
    check = asyncio.run(demo.check())
    assert (check.status, check.runnable) == (CheckStatus.CANNOT_KNOW, True)
    steps = asyncio.run(demo.plan_steps(check))
    assert [command.cmd[1:] for step in steps for command in step.commands or ()] == [
        ["update", name, f"--from=1.{number}"] for number, name in enumerate(names)
    ]
    assert all(step.independent_commands for step in steps)


def test_what_cannot_be_listed_is_not_taken_for_nothing(tmp_path: Path) -> None:
    demo = plugin(tmp_path, "exit 3")
    with pytest.raises(StepError, match="demo: what is installed cannot be told"):
        asyncio.run(demo.plan_steps(CheckResult.cannot_know("no query", runnable=True)))


def test_an_installed_item_that_would_be_an_option_is_refused(tmp_path: Path) -> None:
    demo = plugin(tmp_path, "echo '--evil 1'")
    with pytest.raises(StepError, match="taken for an option"):
        asyncio.run(demo.plan_steps(CheckResult.cannot_know("no query", runnable=True)))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            '[installed]\ncmd = ["{tool}", "list"]\ncolumns = ["item", "version"]\n',
            "",
            "needs an [installed]",
        ),
        ("{{old}}", "{{new}}", "{new} is no fact"),
    ],
)
def test_it_needs_the_query_and_knows_no_new_version(before: str, after: str, said: str) -> None:
    assert before in TEXT
    with pytest.raises(InvalidDefinitionError) as caught:
        parse_definition(TEXT.replace(before, after).format(tool="demo"), "demo.toml")
    assert said in caught.value.message


@pytest.mark.parametrize("changed_only", [True, False])
def test_rows_that_change_nothing(changed_only: bool) -> None:
    columns = Parser(columns=("item", "old", "new"), changed_only=changed_only)
    paths: Parser = Parser(
        json="[*]", fields={"item": "[0]", "old": "[1]", "new": "[2]"}, changed_only=changed_only
    )
    expected = ["moved"] if changed_only else ["pinned", "moved"]
    for parser, text in (
        (columns, "pinned 1.0 1.0\nmoved 1.0 1.1\n"),
        (paths, '[["pinned", "1.0", "1.0"], ["moved", "1.0", "1.1"]]'),
    ):
        assert [record["item"] for record in read_records(parser, text)] == expected


def test_rows_that_change_nothing_are_still_an_answer() -> None:
    parser = Parser(columns=("item", "old", "new"), nothing_patterns=("^nothing$",), changed_only=True)
    assert read_records(parser, "pinned 1.0 1.0\n") == []
    with pytest.raises(NoAnswerError):
        read_records(parser, "")


def test_an_item_without_versions_is_not_unchanged() -> None:
    assert read_records(Parser(columns=("item",), changed_only=True), "a\n") == [{"item": "a"}]
