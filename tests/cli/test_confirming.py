"""The question before a run, on a real terminal: fewer plugins, a closer look, and checks that take long."""

from __future__ import annotations

import pexpect
import pytest
from cli_machine import Machine, finish

QUESTION = "[c]ommands  "


@pytest.fixture
def asked(machine: Machine) -> pexpect.spawn[str]:
    """A run of three plugins at its question."""
    for name in ("alpha", "beta", "gamma"):
        machine.plugin(name, {"name": "one"})
    child = machine.terminal("run")
    child.expect_exact(QUESTION)
    return child


def test_plugins_can_be_left_out(machine: Machine, asked: pexpect.spawn[str]) -> None:
    asked.sendline("e")
    asked.expect_exact(" 2 [x] beta")
    asked.expect_exact("when it is right: ")
    asked.sendline("1-2, nobody")
    asked.expect_exact("There is no nobody.")
    asked.expect_exact(" 1 [ ] alpha")
    asked.expect_exact(" 2 [ ] beta")
    asked.sendline("alpha")
    asked.expect_exact(" 1 [x] alpha")
    asked.expect_exact("when it is right: ")
    asked.sendline("")
    asked.expect_exact("2 plugins, 2 steps")
    asked.expect_exact(QUESTION)
    asked.sendline("y")
    assert finish(asked) == 0
    assert sorted(machine.ledger) == ["alpha one", "gamma one"]


def test_with_nothing_left_nothing_is_run(machine: Machine, asked: pexpect.spawn[str]) -> None:
    asked.sendline("e")
    asked.expect_exact("when it is right: ")
    asked.sendline("1-3")
    asked.expect_exact(" 3 [ ] gamma")
    asked.expect_exact("when it is right: ")
    asked.sendline("")
    asked.expect_exact("[N]o")
    asked.sendline("y")
    asked.expect_exact("nothing was run")
    assert finish(asked) == 130
    assert machine.ledger == []


def test_details_and_commands_are_shown_and_it_asks_again(
    machine: Machine, asked: pexpect.spawn[str]
) -> None:
    asked.sendline("d")
    asked.expect_exact("one: Do one")
    asked.expect_exact(QUESTION)
    asked.sendline("c")
    asked.expect_exact("note beta one")
    asked.expect_exact(QUESTION)
    assert machine.ledger == []
    asked.sendline("n")
    assert finish(asked) == 130


def test_the_answers_of_slow_checks_can_be_seen_to_come(machine: Machine) -> None:
    gate = machine.root / "closed"
    gate.touch()
    machine.tool("fast", "echo jq")
    machine.tool("late", f"while [ -e {gate} ]; do sleep 0.05; done; echo sed")
    query = {"regex": "^(?P<item>\\S+)$"}
    machine.plugin("alpha", {"name": "one"}, outdated={"cmd": ["fast"], **query})
    machine.plugin("beta", {"name": "one"}, outdated={"cmd": ["late"], **query})
    child = machine.terminal("run")
    child.expect_exact("Checking 1/2")
    child.expect_exact("waiting for beta")
    gate.unlink()
    child.expect_exact("Checked 2 plugins")
    child.expect_exact(QUESTION)
    child.sendline("n")
    assert finish(child) == 130


def test_slow_checks_say_nothing_into_a_pipe(machine: Machine) -> None:
    machine.tool("slow", "sleep 1; echo jq")
    query = {"cmd": ["slow"], "regex": "^(?P<item>\\S+)$"}
    machine.plugin("alpha", {"name": "one"}, outdated=query)
    ended = machine.run("run", "--yes", "--progress", "none")
    assert ended.code == 0
    assert "Checking" not in ended.out + ended.err
    assert "\x1b" not in ended.out + ended.err
