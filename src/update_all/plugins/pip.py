"""Python packages that a user installed with `pip install --user`.

Sources: pip-list, pip-install and pip-index (pip documentation); PEP 668 for environments that belong to the
distribution; output and what a kill leaves behind seen with pip 23.2 and 26.3.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from update_all.api import (
    BasePlugin,
    Change,
    CheckResult,
    CheckStatus,
    JsonValue,
    OutputEvent,
    StepError,
    StreamEvent,
    UpdateCommand,
    UpdateStep,
)
from update_all.plugins.python_packages import (
    QUICK_INDEX,
    installed_in,
    leftovers_in,
    parse_index_versions,
    parse_outdated,
)

_PIP = ("python3", "-m", "pip")
_PROBES = 3

_DESCRIBE = """
import importlib.util, json, os, site, sys, sysconfig
print(json.dumps({
    "managed": os.path.exists(os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")),
    "virtual": sys.prefix != sys.base_prefix,
    "pip": importlib.util.find_spec("pip") is not None,
    "site": site.getusersitepackages() if site.ENABLE_USER_SITE else None,
}))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the default `python3` says of itself. `reason`: why pip has nothing to update there, or ""."""

    site: Path | None
    reason: str = ""


def parse_environment(text: str) -> Environment:
    """The answer to `_DESCRIBE`. Raises StepError for anything else."""
    try:
        data: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise StepError("python3 does not describe itself: no JSON")
    site = data.get("site")
    for applies, reason in (
        (data.get("managed"), "managed by the distribution (PEP 668)"),
        (data.get("virtual"), "python3 is that of a virtual environment"),
        (not data.get("pip"), "python3 has no pip"),
        (not isinstance(site, str), "python3 has no user site"),
    ):
        if applies:
            return Environment(None, reason)
    return Environment(Path(str(site)))


class PipPlugin(BasePlugin):
    """Packages in the user site of the default `python3`; nothing where the distribution manages it.

    Only packages that no other one there requires are upgraded by themselves; what they require follows as
    far as they need it, so that their own constraints stay satisfied.
    """

    description = "Python packages installed by pip install --user"
    tags = ("python",)
    presence = "pip"

    @property
    def name(self) -> str:
        return "pip"

    @property
    def command(self) -> str:
        return "python3"

    async def check(self) -> CheckResult:
        """An empty answer counts only when the index has been seen to answer."""
        try:
            environment = await self._environment()
            if environment.site is None:
                return CheckResult(CheckStatus.UP_TO_DATE, reason=environment.reason)
            present = installed_in(environment.site)
            lost = sorted(set(leftovers_in(environment.site).values()) - set(present))
            if not present and not lost:
                return CheckResult.of([])
            return CheckResult.of(await self._find(sorted(present), lost))
        except StepError as error:
            return CheckResult.cannot_know(error.message)

    async def installed_versions(self) -> Mapping[str, str]:
        site = (await self._environment()).site
        return {} if site is None else installed_in(site)

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One installation of all names, so that pip resolves them together; then its leftovers are swept.

        The names come from the check: a package that a killed pip lost is in no list any more.
        """
        names = [change.item for change in check.updates]
        if not names:
            return []
        options = ("--user", "--upgrade", "--upgrade-strategy=only-if-needed", "--progress-bar=off")
        return [
            UpdateStep(
                "install",
                "Install new versions",
                commands=[UpdateCommand([*_PIP, "install", *options, *names])],
                mutexes=["pip-user"],
            ),
            UpdateStep(
                "sweep",
                "Delete what an interrupted pip left behind",
                execute_fn=self._sweep,
                check_fn=self._is_swept,
                depends_on=["install"],
                mutexes=["pip-user"],
            ),
        ]

    async def _environment(self) -> Environment:
        return parse_environment((await self.query(["python3", "-c", _DESCRIBE])).stdout)

    async def _find(self, present: Sequence[str], lost: Sequence[str]) -> list[Change]:
        import asyncio

        outdated = ("list", "--user", "--outdated", "--not-required", "--format=json")
        listed = await self.query([*_PIP, *outdated], env=QUICK_INDEX)
        if not listed.ok:
            raise StepError(f"pip list --outdated ended with {listed.code}")
        changes = parse_outdated(listed.stdout)
        for name in lost:
            version = await self._newest(name)
            if version is None:
                raise StepError(f"an interrupted pip lost {name}, and the index does not know it")
            changes.append(Change(name, None, version))
        if not changes and not any(await asyncio.gather(*map(self._newest, present[:_PROBES]))):
            raise StepError("the package index does not answer")
        return changes

    async def _newest(self, name: str) -> str | None:
        answer = await self.query([*_PIP, "index", "versions", name], env=QUICK_INDEX)
        return parse_index_versions(answer.stdout) if answer.ok else None

    async def _leftovers(self) -> list[Path]:
        """All `~…` folders of packages that are installed again."""
        site = (await self._environment()).site
        if site is None:
            return []
        present = installed_in(site)
        metadata = leftovers_in(site)
        if not set(metadata.values()) <= set(present):
            return []
        return [path for path in site.glob("~*") if path.is_dir() and not path.is_symlink()]

    async def _is_swept(self) -> bool:
        return not await self._leftovers()

    async def _sweep(self) -> AsyncIterator[StreamEvent]:
        import asyncio

        for path in await self._leftovers():
            await asyncio.to_thread(shutil.rmtree, path)
            yield OutputEvent(plugin_name=self.name, step_name="sweep", line=f"deleted {path}")
