"""What lies on the disk: every word of a state and of its records, to be read by every later update-all."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from state_documents import state_to

from update_all.core.models import StepExecutionState, StepResult
from update_all.core.state_json import state_from
from update_all.core.transitions import (
    Active,
    Outcome,
    PluginState,
    end_record,
    outcome_record,
    resume_record,
    start_record,
)

AT = "2026-01-02T03:04:05+00:00"
WRITTEN = """{"schema": 1, "plugin_name": "apt", "run_id": "r1", "outcome": "%s",
 "completed_steps": ["a"], "current_step": "b", "started_at": "2026-01-02T03:04:05+00:00",
 "last_updated": "2026-01-02T03:04:05+00:00", "fingerprint": "f", "step_fingerprints": {"a": "1"},
 "facts": {"version": "2"}, "active": {"b": {"attempt": 2, "commands": 3}}, "attempts": {"a": 1, "b": 2},
 "commands_done": {"b": [0, 1]}, "boot_id": "boot", "check": null, "versions_before": {"x": "1"},
 "fruitless_resumes": 4, "sequence": 9, "step_results": {}}"""


@pytest.mark.parametrize(
    ("word", "outcome"),
    [("unfinished", Outcome.UNFINISHED), ("complete", Outcome.COMPLETE), ("up-to-date", Outcome.UP_TO_DATE)],
)
def test_a_state_as_it_was_written(word: str, outcome: Outcome) -> None:
    state = PluginState(
        "r1",
        StepExecutionState(
            "apt", ["a"], "b", {}, datetime.fromisoformat(AT), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        ),
        fingerprint="f",
        step_fingerprints={"a": "1"},
        facts={"version": "2"},
        active={"b": Active(2, 3)},
        attempts={"a": 1, "b": 2},
        commands_done={"b": [0, 1]},
        boot_id="boot",
        outcome=outcome,
        versions_before={"x": "1"},
        fruitless_resumes=4,
        sequence=9,
        completed={"a"},
    )
    found = json.loads(WRITTEN % word)
    assert state_from(found) == state
    assert state_to(state) == found


def test_a_new_state_knows_nothing() -> None:
    fresh = PluginState("r", StepExecutionState("p"))
    assert (fresh.fingerprint, fresh.boot_id, fresh.fruitless_resumes, fresh.sequence) == ("", "", 0, 0)
    assert fresh.outcome is Outcome.UNFINISHED


def test_every_kind_of_record_as_it_was_written() -> None:
    """As a journal that a crash left holds them."""
    state = PluginState("r", StepExecutionState("p"))
    lines = [
        '{"n": 1, "at": "%s", "do": "start", "step": "a", "attempt": 1, "commands": 2}',
        '{"n": 2, "at": "%s", "do": "command", "step": "a", "index": 0}',
        '{"n": 3, "at": "%s", "do": "facts", "facts": {"x": "1"}}',
    ]
    for line in lines:
        state.apply(json.loads(line % AT))
        assert state.execution.last_updated == datetime.fromisoformat(AT)
    assert state.active == {"a": Active(1, 2)}
    assert state.commands_done == {"a": [0]}
    assert state.facts == {"x": "1"}
    resume = (
        '{"n": 4, "at": "%s", "do": "resume", "fruitless": 3, "boot_id": "b", "forget": [], "reopen": []}'
    )
    state.apply(json.loads(resume % AT))
    assert (state.fruitless_resumes, state.boot_id) == (3, "b")
    state.apply(json.loads(f'{{"n": 5, "at": "{AT}", "do": "outcome", "outcome": "up-to-date"}}'))
    assert (state.outcome, state.sequence) == (Outcome.UP_TO_DATE, 5)


def test_every_kind_of_record_as_it_is_written() -> None:
    assert start_record("a", 1, 2) == {"do": "start", "step": "a", "attempt": 1, "commands": 2}
    assert outcome_record(Outcome.COMPLETE) == {"do": "outcome", "outcome": "complete"}
    assert resume_record(1, "b", ["c"], ["d"]) == {
        "do": "resume", "fruitless": 1, "boot_id": "b", "forget": ["c"], "reopen": ["d"]
    }  # fmt: skip
    end = end_record(StepResult("a", success=True), {"x": "1"})
    assert (end["do"], end["facts"]) == ("end", {"x": "1"})
    assert "facts" not in end_record(StepResult("a", success=True))


def test_what_a_lost_state_did_not_tell_counts_from_its_own_number() -> None:
    state = PluginState("r", StepExecutionState("p"))
    state.note_unrecorded("a", 0, 1)
    assert state.attempts == {"a": 0}
    state.note_unrecorded("a", 2, 1)
    state.note_unrecorded("a", 1, 5)
    assert state.attempts == {"a": 2}
    assert state.active == {"a": Active(2, 1)}
