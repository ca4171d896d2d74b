"""The terminal of a command that may ask: a pseudo-terminal that the shim holds, and the way into it.

What is typed goes through a FIFO beside the spool, so that it also reaches a command whose orchestrator has
died and was followed by another one; what the command shows comes through its spool like any output.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from pathlib import Path

INPUT_SUFFIX = ".in"
_GONE = frozenset({errno.ENOENT, errno.ENXIO})


def input_path(spool: Path) -> Path:
    """Where the input of the command with this spool goes."""
    return spool.with_suffix(INPUT_SUFFIX)


class Console:
    """The way to a command's terminal. `spool` holds what it shows, as it is; `device` is that terminal, ""
    where it is not known."""

    def __init__(self, spool: Path, device: str = "") -> None:
        self.spool = spool
        self.device = device
        self.question = ""
        """The unfinished line after which the command says nothing more: what it asks."""
        self.asks = False
        self.attended = False
        """Whether a person sees what it shows, and needs not be told that it asks."""
        self._input = input_path(spool)

    def send(self, data: bytes) -> str:
        """Type bytes; "" or why they did not arrive. They are neither kept nor logged."""
        try:
            descriptor = os.open(self._input, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            return "it takes no input any more" if error.errno in _GONE else f"no input: {error.strerror}"
        try:
            sent = os.write(descriptor, data)
        except OSError as error:
            return f"no input: {error.strerror}"
        finally:
            os.close(descriptor)
        return "" if sent == len(data) else "it does not read what is typed"

    def resize(self, columns: int, rows: int) -> None:
        """Tell the command how large its terminal is: tty_ioctl(4), TIOCSWINSZ."""

        def resized(terminal: int) -> bool:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
            return True

        self._on_device(resized)

    def hides_input(self) -> bool:
        """Whether what is typed is not shown, as for a password."""
        return bool(self._on_device(_echo_is_off))

    def _on_device(self, act: Callable[[int], bool]) -> bool | None:
        if not self.device:
            return None
        try:
            terminal = os.open(self.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return act(terminal)
        except (OSError, termios.error):
            return None
        finally:
            os.close(terminal)


def _echo_is_off(terminal: int) -> bool:
    """Whether it reads whole lines and does not show them: a program that reads single keys echoes itself."""
    flags = termios.tcgetattr(terminal)[3]
    return bool(flags & termios.ICANON) and not flags & termios.ECHO
