"""The foreground of the terminal, lent to a command while a person answers it: job control as in a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

POLL_SECONDS = 0.05


@contextlib.contextmanager
def _terminal() -> Iterator[int | None]:
    """The controlling terminal, while it is ours to lend: None without one, or in the background."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield terminal if os.tcgetpgrp(terminal) == os.getpgrp() else None
    finally:
        os.close(terminal)


def may_lend() -> bool:
    """Whether this process has a terminal and is in its foreground."""
    with _terminal() as terminal:
        return terminal is not None


async def lend(pid: int, stopped: Callable[[], bool], until: Callable[[], bool]) -> bool:
    """Let the group of process `pid` read from the terminal until `until`; False where that cannot be.

    It goes on if it was stopped, and each time that `stopped` says so. kill(2) lets everybody continue a
    process of the same session. The terminal comes back whatever happens.
    """
    with _terminal() as terminal:
        if terminal is None:
            return False
        try:
            group = os.getpgid(pid)
            os.tcsetpgrp(terminal, group)
        except OSError:
            return False
        try:
            _go_on(group)
            while not until():
                await asyncio.sleep(POLL_SECONDS)
                if stopped():
                    _go_on(group)
        finally:
            _take_back(terminal)
    return True


def _go_on(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGCONT)


def _take_back(terminal: int) -> None:
    # tcsetpgrp(3) stops a background process that does not block the signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, os.getpgrp())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
