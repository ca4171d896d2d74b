"""What the full screen knows of a run beside its RunView: the plan, what was found, when what happened.

Fed from the beginning of the run, shown or not. Its size grows with the steps, not with their output.
"""

from __future__ import annotations

from datetime import UTC, datetime

from update_all.core.models import Change
from update_all.core.streaming import (
    CheckEvent,
    OutputEvent,
    PlannedPlugin,
    ProgressEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepStartEvent,
    StepWaitEvent,
    StreamEvent,
)
from update_all.ui.timeline import Part, parts_of

_Key = tuple[str, str]


class Story:
    """Folds the events of a run, in their order, with `apply`."""

    def __init__(self) -> None:
        self.plugins: dict[str, PlannedPlugin] = {}
        self.updates: dict[str, tuple[Change, ...]] = {}
        """What the checks found, by plugin."""
        self.attempts: dict[_Key, int] = {}
        self.logs: dict[_Key, str] = {}
        """Paths as the ends of the steps tell them; an empty one is of a step that printed nothing."""
        self._events: list[StreamEvent] = []
        self._waiting: dict[_Key, tuple[str | None, str | None]] = {}

    def apply(self, event: StreamEvent) -> None:
        """Take an event in. Constant time."""
        match event:
            case RunStartEvent():
                self.plugins.update({plugin.name: plugin for plugin in event.plugins})
                self._waiting.clear()
            case CheckEvent():
                self.updates[event.plugin_name] = event.updates
                return
            case OutputEvent() | ProgressEvent():
                # Only the first one matters, and only because it ends a wait.
                if self._waiting.pop((event.plugin_name, event.step_name), None) is None:
                    return
                event = ProgressEvent(
                    plugin_name=event.plugin_name, step_name=event.step_name, timestamp=event.timestamp
                )
            case StepWaitEvent():
                key, what = (event.plugin_name, event.step_name), (event.mutex, event.holder)
                if self._waiting.get(key) == what:
                    return
                self._waiting[key] = what
            case StepStartEvent() | StepEndEvent() | StepNotRunEvent():
                self._step(event)
            case RunEndEvent():
                pass
            case _:
                return
        self._events.append(event)

    def _step(self, event: StepStartEvent | StepEndEvent | StepNotRunEvent) -> None:
        key = event.plugin_name, event.step_name
        self._waiting.pop(key, None)
        if isinstance(event, StepStartEvent):
            self.attempts[key] = event.attempt
            self.logs.pop(key, None)
        elif isinstance(event, StepEndEvent):
            self.attempts[key] = event.attempts
            self.logs[key] = event.log

    def parts(self, now: float) -> list[Part]:
        """The timeline so far; what runs or waits does so until `now`, in seconds since the epoch."""
        events = list(self._events)
        if events and not isinstance(events[-1], RunEndEvent):
            events.append(ProgressEvent(timestamp=datetime.fromtimestamp(now, UTC)))
        return parts_of(events)
