"""What a person may do with a run while it runs: pause it, stop it, skip a step, answer one that asks.

Belongs to the event loop of its run. Steps are named by their ids, `plugin:step`. Before the run has begun
and after it has ended nothing can be done, and each method says so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from update_all.core.borrowing import Borrower
from update_all.core.console import Console

_NO_RUN = "nothing runs"


class Steered(Protocol):
    """A run, as a person may steer it."""

    def go_on(self) -> None:
        """Start again what can start."""

    def finish(self) -> None:
        """Start nothing new; what runs goes on to its end."""

    def skip(self, step_id: str) -> str:
        """Leave a step out, or end it; "" or why not."""

    def retry(self, step_id: str) -> str:
        """Try a step again now; "" or why not."""


class Steering:
    """The wheel of one run. `stop` is one rung of the Ctrl-C ladder."""

    def __init__(self, stop: Callable[[], object] = lambda: None) -> None:
        self._stop = stop
        self._run: Steered | None = None
        self._paused = False
        self._going_on: asyncio.Future[None] | None = None
        self._consoles: dict[str, Console] = {}
        self._borrowers: dict[str, Borrower] = {}

    def hold(self, run: Steered | None) -> None:
        """Steer this run from now on; None when it has ended."""
        self._run = run
        if run is None:
            self._let_go_on()

    @property
    def paused(self) -> bool:
        """Whether nothing new starts."""
        return self._paused

    def pause(self, on: bool) -> None:
        """Start nothing new, or go on. What runs is not touched."""
        if on == self._paused:
            return
        self._paused = on
        if not on:
            self._let_go_on()
            if self._run is not None:
                self._run.go_on()

    def going_on(self) -> asyncio.Future[None]:
        """A future that is done once nothing is paused any more."""
        if self._going_on is None or self._going_on.done():
            self._going_on = asyncio.get_running_loop().create_future()
            if not self._paused:
                self._going_on.set_result(None)
        return self._going_on

    def finish(self) -> None:
        """Start nothing new for the rest of the run; what runs goes on to its end."""
        if self._run is not None:
            self._run.finish()
            self.pause(False)

    def stop(self) -> None:
        """What the first Ctrl-C does; again: what the next one does."""
        self._stop()

    def skip(self, step_id: str) -> str:
        """Leave out a step that has not started, with what depends on it, or end one that runs.

        Asked again for one that is being ended: kill it. "" or why it cannot be skipped.
        """
        return _NO_RUN if self._run is None else self._run.skip(step_id)

    def retry(self, step_id: str) -> str:
        """Try a step again at once that waits for its next attempt; "" or why not."""
        return _NO_RUN if self._run is None else self._run.retry(step_id)

    def opened(self, step_id: str, console: Console) -> None:
        """A step has a terminal of its own now."""
        self._consoles[step_id] = console

    def closed(self, step_id: str) -> None:
        """It has none any more."""
        self._consoles.pop(step_id, None)

    def console(self, step_id: str) -> Console | None:
        """The terminal of a step, None where it has none."""
        return self._consoles.get(step_id)

    @contextlib.contextmanager
    def borrowing(self, step_id: str, borrower: Borrower) -> Iterator[None]:
        """A step waits for the person's own terminal."""
        self._borrowers[step_id] = borrower
        try:
            yield
        finally:
            del self._borrowers[step_id]

    def borrower(self, step_id: str) -> Borrower | None:
        """The step as one that waits for the person's own terminal, None where it does not."""
        return self._borrowers.get(step_id)

    def wants_input(self) -> list[str]:
        """The steps that take input, those that wait for an answer first."""
        steps = [*self._borrowers, *(step for step in self._consoles if step not in self._borrowers)]
        return sorted(steps, key=lambda step: not self.waits(step))

    def waits(self, step_id: str) -> bool:
        """Whether a step waits for an answer."""
        console = self._consoles.get(step_id)
        return step_id in self._borrowers or (console is not None and console.asks)

    def answer(self, step_id: str, text: str) -> str:
        """Type a line into the terminal of a step; "" or why that cannot be."""
        console = self._consoles.get(step_id)
        if step_id in self._borrowers:
            return f"{step_id} reads this terminal itself: i in the live view gives it to it"
        if console is None:
            return f"{step_id} takes no input"
        return console.send(text.encode() + b"\r")

    def _let_go_on(self) -> None:
        if self._going_on is not None and not self._going_on.done():
            self._going_on.set_result(None)
