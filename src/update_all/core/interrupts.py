"""The Ctrl-C ladder as a value that everything that waits can watch (system.md section 5)."""

from __future__ import annotations

import asyncio
import weakref
from enum import IntEnum


class Urgency(IntEnum):
    """How urgently the run is to end."""

    NONE = 0
    FINISH = 1
    """Start nothing new; transactions finish, the rest is ended."""
    STOP = 2
    """End everything that may be ended; transactions get INT."""
    KILL = 3
    """KILL what is left; transactions are left to themselves."""


class Interrupts:
    """How urgently to end, and a way to wait for more urgency. Belongs to one event loop.

    `why` completes "it was ended because …".
    """

    def __init__(self, why: str = "the run was interrupted") -> None:
        self.urgency = Urgency.NONE
        self.why = why
        self._waiters: list[tuple[Urgency, asyncio.Future[None]]] = []
        self._children: weakref.WeakSet[Interrupts] = weakref.WeakSet()

    def child(self) -> Interrupts:
        """For one step: it becomes more urgent with this one, and by itself."""
        child = Interrupts(self.why)
        child.urgency = self.urgency
        self._children.add(child)
        return child

    def escalate(self, to: Urgency | None = None) -> Urgency:
        """One rung up, or at least to `to`. Returns the new urgency."""
        wanted = min(self.urgency + 1, Urgency.KILL) if to is None else max(self.urgency, to)
        self.urgency = Urgency(wanted)
        for level, waiter in self._waiters:
            if level <= self.urgency and not waiter.done():
                waiter.set_result(None)
        self._waiters = [pair for pair in self._waiters if not pair[1].done()]
        for child in self._children:
            child.escalate(self.urgency)
        return self.urgency

    def reached(self, level: Urgency) -> asyncio.Future[None]:
        """A future that is done once the urgency is at least `level`. Cancel it when no longer needed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.urgency >= level:
            future.set_result(None)
        else:
            self._waiters.append((level, future))
            future.add_done_callback(self._forget)
        return future

    def _forget(self, future: asyncio.Future[None]) -> None:
        if future.cancelled():
            self._waiters = [pair for pair in self._waiters if pair[1] is not future]
