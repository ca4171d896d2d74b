"""When each step ran and when it waited, read from the events of a run. Pure.

Times are seconds since the epoch, taken from the events; a run that was resumed has several parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from update_all.core.cleaning import clean_line
from update_all.core.errors import SKIPPED_BY_HAND
from update_all.core.streaming import (
    OutputEvent,
    PlannedStep,
    ProgressEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepStartEvent,
    StepWaitEvent,
    StreamEvent,
)
from update_all.ui.view import State

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Span:
    """A step that ran from `begin` to `end`. RUNNING: nobody saw its end."""

    plugin: str
    step: str
    begin: float
    end: float
    state: State
    note: str = ""
    attempts: int = 1
    exit_code: int | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    mutexes: tuple[str, ...] = ()
    sudo: bool = False

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that could not go on from `begin` to `end`, for a mutex or what `reason` says."""

    plugin: str
    step: str
    begin: float
    end: float
    reason: str
    mutex: str = ""
    holder: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(slots=True)
class Part:
    """What one process did of a run: from its start, or a resume, to its end."""

    begin: float
    end: float
    resumed: bool = False
    jobs: int = 1
    spans: list[Span] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class _Open:
    begin: float
    event: StepWaitEvent


class _Builder:
    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._planned: dict[_Key, PlannedStep] = {}
        self._started: dict[_Key, float] = {}
        self._waiting: dict[_Key, _Open] = {}

    def take(self, event: StreamEvent) -> None:
        at = event.timestamp.timestamp()
        if isinstance(event, RunStartEvent):
            self._begin(event, at)
        if not self.parts:
            return
        part = self.parts[-1]
        # The clock may have been set back in the middle of the run; no span ends before it begins.
        at = part.end = max(part.end, at)
        match event:
            case StepStartEvent():
                self._end_wait(event.plugin_name, event.step_name, at)
                self._started[event.plugin_name, event.step_name] = at
            case StepEndEvent():
                self._end_wait(event.plugin_name, event.step_name, at)
                self._end_step(event, at)
            case StepNotRunEvent() | OutputEvent() | ProgressEvent():
                self._end_wait(event.plugin_name, event.step_name, at)
            case StepWaitEvent():
                self._end_wait(event.plugin_name, event.step_name, at)
                self._waiting[event.plugin_name, event.step_name] = _Open(at, event)
            case RunEndEvent():
                self.close()

    def _begin(self, event: RunStartEvent, at: float) -> None:
        self.close()
        self.parts.append(Part(at, at, event.resumed, event.jobs))
        for plugin in event.plugins:
            self._planned.update({(plugin.name, step.name): step for step in plugin.steps})

    def _end_step(self, event: StepEndEvent, at: float) -> None:
        begin = self._started.pop((event.plugin_name, event.step_name), None)
        if begin is None:
            return
        state = State.DONE if event.success else State.FAILED
        if event.skipped:
            state = State.SKIPPED if event.success else State.BLOCKED
        elif event.error_code == SKIPPED_BY_HAND:
            state = State.SKIPPED
        planned = self._planned.get((event.plugin_name, event.step_name))
        self.parts[-1].spans.append(
            Span(
                plugin=clean_line(event.plugin_name, 100),
                step=clean_line(event.step_name, 100),
                begin=begin,
                end=at,
                state=state,
                note=clean_line(event.reason or event.error_message or ""),
                attempts=event.attempts,
                exit_code=event.exit_code,
                cpu_seconds=event.cpu_seconds,
                max_rss_bytes=event.max_rss_bytes,
                mutexes=_clean(planned.mutexes) if planned else (),
                sudo=planned is not None and planned.sudo,
            )
        )

    def _end_wait(self, plugin: str, step: str, at: float) -> None:
        waiting = self._waiting.pop((plugin, step), None)
        if waiting is None:
            return
        event = waiting.event
        self.parts[-1].waits.append(
            Wait(
                plugin=clean_line(plugin, 100),
                step=clean_line(step, 100),
                begin=waiting.begin,
                end=at,
                reason=clean_line(event.reason),
                mutex=clean_line(event.mutex or "", 200),
                holder=clean_line(event.holder or "", 200),
            )
        )

    def close(self) -> None:
        """End the part, and with it whatever still runs or waits in it."""
        if not self.parts:
            return
        part = self.parts[-1]
        for plugin, step in list(self._waiting):
            self._end_wait(plugin, step, part.end)
        for (plugin, step), begin in self._started.items():
            planned = self._planned.get((plugin, step))
            part.spans.append(
                Span(
                    clean_line(plugin, 100),
                    clean_line(step, 100),
                    begin,
                    part.end,
                    State.RUNNING,
                    "its end was not recorded",
                    mutexes=_clean(planned.mutexes) if planned else (),
                    sudo=planned is not None and planned.sudo,
                )
            )
        self._started.clear()


def _clean(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(clean_line(name, 200) for name in names)


def parts_of(events: Iterable[StreamEvent]) -> list[Part]:
    """The parts of a run, in their order; spans and waits in the order in which they ended."""
    builder = _Builder()
    for event in events:
        builder.take(event)
    builder.close()
    return builder.parts


def slots(spans: Sequence[Span] | Sequence[Wait]) -> list[int]:
    """A track for each span, the lowest that is free, so that none overlaps another on its track."""
    numbers = [0] * len(spans)
    ends: list[float] = []
    for index in sorted(range(len(spans)), key=lambda index: (spans[index].begin, spans[index].end)):
        span = spans[index]
        free = next((number for number, end in enumerate(ends) if end <= span.begin), None)
        if free is None:
            free = len(ends)
            ends.append(0.0)
        ends[free] = span.end
        numbers[index] = free
    return numbers


def curve(spans: Sequence[Span] | Sequence[Wait]) -> list[tuple[float, int]]:
    """How many of the spans hold from each moment on, as (moment, number) with rising moments."""
    changes: dict[float, int] = {}
    for span in spans:
        changes[span.begin] = changes.get(span.begin, 0) + 1
        changes[span.end] = changes.get(span.end, 0) - 1
    number = 0
    found: list[tuple[float, int]] = []
    for moment in sorted(changes):
        number += changes[moment]
        found.append((moment, number))
    return found
