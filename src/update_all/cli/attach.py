"""Follow a run that goes on in another terminal, or show the last one again."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from update_all.cli.aside import Screen
from update_all.cli.full_screen import FullScreens, check_tui
from update_all.cli.options import add_tui
from update_all.core.errors import UsageError, unknown_name
from update_all.core.evidence import is_locked
from update_all.core.journal import JOURNAL, read_events
from update_all.core.paths import directories
from update_all.core.session import run_ids
from update_all.core.streaming import RunEndEvent, StreamEvent, WarningEvent
from update_all.ui.fullscreen import Reason, why_not_here
from update_all.ui.printers import Printer, make_printer
from update_all.ui.terminal import style_of
from update_all.ui.view import RunView

POLL_SECONDS = 0.1
DIED = -1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run; default: the newest")
    parser.add_argument("--progress", choices=("auto", "live", "plain", "jsonl"), default="auto")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")
    add_tui(parser)


def run(options: argparse.Namespace) -> int:
    state = directories().state
    known = run_ids(state)
    if not known:
        raise UsageError("there is no run to follow", hint="start one: update-all run")
    chosen = options.run or known[0]
    if chosen not in known:
        raise unknown_name("run", chosen, known)
    check_tui(options.tui, options.progress)
    directory = state / "runs" / chosen
    progress = "live" if options.tui and not why_not_here() else options.progress
    printer = make_printer(progress, sys.stdout, color=options.color)
    with contextlib.closing(printer):
        if options.tui:
            return asyncio.run(watch(directory, state / "lock", printer, options.color))
        return follow(directory / JOURNAL, state / "lock", printer)


class Reader:
    """Reads the journal of a run that goes on, or went on, in another process."""

    def __init__(self, journal: Path, lock: Path, show: Callable[[StreamEvent], None]) -> None:
        self._journal, self._lock, self._show = journal, lock, show
        self._offset = 0

    def poll(self) -> int | None:
        """Show what is new. The exit code of a run that has ended, DIED when it did so without saying it."""
        code = None
        # Asked before the journal is read: what is written in between is then still seen.
        alive = is_locked(self._lock)
        with contextlib.suppress(FileNotFoundError):
            for event, end in read_events(self._journal, self._offset):
                self._offset = end
                self._show(event)
                code = event.exit_code if isinstance(event, RunEndEvent) else None
        return DIED if code is None and not alive else code


def follow(journal: Path, lock: Path, printer: Printer) -> int:
    """Show events until the run ends; its exit code, or 1 when it ended without saying so."""
    reader = Reader(journal, lock, printer.handle)
    while (code := reader.poll()) is None:
        printer.tick(time.time())
        time.sleep(POLL_SECONDS)
    printer.tick(time.time())
    return _told(code)


async def watch(directory: Path, lock: Path, printer: Printer, color: str) -> int:
    """The same on the full screen; whoever leaves it with q leaves the run alone: exit code 0."""
    view, screen = RunView(), Screen(printer)

    def sink(event: StreamEvent) -> None:
        view.apply(event)
        printer.handle(event)
        screens.handle(event)

    screens = FullScreens(view, None, directory, style_of(sys.stdout, os.environ, color), screen, sink)
    reader = Reader(directory / JOURNAL, lock, sink)

    async def read() -> int:
        while (code := reader.poll()) is None:  # noqa: ASYNC110 - a file tells nobody that it has grown
            await asyncio.sleep(POLL_SECONDS)
        if code == DIED:
            sink(WarningEvent(message="the run ended without finishing", hint="update-all resume"))
        return code

    async with screen.ticking():
        reading = asyncio.ensure_future(read())
        try:
            shown = await screens.show_or_warn()
            if shown.reason is Reason.LEFT and not reading.done():
                return 0
            return _told(await reading)
        finally:
            reading.cancel()


def _told(code: int) -> int:
    if code != DIED:
        return code
    sys.stderr.write("update-all: the run ended without finishing; go on with: update-all resume\n")
    return 1
