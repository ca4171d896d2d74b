"""Executables of the older protocol: text on stdout, `PROGRESS:{json}` on stderr, exit codes.

Their commands: `is-applicable` and `update`; optional `estimate-update`, `can-separate-download`, `download`,
`does-require-sudo`, `get-dependency`, `get-mutexes` (docs/executable-plugins.md, "The older protocol").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from update_all.core.errors import StepError
from update_all.core.models import (
    Change,
    CheckResult,
    Detection,
    Phase,
    PluginConfig,
    UpdateCommand,
    UpdateEstimate,
    UpdateStep,
)
from update_all.core.streaming import StreamEvent
from update_all.plugins.base import BasePlugin
from update_all.plugins.executables import Ended, collect
from update_all.plugins.external import (
    CHECK_SECONDS,
    DESCRIBE_SECONDS,
    PROGRESS_PREFIX,
    braces,
    environment,
    older_progress,
)
from update_all.plugins.protocol import ProtocolError

T = TypeVar("T", bound=msgspec.Struct)


class OlderDescription(msgspec.Struct, frozen=True, tag="older"):
    """What an executable of the older protocol says of itself."""

    separate_download: bool = False
    sudo: bool = False
    dependencies: tuple[str, ...] = ()
    mutexes: tuple[str, ...] = ()


class _Dependencies(msgspec.Struct, frozen=True):
    dependencies: tuple[str, ...] = ()


class _Mutexes(msgspec.Struct, frozen=True):
    mutexes: tuple[str, ...] = ()


class _Package(msgspec.Struct, frozen=True):
    name: str
    version: str | None = None
    size_bytes: int | None = None


class _Estimate(msgspec.Struct, frozen=True):
    total_bytes: int | None = None
    package_count: int | None = None
    estimated_seconds: float | None = None
    packages: tuple[_Package, ...] = ()


class _EstimateAnswer(msgspec.Struct, frozen=True):
    status: str
    data: _Estimate = _Estimate()


async def describe_older(path: Path) -> OlderDescription:
    """Ask an executable what it can do.

    Raises ProtocolError where `is-applicable` ends with neither 0 nor 1: it speaks no protocol of ours.
    """
    ended, _ = await _asked(path, "is-applicable")
    if ended.code not in (0, 1):
        raise ProtocolError(
            f"{path} speaks no known protocol: `describe` has no answer, `is-applicable` gives {ended.code}"
        )
    # One after another: an old plugin may not expect to run beside itself.
    download, _ = await _asked(path, "can-separate-download")
    sudo, _ = await _asked(path, "does-require-sudo")
    return OlderDescription(
        separate_download=download.code == 0,
        sudo=sudo.code == 0,
        dependencies=(await _json(path, "get-dependency", _Dependencies())).dependencies,
        mutexes=(await _json(path, "get-mutexes", _Mutexes())).mutexes,
    )


async def _asked(path: Path, command: str, timeout: float = DESCRIBE_SECONDS) -> tuple[Ended, bytes]:
    return await collect([str(path), command], environment(PluginConfig()), timeout)


async def _json(path: Path, command: str, default: T) -> T:
    ended, data = await _asked(path, command)
    if ended.code != 0:
        return default
    try:
        return msgspec.json.decode(data, type=type(default))
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"{path} {command}: {error}") from None


class OlderPlugin(BasePlugin):
    """An executable of the older protocol as a plugin. `name` is its file name."""

    third_party = True

    def __init__(
        self, path: Path, name: str, described: OlderDescription, config: PluginConfig | None = None
    ) -> None:
        super().__init__(config)
        self.path = path
        self.description = f"{path.name}, an executable of the older protocol"
        self._name = name
        self._described = described
        self._failure: dict[str, str] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def command(self) -> str:
        return str(self.path)

    @property
    def dependencies(self) -> Sequence[str]:
        return self._described.dependencies

    def detect(self) -> Detection:
        return Detection(True, str(self.path))

    async def check(self) -> CheckResult:
        """`is-applicable`, then `estimate-update`; without an estimate the run goes on, not knowing."""
        try:
            ended, _ = await _asked(self.path, "is-applicable")
            if ended.code != 0:
                return CheckResult.cannot_know(f"{self.name} says that it does not apply to this machine")
            estimate = await self._estimate()
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        if estimate is None or (estimate.package_count is None and not estimate.packages):
            return CheckResult.cannot_know(f"{self.name} does not tell what it would update", runnable=True)
        changes = [Change(one.name, None, one.version, one.size_bytes) for one in estimate.packages]
        if not changes and estimate.package_count:
            changes = [Change(self.name, size_bytes=estimate.total_bytes)]
        return CheckResult.of(changes)

    async def get_update_estimate(self) -> UpdateEstimate | None:
        try:
            found = await self._estimate()
        except StepError:
            return None
        if found is None:
            return None
        return UpdateEstimate(
            found.total_bytes, found.package_count, found.estimated_seconds, confident=False
        )

    async def _estimate(self) -> _Estimate | None:
        ended, data = await _asked(self.path, "estimate-update", CHECK_SECONDS)
        if ended.code != 0 or not data.strip():
            return None
        try:
            answer = msgspec.json.decode(data, type=_EstimateAnswer)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"{self.path} estimate-update: {error}") from None
        if answer.status != "success":
            raise ProtocolError(f"{self.path} estimate-update: its status is {answer.status!r}")
        return answer.data

    def get_update_steps(self) -> list[UpdateStep]:
        if not self._described.separate_download:
            return [self._step("update", Phase.EXECUTE, [])]
        return [self._step("download", Phase.DOWNLOAD, []), self._step("update", Phase.EXECUTE, ["download"])]

    def _step(self, command: str, phase: Phase, depends_on: list[str]) -> UpdateStep:
        description = f"{self.path.name} {command}"
        sudo = self._described.sudo and phase is Phase.EXECUTE
        return UpdateStep(
            name=command,
            description=description,
            commands=[
                UpdateCommand(
                    cmd=[braces(str(self.path)), command],
                    description=description,
                    sudo=sudo,
                    phase=phase,
                    env={name: braces(value) for name, value in environment(self.config).items()},
                )
            ],
            depends_on=depends_on,
            mutexes=list(self._described.mutexes),
            sudo=sudo,
            phase=phase,
        )

    def interpret_output(self, step_name: str, line: str) -> StreamEvent | None:
        """The event of a `PROGRESS:` line; None for text. Raises StepError for a phase that failed."""
        return older_progress(self.name, step_name, line) if line.startswith(PROGRESS_PREFIX) else None
