"""One run per user at a time: a kernel lock, gone with its process, never stale (system.md section 3)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from update_all.core import process_tree
from update_all.core.errors import BusyError, StateError

WAIT_POLL_SECONDS = 0.2
NAME_POLL_SECONDS = 0.01
NAME_READS = 20


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as far as the lock file tells. For messages only: pids are reused."""

    pid: int = 0
    started: str = ""
    command: str = ""

    def describe(self) -> str:
        if not self.pid:
            return "another process"
        since = f" since {self.started}" if self.started else ""
        command = f" ({self.command})" if self.command else ""
        return f"pid {self.pid}{since}{command}"


def holder(path: Path) -> Holder:
    """Read who wrote a lock file last."""
    try:
        data = json.loads(path.read_text("utf-8")[:4096])
        return Holder(int(data["pid"]), str(data["started"]), str(data["command"]))
    except (OSError, ValueError, TypeError, KeyError):
        return Holder()


def _present_holder(path: Path) -> Holder:
    """The holder, once it has written down that it is: for an instant the file names the one before."""
    for _ in range(NAME_READS):
        found = holder(path)
        if found.pid and process_tree.alive(found.pid):
            return found
        time.sleep(NAME_POLL_SECONDS)
    return Holder()


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file at `path`, or raise BusyError naming its holder.

    The file is never deleted: a deleted lock file can be held by two processes at once.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise StateError(
            f"the lock file {path} cannot be opened: {error.strerror}", hint=f"ls -l {path}"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"{what} is running already: {_present_holder(path).describe()}",
                hint="update-all attach follows it, update-all run --wait waits for it",
            ) from None
        text = json.dumps(
            {
                "pid": os.getpid(),
                "started": datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
                "command": " ".join(sys.argv)[:200],
            }
        )
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text.encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def exclusive_when_free(path: Path, what: str) -> AsyncIterator[None]:
    """As `exclusive`, but wait until the lock is free."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(path, what))
            except BusyError:
                await asyncio.sleep(WAIT_POLL_SECONDS)
            else:
                break
        yield


class SharedHold:
    """A lock of the whole machine that the steps of one run hold together.

    The file lies in a directory that others can write to, so it is opened read-only where it exists: flock(2)
    needs no more, and sysctl fs.protected_regular forbids O_CREAT on files of other users.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._users = 0
        self._entering = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def hold(self, on_wait: Callable[[str], None]) -> AsyncIterator[None]:
        """Hold it with the others; `on_wait` is told once who has it, when it has to be waited for.

        Raises StateError when the lock file cannot be opened.
        """
        async with self._entering:
            if self._users == 0:
                await self._take(on_wait)
            self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0 and self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    async def _take(self, on_wait: Callable[[str], None]) -> None:
        descriptor = _open_shared(self.path)
        told = False
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if not told:
                        on_wait("another run of update-all")
                        told = True
                    await asyncio.sleep(WAIT_POLL_SECONDS)
                else:
                    break
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor


def _open_shared(path: Path) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            return os.open(path, flags | os.O_CREAT, 0o644)
    except OSError as error:
        raise StateError(
            f"the lock file {path} cannot be opened: {error.strerror}", hint=f"ls -l {path}"
        ) from error
