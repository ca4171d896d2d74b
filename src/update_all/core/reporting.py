"""What a run tells: one place where its events are made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from update_all.core.models import Change, StepResult, UpdateStep
from update_all.core.planning import PluginPlan, announce
from update_all.core.recovery import PluginRecovery, StepRecovery
from update_all.core.scheduling import Wait
from update_all.core.streaming import (
    CompletionEvent,
    RunStartEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepStartEvent,
    StepWaitEvent,
    StreamEvent,
)
from update_all.core.transitions import Verdict


class Ending(StrEnum):
    """How a plugin ended in this run."""

    DONE = "done"
    UP_TO_DATE = "up-to-date"
    FAILED = "failed"
    NOT_RUN = "not-run"


@dataclass(slots=True)
class Progress:
    """One plugin while the run lasts. `left` counts the steps that are not accounted for."""

    plan: PluginPlan
    recovery: PluginRecovery
    left: int
    numbers: Mapping[str, int]
    changes: list[Change] = field(default_factory=list)
    failure: StepResult | None = None
    not_run: str | None = None
    up_to_date: bool = False
    detached: bool = False

    @property
    def ending(self) -> Ending:
        if self.failure is not None:
            return Ending.FAILED
        if self.not_run is not None:
            return Ending.NOT_RUN
        return Ending.UP_TO_DATE if self.up_to_date and not self.changes else Ending.DONE


class Reporter:
    """Makes the events of a run and hands them to its sink."""

    def __init__(self, sink: Callable[[StreamEvent], None]) -> None:
        self.sink = sink
        self._waits: dict[str, tuple[str, ...]] = {}

    def run_started(
        self,
        run_id: str,
        plugins: Sequence[Progress],
        *,
        jobs: int,
        resumed: bool,
        seconds: Mapping[tuple[str, str], float],
        expected: tuple[float, float] | None,
    ) -> None:
        low, high = expected or (None, None)
        done = {progress.plan.name: progress.recovery.done for progress in plugins}
        self.sink(
            RunStartEvent(
                run_id=run_id,
                pid=os.getpid(),
                jobs=jobs,
                resumed=resumed,
                plugins=announce([progress.plan for progress in plugins], done=done, seconds=seconds),
                expected_low=low,
                expected_high=high,
            )
        )

    def step_started(
        self, progress: Progress, step: UpdateStep, recovery: StepRecovery | None = None
    ) -> None:
        self.sink(
            StepStartEvent(
                plugin_name=progress.plan.name,
                step_name=step.name,
                step_number=progress.numbers[step.name],
                total_steps=len(progress.numbers),
                step_description=step.description,
                attempt=1 if recovery is None else recovery.attempt.number,
                reattached=recovery is not None and recovery.verdict is Verdict.REATTACH,
            )
        )

    def step_ended(
        self, progress: Progress, step: UpdateStep, result: StepResult, attempts: int, log: str
    ) -> None:
        usage = result.usage
        self.sink(
            StepEndEvent(
                plugin_name=progress.plan.name,
                step_name=step.name,
                success=result.success,
                skipped=result.skipped,
                error_message=result.error_message,
                duration_seconds=result.duration_seconds,
                exit_code=result.exit_code,
                changes=result.changes,
                error_code=result.error_code,
                reason=result.reason or ("nothing to do" if result.up_to_date else ""),
                log=log,
                attempts=attempts,
                cpu_seconds=None if usage is None else usage.cpu_seconds,
                max_rss_bytes=None if usage is None else usage.max_rss_bytes,
                read_bytes=None if usage is None else usage.read_bytes,
                written_bytes=None if usage is None else usage.written_bytes,
            )
        )

    def step_skipped(self, progress: Progress, step: UpdateStep) -> None:
        """A step behind one that found nothing to do."""
        self.step_started(progress, step)
        self.sink(
            StepEndEvent(
                plugin_name=progress.plan.name, step_name=step.name, skipped=True, reason="nothing to do"
            )
        )

    def step_not_run(self, progress: Progress, step: UpdateStep, reason: str, cause: str) -> None:
        self.sink(
            StepNotRunEvent(
                plugin_name=progress.plan.name,
                step_name=step.name,
                step_number=progress.numbers[step.name],
                total_steps=len(progress.numbers),
                reason=reason,
                cause=cause or None,
            )
        )

    def step_waits(self, plan: PluginPlan, step: UpdateStep, wait: Wait) -> None:
        """Told once for each mutex and its holders."""
        if self._waits.get(wait.id) == (wait.mutex, *wait.on):
            return
        self._waits[wait.id] = (wait.mutex, *wait.on)
        holder = ", ".join(wait.on)
        self.sink(
            StepWaitEvent(
                plugin_name=plan.name,
                step_name=step.name,
                reason=f"waiting for {wait.mutex}, held by {holder}",
                mutex=wait.mutex,
                holder=holder,
            )
        )

    def plugin_completed(self, progress: Progress, changes: Sequence[Change], *, interrupted: bool) -> None:
        failure = progress.failure
        success = progress.ending in (Ending.DONE, Ending.UP_TO_DATE)
        self.sink(
            CompletionEvent(
                plugin_name=progress.plan.name,
                success=success,
                exit_code=0 if success else (failure.exit_code if failure else None) or 1,
                packages_updated=len(changes),
                error_message=progress.not_run if failure is None else failure.error_message,
                error_code=None if failure is None else failure.error_code,
                up_to_date=progress.up_to_date and not changes,
                interrupted=interrupted,
                changes=tuple(changes),
            )
        )
