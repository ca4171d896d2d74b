"""A command that was stopped because it read the person's own terminal, and how it gets its answer there.

It keeps its session and its terminal: an answer can only be typed to itself, in the foreground.
"""

from __future__ import annotations

import asyncio

from update_all.core import foreground, process_tree
from update_all.core.command import Command

MOST_STOPS = 2
"""How often in a row it must be found stopped before a person has done that: it stops to read, too."""


class Borrower:
    """A command that waits for the terminal. `answered` is done once it goes on."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def borrow(self) -> str:
        """Lend the terminal until the command says something, ends, or is stopped with Ctrl-Z; "" or why not.

        Whoever calls must not read the terminal meanwhile.
        """
        command = self._command
        if command.pid is None or command.exited.done():
            return "it has ended"
        said, stops = _size(command), 0

        def over() -> bool:
            nonlocal stops
            stopped = command.pid is not None and process_tree.stopped(command.pid) and not command.asks
            stops = stops + 1 if stopped else 0
            return command.exited.done() or _size(command) > said or stops >= MOST_STOPS

        if not await foreground.lend(command.pid, lambda: _taken(command), over):
            return "this terminal cannot be lent to it"
        if stops < MOST_STOPS and not self.answered.done():
            self.answered.set_result(None)
        return ""


def _taken(command: Command) -> bool:
    """Whether it was stopped again since the last time."""
    stopped, command.asks = command.asks, False
    return stopped


def _size(command: Command) -> int:
    try:
        return command.spool.stat().st_size
    except OSError:
        return 0
