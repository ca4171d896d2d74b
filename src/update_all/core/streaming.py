"""The event stream: the one thing that printers, the journal, an attached terminal and a report read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import cast

from update_all.core.models import Change, JsonValue, Phase

__all__ = [
    "EVENT_CLASSES",
    "EVENT_SCHEMA",
    "CheckEvent",
    "CompletionEvent",
    "EventType",
    "OutputEvent",
    "Phase",
    "PhaseEvent",
    "PlannedPlugin",
    "PlannedStep",
    "ProgressEvent",
    "RunEndEvent",
    "RunStartEvent",
    "StepEndEvent",
    "StepNotRunEvent",
    "StepStartEvent",
    "StepWaitEvent",
    "StreamEvent",
    "WarningEvent",
]

EVENT_SCHEMA = 1
"""Version of the JSON form. Additions keep it; a renamed or removed field raises it."""


class EventType(StrEnum):
    """The kind of an event; one class for each."""

    OUTPUT = "output"
    PROGRESS = "progress"
    PHASE_START = "phase_start"
    PHASE_END = "phase_end"
    STEP_START = "step_start"
    STEP_END = "step_end"
    STEP_NOT_RUN = "step_not_run"
    STEP_WAIT = "step_wait"
    CHECK = "check"
    WARNING = "warning"
    COMPLETION = "completion"
    RUN_START = "run_start"
    RUN_END = "run_end"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class StreamEvent:
    """What all events have: kind, plugin ("" for the run itself), wall-clock time."""

    event_type: EventType = EventType.OUTPUT
    plugin_name: str = ""
    timestamp: datetime = field(default_factory=_now)

    def to_dict(self) -> dict[str, JsonValue]:
        """The JSON form: `{"v": 1, "event_type": …, …}`; `from_dict` is its inverse."""
        data: dict[str, JsonValue] = {"v": EVENT_SCHEMA}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            data[name] = value if type(value) in _PLAIN_TYPES else _plain(value)
        return data

    @staticmethod
    def from_dict(data: Mapping[str, JsonValue]) -> StreamEvent:
        """Rebuild any event from its JSON form.

        Unknown fields are ignored (a newer writer of the same schema). Raises ValueError for another schema
        version, an unknown kind, or a field of the wrong type.
        """
        version, kind = data.get("v"), data.get("event_type")
        if version != EVENT_SCHEMA:
            raise ValueError(f"event: schema version must be {EVENT_SCHEMA}, got {version!r}")
        if not isinstance(kind, str) or kind not in EVENT_CLASSES:
            raise ValueError(f"event: unknown event_type {kind!r}")
        return _build(EVENT_CLASSES[kind], data)


@dataclass(slots=True)
class OutputEvent(StreamEvent):
    """Cleaned output of a step: one or more lines, joined by newlines. One event holds a chunk of lines."""

    event_type: EventType = EventType.OUTPUT
    line: str = ""
    stream: str = "stdout"
    step_name: str = ""

    @property
    def lines(self) -> list[str]:
        return self.line.split("\n")


@dataclass(slots=True)
class ProgressEvent(StreamEvent):
    """How far a step is. None is unknown."""

    event_type: EventType = EventType.PROGRESS
    phase: Phase = Phase.EXECUTE
    percent: float | None = None
    message: str = ""
    bytes_downloaded: int | None = None
    bytes_total: int | None = None
    items_completed: int | None = None
    items_total: int | None = None
    step_name: str = ""


@dataclass(slots=True)
class PhaseEvent(StreamEvent):
    """A plugin enters or leaves a phase (PHASE_START, PHASE_END)."""

    event_type: EventType = EventType.PHASE_START
    phase: Phase = Phase.EXECUTE
    success: bool | None = None
    error_message: str | None = None


@dataclass(slots=True)
class StepStartEvent(StreamEvent):
    """A step starts; exactly one StepEndEvent follows."""

    event_type: EventType = EventType.STEP_START
    step_name: str = ""
    step_number: int = 0
    total_steps: int = 0
    step_description: str = ""
    attempt: int = 1
    reattached: bool = False


@dataclass(slots=True)
class StepEndEvent(StreamEvent):
    """A step ended: done, skipped or failed. Resources are those of its processes; None is unknown."""

    event_type: EventType = EventType.STEP_END
    step_name: str = ""
    success: bool = True
    skipped: bool = False
    error_message: str | None = None
    duration_seconds: float = 0.0
    exit_code: int | None = None
    changes: tuple[Change, ...] = ()
    error_code: str | None = None
    reason: str = ""
    log: str = ""
    attempts: int = 1
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None


@dataclass(slots=True)
class StepNotRunEvent(StreamEvent):
    """A step that will not start in this run: because of `cause` (a step or plugin), or as `reason` says."""

    event_type: EventType = EventType.STEP_NOT_RUN
    step_name: str = ""
    step_number: int = 0
    total_steps: int = 0
    reason: str = ""
    cause: str | None = None


@dataclass(slots=True)
class StepWaitEvent(StreamEvent):
    """A step that could start waits, and for what: a mutex and its holder, a limit, a foreign lock."""

    event_type: EventType = EventType.STEP_WAIT
    step_name: str = ""
    reason: str = ""
    mutex: str | None = None
    holder: str | None = None


@dataclass(slots=True)
class CheckEvent(StreamEvent):
    """What a plugin's check found; `status` is a CheckStatus value or "absent"."""

    event_type: EventType = EventType.CHECK
    status: str = ""
    updates: tuple[Change, ...] = ()
    reason: str = ""
    duration_seconds: float = 0.0


@dataclass(slots=True)
class WarningEvent(StreamEvent):
    """Something that a person should know and that stopped nothing."""

    event_type: EventType = EventType.WARNING
    message: str = ""
    code: str = ""
    hint: str = ""
    step_name: str = ""


@dataclass(slots=True)
class CompletionEvent(StreamEvent):
    """The last event of a plugin."""

    event_type: EventType = EventType.COMPLETION
    success: bool = False
    exit_code: int = 0
    packages_updated: int = 0
    error_message: str | None = None
    up_to_date: bool = False
    interrupted: bool = False
    error_code: str | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step as the run announces it. `expected_seconds` is the median of past runs, None without any."""

    name: str
    description: str = ""
    mutexes: tuple[str, ...] = ()
    sudo: bool = False
    done: bool = False
    expected_seconds: float | None = None
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedPlugin:
    """A plugin of the run with its steps in the order in which they run."""

    name: str
    steps: tuple[PlannedStep, ...] = ()
    dependencies: tuple[str, ...] = ()


@dataclass(slots=True)
class RunStartEvent(StreamEvent):
    """The first event of a run, and of each resume of it. `low`/`high`: expected seconds, None if unknown."""

    event_type: EventType = EventType.RUN_START
    run_id: str = ""
    pid: int = 0
    jobs: int = 1
    resumed: bool = False
    plugins: tuple[PlannedPlugin, ...] = ()
    expected_low: float | None = None
    expected_high: float | None = None


@dataclass(slots=True)
class RunEndEvent(StreamEvent):
    """The last event of a run, and of each resume of it."""

    event_type: EventType = EventType.RUN_END
    run_id: str = ""
    exit_code: int = 0
    interrupted: bool = False
    duration_seconds: float = 0.0


EVENT_CLASSES: dict[str, type[StreamEvent]] = {
    EventType.OUTPUT: OutputEvent,
    EventType.PROGRESS: ProgressEvent,
    EventType.PHASE_START: PhaseEvent,
    EventType.PHASE_END: PhaseEvent,
    EventType.STEP_START: StepStartEvent,
    EventType.STEP_END: StepEndEvent,
    EventType.STEP_NOT_RUN: StepNotRunEvent,
    EventType.STEP_WAIT: StepWaitEvent,
    EventType.CHECK: CheckEvent,
    EventType.WARNING: WarningEvent,
    EventType.COMPLETION: CompletionEvent,
    EventType.RUN_START: RunStartEvent,
    EventType.RUN_END: RunEndEvent,
}

_NESTED: dict[str, type[Change] | type[PlannedPlugin] | type[PlannedStep]] = {
    "changes": Change,
    "updates": Change,
    "plugins": PlannedPlugin,
    "steps": PlannedStep,
}


_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})


def _plain(value: object) -> JsonValue:
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    raise TypeError(f"an event cannot hold {value!r}")


def _build(cls: type[StreamEvent], data: Mapping[str, JsonValue]) -> StreamEvent:
    values: dict[str, object] = {}
    for name, spec in cls.__dataclass_fields__.items():
        if name in data:
            values[name] = _revive(cls.__name__, name, str(spec.type), data[name])
    return cls(**values)  # type: ignore[arg-type]


_SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "None": (type(None),),
}


def _revive(owner: str, name: str, annotation: str, value: JsonValue) -> object:
    """One field from its JSON form, checked against its annotation (a string: future annotations)."""
    try:
        if annotation == "EventType":
            return EventType(cast("str", value))
        if annotation == "Phase":
            return Phase(cast("str", value))
        if annotation == "datetime":
            return datetime.fromisoformat(cast("str", value))
        if annotation.startswith("tuple["):
            return _revive_tuple(owner, name, annotation, value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"event {owner}: {name}: {error}") from None
    allowed = tuple(kind for part in annotation.split(" | ") for kind in _SCALARS[part])
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise ValueError(f"event {owner}: {name} must be {annotation}, got {value!r}")
    return value


def _revive_tuple(owner: str, name: str, annotation: str, value: JsonValue) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise TypeError(f"must be a list, got {value!r}")
    if annotation == "tuple[str, ...]":
        if not all(isinstance(item, str) for item in value):
            raise TypeError(f"must hold strings, got {value!r}")
        return tuple(value)
    cls = _NESTED[name]
    items: list[object] = []
    for item in value:
        if not isinstance(item, dict):
            raise TypeError(f"must hold objects, got {item!r}")
        fields = {
            key: _revive(cls.__name__, key, str(spec.type), item[key])
            for key, spec in cls.__dataclass_fields__.items()
            if key in item
        }
        items.append(cls(**fields))  # type: ignore[arg-type]
    return tuple(items)
