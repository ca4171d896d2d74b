"""The full screen of a run: opened by --tui or by a key, closed by whoever looks at it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from update_all.cli.aside import Screen
from update_all.core.errors import UsageError
from update_all.core.names import log_name
from update_all.core.streaming import StreamEvent, WarningEvent
from update_all.ui.fullscreen import FullScreen, Reason, Steering, Story, why_not_here
from update_all.ui.text import Style
from update_all.ui.view import RunView

MEANWHILE = {
    Reason.LOST: "the terminal of the full screen is gone; the run goes on",
    Reason.BROKEN: "the full screen has ended; the run goes on",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """Why a full screen ended, None if there was none; and what there is to say of it."""

    reason: Reason | None
    words: str = ""


class FullScreens:
    """The full screens of one run, one visit after another. Hand it every event with `handle`."""

    def __init__(
        self,
        view: RunView,
        steering: Steering | None,
        directory: Path,
        style: Style,
        screen: Screen,
        sink: Callable[[StreamEvent], None],
    ) -> None:
        self._view, self._steering, self._directory, self._style = view, steering, directory, style
        self._screen, self._sink = screen, sink
        self._story = Story()
        self._visit: FullScreen | None = None
        self._closed = asyncio.Event()
        self._closed.set()
        self._hurried = False

    def handle(self, event: StreamEvent) -> None:
        self._story.apply(event)

    async def show(self) -> Shown:
        """Show the full screen until the person leaves; nobody else has the terminal meanwhile."""
        words = why_not_here()
        if words or self._visit is not None or self._hurried:
            return Shown(None, words)
        with self._screen.covered(self._aside):
            self._visit = FullScreen(self._view, self._story, self._steering, self._log, self._style)
            self._closed.clear()
            try:
                reason, words = await self._visit.show()
            finally:
                self._visit = None
                self._closed.set()
        if reason in MEANWHILE:
            words = MEANWHILE[reason] + (f": {words}" if words else "")
        return Shown(reason, words)

    async def show_or_warn(self) -> Shown:
        """The same; the words become a warning of the run."""
        shown = await self.show()
        if shown.words:
            self._sink(WarningEvent(message=shown.words, code="full-screen"))
        return shown

    def hurry(self) -> None:
        """Do not wait for the person once the run has ended: somebody wants this process to end."""
        self._hurried = True
        if self._visit is not None and self._view.ended is not None:
            self._visit.close()

    @contextlib.asynccontextmanager
    async def attended(self, *, at_once: bool) -> AsyncIterator[None]:
        """The block is the run; with `at_once` the full screen is opened with it. What is open when the run
        has ended stays until the person has seen it, but not if the run broke off.
        """
        first = asyncio.ensure_future(self.show_or_warn()) if at_once else None
        try:
            yield
            if self._visit is not None and not self._hurried:
                await self._closed.wait()
        finally:
            if self._visit is not None:
                self._visit.close()
                await self._closed.wait()
            if first is not None:
                await first

    def _aside(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._visit is None else self._visit.aside()

    def _log(self, plugin: str, step: str) -> Path | None:
        """The log of the newest attempt. A path that the end of the step told of is believed."""
        told = self._story.logs.get((plugin, step))
        if told is not None:
            return Path(told) if told else None
        return newest_log(self._directory, plugin, step)


def newest_log(directory: Path, plugin: str, step: str) -> Path | None:
    """The log of the newest attempt of a step in the directory of a run."""
    found: Path | None = None
    for attempt in count(1):
        path = directory / log_name(plugin, step, attempt)
        if not path.exists():
            if attempt > 1:
                return found
            continue
        found = path
    return found


def check_tui(tui: bool, progress: str, *, as_json: bool = False) -> None:
    """Raise UsageError for --tui together with what is not for a person's eyes."""
    other = "--json" if as_json else f"--progress {progress}"
    if tui and (as_json or progress not in ("auto", "live")):
        raise UsageError(f"--tui shows the run on the whole terminal, {other} shows it otherwise")
