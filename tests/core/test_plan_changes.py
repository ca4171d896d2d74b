"""A plan that has changed when a run is resumed: every pair of what the crash left and what changed."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from update_all.core.errors import BusyError, PlanChangedError
from update_all.core.evidence import Evidence
from update_all.core.models import StepExecutionState, StepResult, UpdateCommand, UpdateStep
from update_all.core.planning import PluginPlan, plan_plugin
from update_all.core.recovery import PluginRecovery, recover
from update_all.core.transitions import (
    PluginState,
    Record,
    Verdict,
    assumed_record,
    end_record,
    resume_record,
    start_record,
)
from update_all.plugins.base import BasePlugin

BOOT = "boot"


def step(name: str, *depends_on: str, **fields: Any) -> UpdateStep:
    command = UpdateCommand(["tool", name])
    return UpdateStep(name, name, **{"commands": [command], "depends_on": list(depends_on), **fields})


BEFORE = [step("a"), step("b", "a", idempotent=False), step("c", "b")]
"""`b` is the step whose life and definition vary."""


def with_b(**changes: Any) -> list[UpdateStep]:
    return [replace(item, **changes) if item.name == "b" else item for item in BEFORE]


OTHER = UpdateCommand(["tool", "b", "--newer"])

AFTER: dict[str, list[UpdateStep]] = {
    "the same": BEFORE,
    "described otherwise": with_b(description="Another text", mutexes=["m"]),
    "another command": with_b(commands=[OTHER]),
    "one command more": with_b(commands=[UpdateCommand(["tool", "b"]), OTHER]),
    "idempotent now": with_b(commands=[OTHER], idempotent=True),
    "checked now": with_b(commands=[OTHER], check_fn=lambda: False),
    "gone": [BEFORE[0], step("c", "a")],
    "another step first": [step("new"), *with_b(depends_on=["new", "a"])],
}


class Left:
    """What the crash left of `b`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records: list[Record] = [start_record("a", 1, 1), end_record(StepResult("a", success=True))]
        self.stack = ExitStack()

    def untouched(self) -> None:
        """Nothing of it was ever begun."""

    def intended(self) -> None:
        self.records.append(start_record("b", 1, 1))

    def unknown(self) -> None:
        self.intended()
        (self.directory / "demo:b:1:0.out").touch()

    def ended(self) -> None:
        self.unknown()
        key = "demo:b:1:0"
        (self.directory / "exits-1.jsonl").write_text(json.dumps({"key": key, "code": 0}) + "\n")

    def running(self) -> None:
        self.unknown()
        descriptor = os.open(self.directory / "demo:b:1:0.out", os.O_RDONLY)
        self.stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def failed(self) -> None:
        self.intended()
        self.records.append(end_record(StepResult("b", success=False)))

    def done(self) -> None:
        self.intended()
        self.records.append(end_record(StepResult("b", success=True)))


DONE, FREE, BUSY, FORGOTTEN = "done", "free", "busy", "forgotten"
SAME = {
    "untouched": FREE,
    "intended": Verdict.START,
    "unknown": Verdict.ASK,
    "ended": Verdict.ADOPT,
    "running": Verdict.REATTACH,
    "failed": Verdict.ASK,
    "done": DONE,
}
CHANGED = {**SAME, "ended": Verdict.ASK, "running": BUSY, "done": Verdict.ASK}


def changed_to(found: Verdict) -> dict[str, str]:
    return {left: found if expected is Verdict.ASK else expected for left, expected in CHANGED.items()}


EXPECTED: dict[str, dict[str, str]] = {
    "the same": SAME,
    "described otherwise": SAME,
    "another command": CHANGED,
    "one command more": CHANGED,
    "idempotent now": changed_to(Verdict.RERUN),
    "checked now": changed_to(Verdict.CHECK),
    "gone": {**dict.fromkeys(SAME, FORGOTTEN), "running": BUSY},
    "another step first": CHANGED,
}
PAIRS = [(after, left) for after in AFTER for left in SAME]


def test_there_are_forty_pairs_at_least() -> None:
    assert len(PAIRS) >= 40
    assert EXPECTED.keys() == AFTER.keys()


def outcome(recovery: PluginRecovery) -> str:
    if "b" in recovery.forget:
        return FORGOTTEN
    if "b" in recovery.done:
        return DONE
    return recovery.steps["b"].verdict if "b" in recovery.steps else FREE


@pytest.mark.parametrize(("after", "left"), PAIRS)
def test_a_resume_with_another_plan(
    tmp_path: Path, plugin_of: Callable[..., BasePlugin], after: str, left: str
) -> None:
    before = plan_plugin(plugin_of(BEFORE), BEFORE)
    plan = plan_plugin(plugin_of(AFTER[after]), AFTER[after])
    crash = Left(tmp_path)
    getattr(crash, left)()
    state = PluginState(
        run_id=tmp_path.name,
        execution=StepExecutionState("demo"),
        step_fingerprints=dict(before.step_fingerprints),
        boot_id=BOOT,
    )
    _fold(state, crash.records)
    expected = EXPECTED[after][left]
    with crash.stack:
        if expected == BUSY:
            with pytest.raises(BusyError, match="demo: b of an earlier run is still running"):
                recover(plan, state, Evidence(tmp_path), boot_id=BOOT)
            return
        recovery = recover(plan, state, Evidence(tmp_path), boot_id=BOOT)
        assert outcome(recovery) == expected
        assert "a" in recovery.done
        assert "c" not in recovery.done
        assert set(recovery.steps) <= {"b"}
        _go_on(state, recovery, plan)
        again = recover(plan, state, Evidence(tmp_path), boot_id=BOOT)
    assert not again.difference
    if expected == FORGOTTEN:
        assert "b" not in state.completed
        assert "b" not in state.active
    else:
        # Killed again before anything started: what was decided is not forgotten.
        assert outcome(again) == _after_another_crash(expected, after)


def _after_another_crash(expected: str, after: str) -> str:
    if expected == Verdict.START and EXPECTED[after] is not SAME:
        return EXPECTED[after]["unknown"]
    return expected


def _fold(state: PluginState, records: list[Record]) -> None:
    for record in records:
        state.apply({"n": state.sequence + 1, "at": None, **record})


def _go_on(state: PluginState, recovery: PluginRecovery, plan: PluginPlan) -> None:
    """What a resume makes durable before it starts anything."""
    state.step_fingerprints = dict(plan.step_fingerprints)
    going_on = resume_record(recovery.fruitless_resumes, BOOT, recovery.forget, recovery.reopen)
    _fold(state, [going_on, *map(assumed_record, sorted(recovery.done - state.completed))])


@pytest.mark.parametrize("after", AFTER)
def test_strict_refuses_another_plan_and_names_the_steps(
    tmp_path: Path, plugin_of: Callable[..., BasePlugin], after: str
) -> None:
    before = plan_plugin(plugin_of(BEFORE), BEFORE)
    plan = plan_plugin(plugin_of(AFTER[after]), AFTER[after])
    state = PluginState("r", StepExecutionState("demo"), step_fingerprints=dict(before.step_fingerprints))
    if plan.fingerprint == before.fingerprint:
        assert recover(plan, state, Evidence(tmp_path), boot_id=BOOT, strict=True).steps == {}
        return
    with pytest.raises(PlanChangedError, match="the plan of demo has changed: ") as caught:
        recover(plan, state, Evidence(tmp_path), boot_id=BOOT, strict=True)
    assert "b" in caught.value.message
