"""The unfinished file of a download: written and hashed in a thread while more arrives."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from update_all.core.errors import DownloadError

BLOCK_BYTES = 64 * 1024
"""Handed to an idle thread at once, so that a kill loses little."""
BUFFER_BYTES = 1024 * 1024
"""Held while the thread is busy, before the network has to wait."""


class Part:
    """An append-only file, mode 0600, never reached through a link, with the hash of all its bytes.

    Opening hashes what an earlier process left; `carried` is the number of those bytes. Use as a context
    manager: leaving it writes what is buffered, also on failure, so that a later try goes on from there.
    """

    def __init__(self, path: Path, algorithm: str) -> None:
        self.path = path
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self._writing = False
        self._pending: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, "download")
        self._descriptor = self._open()
        self.size = os.fstat(self._descriptor).st_size
        self.carried = self.size
        self._hash_existing()

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        try:
            if self._buffer and (self._pending is None or self._pending.exception() is None):
                self._write(self._take(0))
        except DownloadError:
            if error is None:
                raise
        finally:
            os.close(self._descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags)
        except FileNotFoundError:
            return os.open(self.path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise DownloadError(f"cannot open {self.path}: {error.strerror}") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
            os.close(descriptor)
            raise DownloadError(f"{self.path} is not a plain file of our own", hint=f"rm {self.path}")
        os.fchmod(descriptor, 0o600)
        return descriptor

    def _hash_existing(self) -> None:
        while block := os.read(self._descriptor, 1024 * 1024):
            self._hash.update(block)

    def _write(self, block: bytearray) -> None:
        view = memoryview(block)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise DownloadError(
                f"cannot write {self.path}: {error.strerror}", hint="free some space and resume"
            ) from error
        self._hash.update(block)

    def _take(self, least: int) -> bytearray:
        """What is buffered, if it is enough for a write; else nothing, and the thread is idle."""
        with self._lock:
            if len(self._buffer) < least:
                self._writing = False
                return bytearray()
            block, self._buffer = self._buffer, bytearray()
            return block

    def _write_blocks(self) -> None:
        while block := self._take(BLOCK_BYTES):
            self._write(block)

    async def append(self, data: bytes) -> None:
        """Take more bytes; waits only while the thread is far behind. Raises DownloadError (no space)."""
        self.size += len(data)
        with self._lock:
            self._buffer += data
            waiting = len(self._buffer)
            start = waiting >= BLOCK_BYTES and not self._writing
            self._writing = self._writing or start
        if start:
            await self._settle()
            self._pending = self._thread.submit(self._write_blocks)
        elif waiting >= BUFFER_BYTES:
            await self._settle()

    async def _settle(self) -> None:
        if self._pending is not None:
            await asyncio.shield(asyncio.wrap_future(self._pending))

    async def finish(self) -> str:
        """Write and flush everything; returns "ALGORITHM:HEX" of the whole file."""
        await self._settle()
        self._pending = self._thread.submit(self._write_rest)
        await self._settle()
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def _write_rest(self) -> None:
        self._write(self._take(0))
        os.fsync(self._descriptor)

    def reset(self) -> None:
        """Begin again with an empty file. Call while nothing is being written."""
        if self._pending is not None:
            self._pending.exception()
        self._pending = None
        self._take(0)
        self._writing = False
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hash = hashlib.new(self._algorithm)
        self.size = self.carried = 0

    def rename(self, path: Path) -> None:
        self.path.rename(path)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
