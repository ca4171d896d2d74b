"""The packages in the environments of conda, mamba or micromamba."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from update_all.api import Change, CheckResult, CheckStatus, StepError, UpdateCommand, UpdateStep
from update_all.plugins.conda import MUTEX, OPTIONS, CondaPlugin, installed_in

_ANSWER_SECONDS = 50.0


class CondaPackagesPlugin(CondaPlugin):
    """Every environment its own step.

    The steps share the lock of the package cache, so they run one after another; those of environments that
    the check could not solve come last, because a step that fails stops those behind it.
    """

    description = "Packages in conda environments"
    presence = "conda-packages"
    options: ClassVar = {**OPTIONS, "exclude": "names or prefixes of environments that are left alone"}
    parallel_steps = True
    _unsolved: Collection[str] = ()

    @property
    def name(self) -> str:
        return "conda-packages"

    @property
    def dependencies(self) -> Sequence[str]:
        return ("conda-self",)

    async def wanted(self) -> dict[str, Path]:
        excluded = self.config.options.get("exclude", [])
        unwanted = {str(one) for one in excluded} if isinstance(excluded, list) else set()
        found = await self.environments()
        return {name: prefix for name, prefix in found.items() if not {name, str(prefix)} & unwanted}

    async def installed_versions(self) -> Mapping[str, str]:
        return {
            f"{name}/{package}": version
            for name, prefix in (await self.wanted()).items()
            for package, version in installed_in(prefix).items()
        }

    async def check(self) -> CheckResult:
        """Solves each environment; where that takes too long, or fails for some, a run does it unknowing."""
        changes: list[Change] = []
        faults: dict[str, str] = {}
        try:
            wanted = await self.wanted()
            async with asyncio.timeout(_ANSWER_SECONDS):
                for name, prefix in wanted.items():
                    try:
                        changes += await self._changes(name, prefix)
                    except StepError as error:
                        faults[name] = error.message
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        except TimeoutError:
            return CheckResult.cannot_know("solving all environments takes too long", runnable=True)
        self._unsolved = faults.keys()
        if faults:
            reason = "; ".join(f"{name}: {message}" for name, message in faults.items())
            return CheckResult.cannot_know(reason, runnable=len(faults) < len(wanted))
        return CheckResult.of(changes)

    async def _changes(self, name: str, prefix: Path) -> list[Change]:
        changes = await self.planned(prefix, "--all")
        return [dataclasses.replace(change, item=f"{name}/{change.item}") for change in changes]

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """Only environments with updates, where that is known."""
        outdated = {change.item.partition("/")[0] for change in check.updates}
        return [
            UpdateStep(
                name=name,
                description=f"Update the environment {prefix}",
                commands=[UpdateCommand([self.command, "update", "--prefix", str(prefix), "--all", "--yes"])],
                mutexes=["network", MUTEX],
            )
            for name, prefix in sorted(
                (await self.wanted()).items(), key=lambda one: one[0] in self._unsolved
            )
            if name in outdated or check.status is CheckStatus.CANNOT_KNOW
        ]
