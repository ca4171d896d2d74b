"""What overlaps in time and what never does: from the recorded events of real runs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from update_all.core.journal import JOURNAL, read_events
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.orchestration import RunResult, RunSettings
from update_all.core.planning import plan_plugin
from update_all.core.rights import Rights
from update_all.core.session import Session, new_run_id
from update_all.core.streaming import StepEndEvent, StepStartEvent, StepWaitEvent, StreamEvent
from update_all.plugins.base import BasePlugin


class Tool(BasePlugin):
    """A plugin with the given steps."""

    command = "sleep"

    def __init__(self, name: str, *steps: UpdateStep, parallel: bool = False) -> None:
        super().__init__()
        self._name = name
        self._steps = list(steps)
        self.parallel_steps = parallel

    @property
    def name(self) -> str:
        return self._name

    def get_update_steps(self) -> list[UpdateStep]:
        return self._steps


def sleeper(name: str, *mutexes: str, seconds: float = 0.3, depends_on: Sequence[str] = ()) -> UpdateStep:
    command = UpdateCommand(cmd=["sleep", str(seconds)])
    return UpdateStep(name, name, commands=[command], mutexes=list(mutexes), depends_on=list(depends_on))


def record(state: Path, *plugins: Tool, jobs: int = 8) -> list[StreamEvent]:
    """Run the plugins together; the events as the run's journal has them."""

    async def run() -> RunResult:
        with Session(state, new_run_id()) as session:
            plans = [plan_plugin(plugin, plugin.lowered_steps()) for plugin in plugins]
            return await session.run(
                plans,
                {plan.name: session.start_afresh(plan) for plan in plans},
                privileges=Rights.find(),
                settings=RunSettings(jobs=jobs),
                sink=lambda event: None,
            )

    assert asyncio.run(run()).exit_code == 0
    (directory,) = (state / "runs").iterdir()
    return [event for event, _ in read_events(directory / JOURNAL)]


def spans(events: Sequence[StreamEvent]) -> dict[str, tuple[datetime, datetime]]:
    """When each step started and ended."""
    begins = {event.step_name: event.timestamp for event in events if isinstance(event, StepStartEvent)}
    return {
        event.step_name: (begins[event.step_name], event.timestamp)
        for event in events
        if isinstance(event, StepEndEvent)
    }


def overlapping(events: Sequence[StreamEvent]) -> set[frozenset[str]]:
    """The pairs of steps that ran at the same time."""
    pairs = itertools.combinations(spans(events).items(), 2)
    return {
        frozenset({one, other})
        for (one, (begin, end)), (other, (other_begin, other_end)) in pairs
        if begin < other_end and other_begin < end
    }


def pairs(*names: str) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in itertools.combinations(names, 2)}


def test_three_plugins_without_a_shared_mutex_overlap(tmp_path: Path) -> None:
    events = record(tmp_path / "s", *(Tool(name, sleeper(name, f"own-{name}")) for name in "abc"))

    assert overlapping(events) == pairs("a", "b", "c")


def test_plugins_with_a_shared_mutex_never_overlap(tmp_path: Path) -> None:
    one, two = Tool("one", sleeper("a", "dpkg")), Tool("two", sleeper("b", "dpkg"))
    events = record(tmp_path / "s", one, two, Tool("three", sleeper("c", seconds=0.8)))

    assert overlapping(events) == {frozenset("ac"), frozenset("bc")}
    waits = [event for event in events if isinstance(event, StepWaitEvent)]
    assert [(event.mutex, event.reason[:12]) for event in waits] == [("dpkg", "waiting for ")]


def test_one_of_several_mutexes_is_enough_to_exclude(tmp_path: Path) -> None:
    tools = [
        Tool("one", sleeper("a", "x", "y", seconds=0.1)),
        Tool("two", sleeper("b", "y", "z", seconds=0.1)),
        Tool("three", sleeper("c", "z", "x", seconds=0.1)),
    ]

    assert overlapping(record(tmp_path / "s", *tools)) == set()


def test_steps_of_one_plugin_run_one_after_another_unless_it_says_otherwise(tmp_path: Path) -> None:
    steps = [sleeper(name, seconds=0.2) for name in "abc"]

    assert overlapping(record(tmp_path / "one", Tool("tool", *steps))) == set()
    assert overlapping(record(tmp_path / "all", Tool("tool", *steps, parallel=True))) == pairs("a", "b", "c")


def test_dependencies_exclude_also_in_parallel(tmp_path: Path) -> None:
    steps = [sleeper("a"), sleeper("b", depends_on=["a"]), sleeper("c")]
    events = record(tmp_path / "s", Tool("tool", *steps, parallel=True))

    assert frozenset("ab") not in overlapping(events)
    assert frozenset("ac") in overlapping(events)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_never_more_at_once_than_jobs(tmp_path: Path, jobs: int) -> None:
    events = record(tmp_path / "s", *(Tool(name, sleeper(name, seconds=0.1)) for name in "abcdef"), jobs=jobs)

    most = running = 0
    for event in events:
        running += isinstance(event, StepStartEvent) - isinstance(event, StepEndEvent)
        most = max(most, running)
    assert most == jobs


def test_journal_grows_while_a_step_runs(tmp_path: Path) -> None:
    seen: list[int] = []
    journal_of = UpdateCommand(cmd=["sh", "-c", f"echo early; sleep 0.5; cat {tmp_path}/s/runs/*/{JOURNAL}"])
    events = record(tmp_path / "s", Tool("tool", UpdateStep("look", "Look", commands=[journal_of])))

    log = next(event.log for event in events if isinstance(event, StepEndEvent))
    seen += [Path(log).read_text().count(kind) for kind in ('"step_start"', '"line":"early"')]
    assert seen == [1, 1]
