"""A person at the terminal of a step: every key goes to it, and what it shows goes to the person as it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from update_all.core.console import Console
from update_all.ui.keys import DETACH, all_keys

FOLLOW_SECONDS = 0.03
SHOWN_BYTES = 1024
"""How much of what the step has shown before is shown again."""

_CHUNK = 1 << 16
_OTHER_SCREEN, _FIRST_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
"""The alternate screen of xterm, which full-screen programs switch to: terminfo(5), smcup and rmcup."""

_PLAIN = b"\x1b[0m\x1b[?25h\r\n"
"""No colours, a cursor, a new line."""


class Attachment:
    """One visit. The terminal is in raw mode from `run` until `leave`, which may come from outside."""

    def __init__(self, console: Console, terminal: int) -> None:
        self._console = console
        self._terminal = terminal
        self._stack = contextlib.ExitStack()
        self._left = False
        self._elsewhere = False

    async def run(self, alive: Callable[[], bool]) -> None:
        """Until the person leaves with Ctrl-], the step ends its command, or `leave`. Raises OSError."""
        with self._stack:
            spool = os.open(self._console.spool, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._stack.callback(os.close, spool)
            self._stack.callback(self._make_plain)
            self._stack.enter_context(all_keys(self._terminal))
            loop = asyncio.get_running_loop()
            loop.add_reader(self._terminal, self._typed)
            self._stack.callback(loop.remove_reader, self._terminal)
            self._show(_end_of(spool))
            self._console.attended, self._console.asks = True, False
            self._stack.callback(setattr, self._console, "attended", False)
            size = None
            while not self._left:
                ended = not alive()
                if (now := os.get_terminal_size(self._terminal)) != size:
                    size = now
                    self._console.resize(size.columns, size.lines)
                while not self._left and (data := os.read(spool, _CHUNK)):
                    self._show(data)
                if ended:
                    return
                await asyncio.sleep(FOLLOW_SECONDS)

    def leave(self) -> None:
        """Give the terminal back at once."""
        self._left = True
        self._stack.close()

    def _typed(self) -> None:
        try:
            data = os.read(self._terminal, 4096)
        except OSError:
            data = b""
        keys, detached, _ = data.partition(bytes([DETACH]))
        if keys and self._console.send(keys):
            self._left = True
        if detached or not data:
            self._left = True

    def _show(self, data: bytes) -> None:
        """Pass it on. A screen that a program has changed to is left behind at the end."""
        there, back = data.rfind(_OTHER_SCREEN), data.rfind(_FIRST_SCREEN)
        if there != back:
            self._elsewhere = there > back
        rest = memoryview(data)
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self._terminal, rest) :]

    def _make_plain(self) -> None:
        end = (_FIRST_SCREEN if self._elsewhere else b"") + _PLAIN
        with contextlib.suppress(OSError):
            os.write(self._terminal, end)


def _end_of(spool: int) -> bytes:
    """The last lines of what was shown, from the beginning of a line on."""
    size = os.lseek(spool, 0, os.SEEK_END)
    start = os.lseek(spool, max(0, size - SHOWN_BYTES), os.SEEK_SET)
    data = os.read(spool, SHOWN_BYTES)
    return data.partition(b"\n")[2] if start and b"\n" in data else data
