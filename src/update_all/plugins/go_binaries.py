"""Programs that `go install PACKAGE@VERSION` built.

Sources: the documentation of the go command ("Compile and install packages", "Print Go version", "List
packages or modules"); output seen with go 1.19. A program carries its package, module and version; `go list
-m` asks the module proxy for the newest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from update_all.api import (
    BasePlugin,
    CheckResult,
    JsonValue,
    QueryOutput,
    StepError,
    UpdateCommand,
    UpdateStep,
)
from update_all.plugins.semver import newer

_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~/+-]*")
_GONE = re.compile(r"404 Not Found|410 Gone|no matching versions|unknown revision|module not found")
# No project decides, wherever the run was started.
_OUTSIDE = {"GO111MODULE": "on", "GOWORK": "off", "GOFLAGS": "-mod=mod"}


@dataclass(frozen=True, slots=True)
class Program:
    """An installed program: its package, the module of the package, and the options to build it as it was."""

    package: str
    module: str
    version: str
    options: tuple[str, ...] = ()


def parse_folder(text: str) -> Path:
    """Where programs are installed: the answer of `go env GOBIN GOPATH`, two lines.

    Raises StepError for anything else.
    """
    lines = text.splitlines()
    gobin, gopath = lines if len(lines) == 2 else ("", "")
    folder = Path(gobin or f"{gopath.partition(':')[0]}/bin")
    if len(lines) != 2 or not folder.is_absolute() or folder == Path("/bin"):
        raise StepError("go env names no directory of programs")
    return folder


def parse_programs(text: str) -> list[Program]:
    """The answer of `go version -m DIRECTORY`, without programs that were built from a checkout."""
    programs: dict[str, Program] = {}
    for details in _sections(text):
        package = details.get("path", "")
        module, _, version = details.get("mod", "").partition("\t")
        version = version.partition("\t")[0]
        if "vcs" in details or not version.startswith("v") or _PACKAGE.fullmatch(package) is None:
            continue
        options = tuple(f"{name}={details[name]}" for name in ("-tags", "-trimpath") if details.get(name))
        programs[package] = Program(package, module, version, options)
    return list(programs.values())


def _sections(text: str) -> Iterator[dict[str, str]]:
    """For each program: `path` and `mod` as they are written, and its build settings by name."""
    details: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("\t"):
            yield details
            details = {}
            continue
        kind, _, value = line[1:].partition("\t")
        name, equals, setting = value.partition("=")
        if kind in ("path", "mod"):
            details[kind] = value
        elif kind == "build" and equals:
            details[name] = setting
    yield details


def parse_newest(text: str, modules: Sequence[str]) -> dict[str, str]:
    """Module → newest version, from `go list -m -e -json`. Modules that are gone are left out.

    Raises StepError where the index did not answer for one of `modules`, or the text is no such list.
    """
    newest: dict[str, str] = {}
    gone: set[str] = set()
    for answer in _documents(text):
        path, version, error = answer.get("Path"), answer.get("Version"), answer.get("Error")
        if not isinstance(path, str):
            raise StepError("go list: a module without a name in its answer")
        if isinstance(error, dict):
            reason = str(error.get("Err"))
            if _GONE.search(reason) is None:
                raise StepError(f"the module index does not answer: {reason}")
            gone.add(path)
        elif isinstance(version, str):
            newest[path] = version
    if missing := sorted(set(modules) - newest.keys() - gone):
        raise StepError(f"go list says nothing of {', '.join(missing)}")
    return newest


def _documents(text: str) -> Iterator[Mapping[str, JsonValue]]:
    """JSON objects, one after the other."""
    decoder = json.JSONDecoder()
    rest = text.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            raise StepError("go list printed no JSON") from None
        if not isinstance(value, dict):
            raise StepError("go list: an answer that is no object")
        yield value
        rest = rest[end:].lstrip()


def _exists(folder: Path) -> bool:
    return folder.is_dir()


class GoBinariesPlugin(BasePlugin):
    """Programs in $GOBIN or $GOPATH/bin. What was built from a checkout is left alone."""

    description = "Programs installed by go install"
    tags = ("go",)

    @property
    def name(self) -> str:
        return "go-binaries"

    @property
    def command(self) -> str:
        return "go"

    @property
    def dependencies(self) -> Sequence[str]:
        """New compilers first: programs are built by them."""
        return ("go-runtime",)

    async def check(self) -> CheckResult:
        try:
            programs = await self._programs()
            newest = await self._newest(sorted({program.module for program in programs}))
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        installed = {program.package: program.version for program in programs}
        known = {one.package: newest[one.module] for one in programs if one.module in newest}
        return CheckResult.of(newer(installed, known))

    async def installed_versions(self) -> Mapping[str, str]:
        return {program.package: program.version for program in await self._programs()}

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One step with a command for each program."""
        if not check.updates:
            return []
        options = {program.package: program.options for program in await self._programs()}
        commands = [
            UpdateCommand(
                ["go", "install", *options.get(change.item, ()), f"{change.item}@{change.new}"],
                f"Build {change.item} {change.new}",
                env=_OUTSIDE,
                cwd="/",
            )
            for change in check.updates
        ]
        return [
            UpdateStep(
                "install",
                "Build and install new versions",
                commands=commands,
                mutexes=["go-binaries", "network"],
                independent_commands=True,
            )
        ]

    async def _programs(self) -> list[Program]:
        """Raises StepError when go does not say where its programs are, or what they are."""
        folder = parse_folder((await self._go("env", "GOBIN", "GOPATH")).stdout)
        if not _exists(folder):
            return []
        return parse_programs((await self._go("version", "-m", str(folder))).stdout)

    async def _newest(self, modules: Sequence[str]) -> dict[str, str]:
        if not modules:
            return {}
        answer = await self._go("list", "-m", "-e", "-json", *(f"{module}@latest" for module in modules))
        return parse_newest(answer.stdout, modules)

    async def _go(self, *arguments: str) -> QueryOutput:
        answer = await self.query(["go", *arguments], env=_OUTSIDE, cwd="/")
        if not answer.ok:
            lines = answer.stderr.strip().splitlines() or ["no message"]
            raise StepError(f"go {arguments[0]} ended with {answer.code}: {lines[-1]}")
        return answer
