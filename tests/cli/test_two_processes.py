"""More than one process: a run that is followed, a run that is in the way, a run that is waited for."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

import pytest
from cli_machine import SECONDS, Machine, until

from update_all.core.streaming import RunEndEvent, StreamEvent

ONE = {"name": "one"}


def start_slow_run(machine: Machine, *arguments: str) -> tuple[subprocess.Popen[str], Callable[[], None]]:
    """A run that is in its first step until the returned function is called."""
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]}, {"name": "two"})
    process = machine.start("run", "--yes", *arguments)
    until((machine.root / "slow.pid").exists)
    return process, gate.unlink


@pytest.mark.parametrize("command", [("run", "--yes"), ("resume",)])
def test_a_second_run_names_the_first(machine: Machine, command: tuple[str, ...]) -> None:
    first, go = start_slow_run(machine)
    second = machine.run(*command)
    assert (second.code, second.out) == (75, "")
    assert f"pid {first.pid} since 20" in second.err
    assert "--wait" in second.err
    as_json = machine.run(*command, "--json")
    assert (as_json.code, as_json.json["exit_code"]) == (75, 75)
    go()
    first.communicate(timeout=SECONDS)
    assert first.returncode == 0
    assert machine.ledger == ["through", "alpha two"]


def test_what_changes_nothing_is_not_kept_waiting(machine: Machine) -> None:
    first, go = start_slow_run(machine)
    for command in ("check", "plan", "status", "history", "plugins list", "run --dry-run"):
        assert machine.run(*command.split()).code == 0
    go()
    first.communicate(timeout=SECONDS)
    assert first.returncode == 0


def test_wait_says_for_whom_and_runs_afterwards(machine: Machine) -> None:
    first, go = start_slow_run(machine)
    second = machine.start("run", "--yes", "--wait")
    assert second.stderr is not None
    line = second.stderr.readline()
    assert "waiting" in line
    assert f"pid {first.pid}" in line
    assert second.poll() is None
    go()
    assert second.wait(timeout=SECONDS) == 0
    assert machine.ledger == ["through", "alpha two"] * 2


def test_a_killed_run_holds_no_lock(machine: Machine) -> None:
    first, go = start_slow_run(machine)
    first.kill()
    first.communicate()
    go()
    resumed = machine.run("resume")
    assert resumed.code == 0
    assert machine.ledger == ["through", "alpha two"], "what the killed run had started is not started again"


@pytest.mark.parametrize("code", [0, 1])
def test_attach_follows_a_run_and_ends_as_it_does(machine: Machine, code: int) -> None:
    machine.plugin("omega", {"name": "last", "cmd": ["sh", "-c", f"exit {code}"]}, after=["alpha"])
    first, go = start_slow_run(machine)
    follower = machine.start("attach", "--progress", "jsonl")
    assert follower.stdout is not None
    seen = [StreamEvent.from_dict(json.loads(follower.stdout.readline()))]
    go()
    seen += [StreamEvent.from_dict(json.loads(line)) for line in follower.stdout]
    assert follower.wait(timeout=SECONDS) == code
    first.communicate(timeout=SECONDS)
    assert first.returncode == code
    assert isinstance(seen[-1], RunEndEvent)


def test_attach_to_a_run_that_was_killed_ends(machine: Machine) -> None:
    first, go = start_slow_run(machine)
    follower = machine.start("attach")
    assert follower.stdout is not None
    assert "alpha" in follower.stdout.readline() + follower.stdout.readline()
    first.kill()
    first.communicate()
    _, err = follower.communicate(timeout=SECONDS)
    assert follower.returncode == 1
    assert "update-all resume" in err
    go()


def test_attach_shows_a_run_of_the_past(machine: Machine) -> None:
    nothing = machine.run("attach")
    assert (nothing.code, nothing.out) == (2, "")
    assert "update-all run" in nothing.err
    machine.plugin("alpha", {"name": "one", "cmd": ["sh", "-c", "exit 3"]})
    assert machine.run("run", "--yes").code == 1
    shown = machine.run("attach")
    assert shown.code == 1
    assert "alpha" in shown.out
    run = re.search(r"\d{8}-\d{6}-[0-9a-f]{6}", machine.run("history").out)
    assert run is not None
    assert machine.run("attach", run[0]).code == 1
    assert "did you mean" in machine.run("attach", run[0][:-1]).err
