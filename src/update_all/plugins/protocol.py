"""The protocol of plugin executables, version 1: lines of JSON, read strictly. Pure.

An answer is `hello`, then messages, then `end`, each one JSON object in a line of UTF-8 (RFC 8259) with a
`type`. Unknown types and unknown keys are ignored, so that a newer executable works with an older reader.
docs/executable-plugins.md describes it for authors.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from update_all.core.errors import StepError
from update_all.core.models import Change
from update_all.plugins.definition import Detect, Duration

PROTOCOL = 1
MAX_LINE_BYTES = 1024 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024


class ProtocolError(StepError):
    """An executable that does not keep to the protocol."""

    code = "bad-answer"


class UnknownProtocolError(ProtocolError):
    """An executable that refuses the question and says nothing that begins an answer."""


class Exchange(StrEnum):
    """What an executable is asked."""

    DESCRIBE = "describe"
    CHECK = "check"
    RUN = "run"


class Message(Struct, frozen=True, kw_only=True, rename="kebab", tag_field="type", tag=str.lower):
    """A line of an answer."""


class Hello(Message, frozen=True, kw_only=True):
    protocol: int


class StepTable(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A step that `run NAME` performs."""

    name: str
    description: str
    phase: Literal["check", "download", "execute"] = "execute"
    depends_on: tuple[str, ...] = ()
    mutexes: tuple[str, ...] = ()
    sudo: bool = False
    idempotent: bool = True
    reason: str = ""
    timeout: Duration | None = None
    interval: Duration | None = None
    interactive: bool = False
    drops_sudo: bool = False
    uninterruptible: bool = False
    retries: Annotated[int, Meta(ge=0, le=10)] = 0


class Plugin(Message, frozen=True, kw_only=True):
    """The answer to `describe`."""

    name: str
    description: str
    steps: Annotated[tuple[StepTable, ...], Meta(min_length=1, max_length=100)]
    url: str = ""
    tags: tuple[str, ...] = ()
    detect: Detect = Detect()
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    parallel_steps: bool = False


class Update(Message, frozen=True, kw_only=True):
    """`check`: an item that can be updated."""

    item: str
    old: str | None = None
    new: str | None = None
    size: int | None = None
    security: bool = False

    def to_change(self) -> Change:
        return Change(self.item, self.old, self.new, self.size, self.security)


class Installed(Message, frozen=True, kw_only=True):
    """`check`: an item as it is now, for the verification after the run."""

    item: str
    version: str


class Progress(Message, frozen=True, kw_only=True):
    """How far the step is. Bytes and items are numbers, `percent` is between 0 and 100."""

    percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    message: str = ""
    bytes: int | None = None
    bytes_total: int | None = None
    items: int | None = None
    items_total: int | None = None


class Changed(Update, frozen=True, kw_only=True, tag="change"):
    """`run`: an item that was updated."""


class Output(Message, frozen=True, kw_only=True):
    """`run`: a line for people."""

    text: str


class Warn(Message, frozen=True, kw_only=True, tag="warning"):
    """Something that a person should know and that stops nothing."""

    message: str


class End(Message, frozen=True, kw_only=True):
    """The last line. What `status` may be depends on what was asked."""

    status: str = "done"
    message: str = ""


class _Envelope(Struct, frozen=True):
    type: str


_ALLOWED: dict[Exchange, tuple[type[Message], ...]] = {
    Exchange.DESCRIBE: (Plugin,),
    Exchange.CHECK: (Update, Installed, Progress, Warn),
    Exchange.RUN: (Progress, Changed, Output, Warn),
}
_STATUSES: dict[Exchange, tuple[str, ...]] = {
    Exchange.DESCRIBE: ("done",),
    Exchange.CHECK: ("up-to-date", "updates", "cannot-know"),
    Exchange.RUN: ("done", "up-to-date", "failed"),
}
_TYPES: dict[str, type[Message]] = {
    "hello": Hello,
    "end": End,
    "plugin": Plugin,
    "update": Update,
    "installed": Installed,
    "progress": Progress,
    "change": Changed,
    "output": Output,
    "warning": Warn,
}


class Answer:
    """Reads one answer line by line and insists on the order of the protocol."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.begun = False
        self._bytes = 0
        self._seen: set[type[Message]] = set()
        self.end: End | None = None

    def feed(self, line: str | bytes) -> Message | None:
        """The message in a line; None for a blank line and for a type that is not known here.

        Raises ProtocolError: no JSON object, a wrong field, a message out of order, another version, or more
        than 64 MiB in all or 1 MiB in a line.
        """
        data = line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line
        if len(data) > MAX_LINE_BYTES:
            raise ProtocolError(f"a line of more than {MAX_LINE_BYTES // 1048576} MiB")
        self.count(len(data))
        if not data.strip():
            return None
        message = _decode(data)
        if message is not None:
            self._accept(message)
        return message

    def count(self, size: int) -> None:
        """A line of `size`, which `feed` counts by itself. Raises ProtocolError for 64 MiB in all."""
        self._bytes += size + 1
        if self._bytes > MAX_ANSWER_BYTES:
            raise ProtocolError(f"an answer of more than {MAX_ANSWER_BYTES // 1048576} MiB")

    def finish(self, code: int) -> End:
        """The end of the answer, once the executable has ended with `code`.

        Raises ProtocolError when it ended before its last message, or with another code than 0.
        """
        if not self.begun and code != 0:
            raise UnknownProtocolError(f"it does not know the question, and ended with {code}")
        if self.end is None:
            raise ProtocolError(f"it ended with {code} before its answer was complete")
        if code != 0 and self.end.status != "failed":
            raise ProtocolError(f"it said {self.end.status!r} and ended with {code}")
        return self.end

    def _accept(self, message: Message) -> None:
        kind = type(message)
        if isinstance(message, Hello) and self._exchange is Exchange.RUN:
            # A step that is tried again goes on in the same stream of lines.
            self.end, self.begun = None, False
        if self.end is not None:
            raise ProtocolError(f"a message after the end: {_name(kind)}")
        if isinstance(message, Hello):
            if self.begun:
                raise ProtocolError("a second hello")
            if message.protocol != PROTOCOL:
                raise ProtocolError(f"it speaks protocol {message.protocol}, and {PROTOCOL} is known here")
            self.begun = True
        elif not self.begun:
            raise ProtocolError(f"{_name(kind)} before hello")
        elif isinstance(message, End):
            self._finish(message)
        elif kind not in _ALLOWED[self._exchange]:
            raise ProtocolError(f"{_name(kind)} does not belong to the answer to {self._exchange}")
        elif kind is Plugin and Plugin in self._seen:
            raise ProtocolError("a second plugin")
        self._seen.add(kind)

    def _finish(self, end: End) -> None:
        statuses = _STATUSES[self._exchange]
        if end.status not in statuses:
            raise ProtocolError(f"the status must be one of {', '.join(statuses)}, got {end.status!r}")
        if self._exchange is Exchange.DESCRIBE and Plugin not in self._seen:
            raise ProtocolError("an end before plugin")
        if self._exchange is Exchange.CHECK and (end.status == "updates") != (Update in self._seen):
            raise ProtocolError(f"the status {end.status!r} contradicts the updates that were listed")
        if end.status == "cannot-know" and not end.message:
            raise ProtocolError("cannot-know needs a message that says why")
        self.end = end


def _name(kind: type[Message]) -> str:
    return next(name for name, one in _TYPES.items() if one is kind)


def _decode(data: bytes) -> Message | None:
    try:
        kind = _TYPES.get(msgspec.json.decode(data, type=_Envelope).type)
        return None if kind is None else msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"a line that is not a message: {error}: {data[:100]!r}") from None
