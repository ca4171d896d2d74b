"""The inline live view: a few rows at the bottom of the terminal, finished plugins above as scrollback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TextIO

from update_all.core.streaming import CompletionEvent, StreamEvent, WarningEvent
from update_all.ui import rows
from update_all.ui.footer import Footer, footer_line
from update_all.ui.region import Region
from update_all.ui.terminal import Sink
from update_all.ui.text import Style, bar, cut, display_width, duration, fit
from update_all.ui.title import Title
from update_all.ui.view import NEEDS_INPUT, Notice, PluginRow, RunView, State

FRAME_SECONDS = 0.1
QUIET_START_SECONDS = 0.5
MOST_OF_HEIGHT = 3
FEWEST_LINES = 6


def line_cap(height: int) -> int:
    """The most lines that the view takes: a third of the height, at least 6, and never the whole screen."""
    return max(1, min(max(FEWEST_LINES, height // MOST_OF_HEIGHT), height - 1))


def render(
    view: RunView, width: int, height: int, now: float, style: Style, footer: Footer | None = None
) -> list[str]:
    """The live view as lines of at most `width` columns, at most `line_cap(height)` of them.

    Failed plugins, oldest first; those that ask something; running ones, longest first; waiting ones; what
    does not fit and what has ended is counted in one line; then the totals; last the `footer`, where there is
    room for it or it says something. `now` is in seconds since the epoch.
    """
    width = max(width, 1)
    cap = line_cap(height)
    last = "" if footer is None else footer_line(footer, width, height, style)
    if last:
        cap = max(1, cap - 1)
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
    return [*lines, last][-line_cap(height) :] if last else lines


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
    running = sorted(view.rows(State.RUNNING), key=lambda row: (not _asks(row), row.started or 0.0))
    return failed + running + view.rows(State.WAITING)


def _asks(row: PluginRow) -> bool:
    return any(step.asks for step in row.running)


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
            rows.row_mark(row, style.marks),
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
    `environ` tells what the terminal can show besides: the title of its window.
    """

    def __init__(self, stream: TextIO, style: Style, environ: Mapping[str, str] | None = None) -> None:
        self.view = RunView()
        self.footer: Callable[[], Footer | None] = lambda: None
        """What the last line is about; asked at each frame."""
        self._style = style
        self._bell = False
        self._sink = Sink(stream)
        self._above: list[PluginRow | Notice] = []
        self._region = Region(self._sink)
        self._title = Title(self._sink, environ or {})
        self._last_frame = float("-inf")
        self._closed = False

    def handle(self, event: StreamEvent) -> None:
        self.view.apply(event)
        if isinstance(event, CompletionEvent):
            self._above.append(self.view.plugins[event.plugin_name])
        elif isinstance(event, WarningEvent):
            self._above.append(self.view.warnings[-1])
            self._bell = self._bell or event.code == NEEDS_INPUT

    def tick(self, now: float) -> None:
        started = self.view.started
        early = started is None or 0 <= now - started < QUIET_START_SECONDS
        if early or 0 <= now - self._last_frame < FRAME_SECONDS or self._closed:
            return
        size = self._sink.size()
        lines = render(self.view, size.width, size.height, now, self._style, self.footer())
        if self._region.shows(lines, size) and not self._above:
            return
        self._last_frame = now
        self._region.draw(lines, size, self._take_above(size.width), bell=self._bell)
        self._bell = False
        self._title.show(self.view)

    def close(self) -> None:
        """Erase the rows, write the finished plugins that are not yet written, show the cursor again."""
        self._closed = True
        self.suspend()
        self._title.close()

    def suspend(self) -> None:
        """Erase the rows until the next frame; the cursor is shown, and stands where they began."""
        self._region.erase(self._take_above(self._sink.size().width))

    def _take_above(self, width: int) -> list[str]:
        taken, self._above = self._above, []
        return [self._line_above(each, width) for each in taken]

    def _line_above(self, each: PluginRow | Notice, width: int) -> str:
        if isinstance(each, Notice):
            return warning_line(each, width, self._style)
        return finished_line(each, width, self._style)
