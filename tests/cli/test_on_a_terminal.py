"""The program on a pseudo-terminal: questions, Ctrl-C, narrow and dumb terminals."""

from __future__ import annotations

import re
import signal

import pexpect
import pytest
from cli_machine import SECONDS, Machine, finish, until

ONE = {"name": "one"}
ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


@pytest.mark.parametrize(
    ("answer", "code", "ran"),
    [("y", 0, True), ("", 0, True), ("YES", 0, True), ("n", 130, False), ("No", 130, False)],
)
def test_it_asks_before_it_runs(machine: Machine, answer: str, code: int, ran: bool) -> None:
    machine.plugin("alpha", ONE)
    child = machine.terminal("run")
    child.expect_exact("Proceed?  [Y]es  [n]o  [e]dit selection  [d]etails  [c]ommands  ")
    assert machine.ledger == []
    child.sendline(answer)
    assert finish(child) == code
    assert machine.ledger == (["alpha one"] if ran else [])


def test_an_answer_that_is_none_is_asked_again(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    child = machine.terminal("run")
    child.expect_exact("Proceed?")
    child.sendline("perhaps")
    child.expect_exact("Proceed?")
    child.sendline("n")
    assert finish(child) == 130
    assert machine.ledger == []


def test_the_end_of_input_is_a_no(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    child = machine.terminal("run")
    child.expect_exact("Proceed?")
    child.sendeof()
    assert finish(child) == 130
    assert machine.ledger == []


def test_ctrl_c_at_the_question_ends_it_at_once(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    child = machine.terminal("run")
    child.expect_exact("Proceed?")
    child.sendintr()
    child.expect_exact("interrupted")
    assert finish(child) == 130
    assert machine.ledger == []
    assert machine.run("status").out.startswith("No run")


@pytest.mark.parametrize("change", ["Change('jq', '1.9', '2.0')", "Change('jq', '1.9', None)"])
def test_enter_is_no_consent_to_a_major_version_or_a_removal(machine: Machine, change: str) -> None:
    machine.python_plugin(
        "alpha",
        "from update_all.api import BasePlugin, Change, CheckResult, UpdateCommand\n"
        "class Plugin(BasePlugin):\n"
        "    name, command = 'alpha', 'note'\n"
        f"    async def check(self): return CheckResult.of([{change}])\n"
        "    def get_update_commands(self, dry_run=False): return [UpdateCommand(cmd=['note', 'ran'])]\n",
    )
    child = machine.terminal("run")
    child.expect_exact("Proceed?  [y]es  [N]o  ")
    child.sendline("")
    assert finish(child) == 130
    assert machine.ledger == []


@pytest.mark.parametrize("option", ["--no-input", "--json", "--progress=jsonl"])
def test_who_must_not_be_asked_is_not(machine: Machine, option: str) -> None:
    machine.plugin("alpha", ONE)
    child = machine.terminal("run", option)
    assert finish(child) == 4
    assert machine.ledger == []


def test_it_offers_to_resume(machine: Machine) -> None:
    broken = {"name": "two", "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]}
    machine.plugin("alpha", ONE, broken)
    assert machine.run("run", "--yes").code == 1
    (machine.root / "mended").touch()
    child = machine.terminal("run")
    child.expect_exact("update-all resume")
    child.expect_exact("Resume it?")
    child.sendline("y")
    assert finish(child) == 0
    assert machine.ledger == ["alpha one"], "what was done is not done again"


def test_an_offer_to_resume_can_be_declined(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {"name": "two", "cmd": ["false"]})
    assert machine.run("run", "--yes").code == 1
    child = machine.terminal("run")
    child.expect_exact("Resume it?")
    child.sendline("n")
    child.expect_exact("Proceed?")
    child.sendline("y")
    assert finish(child) == 1
    assert machine.ledger == ["alpha one", "alpha one"]


def test_ctrl_c_ends_the_run_and_names_the_way_back(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]}, {"name": "two"})
    child = machine.terminal("run", "--yes")
    until((machine.root / "slow.pid").exists)
    child.sendintr()
    child.expect_exact("Interrupted")
    child.expect_exact("update-all resume")
    assert finish(child) == 130
    assert machine.ledger == []
    gate.unlink()
    assert machine.run("resume").code == 0
    assert machine.ledger == ["through", "alpha two"]


def test_the_first_ctrl_c_lets_a_transaction_finish(machine: Machine) -> None:
    gate = machine.gate("transaction")
    step = {"name": "one", "cmd": ["transaction", "finished"], "uninterruptible": True}
    machine.plugin("alpha", step, {"name": "two"})
    child = machine.terminal("run", "--yes")
    until((machine.root / "transaction.pid").exists)
    child.sendintr()
    child.expect_exact("Interrupted")
    assert machine.ledger == []
    gate.unlink()
    assert finish(child) == 130
    assert machine.ledger == ["finished"], "the transaction ended, and nothing new was started"


def test_the_second_and_third_ctrl_c_ask_for_more(machine: Machine) -> None:
    machine.tool("stubborn", f"trap '' INT TERM; touch {machine.root}/there; while :; do sleep 0.1; done")
    machine.plugin("alpha", {"name": "one", "cmd": ["stubborn"]})
    child = machine.terminal("run", "--yes", "--progress", "plain")
    until((machine.root / "there").exists)
    child.sendintr()
    child.expect_exact("Interrupted:")
    child.sendintr()
    child.expect_exact("Interrupted again")
    child.sendintr()
    child.expect_exact("Killing")
    assert finish(child) == 130


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_no_line_of_a_narrow_terminal_is_too_long(machine: Machine, columns: int) -> None:
    machine.tool("long", "echo " + "wide " * 50)
    machine.plugin("a-plugin-with-quite-a-long-name", {"name": "a-step-with-a-long-name", "cmd": ["long"]})
    child = machine.terminal("run", "--yes", columns=columns)
    child.expect(pexpect.EOF)
    text = ESCAPE.sub("", child.before or "")
    assert "a-plugin" in text
    if columns >= 40:
        assert [line for line in re.split(r"[\r\n]+", text) if len(line) > columns] == []


@pytest.mark.parametrize(
    "env",
    [
        {"TERM": "dumb"},
        {"NO_COLOR": "1", "TERM": "dumb"},
        {"LC_ALL": "C", "TERM": "dumb"},
        {"CI": "1", "NO_COLOR": "1"},
    ],
)
def test_a_plain_terminal_gets_no_escape_sequences(machine: Machine, env: dict[str, str]) -> None:
    machine.plugin("alpha", ONE)
    child = machine.terminal("run", "--yes", env=env)
    child.expect(pexpect.EOF)
    assert "\x1b" not in (child.before or "")
    assert "alpha: done" in (child.before or "")


def test_no_color_leaves_the_live_view_without_colours(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {"name": "two", "cmd": ["false"]})
    child = machine.terminal("run", "--yes", env={"NO_COLOR": "1"})
    child.expect(pexpect.EOF)
    assert re.search(r"\x1b\[[0-9;]*m", child.before or "") is None
    coloured = machine.terminal("run", "--yes")
    coloured.expect(pexpect.EOF)
    assert re.search(r"\x1b\[[0-9;]*m", coloured.before or "") is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_like_ctrl_c(machine: Machine, number: signal.Signals) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]}, {"name": "two"})
    process = machine.start("run", "--yes")
    until((machine.root / "slow.pid").exists)
    process.send_signal(number)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    gate.unlink()
    assert machine.run("resume").code == 0
    assert machine.ledger == ["through", "alpha two"]


def test_ctrl_c_while_it_checks_ends_it_at_once(machine: Machine) -> None:
    machine.tool("outdated", f"touch {machine.root}/asked; sleep 30")
    query = {"cmd": ["outdated"], "regex": "^(?P<item>\\S+)$"}
    machine.plugin("alpha", ONE, outdated=query)
    for command in ("run", "check", "plan"):
        child = machine.terminal(command)
        until((machine.root / "asked").exists)
        child.sendintr()
        child.expect_exact("interrupted")
        assert finish(child) == 130
        (machine.root / "asked").unlink()
    assert machine.ledger == []
