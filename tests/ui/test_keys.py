"""Keys as bytes, and a real pseudo-terminal that is left as it was found."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from update_all.ui.keys import ENTER, ESCAPE, all_keys, in_foreground, keys_in, single_keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"p", ["p"]),
        (b"pq", ["p", "q"]),
        (b"\r", [ENTER]),
        (b"\n", [ENTER]),
        (b"\x1b", [ESCAPE]),
        (b"\x1b\x1b", [ESCAPE, ESCAPE]),
        (b"\x1b[A", []),
        (b"\x1b[1;5Cp", ["p"]),
        (b"\x1bOPs", ["s"]),
        (b"\x1bx", []),
        (b"\x00\x01\x7f", []),
        ("ä日".encode(), ["ä", "日"]),
        (b"\xff\xfep", ["p"]),
        (b"\x1b[12", []),
    ],
)
def test_bytes_are_keys_and_sequences_are_none(data: bytes, keys: list[str]) -> None:
    assert keys_in(data) == keys


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_give_keys_of_one_character_or_a_name(data: bytes) -> None:
    assert all(len(key) == 1 or key in {ENTER, ESCAPE} for key in keys_in(data))


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def mode(terminal: int) -> list[Any]:
    return termios.tcgetattr(terminal)


def test_single_keys_come_at_once_and_unseen(terminal: tuple[int, int]) -> None:
    person, program = terminal
    before = mode(program)
    with single_keys(program):
        os.write(person, b"p")
        assert os.read(program, 10) == b"p"
        flags = mode(program)[3]
        assert flags & termios.ISIG
        assert not flags & (termios.ECHO | termios.ICANON)
    assert mode(program) == before


def test_all_keys_are_keys(terminal: tuple[int, int]) -> None:
    person, program = terminal
    before = mode(program)
    with all_keys(program):
        os.write(person, b"\x03\x1a\r")
        assert os.read(program, 10) == b"\x03\x1a\r"
    assert mode(program) == before


@pytest.mark.parametrize("keys", [single_keys, all_keys])
def test_the_terminal_is_restored_when_something_breaks(terminal: tuple[int, int], keys: Any) -> None:
    before = mode(terminal[1])
    with pytest.raises(ZeroDivisionError), keys(terminal[1]):
        raise ZeroDivisionError
    assert mode(terminal[1]) == before


def test_what_is_no_terminal_has_no_keys() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match="ioctl"), single_keys(reading):
            pass
        assert not in_foreground(reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_terminal_of_somebody_else_is_not_ours_to_read(terminal: tuple[int, int]) -> None:
    assert not in_foreground(terminal[1])
