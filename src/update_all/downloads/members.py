"""Which entries an archive may hold. Pure: names, kinds, links and limits; no I/O."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from update_all.core.errors import ArchiveError

MIB = 1024**2
MAX_HOPS = 40
_MAX_COMPONENT, _MAX_PATH, _MAX_DEPTH = 255, 1024, 40
_DRIVE = re.compile(r"[A-Za-z]:")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Kind(StrEnum):
    """The entries that are unpacked; every other type is refused."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may cost. `ratio` bounds inflated to packed bytes, beyond the first 64 MiB."""

    entries: int = 150_000
    total_bytes: int = 8 * 1024 * MIB
    file_bytes: int = 4 * 1024 * MIB
    ratio: int = 200
    memory_bytes: int = 1024 * MIB
    cpu_seconds: int = 900
    seconds: float = 1800.0

    def require_ratio(self, packed: int, inflated: int) -> None:
        """Raise ArchiveError when `inflated` bytes from `packed` ones are a bomb."""
        if inflated > self.ratio * packed + 64 * MIB:
            raise ArchiveError(f"the archive inflates more than {self.ratio} times: a bomb")


@dataclass(frozen=True, slots=True)
class Member:
    """One entry as its header describes it. `mode` are permission bits, `mtime` Unix seconds."""

    name: str
    kind: Kind
    size: int = 0
    mode: int = 0o644
    target: str = ""
    mtime: int = 0


def decode_name(raw: bytes) -> str:
    """UTF-8 or refused."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError(f"a name is not UTF-8: {raw[:80]!r}") from None


def _require_printable(name: str) -> None:
    if not name.isascii():
        unseen = any(unicodedata.category(character) in _UNSEEN for character in name)
    else:
        unseen = not name.isprintable()
    if unseen or "\\" in name or _DRIVE.match(name):
        raise ArchiveError(f"a name holds control characters, a backslash or a drive: {name!r}")


def path_parts(name: str) -> tuple[str, ...]:
    """The components of an entry's name, () for the root itself; ArchiveError for an unsafe name.

    A leading "./" and a final "/" are what tar(1) writes; everything else must be a plain relative path.
    """
    _require_printable(name)
    trimmed = name.removesuffix("/")
    while trimmed.startswith("./"):
        trimmed = trimmed[2:]
    if trimmed == "." or (not trimmed and name == "./"):
        return ()
    parts = tuple(trimmed.split("/"))
    if any(part in {"", ".", ".."} for part in parts):
        raise ArchiveError(f"not a plain relative path: {name!r}")
    if parts[0].startswith("-"):
        raise ArchiveError(f"a top-level name begins with a dash: {name!r}")
    too_long = len(name.encode()) > _MAX_PATH or any(len(part.encode()) > _MAX_COMPONENT for part in parts)
    if too_long or len(parts) > _MAX_DEPTH:
        raise ArchiveError(f"a path is too long or too deep: {name[:80]!r}…")
    return parts


class Manifest:
    """What has been accepted so far; `admit` says where the next entry goes, or refuses the archive.

    `top` is the only folder allowed at the top ("go", or a pattern such as "install-tl-*"); it is taken away
    from every path. Empty allows anything.
    """

    def __init__(self, limits: Limits, top: str = "") -> None:
        self.limits, self.top = limits, top
        self.symlinks: dict[tuple[str, ...], str] = {}
        self._files: set[tuple[str, ...]] = set()
        self._directories: set[tuple[str, ...]] = {()}
        self._top_name: str | None = None
        self.entries = 0
        self.bytes = 0

    def admit(self, member: Member) -> tuple[str, ...]:
        """The place of an entry below the target; () is the target itself."""
        self.entries += 1
        self.bytes += member.size
        self._require_limits(member)
        if member.kind is not Kind.DIRECTORY and member.name.endswith("/"):
            raise ArchiveError(f"{member.name!r} is a {member.kind} with the name of a directory")
        parts = self._below_top(path_parts(member.name), member)
        if not parts:
            if member.kind is not Kind.DIRECTORY:
                raise ArchiveError(f"{member.name!r} is a {member.kind} in place of the whole tree")
            return parts
        self._require_place(parts, member)
        return parts

    def _require_limits(self, member: Member) -> None:
        if member.mode & 0o6000:
            raise ArchiveError(f"{member.name!r} is set-uid or set-gid")
        if member.size and member.kind is not Kind.FILE:
            raise ArchiveError(f"{member.name!r} is a {member.kind} with contents")
        if member.size < 0 or member.size > self.limits.file_bytes:
            raise ArchiveError(f"{member.name!r} has {member.size} bytes, beyond the limit")
        if self.entries > self.limits.entries or self.bytes > self.limits.total_bytes:
            raise ArchiveError(f"more than {self.limits.entries} entries or {self.limits.total_bytes} bytes")

    def _below_top(self, parts: tuple[str, ...], member: Member) -> tuple[str, ...]:
        if not self.top or not parts:
            return parts
        expected = self._top_name or self.top
        fits = parts[0] == expected if self._top_name else fnmatchcase(parts[0], self.top)
        if not fits or (len(parts) == 1 and member.kind is not Kind.DIRECTORY):
            raise ArchiveError(f"expected everything inside {expected!r}, found {member.name!r}")
        self._top_name = parts[0]
        return parts[1:]

    def _require_place(self, parts: tuple[str, ...], member: Member) -> None:
        for depth in range(len(parts) - 1, 0, -1):
            parent = parts[:depth]
            if parent in self._directories:
                break
            if parent in self._files or parent in self.symlinks:
                raise ArchiveError(f"{member.name!r} lies below something that is no directory")
        self._directories.update(parts[:depth] for depth in range(1, len(parts)))
        if parts in self._files or parts in self.symlinks:
            raise ArchiveError(f"{member.name!r} is there twice")
        if member.kind is Kind.DIRECTORY:
            self._directories.add(parts)
            return
        if parts in self._directories:
            raise ArchiveError(f"{member.name!r} is there twice")
        if member.kind is Kind.SYMLINK:
            self.symlinks[parts] = _link_target(member)
        else:
            self._files.add(parts)

    def link_source(self, member: Member) -> tuple[str, ...]:
        """Where a hard link leads: an earlier regular file of the same archive, nothing else."""
        parts = self._below_top(path_parts(member.target), member)
        if parts not in self._files or parts in self.symlinks or member.target.endswith("/"):
            raise ArchiveError(f"{member.name!r} is a hard link to {member.target!r}, no earlier file")
        return parts

    def require_links_inside(self) -> None:
        """Resolve every symbolic link, through all the others, as the kernel would; refuse any way out."""
        for parts, target in self.symlinks.items():
            if self.resolve(parts[:-1], target) is None:
                name = "/".join(parts)
                raise ArchiveError(f"{name!r} is a link out of the archive or a circle: {target!r}")

    def resolve(self, base: tuple[str, ...], target: str) -> tuple[str, ...] | None:
        """The place that `target` names from directory `base`, None when it is outside or endless."""
        place, waiting, hops = list(base), target.split("/")[::-1], 0
        while waiting:
            part = waiting.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                if not place:
                    return None
                place.pop()
                continue
            place.append(part)
            further = self.symlinks.get(tuple(place))
            if further is not None:
                hops += 1
                if hops > MAX_HOPS:
                    return None
                place.pop()
                waiting.extend(further.split("/")[::-1])
        return tuple(place)

    def require_files(self, names: tuple[str, ...]) -> None:
        """Raise ArchiveError unless each name (relative to the target) is a file or a link to one."""
        for name in names:
            if self.resolve((), name) not in self._files:
                raise ArchiveError(f"the expected file {name!r} is not in the archive")


def _link_target(member: Member) -> str:
    target = member.target
    _require_printable(target)
    if not target or target.startswith("/") or len(target.encode()) > _MAX_PATH:
        raise ArchiveError(f"{member.name!r} is a link to {target[:80]!r}: not a plain relative path")
    return target
