"""One picture of the full screen: a scene and a position as rows of one terminal size. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from update_all.ui.fullscreen import bars, panes
from update_all.ui.fullscreen.actions import ACTIONS, FOOTER, SHORT, Action, action_rows
from update_all.ui.fullscreen.panes import Scene
from update_all.ui.fullscreen.position import Asking, Focus, Position, Tab, first_visible, places
from update_all.ui.fullscreen.spans import Row, Span, beside, fitted, folded, row, width_of
from update_all.ui.text import bar, duration, plural
from update_all.ui.view import State

NARROW = 60
"""Columns below which only one pane is shown."""


@dataclass(frozen=True, slots=True)
class LogText:
    """Lines of a log; `first` is how many came before them, not counting a beginning that was `skipped`."""

    lines: Sequence[str] = ()
    first: int = 0
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """The picture, and where in its content the right pane is: `first` of `count` lines and `shown` of them
    from there, in `room` rows.
    """

    rows: list[Row]
    first: int = 0
    shown: int = 0
    count: int = 0
    room: int = 0


def compose(
    scene: Scene,
    position: Position,
    log: LogText,
    width: int,
    height: int,
    actions: Sequence[tuple[Action, str]] = (),
) -> Frame:
    """Exactly `height` rows of exactly `width` columns. `actions` are listed with why they cannot act."""
    width, height = max(width, 4), max(height, 1)
    body = max(0, height - 3)
    ellipsis = scene.style.marks.ellipsis
    window = _window(scene, position, log, _right_width(position, width), body)
    if position.helping or (position.prompt is not None and position.prompt.asking is Asking.PALETTE):
        listed = action_rows(actions, names=not position.helping)
        top = min(position.top or 0, max(0, len(listed) - body)) if position.helping else 0
        window = Frame(window.rows, top, body, len(listed), body)
        middle = [row(Span(" Keys" if position.helping else " Actions", "bold")), *listed[top : top + body]]
    else:
        middle = _panes(scene, position, log, window, width, body)
    middle += [row()] * (1 + body - len(middle))
    lines = [_header(scene, width), *middle, _bottom(scene, position, width)]
    exact = [fitted(line, width, ellipsis) for line in [*lines[: height - 1], lines[-1]]]
    return replace(window, rows=exact)


def _left_width(position: Position, width: int) -> int:
    """Columns of the tree; all or none where there is room for one pane only."""
    if width < NARROW:
        return width if position.focus is Focus.TREE and not position.zoomed else 0
    return 0 if position.zoomed else min(40, max(24, width * 3 // 10))


def _right_width(position: Position, width: int) -> int:
    left = _left_width(position, width)
    return width if left in (0, width) else width - left - 1


def _panes(scene: Scene, position: Position, log: LogText, window: Frame, width: int, body: int) -> list[Row]:
    ellipsis = scene.style.marks.ellipsis
    left_width = _left_width(position, width)
    left = _tree(scene, position, left_width, body) if left_width else []
    if left_width == width:
        return left
    right = [_tabs(scene, position, log, window, _right_width(position, width)), *window.rows]
    if not left_width:
        return right
    both: list[Row] = []
    edge = Span("│" if scene.style.unicode else "|", "dim")
    for index in range(1 + body):
        other = right[index] if index < len(right) else ()
        own = left[index] if index < len(left) else ()
        both.append((*fitted(own, left_width, ellipsis), edge, *other))
    return both


def _tree(scene: Scene, position: Position, width: int, body: int) -> list[Row]:
    focused = position.focus is Focus.TREE
    needle = position.filters[Focus.TREE]
    listed = places(scene.view, needle)
    title = f" Steps /{scene.style.text(needle)}" if needle else " Steps"
    lines = [row(Span(title, "bold reverse" if focused else "bold"))]
    if not listed:
        return [*lines, row(Span(" nothing of that name" if needle else " nothing is planned", "dim"))]
    selected = listed.index(position.place) if position.place in listed else 0
    top = first_visible(selected, len(listed), body)
    for place in listed[top : top + body]:
        lines.append(panes.tree_row(scene, place, place == position.place, focused, width))
    return lines


def _tabs(scene: Scene, position: Position, log: LogText, window: Frame, width: int) -> Row:
    focused = position.focus is Focus.PANE
    spans: list[Span] = []
    for number, tab in enumerate(Tab, 1):
        here = tab is position.tab
        look = ("bold reverse" if focused else "bold") if here else "dim"
        spans += [Span(f"[{number} {tab}]" if here else f" {number} {tab} ", look)]
    needle = position.filters[Focus.PANE]
    where = f"/{scene.style.text(needle)} " if needle else ""
    if position.tab is Tab.LOG and position.top is None:
        where += "follows"
    elif window.count > window.room:
        of = "/last " if log.skipped and position.tab is Tab.LOG else "/"
        where += f"{window.first + 1}-{window.first + window.shown}{of}{window.count}"
    return beside(tuple(spans), row(Span(where, "dim")), width, scene.style.marks.ellipsis)


def _window(scene: Scene, position: Position, log: LogText, width: int, body: int) -> Frame:
    if position.tab is Tab.LOG:
        return _log(scene, position, log, width, body)
    match position.tab:
        case Tab.GRAPH:
            lines = panes.graph(scene, position.place)
        case Tab.TIMELINE:
            lines = bars.timeline(scene, width)
        case _:
            lines = panes.changes(scene)
    needle = position.filters[Focus.PANE].casefold()
    lines = [line for line in lines if needle in "".join(span.text for span in line).casefold()]
    first = max(0, min(position.top or 0, len(lines) - body))
    shown = lines[first : first + body]
    ellipsis = scene.style.marks.ellipsis
    return Frame([fitted(line, width, ellipsis) for line in shown], first, len(shown), len(lines), body)


def _log(scene: Scene, position: Position, log: LogText, width: int, body: int) -> Frame:
    head = panes.heading(scene, position.place, width)[: max(0, body - 1)]
    room = body - len(head)
    needle = position.filters[Focus.PANE].casefold()
    lines, before = log.lines, log.first
    if needle:
        lines, before = [line for line in lines if needle in line.casefold()], 0
    if position.top is None:
        first, shown = _from_the_end(scene, lines, width, room)
    else:
        first = max(0, min(position.top - before, len(lines) - 1))
        shown = _from(scene, lines[first:], width, room)
    if not lines:
        words = "no line holds that" if needle else "no output so far"
        shown = [[row(Span(words, "dim"))]]
    folds = [line for each in shown for line in each]
    folds = folds[:room] if position.top is not None else folds[max(0, len(folds) - room) :]
    return Frame(head + folds, before + first, len(shown), before + len(lines), room)


def _from(scene: Scene, lines: Sequence[str], width: int, room: int) -> list[list[Row]]:
    shown: list[list[Row]] = []
    used = 0
    for line in lines:
        if used >= room:
            break
        shown.append(_folded(scene, line, width))
        used += len(shown[-1])
    return shown


def _from_the_end(scene: Scene, lines: Sequence[str], width: int, room: int) -> tuple[int, list[list[Row]]]:
    shown = _from(scene, lines[: -room - 1 : -1] if room else [], width, room)
    return max(0, len(lines) - len(shown)), shown[::-1]


def _folded(scene: Scene, line: str, width: int) -> list[Row]:
    return [row(part) for part in folded(scene.style.text(line.expandtabs(8)), width)]


def _header(scene: Scene, width: int) -> Row:
    view, marks = scene.view, scene.style.marks
    steps = list(view.steps)
    done = sum(step.state in {State.DONE, State.SKIPPED} for step in steps)
    gauge = f"{bar(done / len(steps) if steps else 0.0, 8, marks)} " if width >= NARROW else ""
    spans = [Span(f"{gauge}{done}/{len(steps)} steps", "bold")]
    between = f" {marks.between} "
    for state in (State.RUNNING, State.WAITING, State.FAILED):
        if count := sum(step.state is state for step in steps):
            spans += [Span(between), scene.mark(state), Span(f" {count}")]
    spans.append(Span(between + duration(view.elapsed(scene.now))))
    if scene.paused and view.ended is None:
        spans += [Span(between), Span("paused", "yellow bold")]
    return beside(
        tuple(spans), row(Span(f"update-all {scene.style.text(view.run_id)}", "dim")), width, marks.ellipsis
    )


def _bottom(scene: Scene, position: Position, width: int) -> Row:
    text = scene.style.text
    prompt = position.prompt
    if prompt is not None:
        begin = {Asking.FILTER: "/", Asking.PALETTE: ":"}.get(prompt.asking, "")
        if prompt.place is not None:
            begin = f"answer for {text(prompt.place.plugin)} {text(prompt.place.step)}: "
        # The end of what is typed is what one looks at.
        typed = "*" * len(prompt.text) if prompt.hidden else prompt.text
        typed = typed[-max(1, width - len(begin) - 2) :]
        return row(Span(begin, "bold"), text(typed), Span("_", "reverse"))
    if position.message:
        return row(Span(text(position.message), "bold"))
    if scene.view.ended is not None:
        return row(Span(f"{_ending(scene)} q or esc: leave, and see the summary   ? help", "bold"))
    if scene.asking:
        return row(Span(f"{text(min(scene.asking))} asks something: i to answer", "yellow bold"))
    spans: list[Span] = []
    by_name = {action.name: action for action in ACTIONS}
    for name in FOOTER:
        more = [Span(f" {by_name[name].shown}", "bold"), Span(f" {SHORT[name]} ", "dim")]
        if width_of((*spans, *more)) > width:
            break
        spans += more
    return tuple(spans)


def _ending(scene: Scene) -> str:
    view = scene.view
    failed = len({failure.plugin for failure in view.failures})
    if view.interrupted:
        return "The run was interrupted."
    return f"The run has ended: {plural(failed, 'plugin')} failed." if failed else "The run has ended well."
