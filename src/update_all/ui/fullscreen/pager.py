"""A log in the person's pager, in the foreground, while the run goes on behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

MOST_STOPS = 1000
DEFAULTS = (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP, signal.SIGINT)


def pager_command(environ: Mapping[str, str]) -> list[str]:
    """The words of $PAGER, else less or more; empty where there is none. "less -R" is two words."""
    with contextlib.suppress(ValueError):
        if words := shlex.split(environ.get("PAGER", "")):
            return words
    return next(([name] for name in ("less", "more") if shutil.which(name, path=environ.get("PATH"))), [])


async def show(path: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Open a file and wait until the person closes it; "" or why it cannot be opened.

    The pager has the terminal to itself as the foreground process group, so its Ctrl-C is not ours.
    """
    argv = pager_command(environ)
    if not argv:
        return "there is no pager: set PAGER"
    with _foreground_kept() as terminal:
        try:
            pid = _started([*argv, str(path)], environ)
        except OSError as error:
            return f"{argv[0]} cannot be started: {error.strerror}"
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, pid)
        waiting = asyncio.ensure_future(asyncio.to_thread(_end_of, pid))
        try:
            code = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            os.killpg(pid, signal.SIGKILL)
            await waiting
            raise
    return "" if code == 0 else f"{argv[0]} ended with exit code {code}"


def _started(argv: list[str], environ: Mapping[str, str]) -> int:
    """The process id of a command in a process group of its own. Raises OSError."""
    return os.posix_spawnp(argv[0], argv, dict(environ), setpgroup=0, setsigdef=DEFAULTS)


def _end_of(pid: int) -> int:
    """Wait for the end; there is no shell here from which a stopped pager could be continued.

    It is stopped by its own Ctrl-Z, or for reading before the terminal was its own. One that never gets the
    terminal is killed.
    """
    for _ in range(MOST_STOPS):
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        os.killpg(pid, signal.SIGCONT)
    os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def _foreground_kept() -> Iterator[int]:
    """The descriptor of the terminal; we are its foreground again afterwards."""
    terminal = sys.__stdin__.fileno() if sys.__stdin__ is not None else 0
    # Taking the terminal back from the background raises SIGTTOU, which would stop us.
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield terminal
    finally:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)
