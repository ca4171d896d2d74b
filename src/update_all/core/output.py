"""From a command's spool to its log: cleaned, followed as it grows, in bounded memory.

Commands write into spool files, not into pipes of ours: a pipe would kill them with us, a file lets them
finish and can be followed by whoever comes later (system.md section 5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from update_all.core.cleaning import Cleaner

CHUNK_BYTES = 1 << 17
TAIL_CHARACTERS = 64 * 1024
LONGEST_LINE = 64 * 1024
"""A longer line is matched and shown in parts; the log has it whole."""

WINDOW = 4096
OVERLAP = 512
"""Patterns see a longer line through overlapping windows: what they cost grows with the window's square."""


class Tail:
    """The last 64 KiB of a text that comes in parts."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def add(self, text: str) -> None:
        if len(text) >= TAIL_CHARACTERS:
            text = text[-TAIL_CHARACTERS:]
            self._parts.clear()
            self._length = 0
        self._parts.append(text)
        self._length += len(text)
        if self._length > 4 * TAIL_CHARACTERS:
            self._parts = [self.text()]
            self._length = len(self._parts[0])

    def text(self) -> str:
        return "".join(self._parts)[-TAIL_CHARACTERS:]


class PatternMatcher:
    """Searches regular expressions in each line of a text that comes in parts."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._rest = ""
        self.found: str | None = None
        """The first line that matched."""

    def feed(self, text: str) -> None:
        if not self._patterns or self.found is not None:
            return
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = self._rest[-1024:]
        self._search(lines)

    def finish(self) -> None:
        """Search the last line, which no newline ended."""
        if self._patterns and self.found is None:
            self._search([self._rest])

    def _search(self, lines: Sequence[str]) -> None:
        for line in lines:
            for begin in range(0, max(len(line), 1), WINDOW - OVERLAP):
                part = line[begin : begin + WINDOW]
                if any(pattern.search(part) for pattern in self._patterns):
                    self.found = part
                    return


class StepLog:
    """The log of one attempt of a step; made when there is something to write."""

    def __init__(self, path: Path, secrets: Collection[str] = ()) -> None:
        self.path = path
        self.secrets = secrets
        self._descriptor: int | None = None
        self.broken = False

    @property
    def empty(self) -> bool:
        return self._descriptor is None

    def write(self, data: bytes) -> None:
        """Append cleaned bytes. A full disk ends the log, not the step."""
        if self.broken or not data:
            return
        try:
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self.path, flags, 0o600)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self.broken = True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Follower:
    """Reads a spool as it grows, cleans it into the log, and hands on text in whole lines."""

    def __init__(self, spool: Path, log: StepLog, on_text: Callable[[str], None]) -> None:
        self._spool = spool
        self._log = log
        self._on_text = on_text
        self._cleaner = Cleaner(log.secrets)
        self._descriptor: int | None = None
        self._rest = ""
        self.position = 0
        """Bytes of the spool that were taken."""

    def poll(self) -> bool:
        """Take one chunk, if there is one. True when there may be more."""
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._spool, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
        chunk = os.read(self._descriptor, CHUNK_BYTES)
        if chunk:
            self.position += len(chunk)
            self._take(self._cleaner.feed(chunk))
        return len(chunk) == CHUNK_BYTES

    @property
    def unfinished(self) -> str:
        """The line that no newline has ended so far, as far as it is clean."""
        return self._rest

    def finish(self) -> None:
        """Hand on what was held back, and close. Call after `poll` has found no more."""
        self._take(self._cleaner.finish())
        if self._rest:
            self._on_text(self._rest)
            self._rest = ""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, data: bytes) -> None:
        if not data:
            return
        self._log.write(data)
        text = self._rest + data.decode("utf-8", "replace")
        whole = text.rfind("\n") + 1
        self._rest = text[whole:]
        if whole:
            self._on_text(text[:whole])
        if len(self._rest) > LONGEST_LINE:
            self._on_text(self._rest)
            self._rest = ""
