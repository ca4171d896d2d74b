"""The end of a log that grows, in bounded memory."""

from __future__ import annotations

from collections import deque
from pathlib import Path

LINES_KEPT = 5_000
READ_BYTES = 1 << 20
"""Read at once; whoever is further behind than this skips to the end."""
LONGEST_LINE = 16_384


class LogTail:
    """The last lines of a log. `poll` takes in what was added since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._restart()

    def _restart(self) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.taken = 0
        """How many lines there were so far; the last `len(lines)` of them are kept."""
        self.skipped = False
        """Whether a beginning was never read."""
        self._offset = 0
        self._rest = b""

    def poll(self) -> None:
        """Read on. A log that cannot be read has no lines; one that became shorter was begun anew."""
        try:
            with self.path.open("rb") as file:
                length = file.seek(0, 2)
                if length < self._offset:
                    self._restart()
                if length - self._offset > READ_BYTES:
                    self._offset, self.skipped = length - READ_BYTES, True
                    # The line that the skipped part cuts is none; it ends at the next line feed.
                    self._rest = b""
                    file.seek(self._offset)
                    self._offset += len(file.readline(READ_BYTES))
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except OSError:
            return
        self._offset += len(data)
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-LONGEST_LINE:]
        self.taken += len(whole)
        self.lines.extend(_text(line) for line in whole[-LINES_KEPT:])

    @property
    def shown(self) -> list[str]:
        """The lines, with the last one even if no line feed has ended it."""
        return [*self.lines, _text(self._rest)] if self._rest else list(self.lines)


def _text(line: bytes) -> str:
    return line[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
