"""UpdateStep and UpdateCommand: the plan's table US-001 … US-010, and what their validation refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.errors import InvalidDefinitionError
from update_all.core.models import NAME, Phase, UpdateCommand, UpdateStep
from update_all.core.streaming import OutputEvent, StreamEvent


async def do_something() -> AsyncIterator[StreamEvent]:
    yield OutputEvent(line="done")


def command(*words: str, **fields: Any) -> UpdateCommand:
    return UpdateCommand(list(words) or ["true"], **fields)


def step(**fields: Any) -> UpdateStep:
    return UpdateStep(**{"name": "s", "description": "A step", "commands": [command()], **fields})


def test_create_step_with_commands() -> None:
    """US-001."""
    commands = [command("apt-get", "update"), command("apt-get", "upgrade")]
    made = UpdateStep(name="upgrade", description="Upgrade packages", commands=commands)
    assert (made.name, made.description) == ("upgrade", "Upgrade packages")
    assert made.commands == commands
    assert made.execute_fn is None


def test_create_step_with_execute_fn() -> None:
    """US-002."""
    made = UpdateStep(name="fetch", description="Fetch", execute_fn=do_something)
    assert made.execute_fn is do_something
    assert made.commands is None


@pytest.mark.parametrize(
    "name", ["", None, 7, " ", "a/b", "../x", "-x", ".x", "a b", "a:b", "a\n", "x" * 101]
)
def test_step_requires_name(name: object) -> None:
    """US-003: a name that could not be a file name or an argument is none."""
    with pytest.raises(ValueError, match="name must be"):
        step(name=name)


@pytest.mark.parametrize("description", ["", "  \n", None, 5])
def test_step_requires_description(description: object) -> None:
    """US-004."""
    with pytest.raises(ValueError, match="UpdateStep 's': description must be a non-empty string"):
        step(description=description)


def test_step_commands_and_execute_fn_mutually_exclusive() -> None:
    """US-005."""
    with pytest.raises(ValueError, match="'s': cannot specify both commands and execute_fn"):
        step(execute_fn=do_something)
    with pytest.raises(ValueError, match="cannot specify both"):
        step(commands=[], execute_fn=do_something)


@pytest.mark.parametrize("commands", [None, []])
def test_step_requires_commands_or_execute_fn(commands: list[UpdateCommand] | None) -> None:
    """US-006."""
    with pytest.raises(ValueError, match="'s': must specify either commands or execute_fn"):
        step(commands=commands)


def test_step_with_dependencies() -> None:
    """US-007."""
    assert step(depends_on=["check", "download"]).depends_on == ["check", "download"]
    with pytest.raises(ValueError, match="depends_on must be a list of strings"):
        step(depends_on="check")


def test_step_with_mutexes() -> None:
    """US-008."""
    assert step(mutexes=["network", "dpkg"]).mutexes == ["network", "dpkg"]
    with pytest.raises(ValueError, match="mutexes must be a list of strings"):
        step(mutexes=[1])


def test_step_with_check_fn() -> None:
    """US-009."""
    made = step(check_fn=lambda: True)
    assert made.check_fn is not None
    assert made.check_fn() is True
    with pytest.raises(ValueError, match="check_fn must be callable"):
        step(check_fn=True)


def test_step_default_values() -> None:
    """US-010."""
    made = step()
    assert made.depends_on == []
    assert made.mutexes == []
    assert made.idempotent is True
    assert made.check_fn is None
    assert made.timeout_seconds is None
    assert made.sudo is False
    assert (made.retries, made.independent_commands, made.uninterruptible) == (0, False, False)


def test_defaults_are_not_shared_between_steps() -> None:
    one, other = step(), step()
    one.depends_on.append("x")
    assert other.depends_on == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout_seconds", 0),
        ("timeout_seconds", -1),
        ("timeout_seconds", True),
        ("timeout_seconds", "5"),
        ("retries", -1),
        ("retries", True),
        ("retries", 1.5),
        ("interval_seconds", 0),
        ("commands", ["true"]),
        ("execute_fn", "function"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    fields: dict[str, object] = {field: value}
    if field == "execute_fn":
        fields["commands"] = None
    with pytest.raises(InvalidDefinitionError, match=f"'s': {field}"):
        step(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cmd": []}, "cmd must be a non-empty list"),
        ({"cmd": "ls -l"}, "cmd must be a non-empty list"),
        ({"cmd": ("ls",)}, "cmd must be a non-empty list"),
        ({"cmd": [""]}, "cmd must be a list that begins with a program"),
        ({"cmd": ["ls", 1]}, "cmd must be a list of strings"),
        ({"cmd": ["ls", "a\0b"]}, "cmd must be free of NUL"),
        ({"error_patterns": ("(",)}, r"error_patterns holds '\(', which is no regular expression"),
        ({"success_patterns": ("[",)}, "success_patterns holds"),
        ({"error_patterns": "ab"}, "error_patterns must be a list of strings"),
        ({"timeout_seconds": -5}, "timeout_seconds must be a positive number"),
        ({"step_name": "a/b"}, "step_name"),
    ],
)
def test_a_wrong_command_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=message):
        UpdateCommand(**{"cmd": ["ls"], **fields})


@pytest.mark.parametrize(
    ("phases", "declared", "expected"),
    [
        ([Phase.EXECUTE], None, Phase.EXECUTE),
        ([Phase.CHECK], None, Phase.CHECK),
        ([Phase.DOWNLOAD, Phase.CHECK], None, Phase.DOWNLOAD),
        ([Phase.CHECK, Phase.EXECUTE, Phase.DOWNLOAD], None, Phase.EXECUTE),
        ([Phase.EXECUTE], Phase.DOWNLOAD, Phase.DOWNLOAD),
    ],
)
def test_a_step_has_the_latest_phase_of_its_commands(
    phases: list[Phase], declared: Phase | None, expected: Phase
) -> None:
    made = step(commands=[command(phase=phase) for phase in phases], phase=declared)
    assert made.effective_phase is expected


def test_a_function_belongs_to_the_execute_phase() -> None:
    assert step(commands=None, execute_fn=do_something).effective_phase is Phase.EXECUTE


@pytest.mark.parametrize(
    ("own", "commands", "expected"),
    [(False, [False], False), (True, [False], True), (False, [False, True], True)],
)
def test_a_step_needs_root_if_any_part_does(own: bool, commands: list[bool], expected: bool) -> None:
    assert step(sudo=own, commands=[command(sudo=sudo) for sudo in commands]).needs_root is expected


@given(st.text(max_size=120))
def test_every_accepted_name_is_a_plain_file_name(name: str) -> None:
    try:
        made = step(name=name)
    except InvalidDefinitionError:
        assert NAME.fullmatch(name) is None
        return
    assert made.name == name
    assert name.isascii()
    assert not set(name) & set("/\0:\n ")
    assert name[0] not in ".-"
