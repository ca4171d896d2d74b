"""What a crash left behind decides how each step goes on: every combination, from real files and locks."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from update_all.core.errors import BusyError, NeedsDecisionError, NoProgressError
from update_all.core.evidence import Evidence
from update_all.core.models import StepExecutionState, StepResult, UpdateCommand, UpdateStep
from update_all.core.planning import PluginPlan, plan_plugin
from update_all.core.recovery import (
    MAX_FRUITLESS_RESUMES,
    PluginRecovery,
    recover,
    refuse_unknown,
)
from update_all.core.steps import command_key
from update_all.core.transitions import (
    MAX_ATTEMPTS,
    PluginState,
    Verdict,
    end_record,
    start_record,
    verdict,
)
from update_all.plugins.base import BasePlugin

BOOT = "this-boot"
MakePlugin = Callable[..., BasePlugin]


def promised(
    exit_recorded: bool, killed: bool, running: bool, started: bool, same_boot: bool, check: bool
) -> set[Verdict]:
    """The table of system.md section 4, row by row; the last row leaves a choice to `idempotent`."""
    if exit_recorded and not killed:
        return {Verdict.ADOPT}
    if running:
        return {Verdict.REATTACH}
    if not started and not killed and same_boot:
        return {Verdict.START}
    return {Verdict.CHECK} if check else {Verdict.RERUN, Verdict.GIVE_UP, Verdict.ASK}


@pytest.mark.parametrize(
    ("exit_recorded", "killed", "running", "started", "same_boot", "has_check", "idempotent", "attempt"),
    list(itertools.product(*[[False, True]] * 7, [1, 2, 3, 4])),
)
def test_every_row_of_the_table(
    exit_recorded: bool,
    killed: bool,
    running: bool,
    started: bool,
    same_boot: bool,
    has_check: bool,
    idempotent: bool,
    attempt: int,
) -> None:
    found = verdict(
        exit_recorded=exit_recorded,
        killed=killed,
        running=running,
        started=started,
        same_boot=same_boot,
        has_check=has_check,
        idempotent=idempotent,
        attempt=attempt,
    )
    assert found in promised(exit_recorded, killed, running, started, same_boot, has_check)
    if found in (Verdict.RERUN, Verdict.GIVE_UP):
        assert idempotent
        assert (found is Verdict.RERUN) is (attempt < MAX_ATTEMPTS)
    if found is Verdict.ASK:
        assert not idempotent


def step(name: str, *depends_on: str, commands: int = 1, **fields: Any) -> UpdateStep:
    made = [UpdateCommand(["tool", name, str(index)]) for index in range(commands)]
    values: dict[str, Any] = {"commands": made, "depends_on": list(depends_on), **fields}
    return UpdateStep(name, f"Step {name}", **values)


class Run:
    """A run's directory as a crash leaves it, and the state that belongs to it."""

    def __init__(self, directory: Path, plan: PluginPlan) -> None:
        self.directory = directory
        self.plan = plan
        self.stack = ExitStack()
        self.state = PluginState(
            run_id=directory.name,
            execution=StepExecutionState("demo"),
            step_fingerprints=dict(plan.step_fingerprints),
            boot_id=BOOT,
        )

    def record(self, record: dict[str, object]) -> None:
        self.state.apply({"n": self.state.sequence + 1, "at": None, **record})  # type: ignore[dict-item]

    def intend(self, name: str, attempt: int = 1) -> None:
        commands = len(self.plan.step(name).commands or ())
        self.record(dict(start_record(name, attempt, commands)))

    def end(self, name: str, success: bool = True, up_to_date: bool = False) -> None:
        self.record(dict(end_record(StepResult(name, success=success, up_to_date=up_to_date))))

    def spool(self, name: str, index: int = 0, attempt: int = 1, *, locked: bool = False) -> None:
        path = self.directory / f"{command_key('demo', name, attempt, index)}.out"
        path.touch(0o600)
        if locked:
            descriptor = os.open(path, os.O_RDONLY)
            self.stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def exit(self, name: str, index: int = 0, attempt: int = 1, code: int = 0) -> None:
        self.spool(name, index, attempt)
        key = command_key("demo", name, attempt, index)
        with (self.directory / "exits-1.jsonl").open("a") as file:
            file.write(json.dumps({"key": key, "pid": 999_999_999, "ticks": 1}) + "\n")
            file.write(json.dumps({"key": key, "code": code}) + "\n")

    def recover(self, plan: PluginPlan | None = None, boot: str = BOOT, **options: object) -> PluginRecovery:
        evidence = Evidence(self.directory)
        return recover(plan or self.plan, self.state, evidence, boot_id=boot, **options)  # type: ignore[arg-type]


@pytest.fixture
def left_by(tmp_path: Path, plugin_of: MakePlugin) -> Iterator[Callable[..., Run]]:
    """Makes the run that was interrupted, from the steps of its plan."""
    with ExitStack() as stack:

        def make(*steps: UpdateStep) -> Run:
            run = Run(tmp_path, plan_plugin(plugin_of(steps), steps))
            stack.callback(run.stack.close)
            return run

        yield make


LeftBy = Callable[..., Run]


def planned(plugin_of: MakePlugin, *steps: UpdateStep) -> PluginPlan:
    return plan_plugin(plugin_of(steps), steps)


@contextmanager
def nothing_raised() -> Iterator[None]:
    yield


def test_an_exit_record_is_adopted_even_when_the_lock_is_still_held(left_by: LeftBy) -> None:
    """A daemon that the command started keeps the lock; the command has ended all the same."""
    run = left_by(step("a", idempotent=False))
    run.intend("a")
    run.exit("a", code=3)
    run.spool("a", locked=True)
    [found] = run.recover().steps.values()
    assert (found.verdict, found.attempt.number, found.attempt.first_command) == (Verdict.ADOPT, 1, 1)


@pytest.mark.parametrize(
    ("number", "fields", "expected"),
    [
        (signal.SIGKILL, {}, Verdict.RERUN),
        (signal.SIGTERM, {}, Verdict.RERUN),
        (signal.SIGINT, {"idempotent": False}, Verdict.ASK),
        (signal.SIGHUP, {"idempotent": False, "check_fn": lambda: True}, Verdict.CHECK),
        (signal.SIGSEGV, {}, Verdict.ADOPT),
        (signal.SIGABRT, {"idempotent": False}, Verdict.ADOPT),
    ],
)
def test_a_command_that_was_killed_did_not_fail_but_was_interrupted(
    left_by: LeftBy, number: signal.Signals, fields: dict[str, Any], expected: Verdict
) -> None:
    run = left_by(step("a", commands=2, **fields))
    run.intend("a")
    run.exit("a", 0)
    run.exit("a", 1, code=-number)
    [found] = run.recover().steps.values()
    assert found.verdict is expected
    assert found.attempt.number == (1 if expected is Verdict.ADOPT else 2)


def test_a_killed_command_of_which_processes_are_left_is_not_started_beside_them(left_by: LeftBy) -> None:
    run = left_by(step("a"))
    run.intend("a")
    run.exit("a", code=-signal.SIGKILL)
    run.spool("a", locked=True)
    [found] = run.recover().steps.values()
    assert found.verdict is Verdict.ADOPT


def test_a_held_lock_is_attached_to_and_never_started_again(left_by: LeftBy) -> None:
    run = left_by(step("a", idempotent=True))
    run.intend("a")
    run.spool("a", locked=True)
    [found] = run.recover(redo=["a"]).steps.values()
    assert found.verdict is Verdict.REATTACH
    assert found.attempt.found_running
    assert run.recover(assume_done=["a"]).steps["a"].verdict is Verdict.REATTACH


def test_without_a_trace_it_never_started_in_this_boot(left_by: LeftBy) -> None:
    run = left_by(step("a", idempotent=False))
    run.intend("a")
    assert run.recover().steps["a"].verdict is Verdict.START
    assert run.recover().steps["a"].attempt.number == 1
    assert run.recover(boot="another-boot").steps["a"].verdict is Verdict.ASK


@pytest.mark.parametrize(
    ("fields", "attempt", "expected"),
    [
        ({"idempotent": True}, 1, Verdict.RERUN),
        ({"idempotent": True}, 2, Verdict.RERUN),
        ({"idempotent": True}, 3, Verdict.GIVE_UP),
        ({"idempotent": False}, 1, Verdict.ASK),
        ({"idempotent": False, "check_fn": lambda: True}, 1, Verdict.CHECK),
        ({"idempotent": True, "check_fn": lambda: True}, 3, Verdict.CHECK),
    ],
)
def test_a_free_lock_without_a_record_is_unknown(
    left_by: LeftBy, fields: dict[str, Any], attempt: int, expected: Verdict
) -> None:
    run = left_by(step("a", **fields))
    run.intend("a", attempt)
    run.spool("a", attempt=attempt)
    found = run.recover().steps["a"]
    assert (found.verdict, found.attempt.number) == (expected, attempt + 1)


def test_a_function_leaves_no_trace_so_its_end_is_unknown(left_by: LeftBy) -> None:
    run = left_by(_function("a"))
    run.intend("a")
    assert run.recover().steps["a"].verdict is Verdict.ASK


def _function(name: str) -> UpdateStep:
    async def work() -> None: ...

    return UpdateStep(name, "F", execute_fn=work, idempotent=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ended", "running", "expected", "first"),
    [
        ((), None, Verdict.START, 0),
        ((), 0, Verdict.REATTACH, 0),
        ((0,), None, Verdict.START, 1),
        ((0,), 1, Verdict.REATTACH, 1),
        ((0, 1), 2, Verdict.REATTACH, 2),
        ((0, 1, 2), None, Verdict.ADOPT, 3),
    ],
)
def test_a_step_of_three_commands_goes_on_at_the_right_one(
    left_by: LeftBy, ended: tuple[int, ...], running: int | None, expected: Verdict, first: int
) -> None:
    run = left_by(step("a", commands=3, idempotent=False))
    run.intend("a")
    for index in ended:
        run.exit("a", index)
    if running is not None:
        run.spool("a", running, locked=True)
    found = run.recover().steps["a"]
    assert (found.verdict, found.attempt.first_command) == (expected, first)


def test_done_steps_stay_done_and_untouched_ones_are_simply_left(left_by: LeftBy) -> None:
    run = left_by(step("a"), step("b", "a"), step("c", "b"))
    run.intend("a")
    run.end("a")
    recovery = run.recover()
    assert (recovery.done, recovery.steps, recovery.forget, recovery.reopen) == ({"a"}, {}, [], [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Verdict.RERUN),
        ({"idempotent": False}, Verdict.ASK),
        ({"idempotent": False, "check_fn": lambda: False}, Verdict.CHECK),
    ],
)
def test_a_failed_step_runs_again_unless_it_must_not(
    left_by: LeftBy, fields: dict[str, Any], expected: Verdict
) -> None:
    run = left_by(step("a", **fields))
    run.intend("a", 4)
    run.end("a", success=False)
    found = run.recover().steps["a"]
    assert (found.verdict, found.attempt.number) == (expected, 5)


def test_a_person_decides_what_is_unknown(left_by: LeftBy) -> None:
    run = left_by(step("a", idempotent=False), step("b", idempotent=False))
    for name in "ab":
        run.intend(name)
        run.spool(name)
    recovery = run.recover(redo=["a"], assume_done=["b"])
    assert recovery.steps["a"].verdict is Verdict.RERUN
    assert recovery.steps["a"].attempt.number == 2
    assert recovery.done == {"b"}
    given_up = left_by(step("a"))
    given_up.intend("a", 3)
    given_up.spool("a", attempt=3)
    assert given_up.recover(redo=["a"]).steps["a"].verdict is Verdict.RERUN


def test_a_done_step_that_is_to_be_redone_is_reopened_durably(left_by: LeftBy) -> None:
    run = left_by(step("a"), step("b"))
    run.intend("a")
    run.end("a")
    recovery = run.recover(redo=["a"])
    assert recovery.steps["a"].verdict is Verdict.RERUN
    assert (recovery.done, recovery.reopen) == (set(), ["a"])


def test_nothing_to_do_was_found_before_the_crash_so_the_rest_is_done(left_by: LeftBy) -> None:
    run = left_by(step("find"), step("fetch", "find"), step("install", "fetch"))
    run.intend("find")
    run.end("find", up_to_date=True)
    assert run.recover().done == {"find", "fetch", "install"}


def test_ten_resumes_without_progress_are_enough(left_by: LeftBy) -> None:
    run = left_by(step("a"))
    run.state.fruitless_resumes = MAX_FRUITLESS_RESUMES - 1
    assert run.recover().fruitless_resumes == MAX_FRUITLESS_RESUMES
    run.state.fruitless_resumes = MAX_FRUITLESS_RESUMES
    with pytest.raises(NoProgressError, match="demo was resumed 10 times") as caught:
        run.recover()
    assert "update-all run demo" in caught.value.hint
    assert run.recover(redo=["a"]).steps


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (lambda run: run.spool("a", locked=True), BusyError),
        (lambda run: run.spool("a"), NeedsDecisionError),
        (lambda run: run.exit("a"), None),
        (lambda run: None, None),
    ],
)
def test_a_run_that_starts_afresh_refuses_what_is_undecided(
    left_by: LeftBy, prepare: Callable[[Run], None], error: type[Exception] | None
) -> None:
    run = left_by(step("a", idempotent=False))
    run.intend("a")
    prepare(run)
    with nothing_raised() if error is None else pytest.raises(error, match="a"):
        refuse_unknown(run.plan, run.state, Evidence(run.directory), BOOT)
    with pytest.raises(BusyError) if error is BusyError else nothing_raised():
        refuse_unknown(run.plan, run.state, Evidence(run.directory), BOOT, wanted="a")
