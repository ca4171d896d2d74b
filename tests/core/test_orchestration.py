"""A run as a whole: retries, failures and what they stop, phases, checks, verification, exit codes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from update_all.core.errors import NeedsInputError
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.models import Change, CheckResult, Phase, UpdateCommand, UpdateStep
from update_all.core.orchestration import RunResult, RunSettings
from update_all.core.planning import PluginPlan, plan_plugin
from update_all.core.reporting import Ending
from update_all.core.rights import Rights
from update_all.core.session import ResumeOptions, Session
from update_all.core.state import StateStore
from update_all.core.streaming import (
    CompletionEvent,
    OutputEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepStartEvent,
    StreamEvent,
    WarningEvent,
)
from update_all.core.transitions import Outcome
from update_all.plugins.base import BasePlugin

RUN = "20260101-000000-aaaaaa"
Make = Callable[..., BasePlugin]
Event = TypeVar("Event", bound=StreamEvent)


class Bench:
    """Runs plans in one state directory, and keeps the events."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "state"
        self.ledger = directory / "ledger"
        self.ledger.touch()
        self.events: list[StreamEvent] = []
        self.interrupts: Interrupts | None = None

    def note(self, word: str, code: int = 0) -> UpdateCommand:
        """A command that writes a word into the ledger and exits with a code."""
        script = 'echo "$1" >> "$2"; exit "$3"'
        return UpdateCommand(["sh", "-c", script, "sh", word, str(self.ledger), str(code)])

    def words(self) -> list[str]:
        return self.ledger.read_text().split()

    def run(self, *plans: PluginPlan, resume: bool = False, **settings: Any) -> RunResult:
        self.events = []
        with Session(self.directory, RUN, resumed=resume) as session:
            recoveries = {}
            for plan in plans:
                state = session.load(plan.name) if resume else None
                if state is None:
                    recoveries[plan.name] = session.start_afresh(plan)
                else:
                    recoveries[plan.name] = session.go_on(plan, state, ResumeOptions())

            async def work() -> RunResult:
                self.interrupts = Interrupts()
                return await session.run(
                    plans,
                    recoveries,
                    privileges=Rights.find(may_ask=False),
                    settings=RunSettings(**settings),
                    sink=self.events.append,
                    interrupts=self.interrupts,
                )

            return asyncio.run(work())

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def outcome(self, plugin: str) -> Outcome | None:
        state = StateStore(self.directory).load(plugin).state
        return None if state is None else state.outcome


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def step(name: str, *commands: UpdateCommand, **fields: Any) -> UpdateStep:
    return UpdateStep(name, name, list(commands) or None, **fields)


def planned(plugin: BasePlugin, **fields: Any) -> PluginPlan:
    return plan_plugin(plugin, plugin.get_update_steps(), **fields)


def test_a_run_is_framed_by_its_start_and_end(bench: Bench, plugin_of: Make) -> None:
    plan = planned(plugin_of([step("a", bench.note("a"))]))
    result = bench.run(plan, jobs=3)
    first, last = bench.events[0], bench.events[-1]
    assert isinstance(first, RunStartEvent)
    assert isinstance(last, RunEndEvent)
    assert (first.run_id, first.jobs, [item.name for item in first.plugins]) == (RUN, 3, ["demo"])
    assert (last.exit_code, last.interrupted, result.exit_code) == (0, False, 0)
    assert result.plugins == {"demo": Ending.DONE}
    assert bench.outcome("demo") is Outcome.COMPLETE


def test_a_step_is_retried_as_often_as_it_says(bench: Bench, plugin_of: Make) -> None:
    flaky = step("flaky", bench.note("try", 7), retries=2, retry_delay_seconds=0.01)
    assert bench.run(planned(plugin_of([flaky]))).exit_code == 1
    assert bench.words() == ["try"] * 3
    [end] = bench.of(StepEndEvent)
    assert (end.attempts, end.exit_code) == (3, 7)
    assert [event.code for event in bench.of(WarningEvent)] == ["retry", "retry"]
    assert "trying again in 0.02 s" in bench.of(WarningEvent)[1].message


def test_a_retry_that_succeeds_is_a_success(bench: Bench, plugin_of: Make, tmp_path: Path) -> None:
    script = 'test -e "$1" || { touch "$1"; exit 1; }'
    second = UpdateCommand(["sh", "-c", script, "sh", str(tmp_path / "tried")])
    plan = planned(plugin_of([step("a", second, retries=1, retry_delay_seconds=0.01)]))
    assert bench.run(plan).exit_code == 0
    assert bench.outcome("demo") is Outcome.COMPLETE


def test_independent_commands_that_succeeded_are_not_run_again(bench: Bench, plugin_of: Make) -> None:
    """Not by a retry, and not by a resume."""
    commands = [bench.note("one"), bench.note("two", 1), bench.note("three")]
    plan = planned(plugin_of([step("a", *commands, independent_commands=True)]))
    assert bench.run(plan).exit_code == 1
    assert bench.words() == ["one", "two", "three"]
    assert bench.run(plan, resume=True).exit_code == 1
    assert bench.words() == ["one", "two", "three", "two"]


def test_a_failure_stops_its_plugin_and_its_dependents_and_no_other(bench: Bench, plugin_of: Make) -> None:
    broken = planned(plugin_of([step("x", bench.note("x", 1)), step("y", bench.note("y"))], name="broken"))
    needs = planned(plugin_of([step("z", bench.note("z"))], name="needs", dependencies=["broken"]))
    other = planned(plugin_of([step("w", bench.note("w"))], name="other"))
    result = bench.run(broken, needs, other)
    assert result.exit_code == 1
    assert result.plugins == {"broken": Ending.FAILED, "needs": Ending.NOT_RUN, "other": Ending.DONE}
    assert sorted(bench.words()) == ["w", "x"]
    assert {(event.plugin_name, event.step_name): event.cause for event in bench.of(StepNotRunEvent)} == {
        ("broken", "y"): "broken:x",
        ("needs", "z"): "broken:x",
    }
    assert sorted(event.plugin_name for event in bench.of(CompletionEvent)) == ["broken", "needs", "other"]


def test_fail_fast_starts_nothing_more(bench: Bench, plugin_of: Make) -> None:
    broken = planned(plugin_of([step("x", bench.note("x", 1), mutexes=["m"])], name="a-broken"))
    other = planned(plugin_of([step("w", bench.note("w"), mutexes=["m"])], name="other"))
    result = bench.run(broken, other, fail_fast=True)
    assert bench.words() == ["x"]
    assert result.plugins["other"] is Ending.NOT_RUN
    assert bench.run(broken, other).plugins["other"] is Ending.DONE


def test_a_run_that_only_downloads_leaves_the_rest_for_later(bench: Bench, plugin_of: Make) -> None:
    steps = [step("fetch", bench.note("fetch"), phase=Phase.DOWNLOAD), step("install", bench.note("install"))]
    plan = planned(plugin_of(steps))
    assert bench.run(plan, last_phase=Phase.DOWNLOAD).exit_code == 0
    assert bench.words() == ["fetch"]
    assert bench.outcome("demo") is Outcome.UNFINISHED
    assert bench.run(plan, resume=True).exit_code == 0
    assert bench.words() == ["fetch", "install"]
    assert bench.outcome("demo") is Outcome.COMPLETE


def test_an_interrupt_lets_nothing_start_and_can_be_resumed(bench: Bench, plugin_of: Make) -> None:
    async def interrupt() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="now")
        assert bench.interrupts is not None
        bench.interrupts.escalate(Urgency.FINISH)
        await asyncio.sleep(60)

    async def harmless() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="now")

    def plan(function: Callable[[], AsyncIterator[StreamEvent]]) -> PluginPlan:
        steps = [step("a", bench.note("a")), step("b", execute_fn=function), step("c", bench.note("c"))]
        return planned(plugin_of(steps))

    result = bench.run(plan(interrupt))
    assert (result.exit_code, result.interrupted) == (130, True)
    assert [event.error_code for event in bench.of(StepEndEvent)] == [None, "interrupted"]
    assert [event.step_name for event in bench.of(StepNotRunEvent)] == ["c"]
    assert bench.of(CompletionEvent)[0].interrupted
    harmless.__qualname__ = interrupt.__qualname__
    assert bench.run(plan(harmless), resume=True).exit_code == 0
    assert [event.step_name for event in bench.of(StepStartEvent)] == ["b", "c"]
    assert bench.words() == ["a", "c"]


def test_an_interrupt_ends_the_waiting_for_a_retry(bench: Bench, plugin_of: Make) -> None:
    async def interrupt() -> AsyncIterator[StreamEvent]:
        while "retry" not in [event.code for event in bench.of(WarningEvent)]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
        assert bench.interrupts is not None
        bench.interrupts.escalate(Urgency.FINISH)
        yield OutputEvent(line="now")

    flaky = step("flaky", bench.note("try", 1), retries=5, retry_delay_seconds=300)
    plans = [planned(plugin_of([flaky])), planned(plugin_of([step("i", execute_fn=interrupt)], name="other"))]
    assert bench.run(*plans).exit_code == 130
    assert bench.words() == ["try"]


@pytest.mark.parametrize(("done", "words"), [(True, []), (False, ["a"])])
def test_a_check_decides_what_a_crash_has_left_open(
    bench: Bench, plugin_of: Make, done: bool, words: list[str]
) -> None:
    plan = planned(plugin_of([step("a", bench.note("a"), idempotent=False, check_fn=lambda: done)]))
    with Session(bench.directory, RUN) as session:
        session.start_afresh(plan)
        session.store.record("demo", {"do": "start", "step": "a", "attempt": 1, "commands": 1})
        session.store.commit()
        (session.directory / "demo:a:1:0.out").touch(0o600)
    assert bench.run(plan, resume=True).exit_code == 0
    assert bench.words() == words


def test_what_needs_a_decision_is_told_and_nothing_runs(bench: Bench, plugin_of: Make) -> None:
    plan = planned(plugin_of([step("a", bench.note("a"), idempotent=False)]))
    with Session(bench.directory, RUN) as session:
        session.start_afresh(plan)
        session.store.record("demo", {"do": "start", "step": "a", "attempt": 1, "commands": 1})
        session.store.commit()
        (session.directory / "demo:a:1:0.out").touch(0o600)
    assert bench.run(plan, resume=True).exit_code == NeedsInputError.exit_code
    [end] = bench.of(StepEndEvent)
    assert end.error_code == "needs-decision"
    assert "--redo a" in str(end.error_message)
    assert bench.words() == []


def test_a_step_that_never_comes_to_an_end_is_given_up(bench: Bench, plugin_of: Make) -> None:
    plan = planned(plugin_of([step("a", bench.note("a"))]))
    with Session(bench.directory, RUN) as session:
        session.start_afresh(plan)
        session.store.record("demo", {"do": "start", "step": "a", "attempt": 3, "commands": 1})
        session.store.commit()
        (session.directory / "demo:a:3:0.out").touch(0o600)
    assert bench.run(plan, resume=True).exit_code == 1
    assert "it was started 3 times and never came to an end" in str(bench.of(StepEndEvent)[0].error_message)
    assert bench.words() == []


class Versioned(BasePlugin):
    """A tool with one package, whose answer after the run is given."""

    name = "tool"
    command = "true"

    def __init__(self, steps: Sequence[UpdateStep], after: object) -> None:
        super().__init__()
        self.steps = list(steps)
        self.after = after

    def get_update_steps(self) -> list[UpdateStep]:
        return self.steps

    async def installed_versions(self) -> Mapping[str, str] | None:
        if isinstance(self.after, Exception):
            raise self.after
        return self.after  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        ({"go": "2"}, None),
        ({"go": "1"}, "not everything was updated: go 1 (planned 2)"),
        (KeyError("garbage"), "KeyError"),
        ({"go": 5}, "cannot be asked for"),
    ],
)
def test_a_run_is_believed_when_confirmed(bench: Bench, after: object, problem: str | None) -> None:
    """A plugin that raises fails by itself; the run goes on to its end."""
    check = CheckResult.of([Change("go", "1", "2")])
    tool = Versioned([step("a", bench.note("a"))], after)
    plan = planned(tool, check=check, versions_before={"go": "1"})
    result = bench.run(plan)
    [completion] = bench.of(CompletionEvent)
    assert isinstance(bench.events[-1], RunEndEvent)
    assert result.exit_code == (0 if problem is None else 1)
    if problem is None:
        assert completion.changes == (Change("go", "1", "2"),)
        assert bench.outcome("tool") is Outcome.COMPLETE
    else:
        assert problem in str(completion.error_message)
        assert bench.outcome("tool") is Outcome.UNFINISHED


def test_a_plugin_without_steps_completes(bench: Bench) -> None:
    plan = planned(
        Versioned([], {"go": "1"}), check=CheckResult.of([Change("go", "1", "2")]), versions_before={}
    )
    assert bench.run(plan).exit_code == 1
    assert "go 1 (planned 2)" in str(bench.of(CompletionEvent)[0].error_message)
    assert bench.run(planned(Versioned([], None))).exit_code == 0
