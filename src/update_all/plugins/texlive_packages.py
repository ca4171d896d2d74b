"""The packages of TeX Live.

A tlmgr that is killed drops the package in hand, from the tree and from its list of what is installed, and
says nothing about it afterwards (seen with tlmgr 63068): what was to be updated and is gone is installed
again.
"""

from __future__ import annotations

from collections.abc import Sequence

from update_all.api import CheckResult, UpdateStep
from update_all.plugins.texlive import TexLivePlugin


class TexLivePackagesPlugin(TexLivePlugin):
    """All packages but tlmgr itself, in the system's tree or the user's own."""

    description = "Packages of TeX Live"

    @property
    def name(self) -> str:
        return "texlive-packages"

    @property
    def dependencies(self) -> Sequence[str]:
        return ("texlive-self",)

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One step. On a resume, `check` tells what was there before."""
        installed = await self.installed_versions() or {}
        wanted = (change for change in check.updates if change.old is not None and change.new is not None)
        dropped = [change.item for change in wanted if change.item not in installed]
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
