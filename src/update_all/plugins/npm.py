"""Packages that npm installed globally.

Sources: npm-outdated(1), npm-ls(1), npm-install(1); output, exit codes and what a kill leaves behind seen
with npm 11.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from update_all.api import (
    BasePlugin,
    Change,
    CheckResult,
    JsonValue,
    StepError,
    UpdateCommand,
    UpdateStep,
)
from update_all.plugins.semver import is_newer

_LEFTOVER = re.compile(r"\.(.+)-[A-Za-z0-9_-]{8}")
_QUIET = ("--no-audit", "--no-fund", "--no-progress")


@dataclass(frozen=True, slots=True)
class Outdated:
    """One entry of `npm outdated`. `current` is None where an interrupted install left an empty folder."""

    name: str
    current: str | None
    latest: str


def parse_outdated(text: str) -> list[Outdated]:
    """The answer of `npm outdated --json`. Raises StepError for npm's error object and for garbage.

    The exit code says nothing: 1 stands for updates and for errors.
    """
    data = _object(text, "npm outdated")
    error = data.get("error")
    if isinstance(error, dict) and ("summary" in error or "code" in error):
        summary = str(error.get("summary") or error.get("code") or "").strip()
        raise StepError(f"npm: {summary.splitlines()[0] if summary else 'error without a message'}")
    found: list[Outdated] = []
    for name, value in data.items():
        # A package found in several places is a list; globally, all entries say the same.
        entry = value[0] if isinstance(value, list) and value else value
        if not isinstance(entry, dict) or not isinstance(entry.get("latest"), str):
            raise StepError(f"npm outdated: unexpected entry for {name}: {value!r}")
        current = entry.get("current")
        found.append(Outdated(name, current if isinstance(current, str) else None, str(entry["latest"])))
    return found


def parse_installed(text: str) -> dict[str, str]:
    """Package → version from `npm ls --json`, without linked folders, which are their owner's business."""
    packages = _object(text, "npm ls").get("dependencies", {})
    if not isinstance(packages, dict):
        raise StepError(f"npm ls: unexpected dependencies: {packages!r}")
    versions: dict[str, str] = {}
    for name, entry in packages.items():
        if isinstance(entry, dict) and not str(entry.get("resolved", "")).startswith("file:"):
            version = entry.get("version")
            if isinstance(version, str):
                versions[name] = version
    return versions


def _object(text: str, source: str) -> dict[str, JsonValue]:
    try:
        data: JsonValue = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise StepError(f"{source} printed no JSON") from None
    if not isinstance(data, dict):
        raise StepError(f"{source} printed no JSON object")
    return data


def updates(outdated: Sequence[Outdated], ours: Mapping[str, str]) -> list[Change]:
    """What to install: newer versions, never older ones (a pre-release may be ahead of `latest`).

    `ours` are the packages that npm may replace. A folder without a version is installed anew.
    """
    changes: list[Change] = []
    for entry in outdated:
        if entry.current is None:
            changes.append(Change(entry.name, None, entry.latest))
        elif entry.name in ours and is_newer(entry.latest, entry.current):
            changes.append(Change(entry.name, entry.current, entry.latest))
    return changes


def abandoned(root: Path) -> set[str]:
    """Packages that an interrupted install moved away: `.name-XXXXXXXX` in the global folder.

    A package whose programs are linked again is whole: npm just had no time to sweep.
    """
    folders = [root, *(path for path in root.glob("@*") if path.is_dir())]
    names: set[str] = set()
    for folder in folders:
        for path in folder.glob(".*-*"):
            if match := _LEFTOVER.fullmatch(path.name):
                scope = "" if folder == root else f"{folder.name}/"
                names.add(scope + match[1])
    return {name for name in names if not _is_whole(root, name)}


def _is_whole(root: Path, name: str) -> bool:
    package = _package_json(root / name)
    if package is None:
        return False
    declared = package.get("bin")
    programs = list(declared) if isinstance(declared, dict) else [name.rpartition("/")[2]] if declared else []
    return not programs or any(os.path.lexists(_bin(root) / program) for program in programs)


def _bin(root: Path) -> Path:
    return root.parent.parent / "bin"


def _package_json(folder: Path) -> dict[str, JsonValue] | None:
    try:
        data: JsonValue = json.loads((folder / "package.json").read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


class NpmPlugin(BasePlugin):
    """Global npm packages, except those that belong to the distribution or are linked folders."""

    description = "Programs installed by npm install -g"
    tags = ("javascript",)

    @property
    def name(self) -> str:
        return "npm"

    @property
    def command(self) -> str:
        return "npm"

    @property
    def sudo_commands(self) -> Sequence[str]:
        return ("npm",)

    async def check(self) -> CheckResult:
        """Asks the registry with an empty cache: with a warm one npm answers `{}` without any network."""
        try:
            root = await self._root()
            if not root.is_dir():
                return CheckResult.of([])
            with tempfile.TemporaryDirectory(prefix="update-all-npm-") as cache:
                changes = await self._find(root, cache)
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        return CheckResult.of(changes)

    async def installed_versions(self) -> Mapping[str, str]:
        return parse_installed((await self.query(["npm", "ls", "--global", "--json", "--logs-max=0"])).stdout)

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One step with a command for each package."""
        if not check.updates:
            return []
        root = await self._root()
        sudo = not _writable(root)
        # Root has its own configuration, and so its own idea of the prefix.
        prefix = ["--prefix", str(root.parent.parent)] if sudo else []
        # A new npm goes last: it may want a newer Node.js than the others need.
        ordered = sorted(check.updates, key=lambda change: change.item == "npm")
        return [
            UpdateStep(
                "install",
                "Install new versions",
                commands=[
                    UpdateCommand(
                        ["npm", "install", "--global", *prefix, *_QUIET, f"{change.item}@{change.new}"],
                        f"Install {change.item} {change.new}",
                        sudo=sudo,
                    )
                    for change in ordered
                ],
                mutexes=["npm-global"],
                sudo=sudo,
                independent_commands=True,
            )
        ]

    async def _root(self) -> Path:
        answer = await self.query(["npm", "root", "--global", "--logs-max=0"])
        path = Path(answer.stdout.strip())
        if not answer.ok or not path.is_absolute():
            raise StepError("npm root --global names no folder", hint="try: npm root --global")
        return path

    async def _find(self, root: Path, cache: str) -> list[Change]:
        import asyncio

        options = ("--json", f"--cache={cache}", "--logs-max=0", "--fetch-retries=0", "--fetch-timeout=15000")
        outdated, installed = await asyncio.gather(
            self.query(["npm", "outdated", "--global", *options]), self.installed_versions()
        )
        theirs = await self._owned_by_distribution(root, installed)
        ours = {
            name: version
            for name, version in installed.items()
            if name not in theirs and (_package_json(root / name) or {}).get("name") == name
        }
        changes = updates(parse_outdated(outdated.stdout), ours)
        lost = abandoned(root) - {change.item for change in changes}
        for name in sorted(lost):
            shown = await self.query(["npm", "view", name, "dist-tags.latest", *options])
            if not shown.ok:
                raise StepError(f"an interrupted npm lost {name}, and the registry does not know it")
            changes.append(Change(name, None, shown.stdout.strip().strip('"')))
        return changes

    async def _owned_by_distribution(self, root: Path, installed: Mapping[str, str]) -> set[str]:
        if not installed or root.parts[:2] != ("/", "usr") or shutil.which("dpkg-query") is None:
            return set()
        files = {str(root / name / "package.json"): name for name in installed}
        # Exit code 1 says that some of the files belong to nobody; the others are listed all the same.
        answer = await self.query(["dpkg-query", "--search", *files])
        found = (line.rpartition(": ")[2] for line in answer.stdout.splitlines())
        return {files[path] for path in found if path in files}


def _writable(root: Path) -> bool:
    folder = root
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)
