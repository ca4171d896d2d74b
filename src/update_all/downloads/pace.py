"""Time in a download: when to report, wait, slow down or give up. Pure but for the `Clock`."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

REPORT_SECONDS = 0.1
MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Monotonic seconds, a way to wait, and a random number in [0, 1)."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


def backoff(tries: int, base: float, chance: float, retry_after: float | None = None) -> float:
    """Seconds before the next try: doubling, the upper half by chance, at least what the server asked for."""
    wait = base * 2.0 ** (tries - 1) * (0.5 + 0.5 * chance)
    return min(max(wait, retry_after or 0.0), MAX_WAIT_SECONDS)


@dataclass(slots=True)
class Ticker:
    """At most ten reports a second, with the rate since the start (bytes per second)."""

    started: float
    base: int = 0
    _last: float | None = None

    def due(self, now: float) -> bool:
        """Whether a report may be made now; counts as made."""
        if self._last is not None and now - self._last < REPORT_SECONDS:
            return False
        self._last = now
        return True

    def rate(self, received: int, now: float) -> float:
        return (received - self.base) / max(now - self.started, 1e-3)


@dataclass(slots=True)
class SlowGuard:
    """Notices a server that delivers less than `minimum` bytes a second over `seconds`."""

    minimum: int
    seconds: float
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def too_slow(self, received: int, now: float) -> bool:
        """Called with the bytes so far, whenever some arrive."""
        marks = self._marks
        while len(marks) > 1 and now - marks[1][0] >= self.seconds:
            marks.popleft()
        if not marks or now - marks[-1][0] >= self.seconds / 64:
            marks.append((now, received))
        since, count = marks[0]
        return now - since >= self.seconds and received - count < self.minimum * (now - since)


@dataclass(slots=True)
class Throttle:
    """Keeps the average at `limit` bytes a second; None is no limit."""

    limit: int | None
    _free_at: float = 0.0

    def delay(self, count: int, now: float) -> float:
        """Seconds to wait after `count` more bytes."""
        if self.limit is None:
            return 0.0
        self._free_at = max(self._free_at, now) + count / self.limit
        return self._free_at - now
