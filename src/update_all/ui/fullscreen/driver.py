"""The terminal that Textual draws on: standard output, and no harm to the run when it goes away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import termios
from collections.abc import Iterator
from io import TextIOBase
from typing import TextIO

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver


class _Lasting(TextIOBase):
    """Drops what cannot be written: Textual's writing thread must go on, or its queue fills and all stops."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


class TerminalDriver(LinuxDriver):
    """Writes to standard output, where the live view is; Textual's own choice is standard error."""

    def __init__(
        self,
        app: App[object],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        if sys.__stdout__ is not None:
            self._file = _Lasting(sys.__stdout__)  # type: ignore[assignment] # what a writer needs of it

    def _run_input_thread(self) -> None:
        # A lost terminal is noticed by `is_there`; a traceback of this thread would go nowhere.
        with contextlib.suppress(OSError):
            self.run_input_thread()


def is_there() -> bool:
    """Whether standard input still is a terminal: after a hang-up it cannot be asked any more."""
    if sys.__stdin__ is None:
        return False
    try:
        termios.tcgetattr(sys.__stdin__.fileno())
    except (termios.error, ValueError, OSError):
        return False
    return True


@contextlib.contextmanager
def kept_process_state() -> Iterator[None]:
    """Put back what Textual changes in the process and leaves changed: signal handlers, the task factory."""
    numbers = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTTOU, signal.SIGTTIN)
    handlers = {number: signal.getsignal(number) for number in numbers}
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    try:
        yield
    finally:
        loop.set_task_factory(factory)
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
