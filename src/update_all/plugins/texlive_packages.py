"""The packages of TeX Live.

A tlmgr that is killed drops the package in hand, from the tree and from its list of what is installed, and
says nothing about it afterwards (seen with tlmgr 63068): what an unfinished run was to update and is gone is
installed again.
"""

from __future__ import annotations

from collections.abc import Sequence

from update_all.api import Change, CheckResult, CheckStatus, StepError, UpdateStep
from update_all.plugins.texlive import SECONDS, TexLivePlugin


class TexLivePackagesPlugin(TexLivePlugin):
    """All packages but tlmgr itself, in the system's tree or the user's own."""

    description = "Packages of TeX Live"
    presence = "texlive-packages"

    @property
    def name(self) -> str:
        return "texlive-packages"

    @property
    def dependencies(self) -> Sequence[str]:
        return ("texlive-self",)

    async def check(self) -> CheckResult:
        """The updates, and what an unfinished run has lost."""
        found = await super().check()
        if found.status is CheckStatus.CANNOT_KNOW:
            return found
        before = self.get_unfinished_check()
        try:
            lost = await self._lost(before.updates if before else ())
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        told = {change.item for change in lost}
        return CheckResult.of([*lost, *(change for change in found.updates if change.item not in told)])

    async def _lost(self, planned: Sequence[Change]) -> list[Change]:
        """Of packages that were to be updated, those that are gone here and still published."""
        installed = await self.installed_versions() or {}
        gone = {
            change.item: change
            for change in planned
            if change.old is not None and change.new is not None and change.item not in installed
        }
        if not gone:
            return []
        # Ends with 1 where one of them is not published, and tells the others all the same.
        answer = await self.query(self.tlmgr("info", "--data", "name,remoterev", *gone), timeout=SECONDS)
        offered = dict(line.split(",", 1) for line in answer.stdout.splitlines() if "," in line)
        if not offered and not answer.ok and "not found" not in answer.stderr + answer.stdout:
            raise StepError(f"tlmgr does not say what is published of {', '.join(gone)}")
        return [change for item, change in gone.items() if offered.get(item, "0") not in ("", "0")]

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One step. On a resume, `check` tells what was there before."""
        dropped = [change.item for change in await self._lost(check.updates)]
        commands = [self.update_command("update", "--all", description="Update all packages")]
        if dropped:
            heal = self.update_command("install", *dropped, description="Install again what was lost")
            commands.insert(0, heal)
        step = UpdateStep(
            name="update",
            description="Update all packages",
            commands=commands,
            mutexes=["network", "texlive"],
            uninterruptible=True,
        )
        return [step]
