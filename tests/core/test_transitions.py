"""The state as the fold of its records, against a naive model; and its JSON form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_documents import state_to

from update_all.core.json_reading import loads
from update_all.core.models import CheckResult, Facts, StepExecutionState, StepResult
from update_all.core.state_json import NewerSchemaError, state_from
from update_all.core.transitions import (
    Active,
    Outcome,
    PluginState,
    Record,
    assumed_record,
    command_record,
    end_record,
    outcome_record,
    resume_record,
    start_record,
)

STEPS = ("a", "b", "c", "d")
NOW = "2026-11-23T02:00:00+00:00"


def fresh() -> PluginState:
    return PluginState(run_id="r", execution=StepExecutionState("demo"))


def fold(*records: Record, state: PluginState | None = None) -> PluginState:
    state = state or fresh()
    for record in records:
        state.apply({"n": state.sequence + 1, "at": NOW, **record})
    return state


def ended(step: str, success: bool = True, facts: Facts | None = None) -> Record:
    return end_record(StepResult(step, success=success), facts)


def test_the_life_of_a_step() -> None:
    state = fold(start_record("a", 1, 2))
    assert state.active == {"a": Active(1, 2)}
    assert (state.execution.current_step, state.execution.completed_steps) == ("a", [])
    assert state.execution.started_at is not None
    fold(command_record("a", 0), command_record("a", 1), state=state)
    assert state.commands_done == {"a": [0, 1]}
    fold(ended("a", facts={"version": "1"}), state=state)
    assert (state.active, state.commands_done, state.facts) == ({}, {}, {"version": "1"})
    assert (state.execution.current_step, state.execution.completed_steps) == (None, ["a"])
    assert state.sequence == 4


def test_a_failed_step_is_not_completed_and_keeps_the_commands_that_succeeded() -> None:
    state = fold(start_record("a", 1, 2), command_record("a", 1), ended("a", success=False))
    assert state.execution.completed_steps == []
    assert state.commands_done == {"a": [1]}
    assert not state.execution.step_results["a"].success
    assert state.active == {}


def test_the_current_step_is_one_that_is_in_flight() -> None:
    state = fold(start_record("a", 1, 1), start_record("b", 1, 1), start_record("c", 1, 1), ended("c"))
    assert state.execution.current_step == "b"
    fold(ended("a"), state=state)
    assert state.execution.current_step == "b"
    fold(ended("b"), state=state)
    assert state.execution.current_step is None


def test_an_end_without_facts_keeps_those_that_are_known() -> None:
    state = fold(ended("a", facts={"version": "1"}), ended("b"))
    assert state.facts == {"version": "1"}


def test_progress_ends_the_count_of_fruitless_resumes() -> None:
    state = fold(resume_record(3, "boot", [], []), ended("a", success=False))
    assert state.fruitless_resumes == 3
    fold(ended("b"), state=state)
    assert state.fruitless_resumes == 0


def test_a_forgotten_step_leaves_only_its_attempts() -> None:
    state = fold(start_record("a", 2, 1), command_record("a", 0), start_record("b", 1, 1), ended("b"))
    fold(resume_record(1, "boot", ["a", "b"], []), state=state)
    assert (state.active, state.commands_done, state.completed) == ({}, {}, set())
    assert (state.execution.completed_steps, state.execution.step_results) == ([], {})
    assert state.execution.current_step is None
    assert state.attempts == {"a": 2, "b": 1}


def test_a_reopened_step_is_not_done_any_more_but_known_to_have_run() -> None:
    state = fold(start_record("a", 1, 2), command_record("a", 0), ended("a", success=False), ended("b"))
    fold(resume_record(1, "boot", [], ["a", "b"]), state=state)
    assert (state.completed, state.execution.completed_steps, state.commands_done) == (set(), [], {})
    assert set(state.execution.step_results) == {"a", "b"}


def test_a_step_that_is_assumed_done_is_done_and_skipped() -> None:
    state = fold(start_record("a", 1, 1), assumed_record("a"))
    assert state.execution.completed_steps == ["a"]
    assert state.execution.step_results["a"].skipped
    assert state.active == {}


@pytest.mark.parametrize(
    ("known", "noted", "expected"),
    [
        (None, (1, 1), Active(1, 1)),
        (Active(1, 2), (1, 1), Active(1, 2)),
        (Active(1, 1), (1, 3), Active(1, 3)),
        (Active(1, 4), (2, 1), Active(2, 1)),
        (Active(2, 1), (1, 5), Active(2, 1)),
    ],
)
def test_what_files_tell_adds_to_a_lost_state(
    known: Active | None, noted: tuple[int, int], expected: Active
) -> None:
    state = fresh()
    if known is not None:
        state.active["a"], state.attempts["a"] = known, known.attempt
    state.note_unrecorded("a", *noted)
    assert state.active == {"a": expected}
    assert state.attempts["a"] == expected.attempt


BROKEN_RECORDS: list[dict[str, Any]] = [
    {},
    {"do": "start"},
    {"do": "sing"},
    {"do": "start", "step": "a", "attempt": "1", "commands": 1},
    {"do": "start", "step": 5, "attempt": 1, "commands": 1},
    {"do": "command", "step": "a"},
    {"do": "end"},
    {"do": "end", "result": {"step_name": "a"}},
    {"do": "end", "result": {"step_name": "a", "success": "yes"}},
    {"do": "facts", "facts": []},
    {"do": "outcome", "outcome": "splendid"},
    {"do": "resume", "fruitless": 1, "boot_id": "b", "forget": [1]},
    {"do": "start", "step": "a", "attempt": 1, "commands": 1, "at": "noon"},
]


@pytest.mark.parametrize("record", BROKEN_RECORDS)
def test_a_record_that_cannot_be_read_is_a_value_error(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"record|splendid|result"):
        fold(record)


@dataclass
class Model:
    """The rules of a plugin's state in the plainest words."""

    completed: list[str] = field(default_factory=list)
    flying: dict[str, int] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    commands: dict[str, set[int]] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        step = str(record.get("step", ""))
        if record["do"] == "start":
            self.flying[step] = int(str(record["attempt"]))
        elif record["do"] == "command":
            self.commands.setdefault(step, set()).add(int(str(record["index"])))
        elif record["do"] == "end":
            self._end(record["result"])
        elif record["do"] == "resume":
            self._resume(record)

    def _end(self, result: Any) -> None:
        step = result["step_name"]
        self.flying.pop(step, None)
        self.known.add(step)
        if result["success"]:
            self.commands.pop(step, None)
            if step not in self.completed:
                self.completed.append(step)

    def _resume(self, record: Any) -> None:
        for step in (*record["forget"], *record["reopen"]):
            self.commands.pop(step, None)
            self.flying.pop(step, None)
            if step in self.completed:
                self.completed.remove(step)
        self.known -= set(record["forget"])


steps = st.sampled_from(STEPS)
names = st.lists(steps, max_size=2, unique=True)
records = st.one_of(
    st.builds(start_record, steps, st.integers(1, 4), st.integers(0, 3)),
    st.builds(command_record, steps, st.integers(0, 3)),
    st.builds(ended, steps, st.booleans(), st.none() | st.just({"version": "1"})),
    st.builds(assumed_record, steps),
    st.builds(outcome_record, st.sampled_from(Outcome)),
    st.builds(resume_record, st.integers(0, 9), st.just("boot"), names, names),
)


@given(st.lists(records, max_size=25))
def test_any_history_folds_as_the_rules_say_and_round_trips(history: list[Record]) -> None:
    state, model = fresh(), Model()
    for record in history:
        fold(record, state=state)
        model.apply(record)
        assert state.execution.completed_steps == model.completed
        assert state.completed == set(model.completed)
        assert {step: item.attempt for step, item in state.active.items()} == model.flying
        assert set(state.execution.step_results) == model.known
        assert {step: set(done) for step, done in state.commands_done.items()} == model.commands
        current = state.execution.current_step
        assert (current in state.active) if state.active else (current is None)
    again = state_from(loads(json.dumps(state_to(state)).encode()))
    assert again == state


@given(st.lists(records, max_size=12), st.lists(records, max_size=12))
def test_a_saved_state_goes_on_like_the_one_that_was_not_saved(
    before: list[Record], after: list[Record]
) -> None:
    state = fold(*before)
    saved = state_from(loads(json.dumps(state_to(state)).encode()))
    assert fold(*after, state=saved) == fold(*after, state=state)


def test_every_part_of_a_state_round_trips() -> None:
    state = fold(
        start_record("a", 1, 2), ended("a", facts={"deep": {"list": [1, 2.5, None]}}), start_record("b", 2, 3)
    )
    state.check = CheckResult.cannot_know("why", runnable=True)
    state.versions_before = {"go": "1.25"}
    state.step_fingerprints = {"a": "f"}
    state.fingerprint, state.boot_id, state.outcome = "plan", "boot", Outcome.COMPLETE
    assert state_from(state_to(state)) == state


BROKEN_STATES: list[tuple[dict[str, Any], str]] = [
    ({"schema": 0}, "schema"),
    ({"schema": "1"}, "schema"),
    ({"schema": True}, "schema"),
    ({"plugin_name": None}, "plugin_name"),
    ({"run_id": 5}, "run_id"),
    ({"outcome": "splendid"}, "splendid"),
    ({"completed_steps": "a"}, "completed_steps"),
    ({"completed_steps": [1]}, "completed_steps"),
    ({"current_step": 1}, "current_step"),
    ({"started_at": "noon"}, "started_at"),
    ({"facts": []}, "facts"),
    ({"active": {"a": 1}}, "active.a"),
    ({"active": {"a": {"attempt": 1}}}, "active.a.commands"),
    ({"attempts": {"a": 1.5}}, "attempts.a"),
    ({"commands_done": {"a": 1}}, "commands_done.a"),
    ({"commands_done": {"a": ["1"]}}, "commands_done.a"),
    ({"boot_id": None}, "boot_id"),
    ({"check": {"status": "fine", "reason": "", "runnable": True}}, "fine"),
    ({"check": []}, "state.check"),
    ({"versions_before": {"a": 1}}, "versions_before.a"),
    ({"fruitless_resumes": None}, "fruitless_resumes"),
    ({"sequence": "x"}, "sequence"),
    ({"step_results": {"a": {}}}, "step_results.a.step_name"),
    ({"step_fingerprints": {"a": 1}}, "step_fingerprints.a"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN_STATES)
def test_a_wrong_field_of_a_state_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        state_from({**state_to(fresh()), **change})


def test_a_newer_schema_is_told_apart_from_damage() -> None:
    with pytest.raises(NewerSchemaError, match="state schema 99 is newer than 1"):
        state_from({**state_to(fresh()), "schema": 99})
