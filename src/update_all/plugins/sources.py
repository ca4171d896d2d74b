"""Where plugins of other people are found, and which files are trusted enough to be read or run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from update_all.core.errors import InvalidDefinitionError
from update_all.core.names import NAME
from update_all.core.paths import directories

MAX_DEFINITION_BYTES = 256 * 1024
"""The longest shipped definition is a hundredth of it."""
SYSTEM_DIRECTORY = Path("/etc/update-all/plugins.d")


class Origin(StrEnum):
    """Where a plugin is defined, the strongest first: the user's wins over all."""

    USER = "user"
    SYSTEM = "system"
    ENTRY_POINT = "entry point"
    BUILT_IN = "built-in"


class Kind(StrEnum):
    """In which of the three ways a plugin is written."""

    PYTHON = "python"
    TOML = "toml"
    EXECUTABLE = "executable"


class SearchPaths(NamedTuple):
    """Where to look. `trusted`: distributions whose entry points may be loaded (they are code).

    `cache` is the directory for what was parsed already; None: parse anew each time.
    """

    user: tuple[Path, ...] = ()
    system: tuple[Path, ...] = ()
    cache: Path | None = None
    trusted: frozenset[str] = frozenset()

    @classmethod
    def default(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        more: tuple[Path, ...] = (),
        trusted: frozenset[str] = frozenset(),
    ) -> SearchPaths:
        """The XDG directories and /etc; `more` are further directories of the user, which come first."""
        places = directories(environ)
        return cls(
            user=(*more, places.config / "plugins.d"),
            system=(SYSTEM_DIRECTORY,),
            cache=places.cache,
            trusted=trusted,
        )


Stamp = tuple[int, int, int, int]
"""Of a file: modification and change time in ns, size in bytes, inode. What the cache is valid for."""


class Candidate(NamedTuple):
    """A plugin that was found and not yet read. `refused` says why it will not be.

    `distribution` is the installed package that an entry point belongs to.
    """

    name: str
    origin: Origin
    kind: Kind
    place: str
    stamp: Stamp = (0, 0, 0, 0)
    refused: str = ""
    distribution: str = ""

    @property
    def path(self) -> Path:
        return Path(self.place)


def stamp_of(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def scan(directory: Path, origin: Origin, *, euid: int | None = None) -> Iterator[Candidate]:
    """The plugins of a directory, by name: `NAME.toml`, and executables `NAME` or `NAME.EXT`.

    Nothing is read. Other files, hidden ones and directories are left alone. A directory or file that others
    can write to, or that belongs to somebody else, gives refused candidates; so does a second file of the
    same name.
    """
    euid = os.geteuid() if euid is None else euid
    try:
        suspicious = distrust(directory.stat(), origin, euid)
        found = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    seen: dict[str, str] = {}
    for entry in found:
        kind = _kind(entry)
        if kind is None:
            continue
        name = entry.name.partition(".")[0] if kind is Kind.EXECUTABLE else entry.name.removesuffix(".toml")
        status = _status(entry)
        refused = f"{directory} {suspicious}" if suspicious else _refusal(name, status, origin, euid)
        if not refused and name in seen:
            refused = f"{seen[name]} in the same directory has the same name"
        seen.setdefault(name, entry.name)
        stamp = (0, 0, 0, 0) if status is None else stamp_of(status)
        yield Candidate(name, origin, kind, entry.path, stamp, refused)


def _kind(entry: os.DirEntry[str]) -> Kind | None:
    if entry.name.startswith(".") or entry.name.endswith("~"):
        return None
    if entry.name.endswith(".toml"):
        return Kind.TOML
    if entry.is_file() and os.access(entry.path, os.X_OK):
        return Kind.EXECUTABLE
    return None


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None


def _refusal(name: str, status: os.stat_result | None, origin: Origin, euid: int) -> str:
    if NAME.fullmatch(name) is None:
        return f"{name!r} is no plugin name: letters, digits and ._+@-, at most 100"
    if status is None:
        return "it cannot be read: a link that leads nowhere, or no permission"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    return distrust(status, origin, euid)


def distrust(status: os.stat_result, origin: Origin, euid: int) -> str:
    """Why a file or directory is not trusted, in words that follow its name; empty where it is.

    What the administrator provides, and what root reads, must be writable by root alone. A user's own file
    may be writable by the group: where each user has a group of their own, that is the default.
    """
    strict = origin is Origin.SYSTEM or euid == 0
    owners = {0} if origin is Origin.SYSTEM else {0, euid}
    if status.st_uid not in owners:
        wanted = "root" if strict else "you"
        return f"belongs to user {status.st_uid}, not to {wanted}: chown it"
    if status.st_mode & stat.S_IWOTH:
        return "is writable by everybody: chmod o-w it"
    if strict and status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        return "is writable by its group: chmod g-w it"
    return ""


def read_definition_text(path: Path, origin: Origin) -> tuple[str, Stamp]:
    """The text of a definition, checked after opening so that nothing can be swapped in between.

    Raises InvalidDefinitionError: not a regular file, not trusted, over 256 KiB, not UTF-8, not readable.
    """
    try:
        # Without O_NONBLOCK a FIFO would block the open for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            reason = "" if origin is Origin.BUILT_IN else distrust(status, origin, os.geteuid())
            if reason or not stat.S_ISREG(status.st_mode):
                raise InvalidDefinitionError(f"{path}: {reason or 'is not a regular file'}")
            data = file.read(MAX_DEFINITION_BYTES + 1)
    except OSError as error:
        raise InvalidDefinitionError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_DEFINITION_BYTES:
        raise InvalidDefinitionError(f"{path}: is larger than {MAX_DEFINITION_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8"), stamp_of(status)
    except UnicodeDecodeError as error:
        raise InvalidDefinitionError(f"{path}: is not UTF-8 text, at byte {error.start}") from None
