"""Run a coroutine so that one Ctrl-C always ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(main: Coroutine[object, object, T]) -> T:
    """As `asyncio.run`. Raises KeyboardInterrupt for Ctrl-C, when `main` has cleaned up.

    The handler that `asyncio.run` sets does not wake the loop: a signal that comes between the last
    instruction and the wait is noticed when something else happens (signal.set_wakeup_fd). One that was
    added to the loop does.
    """
    return asyncio.run(_guarded(main))


async def _guarded(main: Coroutine[object, object, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - we are inside one
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await main
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
