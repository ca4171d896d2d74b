"""The event journal of a run: `events.jsonl`, append-only, one event a line (system.md section 4)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from update_all.core.errors import StateWriteError
from update_all.core.models import JsonValue
from update_all.core.streaming import OutputEvent, StreamEvent

JOURNAL = "events.jsonl"
KEPT_TEXT = 2048
"""Characters of one output event that the journal keeps; the log has the rest."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class JournalWriter:
    """Appends events. Never flushed: it matters to who reads along, not to resume.

    Raises StateWriteError when the journal cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        path = directory / JOURNAL
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise StateWriteError(
                f"{path} cannot be written: {error.strerror}", hint=f"ls -ld {directory}"
            ) from error
        self._pending: list[str] = []
        self.broken = False

    def handle(self, event: StreamEvent) -> None:
        """Take an event; `flush` writes it."""
        data = event.to_dict()
        if isinstance(event, OutputEvent) and len(event.line) > KEPT_TEXT:
            data["line"] = event.line[-KEPT_TEXT:]
            data["omitted"] = len(event.line) - KEPT_TEXT
        self._pending.append(_encode(data))

    def flush(self) -> None:
        """Write what was taken, whole lines in one write(2). A full disk ends the journal, not the run."""
        if not self._pending or self.broken:
            return
        data = ("\n".join(self._pending) + "\n").encode("utf-8", "replace")
        self._pending.clear()
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.broken = True

    def close(self) -> None:
        self.flush()
        os.close(self._descriptor)


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[StreamEvent, int]]:
    """Events from a byte offset on, each with the offset behind it.

    A torn last line is left for a later call; a line that is no event is skipped. Raises OSError.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            event = _event(line)
            if event is not None:
                yield event, offset


def _event(line: bytes) -> StreamEvent | None:
    try:
        data: JsonValue = json.loads(line)
        return StreamEvent.from_dict(data) if isinstance(data, dict) else None
    except (ValueError, RecursionError):
        return None
