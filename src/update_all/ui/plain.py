"""Plain lines for pipes, logs and dumb terminals: one for each start, wait and end, with elapsed time."""

from __future__ import annotations

from typing import TextIO

from update_all.core.streaming import (
    CompletionEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepStartEvent,
    StepWaitEvent,
    StreamEvent,
    WarningEvent,
)
from update_all.ui import rows
from update_all.ui.terminal import Sink
from update_all.ui.text import Style, duration, plural
from update_all.ui.view import Failure, PluginRow, RunView, State, StepRow

HEARTBEAT_SECONDS = 60.0


class PlainPrinter:
    """One line for each event that a person wants to know of; a heartbeat after a minute without any.

    The kept output of failed steps (the last 16 KiB of each) follows when the run ends.
    """

    def __init__(self, stream: TextIO, style: Style) -> None:
        self.view = RunView()
        self._style = style
        self._sink = Sink(stream)
        self._now = 0.0
        self._last_line: float | None = None
        self._waits: dict[tuple[str, str], str] = {}
        self._ended = False

    def handle(self, event: StreamEvent) -> None:
        self.view.apply(event)
        self._now = event.timestamp.timestamp()
        if self._last_line is None:
            self._last_line = self._now
        match event:
            case RunStartEvent():
                self._ended = False
                self._line(self._announcement(event))
            case StepStartEvent():
                self._start(event)
            case StepWaitEvent():
                self._wait(event)
            case StepEndEvent():
                self._end(event)
            case StepNotRunEvent():
                row = self.view.plugins[event.plugin_name]
                step = row.steps[event.step_name]
                self._line(f"{row.name} {step.name}: {step.reason}", State.BLOCKED)
            case CompletionEvent():
                self._completed(self.view.plugins[event.plugin_name])
            case WarningEvent():
                text = rows.notice_text(self.view.warnings[-1])
                self._line(f"{self._style.marks.warning} {text}")
            case RunEndEvent():
                self._failures()
            case _:
                pass

    def tick(self, now: float) -> None:
        if self._last_line is None or self._ended or now - self._last_line < HEARTBEAT_SECONDS:
            return
        self._now = now
        running = [(row, step) for row in self.view.plugins.values() for step in row.running]
        if running:
            self._line("still running: " + ", ".join(self._still(row, step) for row, step in running))

    def suspend(self) -> None:
        pass

    def close(self) -> None:
        """Write the failures of a run whose end never came."""
        self._failures()

    def _announcement(self, event: RunStartEvent) -> str:
        steps = sum(len(plugin.steps) for plugin in event.plugins)
        verb = "resuming" if event.resumed else "running"
        text = f"{verb} {plural(len(event.plugins), 'plugin')}, {plural(steps, 'step')}"
        if event.expected_low is not None and event.expected_high is not None:
            text += f", expected {duration(event.expected_low)} to {duration(event.expected_high)}"
        return text

    def _start(self, event: StepStartEvent) -> None:
        row = self.view.plugins[event.plugin_name]
        step = row.steps[event.step_name]
        self._waits.pop((event.plugin_name, event.step_name), None)
        usual = f", usually {duration(step.usual_seconds)}" if step.usual_seconds is not None else ""
        again = f", attempt {event.attempt}" if event.attempt > 1 else ""
        joined = ", still running from before" if event.reattached else ""
        self._line(
            f"{row.name} {step.name} {step.number}/{row.total_steps}{usual}{again}{joined}", State.RUNNING
        )

    def _wait(self, event: StepWaitEvent) -> None:
        row = self.view.plugins[event.plugin_name]
        step = row.steps[event.step_name]
        text = rows.wait_text(step)
        if self._waits.get((event.plugin_name, event.step_name)) != text:
            self._waits[event.plugin_name, event.step_name] = text
            self._line(f"{row.name} {step.name} {text}", State.WAITING)

    def _end(self, event: StepEndEvent) -> None:
        row = self.view.plugins[event.plugin_name]
        step = row.steps[event.step_name]
        took = f" in {duration(event.duration_seconds, precise=True)}"
        if step.state is State.FAILED:
            text = f"failed{took.replace(' in', ' after')}: {row.failures[-1].message}"
        elif step.state is State.DONE:
            text = "done" + took + (f", {plural(len(event.changes), 'change')}" if event.changes else "")
        else:
            verb = "skipped" if step.state is State.SKIPPED else "not run"
            text = f"{verb}: {step.reason}" if step.reason else verb
        self._line(f"{row.name} {step.name} {text}", step.state)

    def _completed(self, row: PluginRow) -> None:
        """Say how a plugin ended, unless its steps have said so already."""
        said = row.state in {State.FAILED, State.SKIPPED, State.BLOCKED} and not row.interrupted
        if not said or not any(step.state.ended for step in row.steps.values()) or _failed_itself(row):
            self._line(f"{row.name}: {rows.outcome(row, self._style.marks)}", row.state)

    def _still(self, row: PluginRow, step: StepRow) -> str:
        text = f"{row.name} {step.name} for {duration(self._now - (step.started or self._now))}"
        quiet = self._now - (step.last_output or self._now)
        return text + (f" (no output for {duration(quiet)})" if quiet > rows.QUIET_SECONDS else "")

    def _failures(self) -> None:
        if self._ended:
            return
        self._ended = True
        for failure in self.view.failures:
            self._failure(failure)

    def _failure(self, failure: Failure) -> None:
        where = " ".join(name for name in (failure.plugin, failure.step) if name)
        lines = [f"--- output of {where}: {failure.message}", *failure.lines]
        if failure.log:
            lines.append(f"--- log: {failure.log}")
        self._sink.write("".join(self._style.text(line) + "\n" for line in lines))

    def _line(self, text: str, state: State | None = None) -> None:
        self._last_line = self._now
        elapsed = f"{duration(self.view.elapsed(self._now)):>7}"
        shown = self._style.text(text)
        if state is not None:
            shown = f"{self._style.paint(rows.mark(state, self._style.marks), rows.COLOURS[state])} {shown}"
        self._sink.write(f"{self._style.paint(elapsed, 'dim')}  {shown}\n")


def _failed_itself(row: PluginRow) -> bool:
    return any(not failure.step for failure in row.failures)
