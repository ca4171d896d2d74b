"""The screen of a run makes room for a question of somebody else, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator

from update_all.core.cleaning import clean_line
from update_all.ui.printers import Printer

TICK_SECONDS = 0.1

Aside = Callable[[], contextlib.AbstractContextManager[None]]


class Screen:
    """Lets time pass for a printer, ten times a second, but not while somebody else has the terminal."""

    def __init__(self, printer: Printer) -> None:
        self.keyboard: Aside = contextlib.nullcontext
        """Goes aside whenever somebody else reads the terminal."""
        self._printer = printer
        self._questions = 0
        self._cover: Aside = contextlib.nullcontext

    @contextlib.asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Time passes in the block."""
        ticker = asyncio.ensure_future(self.tick())
        try:
            yield
        finally:
            ticker.cancel()

    async def tick(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if not self._questions:
                self._printer.tick(time.time())

    @contextlib.contextmanager
    def step_aside(self, what: str) -> Iterator[None]:
        """Leave the terminal to a question; one line says what it is for."""
        with self._left_alone():
            if what:
                sys.stderr.write(f"{clean_line(what)}\n")
                sys.stderr.flush()
            yield

    @contextlib.contextmanager
    def covered(self, aside: Aside) -> Iterator[None]:
        """The whole terminal belongs to the full screen, which goes `aside` for each question."""
        with self._left_alone():
            self._cover = aside
            try:
                yield
            finally:
                self._cover = contextlib.nullcontext

    @contextlib.contextmanager
    def _left_alone(self) -> Iterator[None]:
        self._questions += 1
        try:
            with contextlib.ExitStack() as stack:
                for aside in (self._cover, self.keyboard):
                    stack.enter_context(aside())
                self._printer.suspend()
                yield
        finally:
            self._questions -= 1
