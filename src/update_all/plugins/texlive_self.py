"""tlmgr, the package manager of TeX Live, by itself: it refuses to update others before it is up to date."""

from __future__ import annotations

from collections.abc import AsyncIterator

from update_all.api import Detection, OutputEvent, Phase, StreamEvent, UpdateStep, UpToDate
from update_all.plugins.texlive import TexLivePlugin, is_itself


class TexLiveSelfPlugin(TexLivePlugin):
    """The packages texlive.infra and texlive.infra.PLATFORM; not in user mode, which has none."""

    description = "The package manager of TeX Live"
    presence = "texlive-self"

    @property
    def name(self) -> str:
        return "texlive-self"

    def detect(self) -> Detection:
        found = super().detect()
        if found.present and self.tree().user:
            return Detection(False, f"a tree of user mode holds no tlmgr: {found.reason}")
        return found

    def is_mine(self, package: str) -> bool:
        return is_itself(package)

    async def _check(self) -> AsyncIterator[StreamEvent]:
        changes = [change for _, change in await self.list_updates() if is_itself(change.item)]
        if not changes:
            raise UpToDate("tlmgr is up to date")
        for change in changes:
            yield OutputEvent(line=f"{change.item} {change.old} → {change.new}")

    def get_update_steps(self) -> list[UpdateStep]:
        return [
            UpdateStep(
                name="check",
                description="Check for a new tlmgr",
                execute_fn=self._check,
                mutexes=["network", "texlive"],
                phase=Phase.CHECK,
            ),
            UpdateStep(
                name="update",
                description="Update tlmgr",
                commands=[self.update_command("update", "--self", description="Update tlmgr")],
                depends_on=["check"],
                mutexes=["network", "texlive"],
                uninterruptible=True,
            ),
        ]
