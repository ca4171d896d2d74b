"""Steps that a run leaves out today: those that are not due, and those that would ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from update_all.core.history import History
from update_all.core.models import StepResult, UpdateCommand, UpdateStep
from update_all.core.planning import not_now

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def step(interval: int | None = None, *, interactive: bool = False) -> UpdateStep:
    return UpdateStep(
        name="scan",
        description="Scan",
        commands=[UpdateCommand(cmd=["true"])],
        interval_seconds=interval,
        interactive=interactive,
    )


@pytest.mark.parametrize(
    ("interval", "last", "left_out"),
    [
        (None, NOW, False),
        (3600, None, False),
        (3600, NOW - HOUR / 2, True),
        (3600, NOW - HOUR, False),
        (3600, NOW - 2 * HOUR, False),
        (3600, NOW + 30 * 24 * HOUR, False),
    ],
    ids=["no interval", "never ran", "too soon", "just due", "long due", "a clock that went back"],
)
def test_a_step_is_left_out_until_it_is_due(
    interval: int | None, last: datetime | None, left_out: bool
) -> None:
    assert (not_now(step(interval), last, NOW) is not None) is left_out


def test_a_step_that_asks_is_left_to_a_person() -> None:
    assert "by hand" in (not_now(step(interactive=True), None, NOW) or "")


def test_the_history_knows_when_a_step_last_succeeded(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with History(tmp_path / "history.db") as history:
        history.record_run_start("r1", NOW - 3 * HOUR)
        history.record_step("r1", "demo", StepResult("scan", success=True), NOW - 2 * HOUR)
        history.record_step("r1", "demo", StepResult("scan", success=True, skipped=True), NOW - HOUR)
        history.record_step("r1", "demo", StepResult("scan", success=False), NOW)
        assert history.last_success() == {("demo", "scan"): NOW - 2 * HOUR}
