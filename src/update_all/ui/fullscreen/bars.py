"""The timeline of a run as bars, one row a step. Pure."""

from __future__ import annotations

from update_all.ui import rows
from update_all.ui.fullscreen.panes import Scene
from update_all.ui.fullscreen.spans import Row, Span, row
from update_all.ui.text import cut, display_width, duration, fit
from update_all.ui.timeline import Part, Wait
from update_all.ui.timeline import Span as Ran

LONGEST_NAME = 28
TIMES = 7


def timeline(scene: Scene, width: int) -> list[Row]:
    """A bar for each step, over the whole time; waiting is thin, running is thick. Each part of a run that
    was resumed has a timeline of its own.
    """
    lines: list[Row] = []
    for part in scene.story.parts(scene.now):
        if lines:
            lines.append(row())
        lines += _part(scene, part, width)
    return lines or [row(Span("nothing has started yet", "dim"))]


def _part(scene: Scene, part: Part, width: int) -> list[Row]:
    ellipsis = scene.style.marks.ellipsis
    tracks: dict[tuple[str, str], tuple[list[Ran], list[Wait]]] = {}
    happened: list[Ran | Wait] = [*part.spans, *part.waits]
    for each in sorted(happened, key=lambda one: (one.begin, one.plugin, one.step)):
        spans, waits = tracks.setdefault((each.plugin, each.step), ([], []))
        if isinstance(each, Ran):
            spans.append(each)
        else:
            waits.append(each)
    names = {key: scene.style.text(f"{key[0]} {key[1]}") for key in tracks}
    name_width = min(max(map(display_width, names.values()), default=0), LONGEST_NAME, max(8, width // 3))
    room = max(1, width - name_width - TIMES - 3)
    total = duration(part.seconds)
    title = "resumed" if part.resumed else "0s"
    axis = fit(title, max(0, room - len(total)), ellipsis) + total
    lines = [row(Span(f"{'':<{name_width}}   {cut(axis, room, ellipsis)}", "dim"))]
    for key, (spans, waits) in tracks.items():
        state = scene.mark(spans[-1].state) if spans else Span(scene.style.marks.waiting, "yellow")
        bar = _bar(scene, part, spans, waits, room)
        took = sum(each.seconds for each in (spans or waits))
        lines.append(
            row(state, f" {fit(names[key], name_width, ellipsis)} ", *bar, f"{duration(took):>{TIMES}}")
        )
    return lines


def _bar(scene: Scene, part: Part, spans: list[Ran], waits: list[Wait], room: int) -> Row:
    """Whole cells; whatever happened has at least one."""
    marks = scene.style.marks
    cells = [Span(" ")] * room
    scale = room / (part.seconds or 1.0)

    def draw(begin: float, end: float, cell: Span) -> None:
        first = min(room - 1, int((begin - part.begin) * scale))
        last = max(first + 1, min(room, round((end - part.begin) * scale)))
        cells[first:last] = [cell] * (last - first)

    for wait in waits:
        draw(wait.begin, wait.end, Span(marks.bar_empty, "yellow"))
    for span in spans:
        draw(span.begin, span.end, Span(marks.bar_full, rows.COLOURS[span.state]))
    return _joined(cells)


def _joined(cells: list[Span]) -> Row:
    joined: list[Span] = []
    for cell in cells:
        if joined and joined[-1].look == cell.look:
            joined[-1] = Span(joined[-1].text + cell.text, cell.look)
        else:
            joined.append(cell)
    return tuple(joined)
