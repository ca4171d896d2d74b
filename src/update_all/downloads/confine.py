"""Walls around the unpacking child: resource limits, another user, no new privileges, Landlock.

Numbers and structures: linux/landlock.h, linux/prctl.h, landlock(7).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct

from update_all.core.errors import ArchiveError
from update_all.downloads.members import Limits

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_MAKE_DIR, _MAKE_REG, _MAKE_SYM, _REFER = 1 << 7, 1 << 8, 1 << 12, 1 << 13
_FILE_RIGHTS_BY_ABI = ((5, 0xFFFF), (3, 0x7FFF), (2, 0x3FFF), (1, 0x1FFF))
_NET_RIGHTS_SINCE, _SCOPES_SINCE = 4, 6
_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    return result


def _require(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise ArchiveError(f"cannot confine the unpacking process: {what}: {os.strerror(code)}")
    return result


def limit_resources(limits: Limits) -> None:
    """RLIMIT_CPU (s), RLIMIT_AS, RLIMIT_FSIZE (bytes), no core file, few descriptors, umask 022."""
    for kind, value in (
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 128),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.umask(0o022)


def become(user: int) -> None:
    """Give up root for good: groups, group and user, all three ids of each."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if os.geteuid() != user or os.getuid() != user:
        raise ArchiveError("cannot confine the unpacking process: still root")


def forbid_new_privileges() -> None:
    """No set-uid program can raise this process again; it dies with its parent. Call after `become`."""
    _require(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _require(_libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "parent-death signal")


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 where it has none."""
    return max(0, _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def landlock_to(directory: int) -> bool:
    """Allow this process to create files below one open directory and nothing else: no other file, no
    network. What is already open stays usable. False where the kernel has no Landlock.
    """
    version = landlock_version()
    if version == 0:
        return False
    handled = next(rights for since, rights in _FILE_RIGHTS_BY_ABI if version >= since)
    net = 0b11 if version >= _NET_RIGHTS_SINCE else 0
    scopes = 0b11 if version >= _SCOPES_SINCE else 0
    attributes = struct.pack("=QQQ", handled, net, scopes)
    size = 24 if scopes else 16 if net else 8
    ruleset = _syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0 and ctypes.get_errno() == errno.EOPNOTSUPP:
        return False
    _require(ruleset, "Landlock")
    try:
        allowed = _WRITE_FILE | _READ_FILE | _READ_DIR | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER
        rule = struct.pack("=Qi", allowed & handled, directory)
        added = _syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), rule, 0)
        _require(added, "Landlock rule")
        _require(_syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)), "Landlock")
    finally:
        os.close(ruleset)
    return True
