"""What a dry run lists is what a run executes."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from update_all.core.dry_run import command_line, describe_step, known_facts
from update_all.core.models import JsonValue, UpdateCommand, UpdateStep
from update_all.core.order import resolve_step_order
from update_all.core.streaming import CompletionEvent, OutputEvent, StreamEvent
from update_all.plugins.base import BasePlugin

MakePlugin = Callable[..., BasePlugin]
WITNESS = """#!/bin/sh
# Notes its name, directory, one variable and its arguments, each ended by NUL, the whole by a newline.
{ printf '%s\\0' "${0##*/}" "$PWD" "$GREETING" "$@"; printf '\\n'; } >> "$LEDGER"
"""


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that writes down how it was called."""
    program = tmp_path_factory.mktemp("programs") / "bin dir" / "witness"
    program.parent.mkdir()
    program.write_text(WITNESS)
    program.chmod(0o755)
    return program


words = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from(list("'\"$`\\ *?~&;|<>(){}!#\n-")),
    max_size=12,
)
plain_words = words.map(lambda text: text.replace("{", "{{").replace("}", "}}"))
templates = st.lists(plain_words | st.sampled_from(["{version}", "go{version}.tar", "{a.b}"]), max_size=4)


@st.composite
def plans(draw: st.DrawFn, program: str, directory: str) -> list[UpdateStep]:
    """Steps with dependencies at random, and commands of any arguments, directory and environment."""
    steps: list[UpdateStep] = []
    for number in range(draw(st.integers(1, 4))):
        names = [step.name for step in steps]
        commands = [
            UpdateCommand(
                [program, *draw(templates)],
                env=draw(st.none() | st.fixed_dictionaries({"GREETING": plain_words})),
                cwd=draw(st.none() | st.just(directory)),
            )
            for _ in range(draw(st.integers(1, 2)))
        ]
        depends_on = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
        steps.append(UpdateStep(f"s{number}", f"S{number}", commands=commands, depends_on=depends_on))
    return draw(st.permutations(steps))


def carried_out(plugin: BasePlugin, facts: dict[str, JsonValue]) -> list[StreamEvent]:
    async def find() -> AsyncIterator[StreamEvent]:
        plugin.facts.update(facts)
        yield OutputEvent(line="found")

    async def events() -> list[StreamEvent]:
        first = UpdateStep("find", "Find", execute_fn=find)
        steps = [first, *plugin.get_update_steps()]
        return [event async for event in plugin._execute_steps_streaming(steps)]

    return asyncio.run(events())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_a_dry_run_lists_is_what_a_run_executes(
    data: st.DataObject,
    witness: Path,
    plugin_of: MakePlugin,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each line, typed into a shell, calls the same program in the same way and order as the run does."""
    directory = tmp_path_factory.mktemp("a directory")
    steps = data.draw(plans(str(witness), str(directory)))
    facts: dict[str, JsonValue] = {"version": data.draw(words), "a.b": data.draw(st.integers())}
    plugin = plugin_of(steps)
    plugin.facts = dict(facts)
    lines = [line for step in resolve_step_order(steps) for line in describe_step(plugin, step, root="sudo")]
    typed, ran = directory / "typed", directory / "ran"
    typed.touch()
    for line in lines:
        subprocess.run(  # noqa: S602 - the point is what a shell makes of the line
            line,
            shell=True,
            check=True,
            cwd="/",
            env={"LEDGER": str(typed), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEDGER", str(ran))
        events = carried_out(plugin, facts)
    last = events[-1]
    assert isinstance(last, CompletionEvent)
    assert last.success, last.error_message
    assert ran.read_bytes() == typed.read_bytes()
    assert len(lines) == sum(len(step.commands or ()) for step in steps)


@pytest.mark.parametrize(
    ("command", "prefix", "line"),
    [
        (UpdateCommand(["apt-get", "update"]), "", "apt-get update"),
        (UpdateCommand(["apt-get", "update"]), "sudo", "sudo apt-get update"),
        (UpdateCommand(["echo", "a b", ""]), "", "echo 'a b' ''"),
        (UpdateCommand(["echo", "{version}"]), "", "echo 1.26"),
        (UpdateCommand(["echo", "{digest}"]), "", "echo '{digest}'"),
        (UpdateCommand(["echo", "{digest}{version}"], cwd="{dir}"), "", "cd '{dir}' && echo '{digest}1.26'"),
        (UpdateCommand(["echo", "{{x}}"]), "", "echo '{x}'"),
        (UpdateCommand(["id"], env={"A": "x y"}), "sudo", "sudo A='x y' id"),
        (UpdateCommand(["echo", "{items}"]), "", "echo '{items}'"),
    ],
)
def test_a_line_is_what_a_person_would_type(command: UpdateCommand, prefix: str, line: str) -> None:
    facts = {"version": "1.26", "items": ["a", "b"], "digest": None}
    assert command_line(command, facts, prefix=prefix) == line


def test_a_fact_that_is_not_known_yet_stands_for_itself() -> None:
    command = UpdateCommand(["echo", "{a}", "{b-c}", "it's {d}"])
    known = known_facts(command, {"a": 1, "z": [1]})
    assert known == {"a": 1, "b-c": "{b-c}", "d": "{d}"}


def test_a_step_without_commands_is_described(plugin_of: MakePlugin) -> None:
    async def find() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="found")

    step = UpdateStep("find", "Find the newest Go", execute_fn=find)
    assert list(describe_step(plugin_of([step]), step, root="sudo")) == ["Find the newest Go (built in)"]


def test_only_what_needs_root_is_prefixed(plugin_of: MakePlugin) -> None:
    commands = [UpdateCommand(["a"], sudo=True), UpdateCommand(["b"])]
    partly = UpdateStep("s", "S", commands=commands)
    wholly = UpdateStep("s", "S", commands=commands, sudo=True)
    assert list(describe_step(plugin_of([]), partly, root="sudo")) == ["sudo a", "b"]
    assert list(describe_step(plugin_of([]), wholly, root="doas")) == ["doas a", "doas b"]
    assert list(describe_step(plugin_of([]), wholly, root="")) == ["a", "b"]


@given(st.lists(words.filter(bool), min_size=1), st.dictionaries(st.sampled_from("AB"), words))
def test_quoting_is_undone_by_splitting(argv: list[str], env: dict[str, str]) -> None:
    escaped = [word.replace("{", "{{").replace("}", "}}") for word in argv]
    values = {name: value.replace("{", "{{").replace("}", "}}") for name, value in env.items()}
    line = command_line(UpdateCommand(escaped, env=values), {})
    assert shlex.split(line) == [*(f"{name}={value}" for name, value in env.items()), *argv]
