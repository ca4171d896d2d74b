"""Writes accepted entries below one directory, walking by descriptors so that no link can lead away."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from update_all.core.errors import ArchiveError
from update_all.downloads.members import Kind, Manifest, Member

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 1024 * 1024
_NANOSECONDS = 1_000_000_000
Parts = tuple[str, ...]


@dataclass(slots=True)
class Tree:
    """The directory behind descriptor `root`. Modes become 0755 or 0644 (set the umask to 022)."""

    root: int
    _open: list[tuple[str, int]] = field(default_factory=list)
    _now: int = field(default_factory=lambda: int(time.time()))

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop()[1])

    def directory(self, parts: Parts) -> int:
        """A descriptor of a directory, made where missing; valid until the next call."""
        depth = 0
        for (name, _), part in zip(self._open, parts, strict=False):
            if name != part:
                break
            depth += 1
        while len(self._open) > depth:
            os.close(self._open.pop()[1])
        for part in parts[depth:]:
            parent = self._open[-1][1] if self._open else self.root
            try:
                descriptor = os.open(part, _DIRECTORY, dir_fd=parent)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=parent)
                descriptor = os.open(part, _DIRECTORY, dir_fd=parent)
            self._open.append((part, descriptor))
        return self._open[-1][1] if self._open else self.root

    def write(self, parts: Parts, member: Member, pieces: Iterable[bytes | memoryview]) -> None:
        """A new file. Its time is kept, but never before 1970 or after now."""
        mode = 0o755 if member.mode & 0o111 else 0o644
        descriptor = os.open(parts[-1], _NEW_FILE, mode, dir_fd=self.directory(parts[:-1]))
        try:
            for piece in pieces:
                written = os.write(descriptor, piece)
                while written < len(piece):
                    written += os.write(descriptor, memoryview(piece)[written:])
            moment = min(max(member.mtime, 0), self._now) * _NANOSECONDS
            os.utime(descriptor, ns=(moment, moment))
        finally:
            os.close(descriptor)

    def link(self, parts: Parts, source: Parts, manifest: Manifest) -> None:
        """A hard link to a file of this tree; a copy where the kernel makes none (Landlock before ABI 2)."""
        with self._parent(source) as beside_source:
            here = self.directory(parts[:-1])
            try:
                os.link(
                    source[-1], parts[-1], src_dir_fd=beside_source, dst_dir_fd=here, follow_symlinks=False
                )
            except OSError as error:
                if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
                    raise
                self._copy(beside_source, source[-1], parts, manifest)

    @contextmanager
    def _parent(self, parts: Parts) -> Iterator[int]:
        descriptor = os.dup(self.directory(parts[:-1]))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _copy(self, folder: int, name: str, parts: Parts, manifest: Manifest) -> None:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as source:
            status = os.fstat(source.fileno())
            manifest.bytes += status.st_size
            if manifest.bytes > manifest.limits.total_bytes:
                raise ArchiveError(f"more than {manifest.limits.total_bytes} bytes with its hard links")
            copy = Member(parts[-1], Kind.FILE, mode=status.st_mode, mtime=int(status.st_mtime))
            self.write(parts, copy, iter(lambda: source.read(_COPY_BYTES), b""))

    def symlink(self, parts: Parts, target: str) -> None:
        os.symlink(target, parts[-1], dir_fd=self.directory(parts[:-1]))
