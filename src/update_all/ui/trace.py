"""A run as a trace in the JSON format of Chrome's tracing, which Perfetto opens. Pure.

Format: "Trace Event Format", sections "Complete Events", "Counter Events" and "Metadata Events". Complete
events of one track must nest, so spans that overlap get tracks of their own; waits have tracks apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from update_all.core.models import JsonValue
from update_all.core.streaming import StreamEvent
from update_all.ui.timeline import Span, Wait, curve, parts_of, slots

STEPS_PROCESS = 1
WAITS_PROCESS = 2

TraceEvent = dict[str, JsonValue]


def trace(events: Iterable[StreamEvent]) -> dict[str, JsonValue]:
    """The trace document; times are microseconds since the start of the run."""
    parts = parts_of(events)
    spans = [span for part in parts for span in part.spans]
    waits = [wait for part in parts for wait in part.waits]
    origin = min((part.begin for part in parts), default=0.0)
    found = [*_tracks(STEPS_PROCESS, "steps", spans), *_tracks(WAITS_PROCESS, "waits", waits)]
    for span, slot in zip(spans, slots(spans), strict=True):
        found.append(
            {
                **_complete(STEPS_PROCESS, slot, span, origin),
                "cat": span.state.value,
                "args": {
                    "state": span.state.value,
                    "note": span.note,
                    "attempts": span.attempts,
                    "exit_code": span.exit_code,
                    "mutexes": list(span.mutexes),
                    "root": span.sudo,
                    "cpu_seconds": span.cpu_seconds,
                    "max_rss_bytes": span.max_rss_bytes,
                },
            }
        )
    for wait, slot in zip(waits, slots(waits), strict=True):
        found.append(
            {
                **_complete(WAITS_PROCESS, slot, wait, origin),
                "cat": "wait",
                "args": {"reason": wait.reason, "mutex": wait.mutex, "holder": wait.holder},
            }
        )
    found += _counter("running", spans, origin)
    found += _counter("waiting", waits, origin)
    return {"displayTimeUnit": "ms", "traceEvents": list(found)}


def _microseconds(moment: float, origin: float) -> int:
    return round((moment - origin) * 1e6)


def _complete(process: int, slot: int, span: Span | Wait, origin: float) -> TraceEvent:
    # Both ends are rounded, not the duration: rounding must not make neighbours overlap.
    begin, end = _microseconds(span.begin, origin), _microseconds(span.end, origin)
    name = f"{span.plugin}:{span.step}"
    return {"ph": "X", "pid": process, "tid": slot + 1, "ts": begin, "dur": end - begin, "name": name}


def _tracks(process: int, name: str, spans: Sequence[Span] | Sequence[Wait]) -> list[TraceEvent]:
    found = [_metadata("process_name", process, 0, name)]
    for slot in sorted(set(slots(spans))):
        found.append(_metadata("thread_name", process, slot + 1, f"slot {slot + 1}"))
    return found


def _metadata(kind: str, process: int, track: int, name: str) -> TraceEvent:
    return {"ph": "M", "pid": process, "tid": track, "ts": 0, "name": kind, "args": {"name": name}}


def _counter(name: str, spans: Sequence[Span] | Sequence[Wait], origin: float) -> list[TraceEvent]:
    return [
        {
            "ph": "C",
            "pid": STEPS_PROCESS,
            "tid": 0,
            "ts": _microseconds(moment, origin),
            "name": name,
            "args": {"steps": number},
        }
        for moment, number in curve(spans)
    ]
