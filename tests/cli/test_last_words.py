"""What is said before and after the work: what a resume goes on with, what to type next, who still hears."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator, Sequence

import pexpect
import pytest
from cli_machine import SECONDS, Machine, finish, until
from hypothesis import given
from hypothesis import strategies as st

from update_all.cli.dry_run import dry_run_lines
from update_all.cli.planned import Planned
from update_all.cli.resume import going_on
from update_all.cli.running import reversible
from update_all.core.models import Change, UpdateCommand, UpdateStep
from update_all.core.planning import PluginPlan, plan_plugin
from update_all.core.recovery import PluginRecovery
from update_all.core.streaming import (
    CompletionEvent,
    OutputEvent,
    StepEndEvent,
    StepStartEvent,
    StreamEvent,
)
from update_all.plugins.base import BasePlugin
from update_all.ui.text import Style, display_width
from update_all.ui.view import RunView

ONE, TWO = {"name": "one"}, {"name": "two"}
QUERY = {"cmd": ["outdated"], "regex": "^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$"}


class Plain(BasePlugin):
    """It keeps no earlier version."""

    name = "plain"
    command = "true"


class Kept(BasePlugin):
    """It can go back."""

    name = "kept"
    command = "true"

    async def rollback(self) -> str:
        return "back"


def plan_of(plugin: BasePlugin, *steps: str) -> PluginPlan:
    made = [
        UpdateStep(name=step, description=f"Do {step}", commands=[UpdateCommand(["true"])]) for step in steps
    ]
    return plan_plugin(plugin, made)


def named(name: str, *steps: str) -> PluginPlan:
    plugin = type("Named", (Plain,), {"name": name})
    return plan_of(plugin(), *steps)


def changed(*plugins: str, old: str | None = "1", new: str | None = "2") -> RunView:
    view = RunView()
    for name in plugins:
        view.apply(StepStartEvent(plugin_name=name, step_name="a"))
        view.apply(StepEndEvent(plugin_name=name, step_name="a", changes=(Change("x", old, new),)))
        view.apply(CompletionEvent(plugin_name=name, success=True))
    return view


def test_what_was_replaced_can_be_undone_where_the_plugin_can() -> None:
    plans = [plan_of(Plain(), "a"), plan_of(Kept(), "a")]
    assert reversible(changed("plain", "kept"), plans) == ["kept"]
    assert reversible(changed("plain"), plans) == []
    assert reversible(changed("kept", old=None), plans) == [], "there is no version before the first"


@pytest.mark.parametrize(
    ("done", "told"),
    [
        ((), "Going on with run r1: quill at fetch"),
        (("fetch",), "Going on with run r1: quill at unpack (fetch is done)"),
        (("fetch", "unpack"), "Going on with run r1: quill at test (fetch, unpack are done)"),
        (
            ("fetch", "unpack", "test", "build"),
            "Going on with run r1: quill at install (4 of 5 steps are done)",
        ),
        (
            ("fetch", "unpack", "test", "build", "install"),
            "Going on with run r1: quill at its end (5 of 5 steps are done)",
        ),
    ],
)
def test_a_resume_says_where_it_goes_on(done: Sequence[str], told: str) -> None:
    plan = named("quill", "fetch", "unpack", "test", "build", "install")
    assert going_on("r1", [plan], {"quill": PluginRecovery(done=set(done))}, 100, Style()) == [told]


@given(count=st.integers(2, 30), width=st.integers(24, 120), unicode=st.booleans())
def test_of_many_plugins_the_first_are_named_and_the_others_counted(
    count: int, width: int, unicode: bool
) -> None:
    plans = [named(f"plugin-{number}", "fetch", "install") for number in range(count)]
    recoveries = {plan.name: PluginRecovery(done={"fetch"}) for plan in plans}
    lines = going_on("r1", plans, recoveries, width, Style(unicode=unicode))
    assert lines[0] == "Going on with run r1:"
    assert all(display_width(line) <= width for line in lines)
    named_here = [line for line in lines if line.startswith("  plugin-")]
    more = re.search(r"(\d+) more plugin", lines[-1])
    assert len(named_here) + (int(more[1]) if more else 0) == count
    assert len(lines) <= 10


def test_a_resume_and_an_accepted_offer_say_what_they_go_on_with(machine: Machine) -> None:
    broken = {"name": "two", "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]}
    machine.plugin("alpha", ONE, broken)
    assert machine.run("run", "--yes").code == 1
    told = r"Going on with run \d{8}-\d{6}-\w+: alpha at two \(one is done\)"
    for arguments in (("resume", "--json"), ("resume", "--progress", "jsonl")):
        assert re.search(told, machine.run(*arguments).out) is None
    assert re.match(told, machine.run("resume").out), "before anything else"
    child = machine.terminal("run")
    child.expect_exact("Resume it?")
    child.sendline("y")
    child.expect(told)
    assert finish(child) == 1


def test_a_run_tells_of_an_unfinished_one_only_where_it_leaves_work_of_it_out(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["false"]})
    machine.plugin("beta", ONE)
    first = machine.run("run", "--yes")
    assert (first.code, "not finished" in first.err) == (1, False)
    for again in (("run", "--yes"), ("run", "--yes", "alpha")):
        assert "not finished" not in machine.run(*again).err
    for without in (("beta",), ("-x", "alpha"), ("--download-only",)):
        told = machine.run("run", "--yes", *without).err
        assert "the last run was not finished (alpha); go on with: update-all resume" in told


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ((), "update-all run"),
        (("alpha",), "update-all run alpha"),
        (("-x", "beta"), "update-all run --exclude=beta"),
    ],
)
def test_check_says_on_a_terminal_how_to_install(
    machine: Machine, arguments: Sequence[str], command: str
) -> None:
    machine.tool("outdated", "echo jq 1.6 1.7")
    machine.plugin("alpha", ONE, outdated=QUERY)
    machine.plugin("beta", ONE)
    child = machine.terminal("check", *arguments)
    child.expect_exact(f"\x1b[2mInstall them: {command}\x1b[0m\r\n")
    assert finish(child) == 100
    assert "Install" not in machine.run("check", *arguments).out


def test_check_without_updates_has_nothing_to_install(machine: Machine) -> None:
    machine.tool("outdated", "exit 0")
    machine.plugin("alpha", ONE, outdated=QUERY)
    child = machine.terminal("check")
    child.expect(pexpect.EOF)
    assert "up to date" in (child.before or "")
    assert "Install" not in (child.before or "")


def test_a_dry_run_says_once_what_a_function_does() -> None:
    async def body() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="looked")

    step = UpdateStep(name="look", description="Look it up", execute_fn=body)
    lines = dry_run_lines(Planned(plans=[plan_plugin(Plain(), [step])]), {}, "sudo")
    assert lines == ["plain", "  1/1 look: Look it up (built in)", "Nothing was run."]
    left_out = dry_run_lines(Planned(plans=[plan_plugin(Plain(), [step])]), {("plain", "look"): "no"}, "sudo")
    assert left_out[1] == "  1/1 look: Look it up (left out: no)"


def test_a_summary_ends_with_where_to_read_on(machine: Machine) -> None:
    machine.tool("lister", f"test -e {machine.root}/ledger && echo jq 1.7 || echo jq 1.6")
    machine.tool("outdated", f"test -e {machine.root}/ledger || echo jq 1.6 1.7")
    installed = {"cmd": ["lister"], "regex": "^(?P<item>\\S+) (?P<version>\\S+)$"}
    machine.plugin("alpha", ONE, installed=installed, outdated=QUERY)
    ended = machine.run("run", "--yes")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "Report  update-all report"
    assert "update-all report" not in machine.run("run", "--yes").out, "nothing has changed"


@pytest.mark.parametrize(("succeeds", "code"), [(True, 0), (False, 1)])
def test_a_closed_pipe_keeps_the_exit_code_of_the_run(machine: Machine, succeeds: bool, code: int) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["sh", "-c", f"note ran; {str(succeeds).lower()}"]})
    argv = " ".join(machine.argv(["run", "--yes"]))
    # The reader is gone before anything is written, to standard output as to standard error.
    script = f"{{ sleep 0.3; {argv}; echo $? > {machine.root}/code; }} 2>&1 | true; cat {machine.root}/code"
    ended = subprocess.run(
        ["bash", "-c", script], env=machine.env, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert (ended.stdout, ended.stderr) == (f"{code}\n", "")
    assert machine.ledger == ["ran"]


@pytest.mark.parametrize("progress", ["live", "plain"])
def test_a_run_whose_terminal_is_closed_ends_as_interrupted(machine: Machine, progress: str) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]}, TWO)
    argv = machine.argv(["run", "--yes", "--progress", progress])
    window, inside = os.openpty()
    run = subprocess.Popen(
        ["setsid", "--ctty", *argv], env=machine.env, stdin=inside, stdout=inside, stderr=inside
    )
    machine.stack.callback(run.kill)
    os.close(inside)
    until((machine.root / "slow.pid").exists)
    os.close(window)
    assert run.wait(SECONDS) == 130
    assert not list(machine.state.glob("bug-*"))
    gate.unlink()
    assert machine.run("resume").code == 0
    assert machine.ledger == ["through", "alpha two"]
