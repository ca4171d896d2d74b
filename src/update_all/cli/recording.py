"""What remains of a run besides its logs: the history, and what `--json` reports."""

from __future__ import annotations

from update_all.cli.workspace import Workspace
from update_all.core.errors import SKIPPED_BY_HAND, StateError
from update_all.core.models import StepResult, Usage
from update_all.core.streaming import (
    CompletionEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepNotRunEvent,
    StreamEvent,
    WarningEvent,
)


class Recorder:
    """Keeps what history and JSON want to know of a run."""

    def __init__(self) -> None:
        self.steps: list[StepEndEvent] = []
        self.completions: list[CompletionEvent] = []
        self.warnings: list[WarningEvent] = []
        self._start: RunStartEvent | None = None
        self._end: RunEndEvent | None = None

    def handle(self, event: StreamEvent) -> None:
        if isinstance(event, StepEndEvent):
            self.steps.append(event)
        elif isinstance(event, StepNotRunEvent) and event.reason == SKIPPED_BY_HAND:
            self.steps.append(_left_out(event))
        elif isinstance(event, CompletionEvent):
            self.completions.append(event)
        elif isinstance(event, WarningEvent):
            self.warnings.append(event)
        elif isinstance(event, RunStartEvent):
            self._start = event
        elif isinstance(event, RunEndEvent):
            self._end = event

    def write(self, workspace: Workspace) -> list[str]:
        """Write the history once the run is over. What goes wrong is returned as warnings."""
        if self._start is None or self._end is None:
            return []
        run_id = self._start.run_id
        try:
            with workspace.history() as history, history.batch():
                history.record_run_start(run_id, self._start.timestamp)
                for event in self.steps:
                    history.record_step(run_id, event.plugin_name, _result(event), event.timestamp)
                for completion in self.completions:
                    history.record_changes(run_id, completion.plugin_name, completion.changes)
                end = self._end
                history.record_run_end(run_id, end.timestamp, end.exit_code, interrupted=end.interrupted)
                return list(history.warnings)
        except StateError as error:
            return [f"the history was not written: {error.message}"]


def _left_out(event: StepNotRunEvent) -> StepEndEvent:
    """The end of a step that a person has skipped before it ran, told like that of one that ran."""
    return StepEndEvent(
        timestamp=event.timestamp,
        plugin_name=event.plugin_name,
        step_name=event.step_name,
        success=False,
        error_code=SKIPPED_BY_HAND,
        reason="somebody skipped it before it ran",
        attempts=0,
    )


def _result(event: StepEndEvent) -> StepResult:
    return StepResult(
        step_name=event.step_name,
        success=event.success,
        skipped=event.skipped,
        error_message=event.error_message,
        duration_seconds=event.duration_seconds,
        packages_updated=len(event.changes),
        exit_code=event.exit_code,
        changes=event.changes,
        error_code=event.error_code,
        usage=Usage(
            event.cpu_seconds or 0.0,
            event.max_rss_bytes or 0,
            event.read_bytes or 0,
            event.written_bytes or 0,
        ),
    )
