"""The package manager conda, mamba or micromamba itself."""

from __future__ import annotations

from collections.abc import Mapping

from update_all.api import CheckResult, StepError, UpdateCommand, UpdateStep
from update_all.plugins.conda import MUTEX, CondaPlugin, installed_in


class CondaSelfPlugin(CondaPlugin):
    """conda or mamba in its base environment; micromamba, a single file, by its own command."""

    description = "The package manager conda, mamba or micromamba"
    presence = "conda-self"

    @property
    def name(self) -> str:
        return "conda-self"

    async def installed_versions(self) -> Mapping[str, str] | None:
        if self.is_micromamba:
            return {self.command: (await self.query([self.command, "--version"])).stdout.strip()}
        return installed_in(await self.base())

    async def check(self) -> CheckResult:
        if self.is_micromamba:
            return CheckResult.cannot_know("micromamba has no query for its own updates", runnable=True)
        try:
            return CheckResult.of(await self.planned(await self.base(), self.command))
        except StepError as error:
            return CheckResult.cannot_know(error.message)

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        if self.is_micromamba:
            command = [self.command, "self-update", "--yes"]
        else:
            command = [self.command, "update", "--prefix", str(await self.base()), self.command, "--yes"]
        step = UpdateStep(
            name="update",
            description=f"Update {self.command}",
            commands=[UpdateCommand(command)],
            mutexes=["network", MUTEX],
        )
        return [step]
