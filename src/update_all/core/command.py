"""A command that runs, whoever started it: how it is found, signalled and ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from update_all.core import process_tree
from update_all.core.console import Console
from update_all.core.errors import StepError
from update_all.core.models import Usage

SWEEP_SECONDS = 0.05
SWEEPS = 100
VAIN_SWEEPS = 3

SignalAsRoot = Callable[[list[int], int], Awaitable[None]]


class ShimLostError(StepError):
    """The shim died, and the command ended while nobody could record how."""

    code = "shim-lost"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended: exit code, negative for the signal that ended it."""

    code: int
    usage: Usage = field(default_factory=Usage)


def exit_from(record: Mapping[str, object]) -> Exit:
    """The end of a command as the shim wrote it down."""

    def number(name: str) -> float:
        value = record.get(name, 0)
        return value if isinstance(value, int | float) else 0

    return Exit(
        code=int(number("code")),
        usage=Usage(
            cpu_seconds=float(number("cpu")),
            max_rss_bytes=int(number("rss")),
            read_bytes=int(number("read")),
            written_bytes=int(number("written")),
        ),
    )


def marker(directory: Path, key: str) -> str:
    """What marks the processes of a command: unique over all runs of this user."""
    return f"{directory.name}/{key}"


class Command:
    """A command that runs.

    `exited` is done when its main process has ended, and fails with ShimLostError when nobody can tell how.
    `pid` is None where it is not known. `asks` says that it was stopped for reading from the terminal.
    `console` is the terminal of its own that it has, if it has one.
    """

    def __init__(self, key: str, spool: Path, pid: int | None, exited: asyncio.Future[Exit]) -> None:
        self.key = key
        self.spool = spool
        self.pid = pid
        self.exited = exited
        self.asks = False
        self.console: Console | None = None

    @property
    def marker(self) -> str:
        """What its processes carry in their environment."""
        return marker(self.spool.parent, self.key)

    def signal(self, number: int, *, tree: bool) -> list[int]:
        """Signal the main process, or every process of the command. Returns the pids that may not be.

        A keeper is not killed: what it keeps could not be found without it.
        """
        if tree:
            targets = self.remaining()
            if number == signal.SIGKILL:
                targets = [pid for pid in targets if not process_tree.is_keeper(pid)]
        else:
            targets = [process_tree.program_of(self.pid)] if self.pid else []
        return [pid for pid in targets if not process_tree.send_signal(pid, number)]

    def remaining(self) -> list[int]:
        """Pids of living processes of this command."""
        return process_tree.tree_of(self.marker, self.spool, self.pid)


async def end_tree(command: Command, signal_as_root: SignalAsRoot, *, grace: float) -> None:
    """TERM every process of a command, KILL what is left after `grace` seconds, sweep what escapes.

    What nobody may end stays: `command.remaining()` names it.
    """
    loop = asyncio.get_running_loop()
    await _signal_tree(command, signal.SIGTERM, signal_as_root)
    # One that is stopped would take its TERM only when it goes on.
    command.signal(signal.SIGCONT, tree=True)
    deadline = loop.time() + grace
    while loop.time() < deadline and command.remaining():  # noqa: ASYNC110 - the kernel sets no event
        await asyncio.sleep(SWEEP_SECONDS)
    vain = 0
    for _ in range(SWEEPS):
        left = command.remaining()
        if not left or vain == VAIN_SWEEPS:
            return
        refused = await _signal_tree(command, signal.SIGKILL, signal_as_root)
        # sudo stops its whole group when its command was stopped.
        command.signal(signal.SIGCONT, tree=True)
        keepers = sum(process_tree.is_keeper(pid) for pid in left)
        vain = vain + 1 if refused and len(refused) >= len(left) - keepers else 0
        await asyncio.sleep(SWEEP_SECONDS)


async def _signal_tree(command: Command, number: int, signal_as_root: SignalAsRoot) -> list[int]:
    refused = command.signal(number, tree=True)
    if refused:
        await signal_as_root(refused, number)
    return refused
