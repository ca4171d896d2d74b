"""What was parsed or described before, so that listing two hundred plugins costs one small read.

An entry counts for a file with the same times, size and inode, and for this version of the program. The
cache decides what is run, so its file must be the user's own and private (core.paths). Losing it costs time
only: nothing here ever raises for a cache that cannot be read or written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from update_all import __version__
from update_all.core.errors import StateError
from update_all.core.paths import read_secure, secure_directory, write_atomic
from update_all.plugins.sources import Stamp

FORMAT = 1
_MAX_BYTES = 64 * 1024 * 1024

T = TypeVar("T")


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    stamp: Stamp
    value: msgspec.Raw


class _Content(msgspec.Struct, array_like=True):
    writer: str
    entries: dict[str, _Entry]


class ParseCache:
    """File → value, in memory; `save` writes it when something was added. `directory` None: no file."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._writer = f"{__version__}/{FORMAT}"
        self._entries: dict[str, _Entry] = {}
        self._changed = False
        if directory is not None:
            self._load(directory / "plugins.msgpack")

    def get(self, path: str, stamp: Stamp, kind: type[T]) -> T | None:
        """The value of the file, None where it is not known or the file is another by now."""
        entry = self._entries.get(path)
        if entry is None or entry.stamp != stamp:
            return None
        try:
            return msgspec.msgpack.decode(entry.value, type=kind)
        except msgspec.MsgspecError:
            return None

    def put(self, path: str, stamp: Stamp, value: object) -> None:
        """Remember a value that msgspec can encode."""
        self._entries[path] = _Entry(stamp, msgspec.Raw(msgspec.msgpack.encode(value)))
        self._changed = True

    def save(self) -> None:
        """Write what was added. A cache that cannot be written is done without."""
        if self._directory is None or not self._changed:
            return
        self._changed = False
        try:
            secure_directory(self._directory)
            data = msgspec.msgpack.encode(_Content(self._writer, self._entries))
            write_atomic(self._directory / "plugins.msgpack", data, keep_previous=False)
        except (StateError, OSError):
            self._directory = None

    def _load(self, path: Path) -> None:
        try:
            content = msgspec.msgpack.decode(read_secure(path, _MAX_BYTES), type=_Content)
        except (StateError, OSError, msgspec.MsgspecError):
            return
        if content.writer == self._writer:
            self._entries = content.entries
