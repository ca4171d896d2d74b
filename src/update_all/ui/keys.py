"""The keyboard of a terminal: single keys without an echo, and the terminal as it was afterwards."""

from __future__ import annotations

import contextlib
import os
import termios
import tty
from collections.abc import Iterator
from typing import Any

ENTER, ESCAPE = "enter", "escape"
DETACH = 0x1D
"""Ctrl-]: what telnet(1) and other programs that pass all keys on have as their own."""

_LOCAL, _CHARACTERS = 3, 6
"""Places in what tcgetattr gives: the local flags, the control characters."""


def keys_in(data: bytes) -> list[str]:
    """The keys that were pressed: a character, `enter` or `escape`. Keys that send more are left out. Pure.

    A key that sends a sequence begins with ESC and more at once: ECMA-48 section 5.4, and SS3 of terminfo(5).
    """
    keys: list[str] = []
    text = data.decode("utf-8", "ignore")
    while text:
        if text[0] == "\x1b":
            length = _sequence_length(text)
            if length == 1:
                keys.append(ESCAPE)
            text = text[length:]
            continue
        if text[0] in "\r\n":
            keys.append(ENTER)
        elif text[0].isprintable():
            keys.append(text[0])
        text = text[1:]
    return keys


def _sequence_length(text: str) -> int:
    if len(text) == 1 or text[1] == "\x1b":
        return 1
    if text[1] == "O":
        return 3
    if text[1] != "[":
        return 2
    for place, character in enumerate(text[2:], 3):
        if "@" <= character <= "~":
            return place
    return len(text)


@contextlib.contextmanager
def single_keys(terminal: int) -> Iterator[None]:
    """Get each key at once and unseen; Ctrl-C, Ctrl-Z and their kin stay signals. Raises OSError."""
    with _restored(terminal) as before:
        mode = [*before[:_CHARACTERS], list(before[_CHARACTERS])]
        mode[_LOCAL] &= ~(termios.ICANON | termios.ECHO)
        mode[_CHARACTERS][termios.VMIN], mode[_CHARACTERS][termios.VTIME] = 1, 0
        termios.tcsetattr(terminal, termios.TCSADRAIN, mode)
        yield


@contextlib.contextmanager
def all_keys(terminal: int) -> Iterator[None]:
    """Get every key, also Ctrl-C, and let what is written pass as it is. Raises OSError."""
    with _restored(terminal):
        tty.setraw(terminal, termios.TCSADRAIN)
        yield


@contextlib.contextmanager
def _restored(terminal: int) -> Iterator[list[Any]]:
    try:
        before = termios.tcgetattr(terminal)
    except termios.error as error:
        raise OSError(*error.args) from None
    try:
        yield before
    finally:
        # A terminal that is gone has nothing to restore.
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def in_foreground(terminal: int) -> bool:
    """Whether the terminal is ours to read: from the background that would stop us (termios(3), SIGTTIN)."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
