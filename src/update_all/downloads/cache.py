"""The owner-only, content-addressed store of downloaded files."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from update_all.core.errors import BusyError, DownloadError, IntegrityError
from update_all.downloads.part import Part
from update_all.downloads.spec import DownloadSpec, normal_digest
from update_all.downloads.verify import digest_of, same_digest

LOCK_POLL_SECONDS = 0.2
LOCK_WAIT_SECONDS = 3600.0
DAY_SECONDS = 86400.0
_RESERVE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cache:
    """A directory, mode 0700, of files named `ALGORITHM-HEX-FILENAME`, beside unfinished `KEY.part` ones.

    The directory must belong to the caller, be writable by nobody else and be no link: a cache that others
    can write to would be a way into root's installs. Raises DownloadError otherwise.
    """

    root: Path

    def __post_init__(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.root.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise DownloadError(
                f"the cache {self.root} must be a directory of your own that nobody else can write to",
                hint=f"rm -rf {self.root}",
            )
        if status.st_mode & 0o077:
            self.root.chmod(0o700)

    async def verified(self, spec: DownloadSpec) -> Path:
        """The file, hashed again just now. Raises DownloadError when it is not there, IntegrityError when
        its bytes have changed (it is then deleted).
        """
        path = await asyncio.to_thread(self._verified, spec)
        if path is None:
            raise DownloadError(f"{spec.filename} is not in the cache", hint="run the download step again")
        return path

    async def lookup(self, spec: DownloadSpec) -> Path | None:
        """Like `verified`, but None when there is no good copy; a spoilt one is deleted."""
        try:
            return await asyncio.to_thread(self._verified, spec)
        except IntegrityError:
            return None

    def _verified(self, spec: DownloadSpec) -> Path | None:
        digest = spec.digest or self._remembered_digest(spec)
        if digest is None:
            return None
        path = self._path(spec, digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DownloadError(f"cannot read {path}: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            found = digest_of(file, spec.algorithm)
            os.utime(file.fileno())
        if not same_digest(found, digest):
            path.unlink(missing_ok=True)
            raise IntegrityError(f"{spec.filename} changed in the cache: expected {digest}, got {found}")
        return path

    def _path(self, spec: DownloadSpec, digest: str) -> Path:
        return self.root / f"{digest.replace(':', '-')}-{spec.filename}"

    def _remembered_digest(self, spec: DownloadSpec) -> str | None:
        with contextlib.suppress(OSError, ValueError, DownloadError):
            return normal_digest((self.root / f"{spec.key}.digest").read_text("ascii"), spec.filename)
        return None

    def open_part(self, spec: DownloadSpec) -> Part:
        """The unfinished file of a download, to go on with or to begin. Call under `exclusive`.

        Only a file whose digest is known is continued from an earlier process: nothing else would notice
        what a power cut did to it.
        """
        part = Part(self.root / f"{spec.key}.part", spec.algorithm)
        if spec.digest is None or part.size > spec.limit:
            part.reset()
        return part

    def keep(self, spec: DownloadSpec, part: Part, digest: str) -> Path:
        """Move a finished and checked part to its final name, durably."""
        path = self._path(spec, digest)
        part.rename(path)
        self.note(spec, "validator", None)
        if spec.digest is None:
            self.note(spec, "digest", digest)
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return path

    def note(self, spec: DownloadSpec, kind: str, value: str | None) -> None:
        """Remember a short text about an unfinished download (None forgets it)."""
        path = self.root / f"{spec.key}.{kind}"
        if value is None:
            path.unlink(missing_ok=True)
            return
        temporary = path.with_suffix(f".{kind}-new")
        temporary.write_text(json.dumps(value) if kind == "validator" else value, "utf-8")
        temporary.replace(path)

    def validator(self, spec: DownloadSpec) -> str | None:
        """The strong ETag or date that the unfinished part came with."""
        with contextlib.suppress(OSError, ValueError):
            value = json.loads((self.root / f"{spec.key}.validator").read_text("utf-8"))
            if isinstance(value, str):
                return value
        return None

    def require_space(self, spec: DownloadSpec, needed: int) -> None:
        """Raise DownloadError unless `needed` more bytes, and a reserve, fit on the file system."""
        status = os.statvfs(self.root)
        free = status.f_bavail * status.f_frsize
        if free < needed + _RESERVE_BYTES:
            raise DownloadError(
                f"{spec.filename} needs {needed} bytes, {free} are free in {self.root}",
                hint="free some space and resume",
            )

    @contextlib.contextmanager
    def scratch(self, spec: DownloadSpec, kind: str, data: bytes) -> Iterator[Path]:
        """A small file for another program to read. Call under `exclusive`: one that was left is replaced."""
        path = self.root / f"{spec.key}.{kind}"
        path.write_bytes(data)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def exclusive(self, spec: DownloadSpec) -> AsyncIterator[None]:
        """One process and task at a time for this download; BusyError after an hour of waiting."""
        for _ in range(int(LOCK_WAIT_SECONDS / LOCK_POLL_SECONDS)):
            with self._locked(spec.key) as locked:
                if locked:
                    yield
                    return
            await asyncio.sleep(LOCK_POLL_SECONDS)
        raise BusyError(
            f"another process has been downloading {spec.filename} for an hour",
            hint=f"fuser {self.root}/{spec.key}.lock shows which",
        )

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[bool]:
        """Whether this process has the download `key` for itself, until the end of the block.

        The lock file is deleted by its holder; one that was deleted while it was being opened does not count.
        """
        path = self.root / f"{key}.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if not os.fstat(descriptor).st_nlink:
                yield False
                return
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    def prune(self, days: float = 30.0) -> int:
        """Delete what nobody has read or written for `days`, and the locks that killed processes left, but
        nothing of a download that is under way; returns the number of files.
        """
        count = 0
        for path in self.root.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                lock = path.suffix == ".lock"
                old = time.time() - status.st_mtime > days * DAY_SECONDS
                if not stat.S_ISREG(status.st_mode) or not (old or lock):
                    continue
                with self._locked(path.name.partition(".")[0]) as locked:
                    if locked:
                        path.unlink(missing_ok=True)
                        count += not lock
        return count
