"""The stream that a printer writes to: what it can show, how large it is, and what if it goes away."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple, TextIO

from update_all.ui.text import Style


class Size(NamedTuple):
    """Columns and rows of a terminal."""

    width: int
    height: int


def is_terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal that understands escape sequences."""
    return not stream.closed and stream.isatty() and environ.get("TERM", "dumb") != "dumb"


def style_of(stream: TextIO, environ: Mapping[str, str], color: str = "auto") -> Style:
    """Colours and characters for `stream`.

    `color` is auto, always or never. auto: FORCE_COLOR, if set and not empty, turns colours on; NO_COLOR, or
    a stream that is no terminal, turns them off. Characters beyond ASCII need a UTF-8 stream and a locale
    that says so: Python writes UTF-8 in the C locale too.
    """
    wanted = color == "always"
    if color == "auto" and not environ.get("NO_COLOR"):
        wanted = bool(environ.get("FORCE_COLOR")) or is_terminal(stream, environ)
    encoding = (stream.encoding or "ascii").lower().replace("-", "")
    return Style(colour=wanted, unicode=encoding.startswith("utf") and not _plain_locale(environ))


def _plain_locale(environ: Mapping[str, str]) -> bool:
    """Whether a person has asked for the C locale, as locale(7) finds it.

    LC_CTYPE may have been set by Python itself (PEP 538), therefore LANG=C counts beside it.
    """
    coerced = environ.get("LC_CTYPE") == "C.UTF-8" and environ.get("LANG") in ("C", "POSIX")
    names = ("LC_ALL", "LANG") if coerced else ("LC_ALL", "LC_CTYPE", "LANG")
    return next((environ[name] for name in names if environ.get(name)), "") in ("C", "POSIX")


class Sink:
    """Writes text to a stream until that fails; then drops it: a lost terminal must not stop a run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = False

    def write(self, text: str) -> None:
        """Write and flush. Errors of the stream (closed pipe, lost terminal) set `lost`."""
        if self.lost or not text:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self.lost = True

    def size(self) -> Size:
        """The size of the terminal now, 80 × 24 where it has none."""
        try:
            columns, lines = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            columns, lines = 80, 24
        return Size(columns or 80, lines or 24)
