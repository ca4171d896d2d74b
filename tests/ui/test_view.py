"""The reducer: what a printer reads after any series of events."""

from __future__ import annotations

from datetime import timedelta
from time import process_time

import pytest
from stories import BEGIN, START, end, output, plan, start, viewed, whole_run

from update_all.core.models import Change
from update_all.core.streaming import (
    CheckEvent,
    CompletionEvent,
    ProgressEvent,
    RunStartEvent,
    StepEndEvent,
    StepStartEvent,
    StepWaitEvent,
    StreamEvent,
)
from update_all.ui.view import TAIL_CHARACTERS, RunView, State, Tail


def failed(plugin: str, step: str) -> StepEndEvent:
    return StepEndEvent(plugin_name=plugin, step_name=step, success=False, exit_code=7)


def test_whole_run_is_folded() -> None:
    view = viewed(whole_run())
    assert {row.name: row.state for row in view.plugins.values()} == {
        "apt": State.DONE,
        "日本語ツール": State.DONE,
        "flatpak": State.WAITING,
        "go-runtime": State.RUNNING,
        "snap": State.SKIPPED,
        "rustup": State.DONE,
        "texlive": State.FAILED,
        "npm": State.UP_TO_DATE,
    }
    assert view.absent == {"pacman": "not on PATH"}
    assert [(failure.plugin, failure.step) for failure in view.failures] == [("texlive", "update")]
    assert view.failures[0].lines[1].startswith("tlmgr: Remote")
    assert len(view.plugins["apt"].changes) == 9
    assert view.interrupted
    assert view.elapsed(START + 9999) == 130


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([start("p", "a")], State.RUNNING),
        ([start("p", "a"), end("p", "a")], State.WAITING),
        ([start("p", "a"), failed("p", "a")], State.FAILED),
        ([StepWaitEvent(plugin_name="p", step_name="a", reason="r")], State.WAITING),
        ([start("p", "b"), StepWaitEvent(plugin_name="p", step_name="a")], State.RUNNING),
        ([CompletionEvent(plugin_name="p", success=True)], State.DONE),
        ([CompletionEvent(plugin_name="p", success=True, up_to_date=True)], State.UP_TO_DATE),
        ([CompletionEvent(plugin_name="p", error_message="no steps")], State.FAILED),
        ([start("p", "a"), CompletionEvent(plugin_name="p", interrupted=True)], State.BLOCKED),
        (
            [
                StepEndEvent(
                    plugin_name="p", step_name="a", success=False, skipped=True, reason="because of x"
                ),
                CompletionEvent(plugin_name="p"),
            ],
            State.BLOCKED,
        ),
        (
            [
                StepEndEvent(plugin_name="p", step_name="a", skipped=True, reason="done before"),
                CompletionEvent(plugin_name="p", success=True),
            ],
            State.SKIPPED,
        ),
        ([CheckEvent(plugin_name="p", status="cannot-know", reason="offline")], State.SKIPPED),
    ],
)
def test_state_of_a_plugin(events: list[StreamEvent], state: State) -> None:
    assert viewed(events).plugins["p"].state is state


def test_second_attempt_takes_the_failure_back() -> None:
    events = [start("p", "a"), failed("p", "a"), StepStartEvent(plugin_name="p", step_name="a", attempt=2)]
    view = viewed(events)
    assert view.plugins["p"].state is State.RUNNING
    assert view.failures == []
    assert view.plugins["p"].steps["a"].tail.last_line == ""


def test_resume_keeps_finished_steps_and_forgets_the_failure() -> None:
    planned = plan(("p", {"a": 1.0, "b": 2.0}))
    view = viewed([RunStartEvent(plugins=planned), start("p", "a", 1, 2), failed("p", "a")])
    view.apply(RunStartEvent(plugins=planned, resumed=True))
    assert view.plugins["p"].state is State.WAITING
    assert view.failures == []
    assert view.plugins["p"].steps["b"].usual_seconds == 2.0


def test_progress_never_goes_back() -> None:
    view = viewed([start("p", "a")])
    for done in (10, 40, 30):
        view.apply(ProgressEvent(plugin_name="p", step_name="a", bytes_downloaded=done, bytes_total=100))
    step = view.plugins["p"].steps["a"]
    assert (step.percent, step.bytes_done, step.bytes_total) == (40.0, 40, 100)


def test_output_without_step_name_goes_to_the_running_step() -> None:
    view = viewed([end("p", "a"), start("p", "b", 2, 2), output("p", "", "one\ntwo\n")])
    assert view.plugins["p"].steps["b"].tail.last_line == "two"


def test_parallel_steps_show_the_longest_running_one() -> None:
    late, early = start("p", "late", 1, 2), start("p", "early", 2, 2)
    late.timestamp, early.timestamp = BEGIN + timedelta(seconds=9), BEGIN
    view = viewed([late, early])
    current = view.plugins["p"].current
    assert current is not None
    assert current.name == "early"
    view.apply(end("p", "early"))
    assert view.plugins["p"].state is State.RUNNING


def test_changes_of_all_steps_are_collected() -> None:
    changes = [Change("a", "1", "2"), Change("b", "1", "2")]
    view = viewed([end("p", "x", 1.0, changes[0]), end("p", "y", 1.0, changes[1])])
    assert view.plugins["p"].changes == changes


def test_tail_keeps_the_end_in_bounded_memory() -> None:
    tail = Tail()
    for number in range(20_000):
        tail.append(f"line {number}")
    tail.append("x" * 10 * TAIL_CHARACTERS)
    tail.append("\nlast \x1b[31mline\n\n")
    assert tail.last_line == "last line"
    assert tail.lines[-1] == "last line"
    assert sum(map(len, tail.lines)) <= TAIL_CHARACTERS


def test_output_events_cost_little_however_large() -> None:
    """A chunk of a thousand lines costs no more than a few times what a chunk of one line does."""

    def seconds(text: str) -> float:
        view = RunView()
        view.apply(start("p", "a"))
        event = output("p", "a", text)
        begin = process_time()
        for _ in range(2000):
            view.apply(event)
        return process_time() - begin

    assert (
        min(seconds("line\n" * 1000) for _ in range(3)) < 10 * min(seconds("line") for _ in range(3)) + 0.01
    )
