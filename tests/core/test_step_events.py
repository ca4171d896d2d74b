"""Events: the plan's table SE-001 … SE-004, and the JSON form of every class."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core import streaming
from update_all.core.models import Change
from update_all.core.streaming import (
    EVENT_CLASSES,
    EVENT_SCHEMA,
    CheckEvent,
    CompletionEvent,
    EventType,
    OutputEvent,
    PhaseEvent,
    PlannedPlugin,
    PlannedStep,
    ProgressEvent,
    RunStartEvent,
    StepEndEvent,
    StepStartEvent,
    StreamEvent,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec=None), max_size=20)
st.register_type_strategy(Change, st.builds(Change, TEXT, st.none() | TEXT, st.none() | TEXT))


def fields_of(cls: type) -> dict[str, Any]:
    """A strategy per field, from its type."""
    strategies: dict[str, Any] = {}
    for name, hint in get_type_hints(cls, vars(streaming)).items():
        if name == "event_type":
            continue
        if hint is datetime:
            strategies[name] = st.datetimes(timezones=st.just(UTC))
        elif hint is float or hint == float | None:
            strategies[name] = FINITE if hint is float else st.none() | FINITE
        elif hint is str or hint == str | None:
            strategies[name] = TEXT if hint is str else st.none() | TEXT
        elif hint == tuple[PlannedStep, ...]:
            strategies[name] = tuples_of(PlannedStep)
        elif hint == tuple[PlannedPlugin, ...]:
            strategies[name] = tuples_of(PlannedPlugin)
        else:
            strategies[name] = st.from_type(hint)
    return strategies


def tuples_of(cls: type) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.builds(cls, **fields_of(cls)), max_size=2).map(tuple)


def events() -> st.SearchStrategy[StreamEvent]:
    made: list[st.SearchStrategy[StreamEvent]] = [
        st.builds(cls, event_type=st.just(EventType(kind)), **fields_of(cls))
        for kind, cls in EVENT_CLASSES.items()
    ]
    return st.one_of(made)


def test_step_start_event() -> None:
    """SE-001."""
    event = StepStartEvent(
        plugin_name="go", step_name="download", step_number=2, total_steps=5, step_description="Download Go"
    )
    assert event.event_type is EventType.STEP_START
    assert (event.step_name, event.step_number, event.total_steps) == ("download", 2, 5)
    assert event.step_description == "Download Go"
    assert event.timestamp.tzinfo is not None


def test_step_end_event_success() -> None:
    """SE-002."""
    event = StepEndEvent(plugin_name="go", step_name="download", success=True, duration_seconds=1.5)
    assert event.event_type is EventType.STEP_END
    assert event.success
    assert not event.skipped
    assert event.error_message is None
    assert event.duration_seconds == 1.5


def test_step_end_event_skipped() -> None:
    """SE-003."""
    event = StepEndEvent(plugin_name="go", step_name="download", skipped=True)
    assert event.success
    assert event.skipped


def test_step_end_event_failure() -> None:
    """SE-004."""
    event = StepEndEvent(plugin_name="go", step_name="install", success=False, error_message="tar failed")
    assert not event.success
    assert event.error_message == "tar failed"


def test_every_kind_of_event_has_its_class_and_its_own_default() -> None:
    assert set(EVENT_CLASSES) == {kind.value for kind in EventType}
    for kind, cls in EVENT_CLASSES.items():
        default = cls().event_type
        assert default == kind or (cls is PhaseEvent and kind == EventType.PHASE_END)


@pytest.mark.parametrize("kind", sorted(EVENT_CLASSES))
def test_the_default_event_of_every_class_round_trips(kind: str) -> None:
    event = EVENT_CLASSES[kind](event_type=EventType(kind))
    again = StreamEvent.from_dict(json.loads(json.dumps(event.to_dict())))
    assert type(again) is EVENT_CLASSES[kind]
    assert again == event


@given(events())
def test_every_event_round_trips_through_json(event: StreamEvent) -> None:
    data = event.to_dict()
    assert data["v"] == EVENT_SCHEMA
    assert StreamEvent.from_dict(json.loads(json.dumps(data))) == event


@given(events(), st.dictionaries(st.text(min_size=1).map("x_".__add__), st.integers(), max_size=3))
def test_fields_of_a_newer_writer_are_ignored(event: StreamEvent, more: dict[str, int]) -> None:
    assert StreamEvent.from_dict({**event.to_dict(), **more}) == event


def test_nested_values_come_back_as_themselves() -> None:
    step = PlannedStep("install", mutexes=("dpkg",), expected_seconds=3.5, depends_on=("download",))
    event = RunStartEvent(run_id="r", plugins=(PlannedPlugin("apt", (step,), ("go",)),))
    again = StreamEvent.from_dict(event.to_dict())
    assert isinstance(again, RunStartEvent)
    assert again.plugins[0].steps[0] == step
    check = StreamEvent.from_dict(CheckEvent(updates=(Change("a", "1", "2", 10, True),)).to_dict())
    assert isinstance(check, CheckEvent)
    assert check.updates == (Change("a", "1", "2", 10, True),)


def broken() -> Iterable[tuple[dict[str, Any], str]]:
    completion = CompletionEvent(changes=(Change("a", "1", "2"),)).to_dict()
    start = RunStartEvent(plugins=(PlannedPlugin("apt", (PlannedStep("s"),)),)).to_dict()
    yield {**completion, "v": 2}, "schema version must be 1, got 2"
    yield {**completion, "v": None}, "schema version"
    yield {**completion, "event_type": "nonsense"}, "unknown event_type 'nonsense'"
    yield {**completion, "event_type": None}, "unknown event_type None"
    yield {**completion, "event_type": ["output"]}, "unknown event_type"
    yield {**completion, "success": 1}, "success must be bool"
    yield {**completion, "exit_code": True}, "exit_code must be int"
    yield {**completion, "exit_code": "0"}, "exit_code must be int"
    yield {**completion, "plugin_name": None}, "plugin_name must be str"
    yield {**completion, "timestamp": "yesterday"}, "timestamp"
    yield {**completion, "timestamp": 5}, "timestamp"
    yield {**completion, "changes": {}}, "changes: must be a list"
    yield {**completion, "changes": ["a"]}, "changes: must hold objects"
    yield {**completion, "changes": [{}]}, "changes"
    yield {**completion, "changes": [{"item": 1}]}, "item must be str"
    yield {**start, "plugins": [{"name": "apt", "dependencies": [1]}]}, "must hold strings"
    yield {**start, "plugins": [{"name": "apt", "steps": "s"}]}, "must be a list"
    yield {**ProgressEvent().to_dict(), "phase": "lunch"}, "phase"
    yield {**ProgressEvent().to_dict(), "percent": "half"}, "percent must be float"


@pytest.mark.parametrize(("data", "message"), list(broken()))
def test_a_broken_event_is_refused_with_the_field(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamEvent.from_dict(data)


@given(
    st.dictionaries(
        st.sampled_from(["v", "event_type", "line", "changes", "timestamp", "plugins", "phase"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["output", "run_start", "a"]),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
        ),
    )
)
def test_whatever_an_object_holds_it_is_an_event_or_a_value_error(data: dict[str, Any]) -> None:
    try:
        event = StreamEvent.from_dict({"v": EVENT_SCHEMA, **data})
    except ValueError:
        return
    assert type(event) in EVENT_CLASSES.values()


def test_an_event_that_json_cannot_hold_is_refused() -> None:
    event = OutputEvent()
    event.line = b"bytes"  # type: ignore[assignment]
    with pytest.raises(TypeError, match="cannot hold"):
        event.to_dict()


@pytest.mark.parametrize(("text", "lines"), [("", [""]), ("a", ["a"]), ("a\nb", ["a", "b"])])
def test_an_output_event_holds_lines(text: str, lines: list[str]) -> None:
    assert OutputEvent(line=text).lines == lines
