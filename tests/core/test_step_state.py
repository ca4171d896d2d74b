"""StepResult and StepExecutionState: the plan's tables SR-001 … SR-003 and SES-001 … SES-003."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.json_reading import Reader, loads
from update_all.core.models import (
    Change,
    ChangeKind,
    CheckResult,
    CheckStatus,
    StepExecutionState,
    StepResult,
    Usage,
)
from update_all.core.result_json import (
    KEPT_FAILED_OUTPUT,
    KEPT_OUTPUT,
    check_from,
    check_to,
    result_from,
    result_to,
)


def test_success_result() -> None:
    """SR-001."""
    result = StepResult("upgrade", success=True, output="ok\n", duration_seconds=1.5, packages_updated=3)
    assert result.success
    assert not result.skipped
    assert result.error_message is None
    assert (result.output, result.duration_seconds, result.packages_updated) == ("ok\n", 1.5, 3)


def test_skipped_result() -> None:
    """SR-002."""
    result = StepResult("download", success=True, skipped=True)
    assert result.success
    assert result.skipped
    assert result.packages_updated == 0


def test_failed_result() -> None:
    """SR-003."""
    result = StepResult("install", success=False, error_message="dpkg exited with 1", exit_code=1)
    assert not result.success
    assert result.error_message == "dpkg exited with 1"
    assert result.exit_code == 1


def test_initial_state() -> None:
    """SES-001."""
    state = StepExecutionState("go")
    assert state.plugin_name == "go"
    assert state.completed_steps == []
    assert state.step_results == {}
    assert state.current_step is None
    assert (state.started_at, state.last_updated) == (None, None)


def test_track_completed_steps() -> None:
    """SES-002."""
    state = StepExecutionState("go", started_at=datetime.now(UTC))
    state.current_step = "check"
    state.completed_steps.append("check")
    state.current_step = "download"
    assert state.completed_steps == ["check"]
    assert state.current_step == "download"
    assert StepExecutionState("node").completed_steps == []


def test_store_step_results() -> None:
    """SES-003."""
    state = StepExecutionState("go")
    state.step_results["check"] = StepResult("check", success=True)
    state.step_results["install"] = StepResult("install", success=False, error_message="no space")
    assert [name for name, result in state.step_results.items() if not result.success] == ["install"]
    assert StepExecutionState("node").step_results == {}


texts = st.text(st.characters(codec=None), max_size=30)
counts = st.integers(0, 2**62)
changes = st.builds(
    Change, texts, st.none() | texts, st.none() | texts, size_bytes=st.none() | counts, security=st.booleans()
)
seconds = st.floats(0, 1e9).map(lambda value: round(value, 6))
results = st.builds(
    StepResult,
    step_name=texts,
    success=st.booleans(),
    skipped=st.booleans(),
    output=texts,
    error_message=st.none() | texts.filter(bool),
    duration_seconds=seconds,
    packages_updated=counts,
    exit_code=st.none() | st.integers(-64, 255),
    changes=st.lists(changes, max_size=4).map(tuple),
    up_to_date=st.booleans(),
    error_code=st.none() | texts.filter(bool),
    usage=st.none() | st.builds(Usage, seconds, counts, counts, counts),
)


@given(results)
def test_every_result_round_trips_through_json(result: StepResult) -> None:
    data = loads(json.dumps(result_to(result)).encode())
    assert result_from(Reader(data, "result")) == result


@given(
    st.builds(CheckResult, st.sampled_from(CheckStatus), st.lists(changes).map(tuple), texts, st.booleans())
)
def test_every_check_round_trips_through_json(check: CheckResult) -> None:
    data = loads(json.dumps(check_to(check)).encode())
    assert check_from(Reader(data, "check")) == check


@pytest.mark.parametrize(("success", "kept"), [(True, KEPT_OUTPUT), (False, KEPT_FAILED_OUTPUT)])
def test_the_state_keeps_the_end_of_the_output(success: bool, kept: int) -> None:
    output = "".join(f"line {number}\n" for number in range(2000))
    data = result_to(StepResult("s", success=success, output=output))
    assert result_from(Reader(data, "result")).output == output[-kept:]


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [("1", "2", ChangeKind.UPGRADE), (None, "2", ChangeKind.INSTALL), ("1", None, ChangeKind.REMOVE)],
)
def test_the_kind_of_a_change(old: str | None, new: str | None, kind: ChangeKind) -> None:
    assert Change("package", old, new).kind is kind


def test_a_check_is_up_to_date_without_updates_only() -> None:
    assert CheckResult.of([]).status is CheckStatus.UP_TO_DATE
    assert CheckResult.of([Change("a", "1", "2")]).status is CheckStatus.UPDATES
    unknown = CheckResult.cannot_know("the index is unreachable")
    assert (unknown.status, unknown.runnable) == (CheckStatus.CANNOT_KNOW, False)
