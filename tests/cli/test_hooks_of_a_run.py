"""Hooks of the user's own around a real run."""

from __future__ import annotations

import json
from pathlib import Path

from cli_machine import Machine

YES = ("run", "--yes", "--progress", "none")


def hooked(machine: Machine, when: str, script: str) -> Path:
    """A plugin of one step, and a hook that is this script in the machine's directory."""
    machine.plugin("alpha", {"name": "one"})
    path = machine.tool(f"hook-{when}", f"cd {machine.root} || exit 9\n{script}")
    with machine.config_file.open("a") as file:
        file.write(f'[hooks]\n{when} = ["{path}"]\n')
    return path


def test_the_hook_before_gets_the_plan(machine: Machine) -> None:
    hooked(machine, "before", "cat > before.json")
    assert machine.run(*YES).code == 0
    plan = json.loads((machine.root / "before.json").read_text())
    assert plan["schema"] == "update-all.plan/1"
    assert [plugin["name"] for plugin in plan["plugins"]] == ["alpha"]


def test_the_plan_of_the_hook_has_the_commands_that_a_dry_run_shows(machine: Machine) -> None:
    hooked(machine, "before", "cat > before.json; exit 1")
    machine.plugin("beta", {"name": "one", "sudo": True})
    with machine.config_file.open("a") as file:
        file.write(f'[hooks]\nbefore = ["{machine.root / "bin" / "hook-before"}"]\n')
    shown = json.loads(machine.run("plan", "--json").out)["plugins"]
    machine.run(*YES)
    assert json.loads((machine.root / "before.json").read_text())["plugins"] == shown


def test_the_hook_after_gets_the_result(machine: Machine) -> None:
    hooked(machine, "after", "cat > after.json")
    assert machine.run(*YES).code == 0
    result = json.loads((machine.root / "after.json").read_text())
    assert (result["schema"], result["exit_code"]) == ("update-all.run/1", 0)


def test_the_hook_after_is_run_for_a_resume_too(machine: Machine) -> None:
    hooked(machine, "after", "echo called >> calls")
    machine.tool("note", "exit 1")
    assert machine.run(*YES).code == 1
    assert machine.run("resume", "--progress", "none").code == 1
    assert (machine.root / "calls").read_text() == "called\ncalled\n"


def test_a_hook_that_fails_before_the_run_forbids_it(machine: Machine) -> None:
    hooked(machine, "before", "echo not today; exit 3")
    ended = machine.run(*YES)
    assert ended.code == 1
    assert "not today" in ended.err
    assert "hook-failed" in ended.err
    assert machine.ledger == []


def test_a_hook_that_fails_after_the_run_is_only_told_of(machine: Machine) -> None:
    hooked(machine, "after", "exit 4")
    ended = machine.run(*YES)
    assert ended.code == 0
    assert "exited with 4" in ended.err
