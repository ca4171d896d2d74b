"""Commands and legacy updates become steps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.errors import InvalidDefinitionError
from update_all.core.lowering import checked_steps, lower_commands, lower_legacy, with_plugin_mutexes
from update_all.core.models import Phase, UpdateCommand, UpdateStep
from update_all.core.order import resolve_step_order
from update_all.core.streaming import OutputEvent, StreamEvent


def command(number: int, name: str | None = None, description: str = "") -> UpdateCommand:
    return UpdateCommand(["echo", str(number)], step_name=name, description=description)


def test_named_commands_are_steps_and_a_run_of_unnamed_ones_is_one() -> None:
    commands = [command(1, "refresh"), command(2), command(3), command(4, "clean"), command(5)]
    steps = lower_commands(commands)
    assert [step.name for step in steps] == ["refresh", "update", "clean", "update-2"]
    assert [step.commands for step in steps] == [commands[:1], commands[1:3], commands[3:4], commands[4:]]
    assert [step.depends_on for step in steps] == [[], ["refresh"], ["update"], ["clean"]]


def test_the_made_up_name_avoids_those_that_are_taken() -> None:
    steps = lower_commands([command(1), command(2, "update"), command(3), command(4, "update-2"), command(5)])
    names = [step.name for step in steps]
    assert len(set(names)) == 5
    assert (names[1], names[3]) == ("update", "update-2")


def test_the_first_description_describes_the_step_else_its_command() -> None:
    assert (
        lower_commands([command(1), command(2, None, "Two"), command(3, None, "3")])[0].description == "Two"
    )
    assert lower_commands([command(1)])[0].description == "echo 1"


def test_no_commands_are_no_steps() -> None:
    assert lower_commands([]) == []


@given(st.lists(st.none() | st.sampled_from(["a", "b", "update", "update-2", "update-3"]), max_size=12))
def test_no_command_is_lost_or_moved(names: list[str | None]) -> None:
    named = [name for name in names if name is not None]
    commands = [command(number, name) for number, name in enumerate(names)]
    steps = lower_commands(commands)
    assert [item for step in steps for item in step.commands or ()] == commands
    if len(set(named)) == len(named):
        assert resolve_step_order(list(reversed(steps))) == steps


async def legacy() -> AsyncIterator[StreamEvent]:
    yield OutputEvent(line="done")


def test_a_legacy_update_is_one_step() -> None:
    [step] = lower_legacy("conda", legacy)
    assert (step.name, step.description, step.execute_fn) == ("update", "Update conda", legacy)


def test_mutexes_of_a_plugin_go_to_the_steps_of_their_phase() -> None:
    fetch = UpdateStep("fetch", "F", commands=[UpdateCommand(["a"], phase=Phase.DOWNLOAD)], mutexes=["own"])
    install = UpdateStep("install", "I", commands=[UpdateCommand(["b"])], mutexes=["dpkg"])
    mutexes = {Phase.DOWNLOAD: ("network", "own"), Phase.EXECUTE: ["dpkg", "dpkg"]}
    added = with_plugin_mutexes([fetch, install], mutexes)
    assert [step.mutexes for step in added] == [["own", "network"], ["dpkg"]]
    assert fetch.mutexes == ["own"]
    assert with_plugin_mutexes([fetch], {}) == [fetch]


@pytest.mark.parametrize("wrong", [None, "steps", ("a",), [1], [UpdateCommand(["true"])], {}])
def test_what_is_no_list_of_steps_is_refused_with_the_plugin(wrong: object) -> None:
    with pytest.raises(InvalidDefinitionError, match="plugin 'go': get_update_steps must return a list"):
        checked_steps("go", wrong)


def test_a_list_of_steps_is_returned_as_it_is() -> None:
    steps = lower_legacy("conda", legacy)
    assert checked_steps("conda", steps) is steps
