"""Asking executables that others wrote: bounded in time, and ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from update_all.core.errors import CommandNotFoundError, StepError
from update_all.core.queries import SILENT_ENVIRONMENT

if TYPE_CHECKING:
    import asyncio

GRACE_SECONDS = 2.0
"""Between the TERM that cancels an executable and the KILL."""

_STDERR_BYTES = 64 * 1024
_STDOUT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """How an executable ended: its exit code (negative: a signal) and the last 64 KiB of its stderr."""

    code: int
    stderr: str


async def run_bounded(
    argv: Sequence[str], env: Mapping[str, str], timeout: float, on_data: Callable[[bytes], None]
) -> Ended:
    """Run an executable of somebody else in a session of its own, so that it cannot use a sudo ticket.

    `on_data` gets its stdout in pieces; what it raises ends the executable. Raises StepError after `timeout`
    seconds, CommandNotFoundError where it cannot be started. Its whole process group is ended in any case.
    """
    import asyncio

    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **SILENT_ENVIRONMENT, **env},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise CommandNotFoundError(f"cannot run {argv[0]!r}: {error.strerror}") from error
    tail = bytearray()

    def keep(data: bytes) -> None:
        tail.extend(data)
        del tail[:-_STDERR_BYTES]

    ended = asyncio.create_task(_ended(process))
    tasks = [
        asyncio.create_task(_pump(process.stdout, on_data)),
        asyncio.create_task(_pump(process.stderr, keep)),
    ]
    try:
        async with asyncio.timeout(timeout):
            await asyncio.gather(ended, *tasks)
    except TimeoutError:
        raise StepError(f"{argv[0]} {argv[1]} did not answer within {timeout:g} s") from None
    finally:
        await _stop([ended, *tasks])
        await _end(process)
    return Ended(ended.result(), tail.decode("utf-8", "replace"))


async def _pump(stream: asyncio.StreamReader | None, on_data: Callable[[bytes], None]) -> None:
    while stream is not None and (data := await stream.read(65536)):
        on_data(data)


async def _ended(process: asyncio.subprocess.Process) -> int:
    """The exit code. What an executable leaves behind in its session must not keep its pipes open."""
    await _exited(process.pid)
    _signal_group(process.pid, signal.SIGKILL)
    return await process.wait()


async def _exited(pid: int) -> None:
    """Wait for the end of the process itself: in asyncio, `wait` may wait for the pipes as well."""
    import asyncio

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _stop(tasks: Sequence[asyncio.Task[int] | asyncio.Task[None]]) -> None:
    import asyncio

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """TERM, two seconds, KILL, for the whole group; what a finished executable left behind is killed."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
    await _finished(process)
    _signal_group(process.pid, signal.SIGKILL)
    await _finished(process)


async def _finished(process: asyncio.subprocess.Process) -> None:
    """Wait a little for the end. Its pipes are read, since they are closed only when they are empty."""
    import asyncio

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            drained = _pump(process.stdout, _ignore), _pump(process.stderr, _ignore)
            await asyncio.gather(process.wait(), *drained)


def _ignore(_data: bytes) -> None:
    pass


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


async def collect(argv: Sequence[str], env: Mapping[str, str], timeout: float) -> tuple[Ended, bytes]:
    """Run an executable and keep its stdout. Raises as `run_bounded`, and StepError for more than 1 MiB."""
    data = bytearray()

    def keep(piece: bytes) -> None:
        data.extend(piece)
        if len(data) > _STDOUT_BYTES:
            raise StepError(f"{argv[0]} {argv[1]} printed more than {_STDOUT_BYTES // 1048576} MiB")

    ended = await run_bounded(argv, env, timeout, keep)
    return ended, bytes(data)
