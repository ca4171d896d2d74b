"""The state of a run as its events tell it: the only thing that printers read. No I/O, no clock.

Times are seconds since the epoch, taken from the events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from update_all.core.cleaning import clean, clean_line, last_rewrite
from update_all.core.errors import SKIPPED_BY_HAND, NeedsInputError
from update_all.core.models import Change, CheckStatus
from update_all.core.streaming import (
    CheckEvent,
    CompletionEvent,
    OutputEvent,
    ProgressEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepStartEvent,
    StepWaitEvent,
    StreamEvent,
    WarningEvent,
)

NEEDS_INPUT = NeedsInputError.code
"""The code of a warning by which a running step asks a person."""

TAIL_CHARACTERS = 16_384
"""How much of a step's output is kept for its last line and for the report of its failure."""


class State(StrEnum):
    """What a plugin or step is doing, or how it ended."""

    WAITING = "waiting"
    RUNNING = "running"
    FAILED = "failed"
    DONE = "done"
    SKIPPED = "skipped"
    UP_TO_DATE = "up-to-date"
    BLOCKED = "blocked"

    @property
    def ended(self) -> bool:
        return self not in {State.WAITING, State.RUNNING}


class Tail:
    """The last 16 KiB of an output, cheap to append to."""

    __slots__ = ("_chunks", "_length")

    def __init__(self) -> None:
        self._chunks: deque[str] = deque()
        self._length = 0

    def append(self, chunk: str) -> None:
        chunk = chunk[-TAIL_CHARACTERS:]
        self._chunks.append(chunk)
        self._length += len(chunk)
        while self._length - len(self._chunks[0]) >= TAIL_CHARACTERS:
            self._length -= len(self._chunks.popleft())

    @property
    def last_line(self) -> str:
        return clean_line(last_rewrite(self._chunks[-1][-4096:])) if self._chunks else ""

    @property
    def lines(self) -> list[str]:
        text = clean("\n".join(self._chunks)[-TAIL_CHARACTERS:])
        return [line.rstrip() for line in text.split("\n") if line.strip()]


@dataclass(slots=True)
class StepRow:
    """One step. `number` counts from 1 within its plugin."""

    name: str
    number: int = 0
    state: State = State.WAITING
    usual_seconds: float | None = None
    started: float | None = None
    ended: float | None = None
    last_output: float | None = None
    percent: float | None = None
    message: str = ""
    bytes_done: int | None = None
    bytes_total: int | None = None
    wait_reason: str = ""
    asks: str = ""
    """What it needs an answer to, until it says something else."""
    mutex: str = ""
    holder: str = ""
    reason: str = ""
    by_hand: bool = False
    """A person skipped it: it has not failed, and it is not done."""
    tail: Tail = field(default_factory=Tail)


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed, or a plugin that did so outside of its steps (`step` is "")."""

    plugin: str
    step: str
    message: str
    seconds: float
    code: str
    log: str
    lines: tuple[str, ...]
    changed: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning with what to do about it."""

    plugin: str
    step: str
    message: str
    hint: str


@dataclass(slots=True)
class PluginRow:
    """One plugin with its steps, in their order. Names are clean."""

    name: str
    state: State = State.WAITING
    steps: dict[str, StepRow] = field(default_factory=dict)
    total_steps: int = 0
    started: float | None = None
    ended: float | None = None
    check_status: str = ""
    reason: str = ""
    changes: list[Change] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    interrupted: bool = False

    def step(self, name: str) -> StepRow:
        found = self.steps.get(name)
        if found is None:
            found = self.steps[name] = StepRow(clean_line(name, 100), number=len(self.steps) + 1)
            self.total_steps = max(self.total_steps, len(self.steps))
        return found

    @property
    def running(self) -> list[StepRow]:
        return [step for step in self.steps.values() if step.state is State.RUNNING]

    @property
    def current(self) -> StepRow | None:
        """The step to show: the failed one, else the longest running, else the next, else the last."""
        steps = list(self.steps.values())
        for state in (State.FAILED, State.RUNNING, State.WAITING):
            if found := [step for step in steps if step.state is state]:
                return min(found, key=lambda step: step.started or 0.0)
        return steps[-1] if steps else None


class RunView:
    """Folds the events of a run, in their order, with `apply`."""

    def __init__(self) -> None:
        self.run_id = ""
        self.plugins: dict[str, PluginRow] = {}
        self.absent: dict[str, str] = {}
        self.warnings: list[Notice] = []
        self.started: float | None = None
        self.ended: float | None = None
        self.seconds: float | None = None
        self.resumed = False
        self.interrupted = False
        self.exit_code: int | None = None
        self.expected_low: float | None = None
        self.expected_high: float | None = None
        self._handlers: dict[type[StreamEvent], Callable[..., None]] = {
            OutputEvent: self._output,
            ProgressEvent: self._progress,
            RunStartEvent: self._run_start,
            RunEndEvent: self._run_end,
            StepStartEvent: self._step_start,
            StepEndEvent: self._step_end,
            StepNotRunEvent: self._step_not_run,
            StepWaitEvent: self._step_wait,
            CheckEvent: self._check,
            WarningEvent: self._warning,
            CompletionEvent: self._completion,
        }

    def apply(self, event: StreamEvent) -> None:
        """Take an event in. Constant time, but for the length of the text that the event holds."""
        at = event.timestamp.timestamp()
        if self.started is None:
            self.started = at
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event, at)

    def rows(self, *states: State) -> list[PluginRow]:
        """Plugins in these states, in the order in which the run announced them."""
        return [row for row in self.plugins.values() if row.state in states]

    @property
    def steps(self) -> Iterator[StepRow]:
        return (step for row in self.plugins.values() for step in row.steps.values())

    @property
    def failures(self) -> list[Failure]:
        return [failure for row in self.plugins.values() for failure in row.failures]

    def elapsed(self, now: float) -> float:
        """Seconds since the start, up to the end if there was one."""
        if self.seconds is not None:
            return self.seconds
        return max(0.0, (self.ended or now) - (self.started or now))

    def _row(self, name: str) -> PluginRow:
        row = self.plugins.get(name)
        if row is None:
            row = self.plugins[name] = PluginRow(clean_line(name, 100))
        return row

    def _run_start(self, event: RunStartEvent, at: float) -> None:
        self.run_id, self.resumed, self.started = clean_line(event.run_id, 100), event.resumed, at
        self.ended = self.seconds = self.exit_code = None
        self.interrupted = False
        self.expected_low, self.expected_high = event.expected_low, event.expected_high
        for plugin in event.plugins:
            old = self.plugins.pop(plugin.name, None)
            row = self._row(plugin.name)
            row.check_status = old.check_status if old else ""
            for planned in plugin.steps:
                step = row.step(planned.name)
                step.usual_seconds = planned.expected_seconds
                step.state = State.DONE if planned.done else State.WAITING

    def _run_end(self, event: RunEndEvent, at: float) -> None:
        self.ended, self.exit_code, self.interrupted = at, event.exit_code, event.interrupted
        self.seconds = event.duration_seconds or None

    def _step_start(self, event: StepStartEvent, at: float) -> None:
        row = self._row(event.plugin_name)
        step = row.step(event.step_name)
        step.number = event.step_number or step.number
        row.total_steps = max(row.total_steps, event.total_steps)
        step.state, step.started, step.last_output = State.RUNNING, at, at
        step.percent = step.bytes_done = step.bytes_total = None
        step.message, step.asks, step.tail, step.by_hand = "", "", Tail(), False
        row.failures = [failure for failure in row.failures if failure.step != step.name]
        row.state = State.FAILED if row.failures else State.RUNNING
        row.started = at if row.started is None else row.started

    def _step_end(self, event: StepEndEvent, at: float) -> None:
        row = self._row(event.plugin_name)
        step = row.step(event.step_name)
        step.ended, step.asks = at, ""
        step.reason = clean_line(event.reason or event.error_message or "")
        row.changes += event.changes
        if event.skipped:
            step.state = State.SKIPPED if event.success else State.BLOCKED
        elif event.success:
            step.state = State.DONE
        elif event.error_code == SKIPPED_BY_HAND:
            step.state, step.by_hand = State.SKIPPED, True
        else:
            step.state = State.FAILED
            row.failures.append(_failure(row, step, event))
        if step.state is State.FAILED:
            row.state = State.FAILED
        elif row.state is State.RUNNING and not row.running:
            row.state = State.WAITING

    def _step_not_run(self, event: StepNotRunEvent, at: float) -> None:
        row = self._row(event.plugin_name)
        step = row.step(event.step_name)
        step.number = event.step_number or step.number
        step.by_hand = event.reason == SKIPPED_BY_HAND
        step.state = State.SKIPPED if step.by_hand else State.BLOCKED
        step.ended, step.reason = at, clean_line(event.reason)

    def _step_wait(self, event: StepWaitEvent, _at: float) -> None:
        row = self._row(event.plugin_name)
        step = row.step(event.step_name)
        step.wait_reason = clean_line(event.reason)
        step.mutex, step.holder = clean_line(event.mutex or "", 200), clean_line(event.holder or "", 200)
        if not row.running and not row.state.ended:
            row.state = State.WAITING

    def _output(self, event: OutputEvent, at: float) -> None:
        step = self._active_step(event.plugin_name, event.step_name)
        if step is not None and event.line:
            step.tail.append(event.line)
            step.last_output, step.asks = at, ""

    def _progress(self, event: ProgressEvent, at: float) -> None:
        step = self._active_step(event.plugin_name, event.step_name)
        if step is None:
            return
        step.last_output = at
        step.message = clean_line(event.message) or step.message
        step.percent = _larger(step.percent, _percent(event))
        step.bytes_done = _larger(step.bytes_done, event.bytes_downloaded)
        step.bytes_total = event.bytes_total or step.bytes_total

    def _active_step(self, plugin: str, step: str) -> StepRow | None:
        if not plugin:
            return None
        row = self._row(plugin)
        return row.step(step) if step else row.current

    def _check(self, event: CheckEvent, _at: float) -> None:
        if event.status == "absent":
            self.absent[event.plugin_name] = clean_line(event.reason)
            return
        row = self._row(event.plugin_name)
        row.check_status, row.reason = event.status, clean_line(event.reason)
        if event.status == CheckStatus.UP_TO_DATE:
            row.state = State.UP_TO_DATE
        elif event.status == CheckStatus.CANNOT_KNOW:
            row.state = State.SKIPPED

    def _warning(self, event: WarningEvent, _at: float) -> None:
        names = clean_line(event.plugin_name, 100), clean_line(event.step_name, 100)
        self.warnings.append(Notice(*names, clean_line(event.message), clean_line(event.hint)))
        if event.code == NEEDS_INPUT and event.plugin_name and event.step_name:
            self._row(event.plugin_name).step(event.step_name).asks = clean_line(event.message)

    def _completion(self, event: CompletionEvent, at: float) -> None:
        row = self._row(event.plugin_name)
        row.ended, row.interrupted = at, event.interrupted
        if event.changes:
            # What the tool itself says has changed is better than what its output told of.
            row.changes = list(event.changes)
        message = clean_line(event.error_message or "")
        row.reason = message or row.reason
        blocked = any(step.state is State.BLOCKED for step in row.steps.values())
        if event.up_to_date:
            row.state = State.UP_TO_DATE
        elif event.success:
            skipped = [step.state is State.SKIPPED for step in row.steps.values()]
            row.state = State.SKIPPED if skipped and all(skipped) else State.DONE
        elif row.failures:
            row.state = State.FAILED
        elif any(step.by_hand for step in row.steps.values()):
            row.state = State.SKIPPED
        elif event.interrupted or blocked:
            row.state = State.BLOCKED
        else:
            row.state = State.FAILED
            row.failures.append(Failure(row.name, "", message or "failed", 0.0, "", "", (), len(row.changes)))


_Number = TypeVar("_Number", int, float)


def _percent(event: ProgressEvent) -> float | None:
    if event.percent is not None:
        return min(100.0, max(0.0, event.percent))
    for done, total in (
        (event.bytes_downloaded, event.bytes_total),
        (event.items_completed, event.items_total),
    ):
        if done is not None and total:
            return min(100.0, 100.0 * done / total)
    return None


def _larger(old: _Number | None, new: _Number | None) -> _Number | None:
    return new if old is None else old if new is None else max(old, new)


def _failure(row: PluginRow, step: StepRow, event: StepEndEvent) -> Failure:
    message = clean_line(event.error_message or "")
    if not message:
        message = "failed" if event.exit_code is None else f"exited with {event.exit_code}"
    return Failure(
        plugin=row.name,
        step=step.name,
        message=message,
        seconds=event.duration_seconds,
        code=clean_line(event.error_code or "", 100),
        log=clean_line(event.log),
        lines=tuple(step.tail.lines),
        changed=len(row.changes),
    )
