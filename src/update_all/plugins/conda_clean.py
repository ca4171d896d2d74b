"""What conda, mamba or micromamba keeps and nobody needs. Source: `conda clean --help`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from update_all.api import CheckResult, Detection, UpdateCommand, UpdateStep
from update_all.plugins.conda import MUTEX, OPTIONS, CondaPlugin

KINDS = ("index-cache", "packages", "tarballs")
_MONTH_SECONDS = 30 * 24 * 3600


class CondaCleanPlugin(CondaPlugin):
    """Deletes only what option `remove` lists; once a month."""

    description = "The package cache of conda"
    presence = "conda-clean"
    options: ClassVar = {**OPTIONS, "remove": f"what is deleted, of {', '.join(KINDS)}"}

    @property
    def name(self) -> str:
        return "conda-clean"

    @property
    def dependencies(self) -> Sequence[str]:
        return ("conda-self", "conda-packages")

    @property
    def kinds(self) -> list[str]:
        chosen = self.config.options.get("remove", [])
        return [kind for kind in KINDS if isinstance(chosen, list) and kind in chosen]

    def detect(self) -> Detection:
        found = super().detect()
        if found.present and not self.kinds:
            return Detection(False, f"remove must list what is deleted, of {', '.join(KINDS)}")
        return found

    async def check(self) -> CheckResult:
        return CheckResult.cannot_know("there is no version to compare", runnable=True)

    def get_update_steps(self) -> list[UpdateStep]:
        options = [f"--{kind}" for kind in self.kinds]
        step = UpdateStep(
            name="clean",
            description="Delete what is not needed from the package cache",
            commands=[UpdateCommand([self.command, "clean", *options, "--yes"])],
            mutexes=[MUTEX],
            interval_seconds=_MONTH_SECONDS,
        )
        return [step]
