"""The one widget of the full screen."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from rich.style import Style as Look
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from update_all.ui.fullscreen.spans import Row


class Canvas(Widget):
    """Shows rows; only those that differ from the last ones are drawn again."""

    DEFAULT_CSS = "Canvas { width: 100%; height: 100%; background: ansi_default; color: ansi_default; }"

    def __init__(self, on_resize: Callable[[], None]) -> None:
        super().__init__()
        self._resized = on_resize
        self._rows: list[Row] = []

    def on_resize(self) -> None:
        self._resized()

    def show(self, rows: list[Row]) -> None:
        if len(rows) != len(self._rows):
            self._rows = rows
            self.refresh()
            return
        changed = [index for index, each in enumerate(rows) if each != self._rows[index]]
        self._rows = rows
        if changed:
            self.refresh(*(Region(0, index, self.size.width, 1) for index in changed))

    def render_line(self, y: int) -> Strip:
        if y >= len(self._rows):
            return Strip.blank(self.size.width)
        segments = [Segment(span.text, Look.parse(span.look)) for span in self._rows[y]]
        return Strip(segments).adjust_cell_length(self.size.width)
