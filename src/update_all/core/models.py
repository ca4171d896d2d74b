"""What a plugin declares and what a step leaves behind. Values only: no I/O, no clock."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from update_all.core.errors import InvalidDefinitionError
from update_all.core.names import NAME as NAME
from update_all.core.plugin_config import PluginConfig as PluginConfig

if TYPE_CHECKING:
    from update_all.core.streaming import StreamEvent


class Phase(StrEnum):
    """Which part of an update a command belongs to. `--download-only` stops after DOWNLOAD."""

    CHECK = "check"
    DOWNLOAD = "download"
    EXECUTE = "execute"


def _require(condition: bool, owner: str, name: str, wanted: str, got: object) -> None:
    if not condition:
        raise InvalidDefinitionError(f"{owner}: {name} must be {wanted}, got {got!r}")


def _check_name(owner: str, value: object) -> None:
    _require(isinstance(value, str) and bool(value), owner, "name", "a non-empty string", value)
    _require(
        NAME.fullmatch(str(value)) is not None,
        owner,
        "name",
        "letters, digits and ._+@- (at most 100, not beginning with a sign)",
        value,
    )


def _check_strings(owner: str, name: str, values: object) -> None:
    ok = isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)
    _require(ok, owner, name, "a list of strings", values)


def _check_patterns(owner: str, name: str, patterns: tuple[str, ...]) -> None:
    _check_strings(owner, name, patterns)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidDefinitionError(
                f"{owner}: {name} holds {pattern!r}, which is no regular expression: {error}"
            ) from None


def _check_seconds(owner: str, name: str, value: float | None) -> None:
    ok = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0)
    _require(ok, owner, name, "a positive number of seconds or None", value)


@dataclass(frozen=True, slots=True)
class UpdateCommand:
    """One program to run: an argument list, never a shell string.

    `cmd`, `env` values and `cwd` may hold `{fact}` templates (core.facts). `success_patterns` and
    `error_patterns` are regular expressions searched in each line of output: an error pattern fails the
    command; else exit code 0 or an ignored one passes; else a success pattern passes; else it fails.
    Raises InvalidDefinitionError (a ValueError) that names the field.
    """

    cmd: list[str]
    description: str = ""
    sudo: bool = False
    timeout_seconds: int | None = None
    phase: Phase = Phase.EXECUTE
    step_name: str | None = None
    step_number: int | None = None
    total_steps: int | None = None
    ignore_exit_codes: tuple[int, ...] = ()
    error_patterns: tuple[str, ...] = ()
    success_patterns: tuple[str, ...] = ()
    env: dict[str, str] | None = None
    cwd: str | None = None

    def __post_init__(self) -> None:
        owner = "UpdateCommand"
        _require(isinstance(self.cmd, list) and bool(self.cmd), owner, "cmd", "a non-empty list", self.cmd)
        _check_strings(owner, "cmd", self.cmd)
        _require(bool(self.cmd[0]), owner, "cmd", "a list that begins with a program", self.cmd)
        _require(not any("\0" in part for part in self.cmd), owner, "cmd", "free of NUL characters", self.cmd)
        owner = f"UpdateCommand {self.cmd[0]!r}"
        _check_seconds(owner, "timeout_seconds", self.timeout_seconds)
        _check_patterns(owner, "error_patterns", self.error_patterns)
        _check_patterns(owner, "success_patterns", self.success_patterns)
        if self.step_name is not None:
            _check_name(f"{owner}: step_name", self.step_name)


ExecuteFn = Callable[[], "AsyncIterator[StreamEvent]"]
CheckFn = Callable[[], bool] | Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class UpdateStep:
    """A logical step of an update (plan, "UpdateStep Dataclass").

    Either `commands` (run one after another) or `execute_fn` (an async generator of events). The fields
    after `sudo` extend the plan: `phase` (default: the latest phase of the commands), `retries` with
    `retry_delay_seconds` doubling between attempts, `independent_commands` (a command that succeeded is not
    run again because a later one failed), `uninterruptible` (a package-manager transaction: it only ever
    gets INT, and the first Ctrl-C lets it finish), `interactive` (may ask; skipped when nobody can answer),
    `drops_sudo` (ends the sudo ticket), `interval_seconds` (not due again before that much time has passed
    since its last success), `reason` (why a non-idempotent step has no check).

    Raises InvalidDefinitionError (a ValueError) that names step and field.
    """

    name: str
    description: str
    commands: list[UpdateCommand] | None = None
    execute_fn: ExecuteFn | None = None
    depends_on: list[str] = field(default_factory=list)
    mutexes: list[str] = field(default_factory=list)
    idempotent: bool = True
    check_fn: CheckFn | None = None
    timeout_seconds: int | None = None
    sudo: bool = False
    phase: Phase | None = None
    retries: int = 0
    retry_delay_seconds: float = 1.0
    independent_commands: bool = False
    uninterruptible: bool = False
    interactive: bool = False
    drops_sudo: bool = False
    interval_seconds: int | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        _check_name("UpdateStep", self.name)
        owner = f"UpdateStep {self.name!r}"
        _require(
            isinstance(self.description, str) and bool(self.description.strip()),
            owner,
            "description",
            "a non-empty string",
            self.description,
        )
        if self.commands is not None and self.execute_fn is not None:
            raise InvalidDefinitionError(
                f"{owner}: cannot specify both commands and execute_fn, they are mutually exclusive"
            )
        if not self.commands and self.execute_fn is None:
            raise InvalidDefinitionError(f"{owner}: must specify either commands or execute_fn")
        for command in self.commands or ():
            _require(isinstance(command, UpdateCommand), owner, "commands", "UpdateCommand objects", command)
        for name in ("execute_fn", "check_fn"):
            function = getattr(self, name)
            _require(function is None or callable(function), owner, name, "callable", function)
        _check_strings(owner, "depends_on", self.depends_on)
        _check_strings(owner, "mutexes", self.mutexes)
        _check_seconds(owner, "timeout_seconds", self.timeout_seconds)
        _check_seconds(owner, "interval_seconds", self.interval_seconds)
        ok = isinstance(self.retries, int) and not isinstance(self.retries, bool) and self.retries >= 0
        _require(ok, owner, "retries", "a number that is not negative", self.retries)

    @property
    def effective_phase(self) -> Phase:
        """The declared phase, else the latest phase of the commands, else EXECUTE."""
        if self.phase is not None:
            return self.phase
        order = list(Phase)
        return max((command.phase for command in self.commands or ()), key=order.index, default=Phase.EXECUTE)

    @property
    def needs_root(self) -> bool:
        """Whether any part of the step runs as root."""
        return self.sudo or any(command.sudo for command in self.commands or ())


class ChangeKind(StrEnum):
    """What happened to an item."""

    UPGRADE = "upgrade"
    INSTALL = "install"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Change:
    """One item and its version before and after; planned or made. `size_bytes` is the download size."""

    item: str
    old: str | None = None
    new: str | None = None
    size_bytes: int | None = None
    security: bool = False

    @property
    def kind(self) -> ChangeKind:
        if self.new is None:
            return ChangeKind.REMOVE
        return ChangeKind.INSTALL if self.old is None else ChangeKind.UPGRADE


class CheckStatus(StrEnum):
    """The three truthful answers of a check (system.md section 8)."""

    UP_TO_DATE = "up-to-date"
    UPDATES = "updates"
    CANNOT_KNOW = "cannot-know"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The answer of `BasePlugin.check()`.

    `reason` is required for CANNOT_KNOW. `runnable` says whether a run should go on without an answer: True
    where the tool has no query or its lists must be refreshed first, False where the query failed.
    """

    status: CheckStatus
    updates: tuple[Change, ...] = ()
    reason: str = ""
    runnable: bool = True

    @classmethod
    def of(cls, updates: list[Change] | tuple[Change, ...]) -> CheckResult:
        """UPDATES when there are any, else UP_TO_DATE."""
        status = CheckStatus.UPDATES if updates else CheckStatus.UP_TO_DATE
        return cls(status=status, updates=tuple(updates))

    @classmethod
    def cannot_know(cls, reason: str, *, runnable: bool = False) -> CheckResult:
        """The index is unreachable, the output is garbage, or the tool has no query (`runnable=True`)."""
        return cls(status=CheckStatus.CANNOT_KNOW, reason=reason, runnable=runnable)


@dataclass(frozen=True, slots=True)
class Detection:
    """Whether a tool is here, and why or why not, in words for `plugins list`."""

    present: bool
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateEstimate:
    """What an update will cost. `None` is unknown, never 0. `confident` is False for a guess."""

    download_bytes: int | None = None
    package_count: int | None = None
    estimated_seconds: float | None = None
    confident: bool = True


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """Installed and available version of a tool that has one version."""

    installed: str | None = None
    available: str | None = None
    needs_update: bool | None = None
    error_message: str | None = None
    estimate: UpdateEstimate | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources of the processes of a step, from wait4(2). Seconds and bytes."""

    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of executing a single step. `output` is the last 64 KiB, cleaned."""

    step_name: str
    success: bool
    skipped: bool = False
    output: str = ""
    error_message: str | None = None
    duration_seconds: float = 0.0
    packages_updated: int = 0
    exit_code: int | None = None
    changes: tuple[Change, ...] = ()
    up_to_date: bool = False
    error_code: str | None = None
    usage: Usage | None = None
    reason: str = ""
    """Why it was skipped."""


@dataclass(slots=True)
class StepExecutionState:
    """State of step-based execution for resume capability (plan, "StepExecutionState Dataclass")."""

    plugin_name: str
    completed_steps: list[str] = field(default_factory=list)
    current_step: str | None = None
    step_results: dict[str, StepResult] = field(default_factory=dict)
    started_at: datetime | None = None
    last_updated: datetime | None = None


JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]
Facts = dict[str, JsonValue]
"""What one step finds and another needs. Persisted with the state; values are plain JSON."""
