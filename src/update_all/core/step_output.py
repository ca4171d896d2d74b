"""What a step prints, on its way to the log, the events, the result and the list of changes."""

from __future__ import annotations

import contextlib
import operator
import traceback
from collections.abc import Callable

from update_all.core.cleaning import clean, clean_line
from update_all.core.errors import NeedsInputError, StepError
from update_all.core.models import Change
from update_all.core.output import StepLog, Tail
from update_all.core.planning import Updater
from update_all.core.streaming import (
    CompletionEvent,
    OutputEvent,
    ProgressEvent,
    StreamEvent,
    WarningEvent,
)

PARSED_LOG_BYTES = 8 * 1024 * 1024
REFUSED_CHARACTERS = 64 * 1024 * 1024
"""How much more a command may print whose output the plugin's protocol has refused."""


class StepOutput:
    """The output of one attempt of a step, from its commands or its function."""

    def __init__(
        self, plugin: Updater, step_name: str, log: StepLog, emit: Callable[[StreamEvent], None]
    ) -> None:
        self.log = log
        self.tail = Tail()
        self.failure: StepError | None = None
        """What the plugin's protocol found wrong with a line; the command goes on to its end all the same."""
        self._plugin = plugin
        self._step_name = step_name
        self._emit = emit
        self._refused = 0

    @property
    def flooding(self) -> bool:
        """Whether a command whose output was refused goes on and on printing."""
        return self._refused > REFUSED_CHARACTERS

    def show(self, text: str) -> None:
        """Hand on cleaned text of a command: the log has it already."""
        self.tail.add(text)
        if self.failure is not None:
            self._refused += len(text)
        elif self._plugin.third_party:
            text = self._interpreted(text)
        if text:
            self._emit(
                OutputEvent(
                    plugin_name=self._plugin.name,
                    step_name=self._step_name,
                    line=text.removesuffix("\n"),
                )
            )

    def write(self, text: str) -> None:
        """Output of a function: cleaned, logged and shown."""
        if text:
            cleaned = clean(text, self.log.secrets)
            self.log.write(cleaned.encode())
            self.show(cleaned)

    def forward(self, event: StreamEvent) -> None:
        """Hand on an event of a plugin. Raises StepError for one that reports a failure."""
        if isinstance(event, CompletionEvent):
            if not event.success:
                raise StepError(event.error_message or "it reported a failure")
            return
        if isinstance(event, OutputEvent):
            self.write(event.line + "\n")
            return
        event.plugin_name = self._plugin.name
        if isinstance(event, ProgressEvent | WarningEvent):
            event.step_name = self._step_name
            event.message = clean_line(event.message, secrets=self.log.secrets)
        self._emit(event)

    def _interpreted(self, text: str) -> str:
        """Lines that a plugin's protocol gives a meaning become events; the rest stays text."""
        plain: list[str] = []
        for line in text.splitlines():
            event = self._meaning(line)
            if event is None:
                plain.append(line)
            elif isinstance(event, OutputEvent):
                plain.append(event.line)
        return "\n".join(plain)

    def _meaning(self, line: str) -> StreamEvent | None:
        """The event that a line stands for, handed on unless it is output. Nothing is raised from here: the
        command must be looked after until it has ended."""
        if self.failure is not None:
            return None
        try:
            event = self._plugin.interpret_output(self._step_name, line)
            if event is not None and not isinstance(event, OutputEvent):
                self.forward(event)
        except StepError as error:
            self.failure = error
            return None
        except Exception as error:  # noqa: BLE001 - a plugin's bug fails its step, when the command has ended
            self.failure = self.bug(error)
            return None
        return event

    def silence(self, seconds: float) -> None:
        """Warn that a command has printed nothing for so long."""
        self._warn("no-output", f"no output for {seconds / 60:.0f} min; it may be waiting for an answer")

    def question(self, text: str) -> None:
        """Tell that a command seems to ask this; "" is unknown."""
        self._warn(NeedsInputError.code, f"it needs an answer{f': {text}' if text else ''}")

    def bug(self, error: Exception) -> StepError:
        """A plugin's function has raised something that is no error of its step: that goes to the log."""
        self.log.write(clean("".join(traceback.format_exception(error)), self.log.secrets).encode())
        return StepError(f"{type(error).__name__}: {error}")

    def changes(self) -> tuple[Change, ...]:
        """What the plugin's parser makes of the output. A parser that fails costs the list, not the step."""
        if self.log.empty:
            return ()
        output = self.tail.text()
        with contextlib.suppress(OSError):
            if self.log.path.stat().st_size > len(output):
                with self.log.path.open("rb") as file:
                    output = file.read(PARSED_LOG_BYTES).decode("utf-8", "replace")
        try:
            return tuple(map(_plain_change, self._plugin.parse_changes(self._step_name, output)))
        except Exception as error:  # noqa: BLE001 - a plugin's bug costs the list of changes and nothing else
            self._warn("bad-parser", f"its output could not be read: {type(error).__name__}: {error}")
            return ()

    def _warn(self, code: str, message: str) -> None:
        self._emit(
            WarningEvent(
                plugin_name=self._plugin.name,
                step_name=self._step_name,
                code=code,
                message=clean_line(message),
            )
        )


def _plain_change(change: Change) -> Change:
    """What a parser has found, clean, and of the types that the state can keep. Raises TypeError."""
    size = change.size_bytes
    return Change(
        item=clean_line(change.item),
        old=None if change.old is None else clean_line(change.old),
        new=None if change.new is None else clean_line(change.new),
        size_bytes=None if size is None else operator.index(size),
        security=bool(change.security),
    )
