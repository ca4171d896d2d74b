"""BasePlugin runs steps: the plan's tables GUS-001 … GUS-002 and ESS-001 … ESS-010."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from update_all.core import paths
from update_all.core.errors import StepError, UpToDate
from update_all.core.models import Change, Phase, UpdateCommand, UpdateStep
from update_all.core.state import StateStore
from update_all.core.streaming import (
    CompletionEvent,
    OutputEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepStartEvent,
    StepWaitEvent,
    StreamEvent,
    WarningEvent,
)
from update_all.plugins.base import BasePlugin

Create = Callable[[list[UpdateStep]], BasePlugin]
Collect = Callable[[AsyncIterator[StreamEvent]], list[StreamEvent]]


def echo(name: str, *depends_on: str, **fields: object) -> UpdateStep:
    command = UpdateCommand(["echo", f"this is {name}"])
    values: dict[str, object] = {"commands": [command], "depends_on": list(depends_on), **fields}
    return UpdateStep(name=name, description=f"Step {name}", **values)  # type: ignore[arg-type]


def started(events: list[StreamEvent]) -> list[str]:
    return [event.step_name for event in events if isinstance(event, StepStartEvent)]


def ends(events: list[StreamEvent]) -> dict[str, StepEndEvent]:
    return {event.step_name: event for event in events if isinstance(event, StepEndEvent)}


def output(events: list[StreamEvent], step: str = "") -> str:
    chosen = (event for event in events if isinstance(event, OutputEvent) and step in ("", event.step_name))
    return "\n".join(event.line for event in chosen)


def completion(events: list[StreamEvent]) -> CompletionEvent:
    """The last event, which is the only one of its kind."""
    assert [type(event) for event in events].count(CompletionEvent) == 1
    last = events[-1]
    assert isinstance(last, CompletionEvent)
    return last


def test_default_returns_empty() -> None:
    """GUS-001."""

    class Plain(BasePlugin):
        name = "plain"
        command = "echo"

    assert Plain().get_update_steps() == []
    assert Plain().get_step_state() is None


def test_override_returns_steps(create_step_plugin: Create) -> None:
    """GUS-002."""
    steps = [echo("one"), echo("two")]
    assert create_step_plugin(steps).get_update_steps() == steps


def test_execute_single_step(create_step_plugin: Create, collect: Collect) -> None:
    """ESS-001."""
    steps = [echo("only")]
    events = collect(create_step_plugin(steps)._execute_steps_streaming(steps))
    assert started(events) == ["only"]
    assert "this is only" in output(events, "only")
    assert ends(events)["only"].success
    assert ends(events)["only"].exit_code == 0
    assert completion(events).success


def test_execute_steps_in_order(create_step_plugin: Create, collect: Collect) -> None:
    """ESS-002: one after another, each ended before the next starts."""
    steps = [echo("c"), echo("a"), echo("b")]
    events = collect(create_step_plugin(steps)._execute_steps_streaming(steps))
    marks = [
        (type(event).__name__, event.step_name)
        for event in events
        if isinstance(event, StepStartEvent | StepEndEvent)
    ]
    assert marks == [(kind, name) for name in "cab" for kind in ("StepStartEvent", "StepEndEvent")]


def test_respect_dependencies(create_step_plugin: Create, collect: Collect) -> None:
    """ESS-003."""
    steps = [echo("install", "extract"), echo("extract", "download"), echo("download")]
    events = collect(create_step_plugin(steps)._execute_steps_streaming(steps))
    assert started(events) == ["download", "extract", "install"]


async def says_done() -> bool:
    return True


@pytest.mark.parametrize("check", [lambda: True, says_done, lambda: says_done()])
def test_skip_idempotent_steps(
    create_step_plugin: Create, collect: Collect, tmp_path: Path, check: Callable[[], bool]
) -> None:
    """ESS-004: a check that says done, sync or async, counts as completed; the step does not run."""
    touch = [UpdateCommand(["touch", str(tmp_path / "ran")])]
    steps = [echo("first", commands=touch, check_fn=check), echo("second", "first", check_fn=lambda: False)]
    plugin = create_step_plugin(steps)
    events = collect(plugin._execute_steps_streaming(steps))
    assert not (tmp_path / "ran").exists()
    assert ends(events)["first"].skipped
    assert ends(events)["first"].success
    assert not ends(events)["second"].skipped
    assert completion(events).success


def test_stop_on_failure(create_step_plugin: Create, collect: Collect) -> None:
    """ESS-005: what comes after a failure is not run, because of it; and what is left can be resumed."""
    steps = [
        echo("one"),
        echo("two", commands=[UpdateCommand(["false"])]),
        echo("three"),
        echo("four", "two"),
    ]
    plugin = create_step_plugin(steps)
    events = collect(plugin._execute_steps_streaming(steps))
    assert started(events) == ["one", "two"]
    failed = ends(events)["two"]
    assert (failed.success, failed.exit_code, failed.error_message) == (False, 1, "false exited with 1")
    not_run = [event for event in events if isinstance(event, StepNotRunEvent)]
    assert sorted(event.step_name for event in not_run) == ["four", "three"]
    assert {event.cause for event in not_run} == {"test-step-plugin:two"}
    assert (completion(events).success, completion(events).exit_code) == (False, 1)
    state = plugin.get_step_state()
    assert state is not None
    assert state.completed_steps == ["one"]
    assert not state.step_results["two"].success


def test_execute_custom_function(create_step_plugin: Create, collect: Collect) -> None:
    """ESS-006: its events are the step's, what it raises is the step's failure."""

    async def work() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="working")

    async def broken() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="before")
        raise KeyError("surprise")

    steps = [echo("work", commands=None, execute_fn=work), echo("break", commands=None, execute_fn=broken)]
    events = collect(create_step_plugin(steps)._execute_steps_streaming(steps))
    assert output(events, "work") == "working"
    assert ends(events)["work"].success
    failed = ends(events)["break"]
    assert failed.error_message == "KeyError: 'surprise'"
    assert "Traceback" in Path(failed.log).read_text()


def test_report_step_progress(create_step_plugin: Create, collect: Collect) -> None:
    """ESS-007: the numbers cover all steps, skipped ones too."""
    steps = [echo("a"), echo("b", check_fn=lambda: True), echo("c")]
    events = collect(create_step_plugin(steps)._execute_steps_streaming(steps))
    starts = [event for event in events if isinstance(event, StepStartEvent)]
    assert [(event.step_number, event.total_steps) for event in starts] == [(1, 3), (2, 3), (3, 3)]
    assert starts[0].step_description == "Step a"


def test_resume_from_step(create_step_plugin: Create, collect: Collect, tmp_path: Path) -> None:
    """ESS-008: in a new process, with the facts of the first; steps that are done are not repeated."""
    mended = tmp_path / "mended"
    ledger = tmp_path / "ledger"

    async def find() -> AsyncIterator[StreamEvent]:
        with ledger.open("a") as file:
            file.write("find\n")
        plugin.facts["version"] = "1.26"
        yield OutputEvent(line="found")

    fetch = UpdateCommand(
        [sys.executable, "-c", f"import os, sys; sys.exit(not os.path.exists({str(mended)!r}))"]
    )
    steps = [
        echo("find", commands=None, execute_fn=find),
        echo("fetch", "find", commands=[fetch]),
        echo("install", "fetch", commands=[UpdateCommand(["echo", "go {version}"])]),
    ]
    plugin = create_step_plugin(steps)
    assert not completion(collect(plugin.execute_streaming())).success
    mended.touch()

    plugin = create_step_plugin(steps)
    events = collect(plugin.resume_from_step("fetch"))
    assert started(events) == ["fetch", "install"]
    assert output(events, "install") == "go 1.26"
    assert completion(events).success
    assert ledger.read_text() == "find\n"
    assert plugin.get_step_state() is None


def test_resume_from_an_unknown_or_unready_step_runs_nothing(
    create_step_plugin: Create, collect: Collect
) -> None:
    steps = [echo("download"), echo("extract", "download"), echo("install", "extract")]
    with pytest.raises(ValueError, match="Unknown dependency") as order:
        collect(create_step_plugin([echo("x", "y")]).execute_streaming())
    assert "'y'" in str(order.value)
    for name, message in (("instal", "there is no step 'instal'"), ("install", "needs download, extract")):
        with pytest.raises(Exception, match=message):
            collect(create_step_plugin(steps).resume_from_step(name))
    assert create_step_plugin(steps).get_step_state() is None


def test_collect_output_for_counting(create_step_plugin: Create, collect: Collect) -> None:
    """ESS-009: the parser gets the whole output of a step; what it finds is counted and reported."""

    class Counting(BasePlugin):
        name = "counting"
        command = "echo"

        def parse_changes(self, step_name: str, output: str) -> list[Change]:
            return [Change(line.split()[1], "1", "2") for line in output.splitlines() if "upgraded" in line]

    lines = "".join(f"upgraded package{number}\n" for number in range(5000)) + "that is all\n"
    steps = [echo("upgrade", commands=[UpdateCommand(["printf", "%s", lines])])]
    plugin = Counting()
    events = collect(plugin._execute_steps_streaming(steps))
    assert completion(events).packages_updated == 5000
    assert completion(events).changes[-1] == Change("package4999", "1", "2")
    state = StateStore(paths.directories().state).load("counting").state
    assert state is not None
    assert state.execution.step_results["upgrade"].packages_updated == 5000


@pytest.mark.parametrize(
    "wrong", [lambda: [{"item": "a"}], lambda: 1 // 0, lambda: 5, lambda: [Change(*"abcd")]]
)
def test_a_parser_that_fails_costs_the_list_and_not_the_step(
    collect: Collect, wrong: Callable[[], list[Change]]
) -> None:
    class Wrong(BasePlugin):
        name = "wrong"
        command = "echo"

        def parse_changes(self, step_name: str, output: str) -> list[Change]:
            return wrong()

    events = collect(Wrong()._execute_steps_streaming([echo("one")]))
    assert ends(events)["one"].success
    assert [event.code for event in events if isinstance(event, WarningEvent)] == ["bad-parser"]
    assert completion(events).success


def test_track_mutexes(create_step_plugin: Create, collect: Collect) -> None:
    """ESS-010: independent steps overlap only without a shared mutex, and who waits names it."""

    def slow(name: str, *mutexes: str) -> UpdateStep:
        return echo(name, commands=[UpdateCommand(["sleep", "0.4"])], mutexes=list(mutexes))

    def peak(events: list[StreamEvent]) -> int:
        running = most = 0
        for event in events:
            running += isinstance(event, StepStartEvent) - isinstance(event, StepEndEvent)
            most = max(most, running)
        return most

    sharing = create_step_plugin([slow("a", "dpkg"), slow("b", "dpkg")])
    sharing.parallel_steps = True
    events = collect(sharing.execute_streaming())
    waits = [event for event in events if isinstance(event, StepWaitEvent)]
    assert peak(events) == 1
    assert [(event.mutex, event.holder) for event in waits] == [("dpkg", "test-step-plugin:a")]

    apart = create_step_plugin([slow("a", "dpkg"), slow("b", "network")])
    apart.parallel_steps = True
    assert peak(collect(apart.execute_streaming())) == 2


def test_mutexes_of_the_plugin_are_those_of_its_steps(create_step_plugin: Create) -> None:
    class WithMutexes(BasePlugin):
        name = "locked"
        command = "echo"
        mutexes = {Phase.EXECUTE: ["dpkg"], Phase.DOWNLOAD: ["network"]}  # noqa: RUF012 - stands for a property

        def get_update_steps(self) -> list[UpdateStep]:
            return [echo("fetch", phase=Phase.DOWNLOAD), echo("install", mutexes=["own", "dpkg"])]

    assert [step.mutexes for step in WithMutexes().lowered_steps()] == [["network"], ["own", "dpkg"]]


def test_nothing_to_do_skips_the_rest(create_step_plugin: Create, collect: Collect) -> None:
    async def find() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="looking")
        raise UpToDate

    steps = [echo("find", commands=None, execute_fn=find), echo("fetch"), echo("install", "fetch")]
    plugin = create_step_plugin(steps)
    events = collect(plugin.execute_streaming())
    assert [event.skipped for event in ends(events).values()] == [False, True, True]
    assert completion(events).success
    assert completion(events).up_to_date
    assert plugin.get_step_state() is None


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_check_that_raises_runs_an_idempotent_step_and_fails_another(
    create_step_plugin: Create, collect: Collect, idempotent: bool
) -> None:
    def broken() -> bool:
        raise OSError("no such index")

    steps = [echo("one", check_fn=broken, idempotent=idempotent)]
    events = collect(create_step_plugin(steps).execute_streaming())
    warned = [event for event in events if isinstance(event, WarningEvent)]
    assert (output(events) == "this is one") is idempotent
    assert completion(events).success is idempotent
    assert bool(warned) is idempotent
    assert "no such index" in (warned[0].message if warned else str(completion(events).error_message))


def test_every_start_has_one_end_whatever_happens(create_step_plugin: Create, collect: Collect) -> None:
    async def refuse() -> AsyncIterator[StreamEvent]:
        raise StepError("refused")
        yield OutputEvent()

    steps = [
        echo("good"),
        echo("missing-fact", commands=[UpdateCommand(["echo", "{nowhere}"])]),
        echo("no-program", commands=[UpdateCommand(["no-such-program-here"])]),
        echo("refuses", commands=None, execute_fn=refuse),
        echo("too-slow", commands=[UpdateCommand(["sleep", "60"])], timeout_seconds=1),
    ]
    plugin = create_step_plugin(steps)
    plugin.parallel_steps = True
    events = collect(plugin.execute_streaming())
    assert sorted(started(events)) == sorted(ends(events))
    assert len(started(events)) == len(set(started(events)))
    not_run = {event.step_name for event in events if isinstance(event, StepNotRunEvent)}
    assert not_run.isdisjoint(started(events))
    assert not_run | set(started(events)) == {step.name for step in steps}
    assert not completion(events).success


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["echo", "{nowhere}"], "the fact 'nowhere' is missing"),
        (["no-such-program-here"], "cannot run 'no-such-program-here'"),
        (["/no/such/program"], "cannot run '/no/such/program'"),
    ],
)
def test_a_command_that_cannot_start_fails_its_step_by_name(
    create_step_plugin: Create, collect: Collect, command: list[str], message: str
) -> None:
    steps = [echo("one", commands=[UpdateCommand(command)])]
    events = collect(create_step_plugin(steps).execute_streaming())
    assert message in str(ends(events)["one"].error_message)
    assert not completion(events).success
