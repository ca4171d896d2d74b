"""A kernel that answers one system call with an error, for this process only: seccomp(2), a real filter."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import NoReturn

_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_FIRST_ARGUMENT_AT = 16
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
NOT_POSSIBLE = 77
"""The exit code of a process that cannot make its kernel refuse."""
_NUMBERS = {"x86_64": {"prctl": 157, "setresuid": 117}, "aarch64": {"prctl": 167, "setresuid": 147}}


def number_of(call: str) -> int:
    """The number of a system call on this machine."""
    known = _NUMBERS.get(os.uname().machine, {})
    if call not in known:
        _give_up(f"the number of {call} is not known on {os.uname().machine}")
    return known[call]


def _give_up(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(NOT_POSSIBLE)


def refuse(number: int, code: int, first: int | None = None) -> None:
    """From now on the call does nothing and gives `code` as its error; with 0 it claims to have worked.

    `first`: only where this is its first argument. Where the kernel takes no filter the process ends.
    """
    steps: list[tuple[int, int, int, int]] = [(_LOAD_WORD, 0, 0, 0)]
    if first is None:
        steps += [(_JUMP_IF_EQUAL, 0, 1, number)]
    else:
        steps += [(_JUMP_IF_EQUAL, 0, 3, number), (_LOAD_WORD, 0, 0, _FIRST_ARGUMENT_AT)]
        steps += [(_JUMP_IF_EQUAL, 0, 1, first)]
    steps += [(_RETURN, 0, 0, _ERROR | code), (_RETURN, 0, 0, _ALLOW)]
    code_bytes = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code_bytes))
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, program, 0, 0) < 0:
        _give_up(f"this system takes no seccomp filter: {os.strerror(ctypes.get_errno())}")
