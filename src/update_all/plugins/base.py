"""BasePlugin: what a plugin declares; the engine does the rest."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from update_all.core.errors import StepError
from update_all.core.lowering import checked_steps, lower_commands, lower_legacy, with_plugin_mutexes
from update_all.core.models import (
    Change,
    CheckResult,
    CheckStatus,
    Detection,
    Facts,
    Phase,
    PluginConfig,
    StepExecutionState,
    UpdateCommand,
    UpdateEstimate,
    UpdateStep,
    VersionInfo,
)
from update_all.core.order import resolve_step_order
from update_all.core.queries import QUERY_SECONDS, QueryOutput, query
from update_all.core.streaming import CompletionEvent, OutputEvent, StreamEvent
from update_all.plugins.presence import RULES, Rule, program


class BasePlugin(ABC):
    """One tool that update-all can bring up to date.

    Declare `name`, `command`, and one of `get_update_steps`, `get_update_commands`, `_execute_update`
    (looked for in that order, system.md section 2). `check`, `parse_changes` and `installed_versions` make
    the plan and the summary truthful. Attributes carry nothing between steps: use `facts`.

    `options` are those of `[plugin.NAME]` that the plugin knows, with what each means; another one in the
    configuration is an error. None: it takes any. `presence` names the rule of plugins.presence that says
    whether a built-in plugin's tool is here.
    """

    description: str = ""
    tags: tuple[str, ...] = ()
    parallel_steps: bool = False
    third_party: bool = False
    options: ClassVar[Mapping[str, str] | None] = {}
    presence: ClassVar[str] = ""

    def __init__(self, config: PluginConfig | None = None) -> None:
        self.config = config or PluginConfig()
        self.facts: Facts = {}

    @property
    @abstractmethod
    def name(self) -> str:
        """The name that people type and that state files carry."""

    @property
    @abstractmethod
    def command(self) -> str:
        """The program whose presence on PATH says that the tool is here."""

    @property
    def dependencies(self) -> Sequence[str]:
        """Plugins that must be finished before this one starts, where they take part in the run."""
        return ()

    @property
    def mutexes(self) -> Mapping[Phase, Sequence[str]]:
        """Mutexes that every step of a phase takes besides its own."""
        return {}

    @property
    def sudo_commands(self) -> Sequence[str]:
        """Absolute or bare names of the programs that steps run as root, for `update-all sudoers`."""
        return ()

    def detect(self) -> Detection:
        """Whether the tool is here and where, or why not; reads files and PATH only, starts nothing."""
        present, reason = self._rule(shutil.which, self.config.options, os.environ)
        return Detection(present is not False, reason)

    @property
    def _rule(self) -> Rule:
        return RULES[self.presence] if self.presence else program(self.command)

    async def check(self) -> CheckResult:
        """What could be updated. Changes nothing, downloads nothing, never guesses "up to date"."""
        return CheckResult.cannot_know(f"{self.name} has no query for updates", runnable=True)

    async def installed_versions(self) -> Mapping[str, str] | None:
        """Item → version as the tool reports them now; None where it cannot say.

        Asked before and after a run: the difference is what changed, and what `check` had planned must be
        among it (system.md section 8, verification).
        """
        return None

    def get_update_steps(self) -> list[UpdateStep]:
        """Steps of a complex update. Empty: `get_update_commands` is used."""
        return []

    def get_update_commands(self, dry_run: bool = False) -> list[UpdateCommand]:
        """Commands of a simple update. Empty: the legacy `_execute_update` is used."""
        return []

    async def _execute_update(self, _config: object) -> tuple[str, str | None]:
        """Legacy: update in one go and return (output, error message or None)."""
        raise NotImplementedError

    def interpret_output(self, step_name: str, line: str) -> StreamEvent | None:
        """For third-party plugins: the event that a line of output stands for, None for plain text."""
        return None

    def end_of_output(self, step_name: str, code: int) -> None:  # noqa: B027 - most have nothing to say
        """For third-party plugins: a command of the step ended with `code`, after its last line.

        Raises StepError or UpToDate where the lines before meant that.
        """

    def parse_changes(self, step_name: str, output: str) -> list[Change]:
        """Changes that the output of a step tells of. The default finds none."""
        return []

    async def get_installed_version(self) -> str | None:
        """The installed version, where the tool has one."""
        return None

    async def get_available_version(self) -> str | None:
        """The newest version that could be installed, where the tool has one."""
        return None

    async def needs_update(self) -> bool | None:
        """True, False, or None for "cannot know"."""
        status = (await self.check()).status
        return None if status is CheckStatus.CANNOT_KNOW else status is CheckStatus.UPDATES

    async def get_update_estimate(self) -> UpdateEstimate | None:
        """Cost of the update that `check` finds; None when nothing can be said."""
        result = await self.check()
        if result.status is CheckStatus.CANNOT_KNOW:
            return None
        sizes = [change.size_bytes for change in result.updates]
        known = [size for size in sizes if size is not None]
        return UpdateEstimate(
            download_bytes=sum(known) if known else None,
            package_count=len(result.updates),
            confident=len(known) == len(sizes),
        )

    async def get_version_info(self) -> VersionInfo:
        """Installed and available version with the estimate."""
        return VersionInfo(
            installed=await self.get_installed_version(),
            available=await self.get_available_version(),
            needs_update=await self.needs_update(),
            estimate=await self.get_update_estimate(),
        )

    async def rollback(self) -> str:
        """Return to the version before, where the plugin keeps it; says what is now installed.

        Raises StepError when there is nothing to return to.
        """
        raise StepError(f"there is nothing to roll back: {self.name} keeps no earlier version")

    async def query(
        self,
        argv: Sequence[str],
        *,
        timeout: float = QUERY_SECONDS,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> QueryOutput:
        """Run a read-only command and capture it (core.queries.query). For `check` and `check_fn`."""
        return await query(argv, timeout=timeout, env=env, cwd=cwd)

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """The steps of a run, knowing what the check found. The default lowers what the plugin declares.

        Override it where the commands depend on what is outdated. A resume calls it with the same result.
        """
        return self.lowered_steps()

    def lowered_steps(self) -> list[UpdateStep]:
        """Steps, else commands as steps, else the legacy update as one step; with the plugin's mutexes."""
        steps = checked_steps(self.name, self.get_update_steps())
        if not steps:
            steps = lower_commands(self.get_update_commands())
        if not steps:
            steps = lower_legacy(self.name, self._legacy_update)
        return with_plugin_mutexes(steps, self.mutexes)

    async def _legacy_update(self) -> AsyncIterator[StreamEvent]:
        output, error = await self._execute_update(self.config)
        if output:
            yield OutputEvent(line=output.removesuffix("\n"))
        if error is not None:
            raise StepError(error)

    async def _steps_of_today(self) -> list[UpdateStep]:
        """Steps as a run would plan them; the check is made only where the plan depends on it."""
        if type(self).plan_steps is BasePlugin.plan_steps:
            return self.lowered_steps()
        return await self.plan_steps(await self.check())

    async def execute_streaming(self, dry_run: bool = False) -> AsyncIterator[StreamEvent]:
        """Run the plugin by itself, by whichever API it declares: steps, commands or legacy.

        A dry run yields one OutputEvent per command and changes nothing.
        """
        steps = await self._steps_of_today()
        if not dry_run:
            async for event in self._execute_steps_streaming(steps):
                yield event
            return
        from update_all.core.dry_run import describe_step
        from update_all.core.rights import Rights

        root = Rights.find().prefix
        for step in resolve_step_order(steps):
            for line in describe_step(self, step, root=root):
                yield OutputEvent(plugin_name=self.name, step_name=step.name, line=line)
        yield CompletionEvent(plugin_name=self.name, success=True)

    async def _execute_steps_streaming(
        self, steps: list[UpdateStep], *, resume_from: str | None = None
    ) -> AsyncIterator[StreamEvent]:
        """Execute a list of steps with streaming output, as a run of its own.

        `resume_from` names the step to start at, keeping the facts of the run before. Raises StepOrderError
        and UsageError (ValueErrors both) before anything runs.
        """
        from update_all.core.single import stream_plugin

        async for event in stream_plugin(self, steps, resume_from=resume_from):
            yield event

    def get_step_state(self) -> StepExecutionState | None:
        """The step execution state for resume; None when nothing is unfinished. Raises StateError."""
        from update_all.core.single import unfinished_state

        return unfinished_state(self.name)

    def get_unfinished_check(self) -> CheckResult | None:
        """What the last run was about to do; None when nothing is unfinished. Raises StateError.

        For the `check` of a tool that forgets what was in its hands when it was killed.
        """
        from update_all.core.single import unfinished_check

        return unfinished_check(self.name)

    async def resume_from_step(self, step_name: str) -> AsyncIterator[StreamEvent]:
        """Resume execution from a specific step."""
        steps = await self._steps_of_today()
        async for event in self._execute_steps_streaming(steps, resume_from=step_name):
            yield event
