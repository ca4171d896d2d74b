"""Plugins that are executables in any language (plugins.protocol, docs/executable-plugins.md)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from update_all.core.errors import StepError, UpToDate
from update_all.core.models import (
    Change,
    CheckResult,
    CheckStatus,
    Detection,
    Phase,
    PluginConfig,
    UpdateCommand,
    UpdateStep,
)
from update_all.core.streaming import OutputEvent, ProgressEvent, StreamEvent, WarningEvent
from update_all.plugins import detection, protocol
from update_all.plugins.base import BasePlugin
from update_all.plugins.definition import seconds
from update_all.plugins.executables import run_bounded
from update_all.plugins.protocol import Answer, Exchange, ProtocolError

DESCRIBE_SECONDS = 5.0
CHECK_SECONDS = 60.0
PROGRESS_PREFIX = "PROGRESS:"


async def ask(
    path: Path, exchange: Exchange, env: Mapping[str, str], timeout: float
) -> tuple[list[protocol.Message], protocol.End]:
    """One question to an executable. Raises ProtocolError, StepError (too slow) or CommandNotFoundError."""
    reader = _Reader(exchange)
    try:
        ended = await run_bounded([str(path), exchange], env, timeout, reader.read)
        return reader.messages, reader.finish(ended.code)
    except ProtocolError as error:
        raise type(error)(f"{path} {exchange}: {error.message}") from None


class _Reader:
    """Cuts what an executable prints into lines and reads them as one answer."""

    def __init__(self, exchange: Exchange) -> None:
        self.messages: list[protocol.Message] = []
        self._answer = Answer(exchange)
        self._rest = b""
        self._usage: ProtocolError | None = None

    def read(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._feed(line)
        if len(self._rest) > protocol.MAX_LINE_BYTES:
            self._feed(self._rest)

    def finish(self, code: int) -> protocol.End:
        self._feed(self._rest)
        if self._usage is not None and code == 0:
            raise self._usage
        return self._answer.finish(code)

    def _feed(self, line: bytes) -> None:
        if self._usage is not None:
            return
        try:
            message = self._answer.feed(line)
        except ProtocolError as error:
            if self._answer.begun:
                raise
            # Text before any message may be the usage of a program that does not know the question.
            self._usage = error
            return
        if message is not None:
            self.messages.append(message)


def environment(config: PluginConfig) -> dict[str, str]:
    """What an executable finds in its environment besides the user's: protocol version and options."""
    return {
        "UPDATE_ALL_PROTOCOL": str(protocol.PROTOCOL),
        "UPDATE_ALL_OPTIONS": json.dumps(dict(config.options), sort_keys=True),
    }


async def describe(path: Path) -> protocol.Plugin:
    """The description that an executable gives of itself, with steps that can be ordered.

    Raises ProtocolError, StepError or CommandNotFoundError.
    """
    messages, _ = await ask(path, Exchange.DESCRIBE, environment(PluginConfig()), DESCRIBE_SECONDS)
    found = next(message for message in messages if isinstance(message, protocol.Plugin))
    for step in found.steps:
        if not step.idempotent and not step.reason:
            raise ProtocolError(
                f"{path} describe: step {step.name!r} is not idempotent and gives no `reason`"
            )
    return found


def braces(text: str) -> str:
    """A text with its braces doubled: no template (core.facts)."""
    return text.replace("{", "{{").replace("}", "}}")


class ExternalPlugin(BasePlugin):
    """An executable that speaks protocol 1. `described` is its own description."""

    third_party = True
    options = None

    def __init__(self, path: Path, described: protocol.Plugin, config: PluginConfig | None = None) -> None:
        super().__init__(config)
        self.path = path
        self.description = described.description
        self.tags = described.tags
        self.parallel_steps = described.parallel_steps
        self._described = described
        self._answers: dict[str, Answer] = {}

    @property
    def name(self) -> str:
        return self._described.name

    @property
    def command(self) -> str:
        return self._described.detect.command or str(self.path)

    @property
    def dependencies(self) -> Sequence[str]:
        return self._described.after

    @property
    def dependents(self) -> Sequence[str]:
        """Plugins that start only after this one, where they take part in the run."""
        return self._described.before

    def detect(self) -> Detection:
        found = detection.detect(self._described.detect, os.environ)
        return Detection(found.present, found.reason or str(self.path))

    async def check(self) -> CheckResult:
        try:
            messages, end = await ask(self.path, Exchange.CHECK, environment(self.config), CHECK_SECONDS)
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        if end.status == CheckStatus.CANNOT_KNOW:
            return CheckResult.cannot_know(end.message)
        return CheckResult.of([one.to_change() for one in messages if isinstance(one, protocol.Update)])

    async def installed_versions(self) -> Mapping[str, str] | None:
        try:
            messages, _ = await ask(self.path, Exchange.CHECK, environment(self.config), CHECK_SECONDS)
        except StepError:
            return None
        found = {one.item: one.version for one in messages if isinstance(one, protocol.Installed)}
        return found or None

    def get_update_steps(self) -> list[UpdateStep]:
        return [self._step(step) for step in self._described.steps]

    def _step(self, step: protocol.StepTable) -> UpdateStep:
        command = UpdateCommand(
            cmd=[braces(str(self.path)), "run", step.name],
            description=step.description,
            sudo=step.sudo,
            phase=Phase(step.phase),
            env={name: braces(value) for name, value in environment(self.config).items()},
            cwd="/",
        )
        return UpdateStep(
            name=step.name,
            description=step.description,
            commands=[command],
            depends_on=list(step.depends_on),
            mutexes=list(step.mutexes),
            idempotent=step.idempotent,
            timeout_seconds=None if step.timeout is None else seconds(step.timeout),
            sudo=step.sudo,
            phase=Phase(step.phase),
            retries=step.retries,
            uninterruptible=step.uninterruptible,
            interactive=step.interactive,
            drops_sudo=step.drops_sudo,
            interval_seconds=None if step.interval is None else seconds(step.interval),
            reason=step.reason,
        )

    def interpret_output(self, step_name: str, line: str) -> StreamEvent | None:
        """What a line of a running step means; None for a line that is nothing but text.

        A line that begins with a brace must be a message, and `hello` begins the answer anew (a retry).
        Raises ProtocolError (a StepError) for one that the protocol does not allow, and for too much text:
        the step fails with it.
        """
        answer = self._answers.get(step_name)
        if answer is None:
            answer = self._answers[step_name] = Answer(Exchange.RUN)
        if line.startswith("{"):
            return _event(self.name, step_name, answer.feed(line))
        answer.count(len(line))
        return older_progress(self.name, step_name, line) if line.startswith(PROGRESS_PREFIX) else None

    def end_of_output(self, step_name: str, code: int) -> None:
        """The command of a step ended with `code`.

        Raises UpToDate where it said that there was nothing to do, StepError where it said that it failed,
        ProtocolError where it ended before its answer was complete.
        """
        end = self._answers.pop(step_name, Answer(Exchange.RUN)).finish(code)
        if end.status == "failed":
            raise StepError(end.message or f"{self.path} run {step_name} failed")
        if end.status == "up-to-date":
            raise UpToDate(end.message)

    def parse_changes(self, step_name: str, output: str) -> list[Change]:
        changes: list[Change] = []
        for line in output.splitlines():
            if line.startswith("{"):
                with contextlib.suppress(msgspec.MsgspecError):
                    changes.append(msgspec.json.decode(line, type=protocol.Changed).to_change())
        return changes


def _event(plugin: str, step: str, message: protocol.Message | None) -> StreamEvent:
    """What people see of a message. One that only keeps order becomes a progress that says nothing."""
    match message:
        case protocol.Progress():
            return ProgressEvent(
                plugin_name=plugin,
                step_name=step,
                percent=message.percent,
                message=message.message,
                bytes_downloaded=message.bytes,
                bytes_total=message.bytes_total,
                items_completed=message.items,
                items_total=message.items_total,
            )
        case protocol.Output():
            return OutputEvent(plugin_name=plugin, step_name=step, line=message.text)
        case protocol.Warn():
            return WarningEvent(plugin_name=plugin, step_name=step, message=message.message)
        case protocol.Changed():
            change = message.to_change()
            versions = " → ".join(version for version in (change.old, change.new) if version)
            return OutputEvent(plugin_name=plugin, step_name=step, line=f"{change.item} {versions}".strip())
    return ProgressEvent(plugin_name=plugin, step_name=step)


class _Older(msgspec.Struct, frozen=True):
    """A `PROGRESS:` line of the older protocol."""

    type: str = "progress"
    phase: Phase = Phase.EXECUTE
    percent: float | None = None
    message: str = ""
    bytes_downloaded: int | None = None
    bytes_total: int | None = None
    items_completed: int | None = None
    items_total: int | None = None
    success: bool = True
    error: str | None = None


def older_progress(plugin: str, step: str, line: str) -> StreamEvent | None:
    """The event of a `PROGRESS:{json}` line; None where it holds no such event, and is text like any other.

    Raises StepError for a phase that ended without success.
    """
    try:
        found = msgspec.json.decode(line.removeprefix(PROGRESS_PREFIX), type=_Older)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if found.type == "phase_end" and not found.success:
        raise StepError(found.error or f"the phase {found.phase} failed")
    if found.type not in ("progress", "phase_start", "phase_end"):
        return None
    return ProgressEvent(
        plugin_name=plugin,
        step_name=step,
        phase=found.phase,
        percent=100.0 if found.type == "phase_end" else found.percent,
        message=found.message,
        bytes_downloaded=found.bytes_downloaded,
        bytes_total=found.bytes_total,
        items_completed=found.items_completed,
        items_total=found.items_total,
    )
