"""The answers of the checks while they come in: lines at the bottom of the terminal, gone at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from update_all.core.models import CheckStatus
from update_all.core.streaming import CheckEvent, StreamEvent
from update_all.ui.live import FRAME_SECONDS, QUIET_START_SECONDS, line_cap
from update_all.ui.region import Region
from update_all.ui.terminal import Sink
from update_all.ui.text import Style, columns, cut, duration, plural


def check_lines(
    names: Sequence[str],
    answers: Mapping[str, CheckEvent],
    width: int,
    height: int,
    elapsed: float,
    style: Style,
) -> list[str]:
    """What is known so far of the plugins `names`, and who has not answered, in at most `line_cap` lines.

    Pure; `elapsed` is in seconds.
    """
    width = max(width, 1)
    ellipsis = style.marks.ellipsis
    told = [
        (style.text(name), style.text(_answer(answers[name], style)))
        for name in names
        if name in answers and answers[name].status != CheckStatus.UP_TO_DATE
    ]
    room = line_cap(height) - 1
    hidden = max(0, len(told) - room)
    if hidden and room:
        hidden += 1
        told = told[: room - 1]
    lines = columns(told, width, ellipsis=ellipsis) if room else []
    if hidden and room:
        lines.append(cut(f"  {ellipsis} {hidden} more", width, ellipsis))
    missing = [style.text(name) for name in names if name not in answers]
    last = f"Checking {len(names) - len(missing)}/{len(names)} {style.marks.between} {duration(elapsed)}"
    if missing:
        last += f" {style.marks.between} waiting for {', '.join(missing)}"
    return [*lines, style.paint(cut(last, width, ellipsis), "dim")]


def _answer(event: CheckEvent, style: Style) -> str:
    if event.status == CheckStatus.CANNOT_KNOW:
        return event.reason
    if len(event.updates) == 1:
        change = event.updates[0]
        versions = f" {style.marks.arrow} ".join(each for each in (change.old, change.new) if each)
        return f"{change.item} {versions}"
    return plural(len(event.updates), "update")


class ChecksPrinter:
    """Draws `check_lines` until it is closed; nothing in the first half second, which is mostly enough."""

    def __init__(self, stream: TextIO, style: Style, names: Sequence[str], began: float) -> None:
        self._style = style
        self._names = names
        self._began = began
        self._answers: dict[str, CheckEvent] = {}
        self._sink = Sink(stream)
        self._region = Region(self._sink)
        self._last_frame = float("-inf")

    def handle(self, event: StreamEvent) -> None:
        if isinstance(event, CheckEvent):
            self._answers[event.plugin_name] = event

    def tick(self, now: float) -> None:
        elapsed = now - self._began
        if 0 <= elapsed < QUIET_START_SECONDS or 0 <= now - self._last_frame < FRAME_SECONDS:
            return
        size = self._sink.size()
        lines = check_lines(self._names, self._answers, size.width, size.height, elapsed, self._style)
        if not self._region.shows(lines, size):
            self._last_frame = now
            self._region.draw(lines, size)

    def suspend(self) -> None:
        self._region.erase()

    def close(self) -> None:
        self._region.erase()
