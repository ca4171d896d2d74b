"""The timeline of a report as SVG. Pure.

Places along the time axis are percentages, so that the drawing fits any width with letters of one size.
"""

from __future__ import annotations

from collections.abc import Sequence

from update_all.ui.markup import Markup, join, tag
from update_all.ui.text import cut, duration
from update_all.ui.timeline import Part, Span, Wait, curve, slots

LABEL_HEIGHT = 18
BAR_HEIGHT = 16
LANE_HEIGHT = 20
ROW_GAP = 8
AXIS_HEIGHT = 24
CURVE_HEIGHT = 56
MOST_TICKS = 5
NAMED_FROM_PERCENT = 3.0
"""A bar narrower than this has no room for the name of its step, not even on a wide screen."""

_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def tick_seconds(seconds: float) -> list[float]:
    """Round moments within `seconds`, from 0 on, at most MOST_TICKS of them."""
    step = next((tick for tick in _TICKS if seconds / tick < MOST_TICKS), 0.0)
    while not step or seconds / step >= MOST_TICKS:
        step = (step or _TICKS[-1]) * 2
    return [number * step for number in range(int(seconds / step) + 1)]


class _Scale:
    def __init__(self, part: Part) -> None:
        self.begin = part.begin
        self.seconds = max(part.seconds, 0.001)

    def percent(self, moment: float) -> float:
        return min(100.0, max(0.0, 100.0 * (moment - self.begin) / self.seconds))


def gantt(part: Part, label: str) -> Markup:
    """One row a plugin: its steps as bars, its waits dashed, its parallel steps below each other."""
    scale = _Scale(part)
    rows: list[Markup] = []
    top = AXIS_HEIGHT
    for plugin in _plugins(part):
        drawn, height = _row(plugin, part, scale, top)
        rows += drawn
        top += height
    height = max(top, AXIS_HEIGHT + LANE_HEIGHT)
    ticks = _axis(scale, height)
    return tag("svg", *ticks, *rows, role="img", aria_label=label, height=str(height))


def _plugins(part: Part) -> list[str]:
    """Names in the order in which they first ran or waited."""
    items: list[Span | Wait] = [*part.spans, *part.waits]
    return list(dict.fromkeys(item.plugin for item in sorted(items, key=lambda item: item.begin)))


def _axis(scale: _Scale, height: int) -> list[Markup]:
    found: list[Markup] = []
    for seconds in tick_seconds(scale.seconds):
        x = f"{100 * seconds / scale.seconds:.3f}%"
        found.append(tag("line", class_="grid", x1=x, x2=x, y1=str(AXIS_HEIGHT - 6), y2=str(height)))
        middle = "start" if seconds == 0 else "middle"
        found.append(
            tag(
                "text",
                duration(seconds) if seconds == int(seconds) else f"{seconds:.1f}s",
                class_="tick",
                x=x,
                y="12",
                text_anchor="end" if seconds / scale.seconds > 0.95 else middle,
            )
        )
    return found


def _row(plugin: str, part: Part, scale: _Scale, top: int) -> tuple[list[Markup], int]:
    spans = [span for span in part.spans if span.plugin == plugin]
    waits = [wait for wait in part.waits if wait.plugin == plugin]
    lanes = slots(spans)
    busy = sum(span.seconds for span in spans)
    label = f"{cut(plugin, 40)}  {duration(busy, precise=True)}" if spans else cut(plugin, 40)
    found = [tag("text", label, x="0", y=str(top + 13))]
    first = top + LABEL_HEIGHT
    for wait in waits:
        lane = next((lanes[n] for n, span in enumerate(spans) if span.step == wait.step), 0)
        found.append(_wait(wait, scale, first + lane * LANE_HEIGHT))
    for span, lane in zip(spans, lanes, strict=True):
        found.append(_bar(span, scale, first + lane * LANE_HEIGHT))
    return found, LABEL_HEIGHT + (max(lanes, default=0) + 1) * LANE_HEIGHT + ROW_GAP


def _bar(span: Span, scale: _Scale, y: int) -> Markup:
    x, end = scale.percent(span.begin), scale.percent(span.end)
    holds = f", held {', '.join(span.mutexes)}" if span.mutexes else ""
    note = f": {span.note}" if span.note else ""
    title = f"{span.plugin} {span.step}: {span.state}, {duration(span.seconds, precise=True)}{holds}{note}"
    place = {"x": f"{x:.3f}%", "y": str(y), "width": f"{end - x:.3f}%", "height": str(BAR_HEIGHT)}
    named = end - x >= NAMED_FROM_PERCENT
    look = f"{span.state.value} wide" if named else span.state.value
    bar = tag("rect", tag("title", title), class_=look, rx="3", **place)
    if not named:
        return bar
    # An inner drawing cuts the name off at the end of its bar.
    return join(
        [bar, tag("svg", tag("text", span.step, class_="on", x="5", y="12"), aria_hidden="true", **place)]
    )


def _wait(wait: Wait, scale: _Scale, y: int) -> Markup:
    x, end = scale.percent(wait.begin), scale.percent(wait.end)
    title = f"{wait.plugin} {wait.step}: {wait.reason}, {duration(wait.seconds, precise=True)}"
    return tag(
        "rect",
        tag("title", title),
        class_="wait",
        x=f"{x:.3f}%",
        y=str(y + 1),
        width=f"{end - x:.3f}%",
        height=str(BAR_HEIGHT - 2),
        rx="3",
    )


def load(part: Part, label: str) -> Markup:
    """How many steps ran, and above them how many waited, from moment to moment."""
    scale = _Scale(part)
    running, waiting = curve(part.spans), curve(part.waits)
    total = _sum(running, waiting)
    top = max((number for _, number in total), default=0) or 1
    return tag(
        "svg",
        tag("polygon", class_="waits", points=_points(total, scale, top)),
        tag("polygon", class_="steps", points=_points(running, scale, top)),
        role="img",
        aria_label=label,
        viewBox=f"0 0 100 {CURVE_HEIGHT}",
        preserveAspectRatio="none",
        height=str(CURVE_HEIGHT),
    )


def _sum(first: Sequence[tuple[float, int]], second: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    found: list[tuple[float, int]] = []
    now = {0: 0, 1: 0}
    for moment, which, number in sorted(
        [(at, 0, number) for at, number in first] + [(at, 1, number) for at, number in second]
    ):
        now[which] = number
        found.append((moment, now[0] + now[1]))
    return found


def _points(steps: Sequence[tuple[float, int]], scale: _Scale, top: int) -> str:
    points, height = [(0.0, float(CURVE_HEIGHT))], float(CURVE_HEIGHT)
    for moment, number in steps:
        x = scale.percent(moment)
        points.append((x, height))
        height = CURVE_HEIGHT * (1 - number / top)
        points.append((x, height))
    points += [(100.0, height), (100.0, float(CURVE_HEIGHT))]
    return " ".join(f"{x:.2f},{y:.1f}" for x, y in points)
