"""`resume` says that nothing is left to do before it imports the engine, and only where that is certain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_machine import Machine

from update_all.cli.nothing_to_resume import NOTHING
from update_all.core.locks import exclusive

DONE = {"name": "one"}
FAILS = {"name": "one", "cmd": ["false"]}


def loaded_by(machine: Machine, *arguments: str) -> set[str]:
    code = "import sys; from update_all.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=machine.env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(ended.stdout.split())


def test_nothing_is_left(machine: Machine) -> None:
    machine.plugin("alpha", DONE)
    assert machine.run("run", "--yes").code == 0
    ended = machine.run("resume")
    assert (ended.code, ended.out) == (0, NOTHING + "\n")
    assert loaded_by(machine, "resume").isdisjoint({"asyncio", "update_all.cli.resume", "msgspec"})


def test_it_says_the_same_as_the_whole_command(machine: Machine) -> None:
    machine.plugin("alpha", DONE)
    assert machine.run("run", "--yes").code == 0
    slowly = machine.run("resume", "--no-input")
    assert machine.run("resume") == slowly


def test_on_a_machine_without_any_run(machine: Machine) -> None:
    assert machine.run("resume").out == NOTHING + "\n"
    assert machine.run("resume").out == NOTHING + "\n"


def test_what_is_unfinished_is_gone_on_with(machine: Machine) -> None:
    machine.plugin("alpha", DONE)
    machine.plugin("beta", FAILS)
    assert machine.run("run", "--yes").code == 1
    ended = machine.run("resume")
    assert ended.code == 1
    assert NOTHING not in ended.out


def test_a_damaged_state_is_not_passed_over(machine: Machine) -> None:
    machine.plugin("alpha", DONE)
    assert machine.run("run", "--yes").code == 0
    state = machine.root / "state/update-all/steps/alpha.json"
    state.write_text("{")
    state.with_name("alpha.json.prev").unlink(missing_ok=True)
    ended = machine.run("resume")
    assert "damaged" in ended.err


@pytest.mark.parametrize("text", ["jobs = 0\n", "nosuch = 1\n", "[["])
def test_a_wrong_configuration_is_still_an_error(machine: Machine, text: str) -> None:
    machine.plugin("alpha", DONE)
    assert machine.run("run", "--yes").code == 0
    Path(machine.root / "config/update-all/config.toml").write_text(text)
    ended = machine.run("resume")
    assert (ended.code, ended.out) == (2, "")


def test_another_run_is_still_in_the_way(machine: Machine) -> None:
    machine.plugin("alpha", DONE)
    assert machine.run("run", "--yes").code == 0
    with exclusive(machine.root / "state/update-all/lock", "update-all"):
        ended = machine.run("resume")
    assert (ended.code, ended.out) == (75, "")
