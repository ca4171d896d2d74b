"""What uv installed: tools (`uv tool`) and Python interpreters (`uv python`), as two plugins.

Sources: uv documentation ("Tools", "Python versions"); output and exit codes seen with uv 0.13.9. uv itself
is left to whatever installed it.
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
    StepError,
    UpdateCommand,
    UpdateStep,
)

_QUICK_INDEX = {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "8"}
_TOOL = re.compile(r"(\S+) v(\S+)(?: \[required: ([^\]]*)\])?(?: \[latest: ([^\]\s]+)\])?")
_EXACT = re.compile(r"={2,3}\s*[^*,\s]+")
_BOUNDED = re.compile(r"<|~=|==")
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:(a|b|rc)(\d{1,9}))?")

# Tools run on interpreters that `uv python` replaces.
_MUTEXES = ["uv"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A line of `uv tool list`. `required`: the version specifiers it was installed with."""

    name: str
    version: str
    required: str
    latest: str | None

    @property
    def pinned(self) -> bool:
        """Installed as one exact version, which uv does not upgrade."""
        return _EXACT.fullmatch(self.required) is not None

    @property
    def bounded(self) -> bool:
        """The newest version may lie outside of what the tool was installed with."""
        return _BOUNDED.search(self.required) is not None


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python of `uv python list`; `minor` is what an upgrade names, as "3.12"."""

    minor: str
    version: str


def parse_tools(text: str) -> list[Tool]:
    """Lines `name v1.0 [required: <2] [latest: 2.0]` of `uv tool list`; those of programs begin with "- ".

    uv offers no machine-readable form: a line that is neither raises StepError, lest a new wording pass for
    "nothing outdated".
    """
    tools: list[Tool] = []
    for line in text.splitlines():
        if match := _TOOL.fullmatch(line):
            tools.append(Tool(match[1], match[2], match[3] or "", match[4]))
        elif line and not line.startswith("- "):
            raise StepError(f"uv tool list: cannot read {line!r}")
    return tools


def parse_interpreters(text: str) -> list[Interpreter]:
    """The answer of `uv python list --output-format json`: CPython in its default build.

    Others uv cannot upgrade. Raises StepError for anything else.
    """
    try:
        entries: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        raise StepError("uv python list printed no JSON") from None
    if not isinstance(entries, list):
        raise StepError("uv python list printed no JSON list")
    found: list[Interpreter] = []
    for entry in entries:
        fields = entry if isinstance(entry, dict) else {}
        if fields.get("implementation") == "cpython" and fields.get("variant", "default") == "default":
            version = str(fields.get("version"))
            if match := _VERSION.fullmatch(version):
                found.append(Interpreter(f"{match[1]}.{match[2]}", version))
    return found


def newest_by_minor(interpreters: Sequence[Interpreter]) -> dict[str, str]:
    """Minor version → its newest release; an upgrade leaves the older ones in place."""
    newest: dict[str, str] = {}
    for interpreter in sorted(interpreters, key=lambda one: _order(one.version)):
        newest[interpreter.minor] = interpreter.version
    return newest


def _order(version: str) -> tuple[int, int, int, str, int]:
    match = _VERSION.fullmatch(version)
    if match is None:
        return (0, 0, 0, "", 0)
    # A release comes after its pre-releases: "~" sorts after "a", "b" and "rc".
    return (int(match[1]), int(match[2]), int(match[3]), match[4] or "~", int(match[5] or 0))


class _UvPlugin(BasePlugin):
    tags = ("python",)

    @property
    def command(self) -> str:
        return "uv"

    async def _ask(self, *arguments: str) -> str:
        answer = await self.query(["uv", *arguments], env=_QUICK_INDEX)
        if not answer.ok:
            raise StepError(f"uv {arguments[0]} {arguments[1]}: {_first_error(answer.stderr)}")
        return answer.stdout


def _first_error(stderr: str) -> str:
    errors = [line.removeprefix("error: ") for line in stderr.splitlines() if line.startswith("error: ")]
    return errors[0] if errors else "error without a message"


class UvToolsPlugin(_UvPlugin):
    """Programs installed by `uv tool install`, except those pinned to one version."""

    description = "Python applications installed by uv tool"

    @property
    def name(self) -> str:
        return "uv-tools"

    @property
    def dependencies(self) -> Sequence[str]:
        return ("uv-python",)

    async def check(self) -> CheckResult:
        """Asks the index each tool came from, without uv's cache, which may answer for a dead network."""
        try:
            listed = await self._ask("tool", "list", "--outdated", "--show-version-specifiers", "--no-cache")
            tools = [tool for tool in parse_tools(listed) if not tool.pinned]
            changes = [await self._within_bounds(tool) for tool in tools]
        except StepError as error:
            old = "unexpected argument" in error.message
            reason = "this uv cannot list outdated tools" if old else error.message
            return CheckResult.cannot_know(reason, runnable=old)
        return CheckResult.of([change for change in changes if change is not None])

    async def installed_versions(self) -> Mapping[str, str]:
        return {tool.name: tool.version for tool in parse_tools(await self._ask("tool", "list"))}

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One step with a command for each tool; all tools where uv cannot say which."""
        if check.status is CheckStatus.CANNOT_KNOW:
            commands = [UpdateCommand(["uv", "tool", "upgrade", "--all"], "Upgrade all tools")]
        else:
            commands = [
                UpdateCommand(["uv", "tool", "upgrade", change.item], f"Upgrade {change.item}")
                for change in check.updates
            ]
        if not commands:
            return []
        return [
            UpdateStep(
                "upgrade",
                "Upgrade outdated tools",
                commands=commands,
                mutexes=_MUTEXES,
                independent_commands=True,
            )
        ]

    async def _within_bounds(self, tool: Tool) -> Change | None:
        """What an upgrade would install: the newest version that the tool's specifiers allow."""
        if not tool.bounded:
            return Change(tool.name, tool.version, tool.latest) if tool.latest else None
        folder = (await self._ask("tool", "dir")).strip()
        python = str(Path(folder) / tool.name / "bin" / "python")
        options = ("--dry-run", "--no-cache", "--upgrade", "--python", python)
        planned = await self.query(
            ["uv", "pip", "install", *options, f"{tool.name}{tool.required}"], env=_QUICK_INDEX
        )
        if not planned.ok:
            raise StepError(f"uv pip install --dry-run: {_first_error(planned.stderr)}")
        match = re.search(rf"^ \+ {re.escape(tool.name)}==(\S+)$", planned.stderr, re.MULTILINE)
        return Change(tool.name, tool.version, match[1]) if match else None


class UvPythonPlugin(_UvPlugin):
    """Interpreters installed by `uv python install`: the newest patch of each minor version.

    What is available is a list inside uv (or at UV_PYTHON_DOWNLOADS_JSON_URL): a newer uv knows newer ones.
    """

    description = "Python interpreters installed by uv"

    @property
    def name(self) -> str:
        return "uv-python"

    async def check(self) -> CheckResult:
        try:
            installed = await self.installed_versions()
            available = newest_by_minor(await self._list("--only-downloads")) if installed else {}
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        return CheckResult.of(
            [
                Change(minor, version, available[minor])
                for minor, version in installed.items()
                if minor in available and _order(available[minor]) > _order(version)
            ]
        )

    async def installed_versions(self) -> Mapping[str, str]:
        return newest_by_minor(await self._list("--only-installed"))

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One command for all minor versions, which uv fetches at the same time."""
        minors = [change.item for change in check.updates]
        if not minors:
            return []
        command = UpdateCommand(["uv", "python", "upgrade", *minors], "Install new patch releases")
        return [UpdateStep("upgrade", "Upgrade interpreters", commands=[command], mutexes=_MUTEXES)]

    async def _list(self, selection: str) -> list[Interpreter]:
        arguments = (selection, "--managed-python", "--output-format", "json")
        return parse_interpreters(await self._ask("python", "list", *arguments))
