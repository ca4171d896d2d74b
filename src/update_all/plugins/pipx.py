"""Applications that pipx installed, each in its own environment.

Sources: pipx documentation ("list", "upgrade", "runpip"); output seen with pipx 1.18.4 and both of its
back ends. `pipx list --outdated` is not used: it crashes with the uv back end, and older releases lack it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from update_all.api import (
    BasePlugin,
    Change,
    CheckResult,
    CheckStatus,
    JsonValue,
    QueryOutput,
    StepError,
    UpdateCommand,
    UpdateStep,
)
from update_all.plugins.python_packages import (
    QUICK_INDEX,
    canonical,
    installed_in,
    parse_index_versions,
    parse_outdated,
)

_AT_ONCE = 4
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*([<>=!~][^/@]*)?")
_INDEX_OPTIONS = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host")


@dataclass(frozen=True, slots=True)
class Environment:
    """One application: `packages` maps the names that an upgrade covers to their items in the plan."""

    name: str
    package: str
    packages: Mapping[str, str]
    index_options: tuple[str, ...]
    uv: bool
    folder: Path | None

    @property
    def installed(self) -> dict[str, str]:
        """Item → version, as the files of the environment say. pipx itself only remembers what it did."""
        found: dict[str, str] = {}
        for site in self.folder.glob("lib/python*/site-packages") if self.folder else ():
            versions = installed_in(site)
            found |= {item: versions[name] for name, item in self.packages.items() if name in versions}
        return found


def parse_environments(text: str) -> list[Environment]:
    """The answer of `pipx list --json`, without pinned packages and those that come from no index.

    Raises StepError for anything else.
    """
    try:
        data: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        raise StepError("pipx list printed no JSON") from None
    venvs = _mapping(data).get("venvs")
    if not isinstance(venvs, dict):
        raise StepError("pipx list: no environments in its answer")
    found = (_environment(name, _mapping(_mapping(value).get("metadata"))) for name, value in venvs.items())
    return [environment for environment in found if environment is not None]


def _environment(name: str, metadata: Mapping[str, JsonValue]) -> Environment | None:
    main = _mapping(metadata.get("main_package"))
    package = main.get("package")
    if not isinstance(package, str) or not _from_index(main):
        return None
    injected = {
        canonical(str(key)): f"{name}/{canonical(str(key))}"
        for key, value in _mapping(metadata.get("injected_packages")).items()
        if _from_index(_mapping(value))
    }
    return Environment(
        name=name,
        package=canonical(package),
        packages={canonical(package): name, **injected},
        index_options=_index_options(main.get("pip_args")),
        uv=metadata.get("backend") == "uv",
        folder=_folder(main),
    )


def _mapping(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _from_index(package: Mapping[str, JsonValue]) -> bool:
    source = package.get("package_or_url")
    return not package.get("pinned") and isinstance(source, str) and bool(_REQUIREMENT.fullmatch(source))


def _folder(main: Mapping[str, JsonValue]) -> Path | None:
    """The environment, from the path of a program in its `bin`."""
    for key in ("app_paths", "man_paths"):
        paths = main.get(key)
        for entry in paths if isinstance(paths, list) else ():
            path = Path(str(_mapping(entry).get("__Path__", "")))
            if path.is_absolute() and path.parent.name == "bin":
                return path.parent.parent
    return None


def _index_options(arguments: JsonValue) -> tuple[str, ...]:
    """What of the remembered pip arguments says where to look."""
    words = [str(word) for word in arguments] if isinstance(arguments, list) else []
    kept: list[str] = []
    for position, word in enumerate(words):
        if word.partition("=")[0] in _INDEX_OPTIONS:
            kept += [word] if "=" in word else words[position : position + 2]
        elif word == "--pre":
            kept.append(word)
    return tuple(kept)


class PipxPlugin(BasePlugin):
    """Every application that pipx installed from an index and that is not pinned."""

    description = "Python applications installed by pipx"
    tags = ("python",)

    @property
    def name(self) -> str:
        return "pipx"

    @property
    def command(self) -> str:
        return "pipx"

    async def check(self) -> CheckResult:
        """Asks for each environment; an index that answers for none of the first few is not asked further."""
        import asyncio

        try:
            environments = await self._environments()
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        updates: list[Change] = []
        silent: list[str] = []
        for start in range(0, len(environments), _AT_ONCE):
            batch = environments[start : start + _AT_ONCE]
            answers = await asyncio.gather(*(self._outdated(environment) for environment in batch))
            for environment, answer in zip(batch, answers, strict=True):
                updates += answer or ()
                silent += [environment.name] if answer is None else []
            if len(silent) == start + len(batch):
                break
        reason = f"the package index does not answer for {', '.join(silent)}" if silent else ""
        if silent and not updates:
            return CheckResult.cannot_know(reason)
        status = CheckStatus.UPDATES if updates else CheckStatus.UP_TO_DATE
        return CheckResult(status, tuple(updates), reason)

    async def installed_versions(self) -> Mapping[str, str]:
        versions: dict[str, str] = {}
        for environment in await self._environments():
            versions |= environment.installed
        return versions

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One step with a command for each environment."""
        names = list(dict.fromkeys(change.item.partition("/")[0] for change in check.updates))
        if not names:
            return []
        return [
            UpdateStep(
                "upgrade",
                "Upgrade outdated applications",
                commands=[
                    UpdateCommand(["pipx", "upgrade", "--include-injected", name], f"Upgrade {name}")
                    for name in names
                ],
                mutexes=["pipx"],
                independent_commands=True,
            )
        ]

    async def _environments(self) -> list[Environment]:
        answer = await self.query(["pipx", "list", "--json"])
        return parse_environments(answer.stdout)

    async def _outdated(self, environment: Environment) -> Sequence[Change] | None:
        """What an upgrade of the environment would bring; None when its index does not answer."""
        arguments = ("list", "--outdated", "--format=json", *environment.index_options)
        try:
            listed = await self._pip(environment, *arguments)
            outdated = parse_outdated(listed.stdout)
            changes = [
                Change(environment.packages[change.item], change.old, change.new)
                for change in outdated
                if change.item in environment.packages
            ]
            lost = environment.folder is not None and environment.name not in environment.installed
            if lost or not (changes or environment.uv):
                newest = await self._newest(environment)
                if newest is None:
                    return None
                changes += [Change(environment.name, None, newest)] if lost else []
        except StepError:
            return None
        return changes

    async def _newest(self, environment: Environment) -> str | None:
        """The newest version of the main package: also the proof that the index answers."""
        package, options = environment.package, environment.index_options
        if not environment.uv:
            answer = await self._pip(environment, "index", "versions", *options, package)
            return parse_index_versions(answer.stdout) if answer.ok else None
        # uv plans on stderr; pipx then fails, for it misses the package in the environment.
        answer = await self._pip(environment, "install", "--dry-run", *options, package)
        match = re.search(rf"^ \+ {re.escape(package)}==(\S+)", answer.stderr, re.MULTILINE)
        return match[1] if match else None

    async def _pip(self, environment: Environment, *arguments: str) -> QueryOutput:
        return await self.query(["pipx", "runpip", environment.name, *arguments], env=QUICK_INDEX)
