"""The trace: what Perfetto asks of the format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from stories import BEGIN, end, hostile_run, start, whole_run

from update_all.core.streaming import RunStartEvent, StepWaitEvent, StreamEvent
from update_all.ui.trace import WAITS_PROCESS, trace


def events_of(document: object) -> list[dict[str, Any]]:
    found = json.loads(json.dumps(document))["traceEvents"]
    assert isinstance(found, list)
    return found


def check(story: Sequence[StreamEvent]) -> list[dict[str, Any]]:
    found = events_of(trace(story))
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for event in found:
        assert {"ph", "pid", "tid", "ts", "name"} <= set(event)
        assert isinstance(event["ts"], int)
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
            tracks.setdefault((event["pid"], event["tid"]), []).append(
                (event["ts"], event["ts"] + event["dur"])
            )
    for track in tracks.values():
        assert all(one[1] <= two[0] for one, two in pairwise(sorted(track)))
    named = {(event["pid"], event["tid"]) for event in found if event["name"] == "thread_name"}
    assert set(tracks) <= named
    return found


def test_every_step_and_wait_is_there_with_its_times() -> None:
    found = check(whole_run())
    complete = {event["name"]: event for event in found if event["ph"] == "X"}
    assert complete["apt:refresh"]["ts"] == 100_000
    assert complete["apt:refresh"]["dur"] == 4_900_000
    assert complete["texlive:update"]["args"]["exit_code"] == 1
    waits = [event for event in found if event["ph"] == "X" and event["pid"] == WAITS_PROCESS]
    assert [(event["name"], event["args"]["mutex"]) for event in waits] == [("snap:refresh", "network")]


def test_hostile_names_stay_text() -> None:
    found = check(hostile_run())
    text = json.dumps(found, ensure_ascii=False)
    assert not any(character in text for character in "\x1b\x07\u202e\u200b\x9b\x00")


def test_no_events_make_an_empty_trace() -> None:
    assert [event["ph"] for event in check([])] == ["M", "M"]


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 50), st.floats(0, 9), st.floats(0, 9)), max_size=12
)


@settings(deadline=None)
@given(STEPS)
def test_no_story_makes_spans_overlap(steps: list[tuple[str, float, float, float]]) -> None:
    timed: list[tuple[float, StreamEvent]] = [(0.0, RunStartEvent())]
    for number, (plugin, at, waits, runs) in enumerate(steps):
        step = f"s{number}"
        timed.append((at, StepWaitEvent(plugin_name=plugin, step_name=step, reason="r")))
        timed.append((at + waits, start(plugin, step)))
        timed.append((at + waits + runs, end(plugin, step)))
    timed.sort(key=lambda item: item[0])
    for seconds, event in timed:
        event.timestamp = BEGIN + timedelta(seconds=seconds)
    found = check([event for _, event in timed])
    assert sum(event["ph"] == "X" for event in found) == 2 * len(steps)
