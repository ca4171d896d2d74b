"""The inline live view: a few rows at the bottom of the terminal, finished plugins above as scrollback."""

from __future__ import annotations

from typing import TextIO

from update_all.core.streaming import CompletionEvent, StreamEvent, WarningEvent
from update_all.ui import rows
from update_all.ui.terminal import Sink, Size
from update_all.ui.text import Style, bar, cut, display_width, duration, fit
from update_all.ui.view import Notice, PluginRow, RunView, State

FRAME_SECONDS = 0.1
QUIET_START_SECONDS = 0.5
MOST_OF_HEIGHT = 3
FEWEST_LINES = 6

# Synchronized output: DEC private mode 2026. 7: automatic wrap; 25: cursor.
BEGIN_FRAME, END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
WRAP_OFF, WRAP_ON = "\x1b[?7l", "\x1b[?7h"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
ERASE_LINE, ERASE_BELOW = "\x1b[2K", "\x1b[J"


def line_cap(height: int) -> int:
    """The most lines that the view takes: a third of the height, at least 6, and never the whole screen."""
    return max(1, min(max(FEWEST_LINES, height // MOST_OF_HEIGHT), height - 1))


def render(view: RunView, width: int, height: int, now: float, style: Style) -> list[str]:
    """The live view as lines of at most `width` columns, at most `line_cap(height)` of them.

    Failed plugins, oldest first; running ones, longest first; waiting ones; what does not fit and what has
    ended is counted in one line; the last line has the totals. `now` is in seconds since the epoch.
    """
    width = max(width, 1)
    cap = line_cap(height)
    shown = _ordered(view)
    others = _counts(view.rows(State.DONE, State.SKIPPED, State.UP_TO_DATE, State.BLOCKED))
    room = cap - 1
    if len(shown) > room or (others and len(shown) == room):
        room = max(0, room - 1)
    hidden, shown = shown[room:], shown[:room]
    layout = _Layout.of(shown, width)
    lines = [_row_line(row, layout, now, style) for row in shown]
    folded = _counts(hidden) | others
    if folded and len(lines) < cap - 1:
        text = ", ".join(f"{count} {state}" for state, count in folded.items())
        lines.append(style.paint(cut(f"  {style.marks.ellipsis} {text}", width, style.marks.ellipsis), "dim"))
    lines.append(_total_line(view, width, now, style))
    return lines


def finished_line(row: PluginRow, width: int, style: Style) -> str:
    """The line that a finished plugin leaves in the scrollback."""
    seconds = (row.ended or 0.0) - (row.started or row.ended or 0.0)
    parts = [style.text(row.name), style.text(rows.outcome(row, style.marks))]
    if row.started is not None:
        parts.append(duration(seconds, precise=True))
    text = cut(f"{rows.mark(row.state, style.marks)} " + "  ".join(parts), width, style.marks.ellipsis)
    return _painted(text, row.state, style)


def warning_line(notice: Notice, width: int, style: Style) -> str:
    """The line that a warning leaves in the scrollback."""
    text = style.text(rows.notice_text(notice))
    line = cut(f"{style.marks.warning} {text}", width, style.marks.ellipsis)
    return style.paint(line[:1], "yellow") + line[1:]


def _ordered(view: RunView) -> list[PluginRow]:
    failed = sorted(view.rows(State.FAILED), key=lambda row: row.ended or 0.0)
    running = sorted(view.rows(State.RUNNING), key=lambda row: row.started or 0.0)
    return failed + running + view.rows(State.WAITING)


def _counts(plugins: list[PluginRow]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in plugins:
        name = row.state.value.replace("-", " ")
        counts[name] = counts.get(name, 0) + 1
    return counts


class _Layout:
    """Column widths of the rows: name, step, times; what is left is the detail."""

    def __init__(self, width: int, name: int, step: int, wide: bool) -> None:
        self.width, self.name, self.step, self.wide = width, name, step, wide

    @classmethod
    def of(cls, shown: list[PluginRow], width: int) -> _Layout:
        wide = width >= 60
        name = max((display_width(row.name) for row in shown), default=0)
        step = max((display_width(_step_text(row, wide)) for row in shown), default=0)
        return cls(width, min(name, max(8, width // 5)), min(step, max(5, width // 5)), wide)


def _step_text(row: PluginRow, wide: bool) -> str:
    step = row.current
    if step is None:
        return ""
    number = f"{step.number}/{row.total_steps}"
    return f"{step.name} {number}" if wide else number


def _row_line(row: PluginRow, layout: _Layout, now: float, style: Style) -> str:
    ellipsis = style.marks.ellipsis
    begin = " ".join(
        (
            rows.mark(row.state, style.marks),
            fit(style.text(row.name), layout.name, ellipsis),
            fit(style.text(_step_text(row, layout.wide)), layout.step, ellipsis),
        )
    )
    times = _times(row, now, style, layout.wide)
    room = layout.width - display_width(begin) - display_width(times) - 3
    if room < 4:
        return _painted(cut(begin, layout.width, ellipsis), row.state, style)
    middle = fit(rows.detail(row, now, style, room), room, ellipsis)
    return _painted(cut(f"{begin}  {middle} {times}".rstrip(), layout.width, ellipsis), row.state, style)


def _times(row: PluginRow, now: float, style: Style, wide: bool) -> str:
    step = row.current
    since = row.started if row.state is State.FAILED or step is None else step.started
    text = "" if since is None else duration((row.ended or now) - since)
    usual = step.usual_seconds if step is not None and row.state is not State.FAILED else None
    if wide and usual is not None:
        text += f" {style.marks.usual}{duration(usual)}"
    return f"{text:>6}" if wide else text


def _painted(line: str, state: State, style: Style) -> str:
    """Only the mark has a colour, so that cutting by width needs to know nothing of colours."""
    return style.paint(line[:1], rows.COLOURS[state]) + line[1:]


def _total_line(view: RunView, width: int, now: float, style: Style) -> str:
    marks = style.marks
    steps = list(view.steps)
    done = sum(step.state in {State.DONE, State.SKIPPED} for step in steps)
    elapsed = view.elapsed(now)
    parts = [f"{done}/{len(steps)} steps"]
    for state in (State.RUNNING, State.WAITING, State.FAILED):
        if count := len(view.rows(state)):
            parts.append(f"{rows.mark(state, marks)} {count}")
    parts.append(duration(elapsed))
    wide = width >= 60
    if left := _left(view, elapsed, style if wide else None):
        parts.append(left)
    if wide:
        parts[0] = f"{bar(done / len(steps) if steps else 0.0, 8, marks)} {parts[0]}"
    between = f" {marks.between} "
    while len(parts) > 1 and display_width(between.join(parts)) > width:
        parts.pop()
    return cut(between.join(parts), width, marks.ellipsis)


def _left(view: RunView, elapsed: float, style: Style | None) -> str:
    """The time left, with its spread where there is a style to show it in."""
    low, high = view.expected_low, view.expected_high
    if low is None or high is None or elapsed >= high:
        return ""
    left = max((low + high) / 2 - elapsed, (high - elapsed) / 2)
    spread = min((high - low) / 2, left)
    sure = f" ({style.marks.plus_minus}{duration(spread)})" if style is not None and spread >= 1 else ""
    return f"about {duration(left)} left{sure}"


class LivePrinter:
    """Draws `render` at the bottom of a terminal.

    At most ten frames a second and only what changed; nothing in the first half second; asks for the size of
    the terminal at each frame, so a resize redraws. Finished plugins and warnings are written once, above.
    """

    def __init__(self, stream: TextIO, style: Style) -> None:
        self.view = RunView()
        self._style = style
        self._sink = Sink(stream)
        self._above: list[PluginRow | Notice] = []
        self._drawn: list[str] = []
        self._size: Size | None = None
        self._last_frame = float("-inf")
        self._cursor_hidden = False
        self._closed = False

    def handle(self, event: StreamEvent) -> None:
        self.view.apply(event)
        if isinstance(event, CompletionEvent):
            self._above.append(self.view.plugins[event.plugin_name])
        elif isinstance(event, WarningEvent):
            self._above.append(self.view.warnings[-1])

    def tick(self, now: float) -> None:
        started = self.view.started
        early = started is None or 0 <= now - started < QUIET_START_SECONDS
        if early or 0 <= now - self._last_frame < FRAME_SECONDS or self._closed:
            return
        size = self._sink.size()
        lines = render(self.view, size.width, size.height, now, self._style)
        if lines == self._drawn and not self._above and size == self._size:
            return
        self._last_frame = now
        self._draw(lines, size)

    def close(self) -> None:
        """Erase the rows, write the finished plugins that are not yet written, show the cursor again."""
        self._closed = True
        if self._drawn or self._above:
            self._draw([], self._sink.size())
        if self._cursor_hidden:
            self._sink.write(WRAP_ON + SHOW_CURSOR)
            self._cursor_hidden = False

    def _draw(self, lines: list[str], size: Size) -> None:
        """Write one frame. Rows are overwritten, not erased first: an erased screen may become history."""
        above = [self._line_above(each, size.width) for each in self._above]
        frame = [BEGIN_FRAME, self._to_top(size), *(f"{ERASE_LINE}{line}\n" for line in above)]
        if lines:
            frame += ["" if self._cursor_hidden else HIDE_CURSOR, WRAP_OFF]
            frame += [f"{ERASE_LINE}{line}\n" for line in lines[:-1]]
            frame += [ERASE_BELOW, lines[-1], WRAP_ON]
            self._cursor_hidden = True
        else:
            frame.append(ERASE_BELOW)
        frame.append(END_FRAME)
        self._sink.write("".join(frame))
        self._drawn, self._size = lines, size
        self._above.clear()

    def _line_above(self, each: PluginRow | Notice, width: int) -> str:
        if isinstance(each, Notice):
            return warning_line(each, width, self._style)
        return finished_line(each, width, self._style)

    def _to_top(self, size: Size) -> str:
        """Back to the first row drawn last. A terminal that has become narrower has wrapped those rows."""
        if not self._drawn:
            return ""
        count = sum(max(1, -(-visible_width(line) // size.width)) for line in self._drawn)
        up = min(count, size.height) - 1
        return "\r" + (f"\x1b[{up}A" if up else "")


def visible_width(line: str) -> int:
    """Columns of a rendered line without its colours."""
    if "\x1b" not in line:
        return display_width(line)
    begin, *rest = line.split("\x1b[")
    return display_width(begin + "".join(part.partition("m")[2] for part in rest))
