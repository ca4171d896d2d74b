"""What root may run or read: files that belong to root, on a path that nobody else can change."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from update_all.core.errors import CommandNotFoundError, StepError

ROOT_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where programs that run as root are looked for, whatever PATH says."""

MAX_LINKS = 40

Lstat = Callable[[Path], os.stat_result]


class UntrustedPathError(StepError):
    """Root would run or read what somebody else can change."""

    code = "untrusted-path"


def resolve_program(name: str, directories: Sequence[str] = ROOT_PATH, *, lstat: Lstat = Path.lstat) -> Path:
    """The absolute path of a program that root may run.

    A bare name is the first trusted program of that name in `directories`; a path must be absolute. Links
    are followed for the check, but kept in the answer: sudoers rules and multi-call programs go by the name.
    Raises CommandNotFoundError where there is none, UntrustedPathError naming the part that others can
    change.
    """
    if "/" in name:
        if not name.startswith("/"):
            raise UntrustedPathError(f"{name} is a relative path, which means another program elsewhere")
        candidates = [Path(name)]
    else:
        candidates = [Path(directory) / name for directory in directories]
    programs = [path for path in candidates if os.access(path, os.X_OK) and path.is_file()]
    if not programs:
        where = "" if "/" in name else f" in {':'.join(directories)}"
        raise CommandNotFoundError(f"there is no program {name!r}{where} for root to run")
    flaws = [untrusted_part(path, lstat=lstat) for path in programs]
    for path, flaw in zip(programs, flaws, strict=True):
        if flaw is None:
            return path
    raise _untrusted(programs[0], flaws[0], "run")


def check_arguments(arguments: Sequence[str], *, lstat: Lstat = Path.lstat) -> None:
    """Refuse arguments that name an existing file or directory which root would read and others can change.

    Seen are absolute paths as an argument (`/x`), behind an option (`--config=/x`, `-o Dir=/x`, `file:/x`),
    and joined to a short option (`-c/x`). Devices such as /dev/null are left out. Raises UntrustedPathError.
    """
    for path in (path for argument in arguments for path in _paths_in(argument)):
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            flaw = untrusted_part(path, lstat=lstat)
            if flaw is not None:
                raise _untrusted(path, flaw, "read")


def untrusted_part(path: Path, *, lstat: Lstat = Path.lstat) -> tuple[Path, str] | None:
    """The first part of an absolute path that others than root can change, and why; None if there is none.

    Walks from the root directory and follows links as the kernel does (path_resolution(7)).
    """
    links = 0
    here = Path("/")
    todo = list(path.parts[1:])
    while True:
        status = lstat(here)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MAX_LINKS:
                return here, "is one of too many links"
            if status.st_uid != 0:
                return here, f"is a link of user {status.st_uid}"
            target = here.readlink()
            todo = [*target.parts, *todo]
            here = here.parent
        elif reason := _flaw(status):
            return here, reason
        if not todo:
            return None
        part = todo.pop(0)
        here = Path("/") if part == "/" else here.parent if part == ".." else here / part


def _flaw(status: os.stat_result) -> str:
    if status.st_uid != 0:
        return f"belongs to user {status.st_uid}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by others"
    return ""


_PATH_IN_ARGUMENT = re.compile(r"(?:^-[A-Za-z]|[=:,]|^)(/[^,]*)")


def _paths_in(argument: str) -> Iterator[Path]:
    for match in _PATH_IN_ARGUMENT.finditer(argument):
        yield Path(match[1])


def _untrusted(path: Path, flaw: tuple[Path, str] | None, verb: str) -> UntrustedPathError:
    part, reason = flaw or (path, "cannot be checked")
    subject = f"{path}: it" if part == path else f"{path}: {part}"
    quoted = shlex.quote(str(part))
    return UntrustedPathError(
        f"root must not {verb} {subject} {reason}",
        hint=f"ls -ld {quoted}; if it is right: sudo chown root {quoted} && sudo chmod go-w {quoted}",
    )
