"""What all printers have in common, and which one a stream gets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol, TextIO

from update_all.core.streaming import StreamEvent
from update_all.ui.terminal import is_terminal, style_of


class Printer(Protocol):
    """Shows a run. Driven by one task: `handle` every event in order, `tick` about ten times a second."""

    def handle(self, event: StreamEvent) -> None:
        """Take an event in."""

    def tick(self, now: float) -> None:
        """Let time pass; `now` is in seconds since the epoch."""

    def suspend(self) -> None:
        """Leave the terminal to somebody else, until the next `tick`."""

    def close(self) -> None:
        """Write what is still to be written and leave the stream as it was. May be called twice."""


class Progress(StrEnum):
    """The values of `--progress`."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    JSONL = "jsonl"
    NONE = "none"


class SilentPrinter:
    """Shows nothing."""

    def handle(self, event: StreamEvent) -> None:
        pass

    def tick(self, now: float) -> None:
        pass

    def suspend(self) -> None:
        pass

    def close(self) -> None:
        pass


def progress_for(mode: Progress | str, stream: TextIO, environ: Mapping[str, str] = os.environ) -> Progress:
    """What `--progress mode` means for a stream; auto is live on a terminal (not with CI set), else plain."""
    mode = Progress(mode)
    if mode is Progress.AUTO:
        live = is_terminal(stream, environ) and not environ.get("CI")
        mode = Progress.LIVE if live else Progress.PLAIN
    return mode


def make_printer(
    mode: Progress | str,
    stream: TextIO,
    *,
    environ: Mapping[str, str] = os.environ,
    color: str = "auto",
) -> Printer:
    """The printer for `--progress mode`."""
    match progress_for(mode, stream, environ):
        case Progress.LIVE:
            from update_all.ui.live import LivePrinter

            shown = environ if is_terminal(stream, environ) else None
            return LivePrinter(stream, style_of(stream, environ, color), shown)
        case Progress.PLAIN:
            from update_all.ui.plain import PlainPrinter

            return PlainPrinter(stream, style_of(stream, environ, color))
        case Progress.JSONL:
            from update_all.ui.jsonlines import JsonLinesPrinter

            return JsonLinesPrinter(stream)
        case _:
            return SilentPrinter()
