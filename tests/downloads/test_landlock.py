"""Landlock alone: nothing outside, nothing but new files inside; and what is asked of older kernels."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from pathlib import Path

import pytest

from update_all.downloads import confine

sys.path.insert(0, str(Path(__file__).parent))
from refusing_kernel import LANDLOCK_ADD_RULE, LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF
from walled import answer

VERSION = confine.landlock_version()
NEEDS_LANDLOCK = pytest.mark.skipif(VERSION == 0, reason="this kernel has no Landlock")
SINCE = {"truncate": 3, "truncate outside": 3, "connect": 4, "listen": 4, "abstract socket": 6, "signal": 6}
"""The version of Landlock that stops each of these; the others are stopped by all."""
ERRORS = {"abstract socket": {"EPERM"}, "signal": {"EPERM"}, "device": {"EACCES", "EPERM"}}
REFUSED = {"EACCES", "EXDEV"}
"""EXDEV is for what would move between folders with different rights, on some versions."""
WRITE_FILE, READ_FILE, READ_DIR, MAKE_DIR, MAKE_REG, MAKE_SYM, REFER = (
    1 << number for number in (1, 2, 3, 7, 8, 12, 13)
)
UNPACKING = WRITE_FILE | READ_FILE | READ_DIR | MAKE_DIR | MAKE_REG | MAKE_SYM
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16}
"""How many rights over files each version knows (landlock(7), VERSIONS)."""


def test_the_version_is_the_kernels() -> None:
    libc = ctypes.CDLL(None)
    told = libc.syscall(ctypes.c_long(LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    assert max(0, told) == VERSION


def test_a_kernel_without_landlock() -> None:
    assert answer("no_landlock") == {"version": 0, "told": False}


@NEEDS_LANDLOCK
def test_only_what_unpacking_needs_is_possible(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "precious").write_text("precious")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        name = f"update-all-{os.getpid()}-{tmp_path.name}"
        local.bind(f"\0{name}")
        local.listen()
        seen = answer("ways_out", inside, outside, server.getsockname()[1], name)
    assert seen["told"] is True
    needed: dict[str, str] = seen["needed"]
    if VERSION < 2:
        assert needed.pop("hard link") == "EXDEV"
    assert set(needed.values()) == {"done"}, needed
    evil: dict[str, str] = seen["evil"]
    stopped = {way: end for way, end in evil.items() if SINCE.get(way, 1) <= VERSION}
    assert not {way: end for way, end in stopped.items() if end not in ERRORS.get(way, REFUSED)}
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "precious"
    assert (inside / "folder/deep/file").read_bytes() == b"1"


@NEEDS_LANDLOCK
@pytest.mark.parametrize("version", RIGHTS)
def test_each_version_is_asked_for_what_it_knows(tmp_path: Path, version: int) -> None:
    """The real kernel is asked as if it were that version: newer ones take what older ones knew."""
    if version > VERSION:
        pytest.skip(f"this kernel's Landlock is of version {VERSION}")
    seen = answer("asked", tmp_path, version)
    attributes = (1 << RIGHTS[version]) - 1, 3 if version >= 4 else 0, 3 if version >= 6 else 0
    size = 8 if version < 4 else 16 if version < 6 else 24
    allowed = UNPACKING | (REFER if version >= 2 else 0)
    ask, create, add, restrict = seen["asked"]
    assert ask == [LANDLOCK_CREATE_RULESET, [None, 0, 1]]
    assert create == [LANDLOCK_CREATE_RULESET, [struct.pack("=QQQ", *attributes).hex(), size, 0]]
    ruleset = add[1][0]
    rule = struct.pack("=Qi", allowed, seen["place"]).hex()
    assert add == [LANDLOCK_ADD_RULE, [ruleset, 1, rule, 0]]
    assert restrict == [LANDLOCK_RESTRICT_SELF, [ruleset, 0]]
    assert (seen["told"], seen["outside"]) == (True, "EACCES")


@NEEDS_LANDLOCK
def test_a_kernel_in_which_landlock_is_switched_off(tmp_path: Path) -> None:
    seen = answer("refused_landlock", tmp_path, LANDLOCK_CREATE_RULESET, errno.EOPNOTSUPP)
    assert seen == {"end": "done", "told": [False], "left open": 0}


@NEEDS_LANDLOCK
@pytest.mark.parametrize(
    ("number", "what"),
    [
        (LANDLOCK_CREATE_RULESET, "Landlock"),
        (LANDLOCK_ADD_RULE, "Landlock rule"),
        (LANDLOCK_RESTRICT_SELF, "Landlock"),
    ],
)
def test_a_step_that_fails_is_an_error(tmp_path: Path, number: int, what: str) -> None:
    end = f"cannot confine the unpacking process: {what}: {os.strerror(errno.EINVAL)}"
    seen = answer("refused_landlock", tmp_path, number, errno.EINVAL)
    assert seen == {"end": end, "told": [], "left open": 0}


@NEEDS_LANDLOCK
def test_a_place_that_is_no_directory_is_an_error() -> None:
    end = f"cannot confine the unpacking process: Landlock rule: {os.strerror(errno.EBADF)}"
    assert answer("refused_landlock", "", 0, 0) == {"end": end, "told": [], "left open": 0}
