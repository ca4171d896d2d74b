"""A few lines at the bottom of a terminal that are drawn over and over, with scrollback above them."""

from __future__ import annotations

from collections.abc import Sequence

from update_all.ui.terminal import Sink, Size
from update_all.ui.text import display_width

# Synchronized output: DEC private mode 2026. 7: automatic wrap; 25: cursor.
BEGIN_FRAME, END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
WRAP_OFF, WRAP_ON = "\x1b[?7l", "\x1b[?7h"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
BELL = "\a"
ERASE_LINE, ERASE_BELOW = "\x1b[2K", "\x1b[J"


class Region:
    """The lines that were drawn last, each as wide as the terminal at most, and where the cursor is."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._drawn: list[str] = []
        self._size: Size | None = None
        self._cursor_hidden = False

    def shows(self, lines: list[str], size: Size) -> bool:
        """Whether that is what is on the screen."""
        return lines == self._drawn and size == self._size

    def draw(self, lines: list[str], size: Size, above: Sequence[str] = (), *, bell: bool = False) -> None:
        """Write one frame; `above` goes to the scrollback.

        Rows are overwritten, not erased first: an erased screen may become history.
        """
        frame = [BEGIN_FRAME, self._to_top(size), *(f"{ERASE_LINE}{line}\n" for line in above)]
        if lines:
            frame += ["" if self._cursor_hidden else HIDE_CURSOR, WRAP_OFF]
            frame += [f"{ERASE_LINE}{line}\n" for line in lines[:-1]]
            frame += [ERASE_BELOW, lines[-1], WRAP_ON]
            self._cursor_hidden = True
        else:
            frame.append(ERASE_BELOW)
        frame += [END_FRAME, BELL if bell else ""]
        self._sink.write("".join(frame))
        self._drawn, self._size = lines, size

    def erase(self, above: Sequence[str] = ()) -> None:
        """Draw nothing until the next frame; the cursor is shown, and stands where the lines began."""
        if self._drawn or above:
            self.draw([], self._sink.size(), above)
        if self._cursor_hidden:
            self._sink.write(WRAP_ON + SHOW_CURSOR)
            self._cursor_hidden = False

    def _to_top(self, size: Size) -> str:
        """Back to the first line drawn last. A terminal that has become narrower has wrapped those lines."""
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
