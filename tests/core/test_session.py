"""Opening a run: what is kept, what is refused, and what is put together again from the files of a run."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from update_all.core.errors import BusyError, NeedsDecisionError, UsageError
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.orchestration import RunResult, RunSettings
from update_all.core.planning import PluginPlan, plan_plugin
from update_all.core.recovery import PluginRecovery
from update_all.core.rights import Rights
from update_all.core.session import (
    ResumeOptions,
    RunNote,
    Session,
    new_run_id,
    prune_runs,
    run_ids,
)
from update_all.core.state import StateStore
from update_all.core.streaming import OutputEvent, StepStartEvent, StreamEvent, WarningEvent
from update_all.core.transitions import Outcome, Verdict, end_record, start_record
from update_all.plugins.base import BasePlugin

FIRST, SECOND, THIRD = "20260101-000000-aaaaaa", "20260102-000000-bbbbbb", "20260103-000000-cccccc"
Planned = Callable[..., PluginPlan]


def step(name: str, *depends_on: str, argv: tuple[str, ...] = ("true",), **fields: Any) -> UpdateStep:
    return UpdateStep(name, name, [UpdateCommand(list(argv))], depends_on=list(depends_on), **fields)


@pytest.fixture
def planned(plugin_of: Callable[..., BasePlugin]) -> Planned:
    def made(*steps: UpdateStep, name: str = "demo") -> PluginPlan:
        return plan_plugin(plugin_of(steps, name=name), steps)

    return made


def carry_out(
    session: Session, plan: PluginPlan, recovery: PluginRecovery
) -> tuple[RunResult, list[StreamEvent]]:
    events: list[StreamEvent] = []
    result = asyncio.run(
        session.run(
            [plan],
            {plan.name: recovery},
            privileges=Rights.find(may_ask=False),
            settings=RunSettings(),
            sink=events.append,
        )
    )
    return result, events


def started(events: list[StreamEvent]) -> list[str]:
    return [event.step_name for event in events if isinstance(event, StepStartEvent)]


def test_a_failed_run_goes_on_where_it_stopped(tmp_path: Path, planned: Planned) -> None:
    gate = tmp_path / "gate"
    plan = planned(step("a"), step("b", argv=("test", "-e", str(gate))), step("c"))
    with Session(tmp_path, FIRST) as session:
        assert carry_out(session, plan, session.start_afresh(plan))[0].exit_code == 1
    gate.touch()
    with Session(tmp_path, FIRST, resumed=True) as session:
        state = session.load("demo")
        assert state is not None
        result, events = carry_out(session, plan, session.go_on(plan, state, ResumeOptions()))
    assert result.exit_code == 0
    assert started(events) == ["b", "c"]
    found = StateStore(tmp_path).load("demo").state
    assert found is not None
    assert found.outcome is Outcome.COMPLETE


def test_a_redone_step_that_fails_is_not_done_any_more(tmp_path: Path, planned: Planned) -> None:
    """`--redo a`, which now fails; the next resume must not take it for done."""
    gate = tmp_path / "gate"
    gate.touch()
    plan = planned(step("a", argv=("test", "-e", str(gate))), step("b", argv=("false",)))
    with Session(tmp_path, FIRST) as session:
        carry_out(session, plan, session.start_afresh(plan))
    gate.unlink()
    for options in (ResumeOptions(redo=frozenset({"a"})), ResumeOptions()):
        with Session(tmp_path, FIRST, resumed=True) as session:
            state = session.load("demo")
            assert state is not None
            _, events = carry_out(session, plan, session.go_on(plan, state, options))
        assert started(events) == ["a"]


def test_one_process_at_a_time_has_a_plugin(tmp_path: Path, planned: Planned) -> None:
    plan = planned(step("a"))
    with Session(tmp_path, FIRST) as session:
        session.start_afresh(plan)
        session.lock("demo")
        with Session(tmp_path, SECOND) as other:
            for attempt in (other.start_afresh, lambda plan: other.load(plan.name)):
                with pytest.raises(BusyError, match=f"demo is running already: pid {os.getpid()}"):
                    attempt(plan)
    with Session(tmp_path, SECOND) as other:
        other.start_afresh(plan)


def test_starting_at_a_step_keeps_facts_and_needs_its_dependencies(tmp_path: Path, planned: Planned) -> None:
    plan = planned(step("find"), step("fetch", "find"), step("install", "fetch"), step("clean"))
    with Session(tmp_path, FIRST) as session:
        session.start_afresh(plan)
        session.store.record("demo", start_record("find", 1, 1))
        result = end_record(_success("find"), {"version": "1.26"})
        session.store.record("demo", result)
        session.store.commit()
    with Session(tmp_path, SECOND) as session:
        state = session.load("demo")
        with pytest.raises(UsageError, match="demo: install needs fetch, which is not done") as caught:
            session.start_at(plan, state, ResumeOptions(from_step="install"))
        assert caught.value.hint == "start at fetch, or add --force"
        with pytest.raises(UsageError, match="there is no step 'instal' of demo") as caught:
            session.start_at(plan, state, ResumeOptions(from_step="instal"))
        assert caught.value.hint == "did you mean install?"
        recovery = session.start_at(plan, state, ResumeOptions(from_step="fetch"))
        assert recovery.done == {"find"}
        assert plan.plugin.facts == {"version": "1.26"}
    with Session(tmp_path, THIRD) as session:
        forced = ResumeOptions(from_step="install", force=True)
        assert session.start_at(plan, session.load("demo"), forced).done == {"find", "fetch"}


def _success(name: str) -> Any:
    from update_all.core.models import StepResult

    return StepResult(name, success=True)


def test_naming_a_step_is_the_decision_to_repeat_it_but_no_other(tmp_path: Path, planned: Planned) -> None:
    plan = planned(step("a", idempotent=False), step("b", idempotent=False))
    with Session(tmp_path, FIRST) as session:
        session.start_afresh(plan)
        session.store.record("demo", start_record("b", 1, 1))
        session.store.commit()
        (session.directory / "demo:b:1:0.out").touch(0o600)
    with Session(tmp_path, SECOND) as session:
        state = session.load("demo")
        with pytest.raises(NeedsDecisionError, match="demo: b may or may not have happened"):
            session.start_at(plan, state, ResumeOptions(from_step="a"))
        assert session.start_at(plan, state, ResumeOptions(from_step="b")).done == {"a"}


def work_of(name: str, ledger: Path) -> UpdateStep:
    async def work() -> AsyncIterator[StreamEvent]:
        with ledger.open("a") as file:
            file.write(f"{name}\n")
        yield OutputEvent(line=name)

    return UpdateStep(name, name, execute_fn=work, idempotent=False)


@pytest.mark.parametrize("lose", ["the newest", "both"])
def test_a_lost_state_is_put_together_from_the_files_of_the_run(
    tmp_path: Path, planned: Planned, lose: str
) -> None:
    """Its records, raw output and events tell what was started: nothing of it is silently repeated."""
    plan = planned(
        step("known", idempotent=False), step("ended", idempotent=False), step("open", idempotent=False)
    )
    function = planned(work_of("function", tmp_path / "ledger"), name="other")
    for item in (plan, function):
        with Session(tmp_path, FIRST) as session:
            session.start_afresh(item)
            session.store.record(item.name, start_record(item.steps[0].name, 1, 1))
            session.store.commit()
    run = tmp_path / "runs" / FIRST
    (run / "exits-1.jsonl").write_text(
        "".join(json.dumps({"key": f"demo:{name}:1:0", "code": 0}) + "\n" for name in ("known", "ended"))
    )
    (run / "demo:open:1:0.out").touch(0o600)
    (run / "demo:strange.out").touch(0o600)
    event = StepStartEvent(plugin_name="other", step_name="function")
    (run / "events.jsonl").write_text(json.dumps(event.to_dict()) + "\n")
    for name in ("demo", "other"):
        path = tmp_path / "steps" / f"{name}.json"
        path.write_text("{")
        if lose == "both":
            path.with_name(path.name + ".prev").write_text("{")

    with Session(tmp_path, FIRST, resumed=True) as session:
        state = session.load("demo")
        assert state is not None
        assert state.run_id == FIRST
        recovery = session.go_on(plan, state, ResumeOptions())
        verdicts = {name: found.verdict for name, found in recovery.steps.items()}
        assert verdicts == {"known": Verdict.ADOPT, "ended": Verdict.ADOPT, "open": Verdict.ASK}
        assert any("is damaged" in warning for warning in session.warnings)
        _, events = carry_out(session, plan, recovery)
        assert any("is damaged" in event.message for event in events if isinstance(event, WarningEvent))
    with Session(tmp_path, SECOND) as session, pytest.raises(NeedsDecisionError, match="other: function may"):
        session.start_afresh(function)
    assert not (tmp_path / "ledger").exists()


def test_a_lost_state_of_a_newer_run_is_not_mistaken_for_the_older_one(
    tmp_path: Path, planned: Planned
) -> None:
    """The file before is that of a run that ended well; the files of the newer run say that it did not."""
    plan = planned(step("a", idempotent=False))
    with Session(tmp_path, FIRST) as session:
        assert carry_out(session, plan, session.start_afresh(plan))[0].exit_code == 0
    with Session(tmp_path, SECOND) as session:
        session.start_afresh(plan)
        (session.directory / "demo:a:1:0.out").touch(0o600)
    (tmp_path / "steps" / "demo.json").write_text("{")
    with Session(tmp_path, THIRD) as session, pytest.raises(NeedsDecisionError):
        session.start_afresh(plan)


def test_what_the_plan_has_changed_is_said(tmp_path: Path, planned: Planned) -> None:
    old = planned(step("a", argv=("false",)), step("gone"))
    with Session(tmp_path, FIRST) as session:
        carry_out(session, old, session.start_afresh(old))
    new = planned(step("a"), step("added"))
    with Session(tmp_path, FIRST, resumed=True) as session:
        state = session.load("demo")
        assert state is not None
        result, events = carry_out(session, new, session.go_on(new, state, ResumeOptions()))
    assert result.exit_code == 0
    [warning] = [event.message for event in events if isinstance(event, WarningEvent)]
    assert warning == "the plan of demo has changed: gone: gone; changed: a; new: added"


def test_a_changed_step_that_is_assumed_done_is_durably_done(tmp_path: Path, planned: Planned) -> None:
    old, new = planned(step("a"), step("b", argv=("false",))), planned(step("a", "b"), step("b"))
    with Session(tmp_path, FIRST) as session:
        carry_out(session, old, session.start_afresh(old))
    with Session(tmp_path, FIRST, resumed=True) as session:
        state = session.load("demo")
        assert state is not None
        recovery = session.go_on(new, state, ResumeOptions(assume_done=frozenset({"a"})))
        assert recovery.done == {"a"}
    found = StateStore(tmp_path).load("demo").state
    assert found is not None
    assert found.completed == {"a"}


def test_a_new_run_counts_on_so_that_older_records_are_known(tmp_path: Path, planned: Planned) -> None:
    plan = planned(step("a"))
    with Session(tmp_path, FIRST) as session:
        carry_out(session, plan, session.start_afresh(plan))
        before = session.store.state("demo").sequence
    with Session(tmp_path, SECOND) as session:
        session.start_afresh(plan)
        assert session.store.state("demo").sequence >= before
        assert session.store.state("demo").completed == set()


@pytest.mark.parametrize(
    ("names", "plugin", "chosen"),
    [
        ({"a"}, "demo", {"a"}),
        ({"demo:a", "other:b"}, "demo", {"a"}),
        ({"other:b"}, "demo", set()),
        (set(), "demo", set()),
    ],
)
def test_steps_are_named_with_or_without_their_plugin(names: set[str], plugin: str, chosen: set[str]) -> None:
    assert ResumeOptions().chosen(frozenset(names), plugin) == chosen


def test_run_ids_sort_by_time() -> None:
    ids = [new_run_id(datetime(2026, month, 1, tzinfo=UTC)) for month in range(1, 13)]
    assert ids == sorted(ids)
    assert new_run_id() != new_run_id()


def test_old_runs_are_deleted_but_never_one_that_is_unfinished(tmp_path: Path, planned: Planned) -> None:
    plan = planned(step("a"))
    with Session(tmp_path, FIRST) as session:
        session.start_afresh(plan)
    for number in range(5):
        (tmp_path / "runs" / f"2026020{number}-000000-dddddd").mkdir()
    prune_runs(tmp_path, keep=2)
    assert run_ids(tmp_path) == ["20260204-000000-dddddd", "20260203-000000-dddddd", FIRST]
    (tmp_path / "steps" / "demo.json").write_text("{")
    prune_runs(tmp_path, keep=0)
    assert len(run_ids(tmp_path)) == 3, "what a damaged state refers to is not known"
    assert (tmp_path / "steps" / "demo.json").read_text() == "{"
    assert run_ids(tmp_path / "nowhere") == []


def test_the_note_of_a_run(tmp_path: Path) -> None:
    note = RunNote(("apt", "pip"), 4, True, "2026-01-01")
    note.write(tmp_path)
    assert RunNote.read(tmp_path) == note
    for damage in ("{", "[]", '{"plugins": 5}', '{"plugins": [], "jobs": "many"}'):
        (tmp_path / "run.json").write_text(damage)
        assert RunNote.read(tmp_path) is None
    assert RunNote.read(tmp_path / "nowhere") is None
