"""Spans, waits and parts of a run, and the tracks on which they do not overlap."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from stories import BEGIN, end, plan, start, whole_run

from update_all.core.streaming import (
    OutputEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepWaitEvent,
    StreamEvent,
)
from update_all.ui.timeline import Part, Span, curve, parts_of, slots
from update_all.ui.view import State


def parts(*timed: tuple[float, StreamEvent]) -> list[Part]:
    for seconds, event in timed:
        event.timestamp = BEGIN + timedelta(seconds=seconds)
    return parts_of([event for _, event in timed])


def test_a_wait_ends_when_its_step_starts() -> None:
    (part,) = parts(
        (0, RunStartEvent(plugins=plan(("apt", {"install": None})))),
        (1, StepWaitEvent(plugin_name="apt", step_name="install", mutex="dpkg", holder="snap")),
        (4, start("apt", "install")),
        (9, end("apt", "install", 5.0)),
        (9, RunEndEvent()),
    )
    assert [(wait.seconds, wait.mutex, wait.holder) for wait in part.waits] == [(3.0, "dpkg", "snap")]
    assert [(span.seconds, span.state) for span in part.spans] == [(5.0, State.DONE)]


def test_a_wait_inside_a_step_ends_with_its_first_output() -> None:
    (part,) = parts(
        (0, RunStartEvent()),
        (1, start("apt", "install")),
        (1, StepWaitEvent(plugin_name="apt", step_name="install", reason="another run")),
        (3, OutputEvent(plugin_name="apt", step_name="install", line="x")),
        (4, end("apt", "install")),
    )
    assert [wait.seconds for wait in part.waits] == [2.0]


def test_a_wait_for_something_else_is_a_wait_of_its_own() -> None:
    (part,) = parts(
        (0, RunStartEvent()),
        (1, StepWaitEvent(plugin_name="a", step_name="s", mutex="one")),
        (2, StepWaitEvent(plugin_name="a", step_name="s", mutex="two")),
        (5, StepNotRunEvent(plugin_name="a", step_name="s")),
    )
    assert [(wait.mutex, wait.seconds) for wait in part.waits] == [("one", 1.0), ("two", 3.0)]
    assert part.spans == []


def test_a_killed_run_and_its_resume_are_two_parts() -> None:
    first, second = parts(
        (0, RunStartEvent(jobs=2)),
        (1, start("apt", "install")),
        (6, OutputEvent(plugin_name="apt", step_name="install", line="x")),
        (86400, RunStartEvent(resumed=True)),
        (86401, start("apt", "install")),
        (86403, end("apt", "install")),
        (86403, RunEndEvent()),
    )
    assert (first.seconds, first.jobs, second.seconds, second.resumed) == (6.0, 2, 3.0, True)
    assert [(span.state, span.seconds) for span in first.spans] == [(State.RUNNING, 5.0)]
    assert [(span.state, span.seconds) for span in second.spans] == [(State.DONE, 2.0)]


def test_outcomes_and_mutexes_reach_the_span() -> None:
    (part,) = parts(
        (0, RunStartEvent(plugins=plan(("a", {"x": None, "y": None, "z": None})))),
        (0, start("a", "x")),
        (1, StepEndEvent(plugin_name="a", step_name="x", skipped=True, reason="is done")),
        (1, start("a", "y")),
        (2, StepEndEvent(plugin_name="a", step_name="y", success=False, error_message="broke", exit_code=7)),
        (2, StepEndEvent(plugin_name="a", step_name="z", success=False, skipped=True)),
    )
    assert [(span.step, span.state, span.note) for span in part.spans] == [
        ("x", State.SKIPPED, "is done"),
        ("y", State.FAILED, "broke"),
    ]
    assert part.spans[1].exit_code == 7


def test_a_clock_that_goes_back_makes_no_negative_span() -> None:
    (part,) = parts(
        (0, RunStartEvent()),
        (100, start("a", "x")),
        (50, end("a", "x")),
        (60, StepWaitEvent(plugin_name="a", step_name="y", reason="r")),
        (40, start("a", "y")),
        (10, end("a", "y")),
    )
    assert all(span.seconds >= 0 for span in part.spans)
    assert all(wait.seconds >= 0 for wait in part.waits)


def test_events_before_the_run_starts_are_no_part() -> None:
    assert parts((0, OutputEvent(plugin_name="a", line="x"))) == []


MOMENTS = st.floats(0, 1000, allow_nan=False)
SPANS = st.lists(
    st.tuples(MOMENTS, MOMENTS).map(lambda two: Span("p", "s", min(two), max(two), State.DONE)), max_size=40
)


@given(SPANS)
def test_spans_on_one_track_never_overlap(spans: list[Span]) -> None:
    tracks: dict[int, list[Span]] = {}
    for span, slot in zip(spans, slots(spans), strict=True):
        tracks.setdefault(slot, []).append(span)
    for track in tracks.values():
        track.sort(key=lambda span: (span.begin, span.end))
        assert all(one.end <= two.begin for one, two in pairwise(track))
    most = max((number for _, number in curve(spans)), default=0)
    zero = sum(span.seconds == 0 for span in spans)
    assert most <= len(tracks) <= most + zero


@given(SPANS)
def test_the_curve_counts_the_spans_and_ends_at_none(spans: list[Span]) -> None:
    found = curve(spans)
    assert [moment for moment, _ in found] == sorted({moment for moment, _ in found})
    assert not found or found[-1][1] == 0
    for moment, number in found:
        assert number == sum(span.begin <= moment < span.end for span in spans)


def test_the_story_has_its_wait() -> None:
    (part,) = parts_of(whole_run())
    assert [(wait.plugin, wait.mutex) for wait in part.waits] == [("snap", "network")]
    assert {span.plugin for span in part.spans} >= {"apt", "rustup", "texlive"}
