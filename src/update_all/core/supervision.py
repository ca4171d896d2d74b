"""One command from its start to its end: output followed, time limits, and the ways to end it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from update_all.core.errors import StepError
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.output import Follower
from update_all.core.processes import TERM_GRACE_SECONDS, Command, Exit, ShimLostError, end_tree

FOLLOW_SECONDS = 0.05
SILENCE_SECONDS = 600.0
ORPHAN_POLL_SECONDS = 0.05


class InterruptedStepError(StepError):
    """The step was ended because the run is to end."""

    code = "interrupted"


class DetachedError(StepError):
    """The run ends while a transaction goes on: a resume re-attaches to it."""

    code = "detached"


class TimedOutError(StepError):
    """The step took longer than it may; its processes were ended."""

    code = "timed-out"


@dataclass(frozen=True, slots=True)
class Supervision:
    """How to look after a command. `deadline` is in seconds of the event loop's clock."""

    interrupts: Interrupts
    deadline: float | None
    uninterruptible: bool
    signal_as_root: Callable[[list[int], int], Awaitable[None]]
    on_silence: Callable[[float], None]
    may_continue: Callable[[], bool]
    """Back-pressure: False while whoever reads the events is behind."""


_Waitable = asyncio.Future[Exit] | asyncio.Future[None] | asyncio.Future[list[int]]


async def _first(*futures: _Waitable, timeout: float | None = None) -> None:
    """Wait until one of them is done, or for `timeout` seconds."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


async def supervise(command: Command, follower: Follower, how: Supervision) -> Exit:
    """Wait for the end of a command, which is the end of its main process, not of its output.

    Raises TimedOutError, InterruptedStepError and DetachedError; ShimLostError when it ended and nobody can
    tell how. Whatever it raises, but DetachedError, its processes are gone or named in the message.
    """
    watcher = asyncio.ensure_future(_watch(command, how))
    try:
        await _follow(command, follower, how, watcher)
        return await _result(command, follower)
    finally:
        watcher.cancel()


async def _follow(
    command: Command, follower: Follower, how: Supervision, watcher: asyncio.Future[None]
) -> None:
    loop = asyncio.get_running_loop()
    quiet_since = loop.time()
    size = 0
    while True:
        more = how.may_continue() and follower.poll()
        if command.exited.done() or watcher.done():
            break
        await _first(command.exited, watcher, timeout=0 if more else FOLLOW_SECONDS)
        now, grown = loop.time(), _size(command)
        if grown != size:
            size, quiet_since = grown, now
        elif now - quiet_since >= SILENCE_SECONDS:
            how.on_silence(now - quiet_since)
            quiet_since = now
    if watcher.done():
        await _drain(follower)
        watcher.result()


def _size(command: Command) -> int:
    try:
        return os.stat(command.spool).st_size  # noqa: PTH116 - twenty times a second and step
    except OSError:
        return 0


async def _result(command: Command, follower: Follower) -> Exit:
    try:
        return await command.exited
    except ShimLostError:
        # Nobody waits for it any more, but its lock tells when the last of its processes is gone.
        while command.remaining():  # noqa: ASYNC110 - the kernel sets no event
            await asyncio.sleep(ORPHAN_POLL_SECONDS)
        raise
    finally:
        await _drain(follower)


async def _drain(follower: Follower) -> None:
    while follower.poll():  # noqa: ASYNC110 - lets others run between two chunks
        await asyncio.sleep(0)
    follower.finish()


async def _watch(command: Command, how: Supervision) -> None:
    """Ends the command when its time or the run is over; returns only by raising."""
    loop = asyncio.get_running_loop()
    first = how.interrupts.reached(Urgency.STOP if how.uninterruptible else Urgency.FINISH)
    try:
        limit = None if how.deadline is None else max(0.0, how.deadline - loop.time())
        await asyncio.wait([first], timeout=limit)
        timed_out = not first.done()
    finally:
        first.cancel()
    if how.uninterruptible:
        await _ask_to_end(command, how)
    else:
        await _end(command, how)
    if timed_out:
        raise TimedOutError(f"it took longer than its time limit and was ended{_left(command)}")
    raise InterruptedStepError(f"it was ended because the run was interrupted{_left(command)}")


def _left(command: Command) -> str:
    left = command.remaining()
    return f"; still running: {', '.join(map(str, left))}" if left else ""


async def _end(command: Command, how: Supervision) -> None:
    kill = how.interrupts.reached(Urgency.KILL)
    ending = asyncio.ensure_future(end_tree(command, grace=TERM_GRACE_SECONDS))
    try:
        await _first(ending, kill)
        if not ending.done():
            ending.cancel()
            ending = asyncio.ensure_future(end_tree(command, grace=0.0))
        foreign = await ending
    finally:
        kill.cancel()
        ending.cancel()
    if foreign:
        await how.signal_as_root(foreign, signal.SIGTERM)
        await asyncio.wait([command.exited], timeout=TERM_GRACE_SECONDS)
        await how.signal_as_root(command.remaining(), signal.SIGKILL)


async def _ask_to_end(command: Command, how: Supervision) -> None:
    """A running apt or dpkg only ever gets INT: TERM and KILL leave half-configured packages."""
    refused = command.signal(signal.SIGINT, tree=False)
    if refused:
        await how.signal_as_root(refused, signal.SIGINT)
    leave = how.interrupts.reached(Urgency.KILL)
    try:
        await _first(command.exited, leave)
    finally:
        leave.cancel()
    if not command.exited.done():
        raise DetachedError("it is a transaction that must not be killed: it goes on by itself")
