"""`--progress jsonl`: the event stream, one JSON object a line."""

from __future__ import annotations

import json
from typing import TextIO

from update_all.core.streaming import StreamEvent
from update_all.ui.terminal import Sink


class JsonLinesPrinter:
    """Writes `to_dict()` of each event. The lines are ASCII: any other character is escaped."""

    def __init__(self, stream: TextIO) -> None:
        self._sink = Sink(stream)

    def handle(self, event: StreamEvent) -> None:
        self._sink.write(json.dumps(event.to_dict(), separators=(",", ":")).replace("\x7f", "\\u007f") + "\n")

    def tick(self, now: float) -> None:
        pass

    def suspend(self) -> None:
        pass

    def close(self) -> None:
        pass
