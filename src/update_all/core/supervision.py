"""One command from its start to its end: output followed, time limits, and the ways to end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from update_all.core.cleaning import clean_line
from update_all.core.command import Command, Exit, SignalAsRoot, end_tree
from update_all.core.console import Console
from update_all.core.errors import NeedsInputError, StepError
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.output import Follower

FOLLOW_SECONDS = 0.05
REAP_SECONDS = 1.0
TERM_GRACE_SECONDS = 10.0
SILENCE_SECONDS = 600.0
QUESTION_SECONDS = 1.0
"""How long a command with a terminal says nothing after an unfinished line, before that is a question."""

WORDLESS_SECONDS = 30.0
"""The same for one that has ended its line."""


class InterruptedStepError(StepError):
    """The step was ended because the run is to end."""

    code = "interrupted"


class SkippedStepError(InterruptedStepError):
    """The step was ended because a person has skipped it."""

    code = "skipped"


class DetachedError(StepError):
    """The run ends while a transaction goes on: a resume re-attaches to it."""

    code = "detached"


class TimedOutError(StepError):
    """The step took longer than it may; its processes were ended."""

    code = "timed-out"


class AskedError(StepError):
    """The step asked on the terminal, where a background process gets no answer; it was ended."""

    code = NeedsInputError.code


class RefusedError(StepError):
    """What the step printed was refused, and it did not stop; it was ended."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """How to look after a command. `deadline` is in seconds of the event loop's clock."""

    interrupts: Interrupts
    deadline: float | None
    uninterruptible: bool
    signal_as_root: SignalAsRoot
    on_silence: Callable[[float], None]
    may_continue: Callable[[], bool]
    """Back-pressure: False while whoever reads the events is behind."""

    is_flooding: Callable[[], bool] = lambda: False
    """Whether the command prints without end what nobody can use."""

    on_question: Callable[[str], None] = lambda _: None
    """Told of what a command with a terminal of its own seems to ask."""

    somebody_answers: bool = False
    """Whether a person is there for such a question."""

    let_ask: Callable[[Command, Callable[[], bool]], Awaitable[bool]] | None = None
    """Let a person answer a command that asks for a password, unless the second one says that it is too late;
    False where it does not ask for one, or nobody is there."""


async def supervise(command: Command, follower: Follower, how: Supervision) -> Exit:
    """Wait for the end of a command, which is the end of its main process, not of its output.

    Raises TimedOutError, InterruptedStepError, AskedError, RefusedError and DetachedError; ShimLostError when
    it ended and nobody can tell how. Whatever it raises, but DetachedError, its processes are gone or named
    in the message. A transaction that was asked to end and succeeds all the same has succeeded.
    """
    loop = asyncio.get_running_loop()
    too_urgent = Urgency.STOP if how.uninterruptible else Urgency.FINISH

    def interrupted() -> bool:
        return how.interrupts.urgency >= too_urgent

    def due() -> bool:
        unanswered = command.console is not None and command.console.asks and not how.somebody_answers
        return _late(how, loop) or command.asks or unanswered or interrupted() or how.is_flooding()

    try:
        await _follow(command, follower, how, command.exited, due)
        while command.asks and not interrupted() and await _person_answers(command, follower, how):
            await _follow(command, follower, how, command.exited, due)
        if command.exited.done():
            return command.exited.result()
        # What is still at a question has not begun, so that even a transaction may be ended.
        too_late = command.asks and how.interrupts.urgency > Urgency.NONE
        error, reason = _reason(command, how, interrupted=interrupted() or too_late)
        await _follow_end(command, follower, how)
        if how.uninterruptible and command.exited.result().code == 0:
            return command.exited.result()
        raise error(f"{reason}{_left(command)}")
    finally:
        await _drain(command, follower, how)


def _reason(command: Command, how: Supervision, *, interrupted: bool) -> tuple[type[StepError], str]:
    if interrupted:
        return InterruptedStepError, f"it was ended because {how.interrupts.why}"
    if command.asks or (command.console is not None and command.console.asks):
        return AskedError, "it asked for an answer on the terminal, where nobody can give one, and was ended"
    if how.is_flooding():
        return RefusedError, "it printed without end and was ended"
    return TimedOutError, "it took longer than its time limit and was ended"


async def _person_answers(command: Command, follower: Follower, how: Supervision) -> bool:
    """Whether a person was asked, and the command can go on.

    An open question outlasts time limits and interrupts: the program that asks belongs to root, so that only
    the person, or its own time limit, ends it. Being killed does not wait.
    """
    if how.let_ask is None:
        return False
    command.asks = False
    answer = asyncio.ensure_future(how.let_ask(command, lambda: how.interrupts.urgency > Urgency.NONE))
    try:
        await _follow(command, follower, how, answer, lambda: how.interrupts.urgency >= Urgency.KILL)
        command.asks = not (answer.done() and answer.result())
        return not command.asks
    finally:
        answer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answer


def _late(how: Supervision, loop: asyncio.AbstractEventLoop) -> bool:
    return how.deadline is not None and loop.time() >= how.deadline


def _left(command: Command) -> str:
    left = command.remaining()
    return f"; still running: {', '.join(map(str, left))}" if left else ""


_Waitable = asyncio.Future[Exit] | asyncio.Future[None] | asyncio.Future[bool]


async def _follow(
    command: Command,
    follower: Follower,
    how: Supervision,
    until: _Waitable,
    due: Callable[[], bool],
) -> None:
    """Follow the output until the future is done, or `due` says so."""
    loop = asyncio.get_running_loop()
    quiet_since, size, more = loop.time(), 0, False
    while not (until.done() or due()):
        pause = 0.0 if more else FOLLOW_SECONDS
        await asyncio.wait([until], timeout=pause)
        if until.done():
            return
        more = how.may_continue() and follower.poll()
        now, grown = loop.time(), _size(command)
        if grown != size:
            size, quiet_since = grown, now
            if command.console is not None:
                command.console.asks = False
        elif command.console is not None and not command.console.asks and not command.console.attended:
            _listen(command.console, follower.unfinished, now - quiet_since, how)
        elif now - quiet_since >= SILENCE_SECONDS:
            how.on_silence(now - quiet_since)
            quiet_since = now


def _listen(console: Console, unfinished: str, quiet_seconds: float, how: Supervision) -> None:
    """Take it for a question when a command stays where it is."""
    if quiet_seconds >= (QUESTION_SECONDS if unfinished.strip() else WORDLESS_SECONDS):
        console.asks, console.question = True, clean_line(unfinished).strip()
        how.on_question(console.question)


def _size(command: Command) -> int:
    try:
        return os.stat(command.spool).st_size  # noqa: PTH116 - twenty times a second and step
    except OSError:
        return 0


async def _drain(command: Command, follower: Follower, how: Supervision) -> None:
    """Take what the command has written by now: a daemon that it left may write for ever."""
    end = _size(command)
    while follower.position < end:
        if not how.may_continue() and how.interrupts.urgency < Urgency.KILL:
            await asyncio.sleep(FOLLOW_SECONDS)
        elif follower.poll():
            await asyncio.sleep(0)
        else:
            break
    follower.finish()


async def _follow_end(command: Command, follower: Follower, how: Supervision) -> None:
    """End the command, its output still followed."""
    end = _ask_to_end if how.uninterruptible else _end
    ending = asyncio.ensure_future(end(command, how))
    try:
        await _follow(command, follower, how, ending, lambda: False)
        ending.result()
    finally:
        ending.cancel()


async def _end(command: Command, how: Supervision) -> None:
    """End the whole tree: politely, or at once when that is wanted."""
    kill = how.interrupts.reached(Urgency.KILL)
    ending = asyncio.ensure_future(end_tree(command, how.signal_as_root, grace=TERM_GRACE_SECONDS))
    try:
        await asyncio.wait([ending, kill], return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            ending.cancel()
            ending = asyncio.ensure_future(end_tree(command, how.signal_as_root, grace=0.0))
        await ending
        await asyncio.wait([command.exited], timeout=REAP_SECONDS)
    finally:
        kill.cancel()
        ending.cancel()


async def _ask_to_end(command: Command, how: Supervision) -> None:
    """A running apt or dpkg only ever gets INT: TERM and KILL leave half-configured packages."""
    refused = command.signal(signal.SIGINT, tree=False)
    if refused:
        await how.signal_as_root(refused, signal.SIGINT)
    # One that is stopped takes its INT only when it goes on.
    command.signal(signal.SIGCONT, tree=True)
    leave = how.interrupts.reached(Urgency.KILL)
    either: list[_Waitable] = [command.exited, leave]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leave.cancel()
    if not command.exited.done():
        raise DetachedError("it is a transaction that must not be killed: it goes on by itself")
