"""Checkouts of git that the user names: fetched in parallel, and moved forward only.

    [plugin.git-repositories]
    paths = ["~/.dotfiles", "~/src/*"]

A checkout with changes, commits of its own beside new ones, without a branch or without an upstream is
reported and left alone. Sources: git-status(1), "Porcelain Format Version 2"; git-ls-remote(1), --exit-code;
git-merge(1), --ff-only.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from update_all.api import (
    BasePlugin,
    Change,
    CheckResult,
    Detection,
    OutputEvent,
    QueryOutput,
    StepError,
    StreamEvent,
    UpdateStep,
    WarningEvent,
)
from update_all.plugins.checkouts import Checkout, complaint

_QUESTIONS_AT_ONCE = 8
_STATUS = ("status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=all")


@dataclass(frozen=True, slots=True)
class Status:
    """What `git status` says of a checkout. `ahead`, `behind`: commits, as of the last fetch."""

    commit: str = ""
    branch: str = ""
    upstream: str = ""
    ahead: int = 0
    behind: int = 0
    changed: bool = False

    @property
    def obstacle(self) -> str:
        """Why it is left alone; empty where it may move forward."""
        if self.commit in ("", "(initial)"):
            return "it has no commit"
        if self.branch == "(detached)":
            return "no branch is checked out"
        if not self.upstream:
            return f"the branch {self.branch} has no upstream"
        if self.changed:
            return "it has changes that are not committed"
        if self.ahead and self.behind:
            return f"it has diverged: {self.ahead} commits of its own, {self.behind} new ones"
        return ""


def parse_status(text: str) -> Status:
    """Read the output of `git status --porcelain=v2 --branch`. Pure."""
    found = dict(re.findall(r"^# branch\.(\w+) (.*)$", text, re.MULTILINE))
    counts = re.fullmatch(r"\+(\d+) -(\d+)", found.get("ab", ""))
    return Status(
        commit=found.get("oid", ""),
        branch=found.get("head", ""),
        upstream=found.get("upstream", ""),
        ahead=int(counts[1]) if counts else 0,
        behind=int(counts[2]) if counts else 0,
        changed=any(not line.startswith("#") for line in text.splitlines()),
    )


def step_names(paths: Sequence[Path], home: Path) -> dict[str, Path]:
    """A step name for each checkout, from its place below the home directory, and none twice. Pure."""
    names: dict[str, Path] = {}
    for path in paths:
        place = path.relative_to(home) if path.is_relative_to(home) else path
        base = re.sub(r"[^A-Za-z0-9._@]+", "-", str(place)).lstrip("._@-")[:80] or "home"
        name, number = base, 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names[name] = path
    return names


class GitRepositoriesPlugin(BasePlugin):
    """One step for each checkout that `paths` names."""

    description = "Checkouts of git that you name"
    tags = ("dotfiles", "tools")
    parallel_steps = True
    presence = "git-repositories"
    options: ClassVar = {"paths": "the checkouts; a path may hold * and begin with ~"}

    @property
    def name(self) -> str:
        return "git-repositories"

    @property
    def command(self) -> str:
        return "git"

    def detect(self) -> Detection:
        found = super().detect()
        if not found.present:
            return found
        try:
            count = len(self._checkouts())
        except StepError as error:
            return Detection(False, error.message)
        return Detection(count > 0, f"{count} checkouts" if count else "no path that is named is a checkout")

    async def check(self) -> CheckResult:
        """What each upstream has that its checkout has not; asks all remotes."""
        import asyncio

        names = self._checkouts()
        limit = asyncio.Semaphore(_QUESTIONS_AT_ONCE)

        async def ask(name: str, path: Path) -> Change | StepError | None:
            async with limit:
                try:
                    return await self._update(name, path)
                except StepError as error:
                    return error

        answers = await asyncio.gather(*(ask(name, path) for name, path in names.items()))
        updates = [answer for answer in answers if isinstance(answer, Change)]
        errors = [answer for answer in answers if isinstance(answer, StepError)]
        if errors and not updates:
            return CheckResult.cannot_know(errors[0].message, runnable=len(errors) < len(answers))
        return CheckResult.of(updates)

    async def installed_versions(self) -> Mapping[str, str] | None:
        """Step name → commit."""
        found = {name: await self._status(path) for name, path in self._checkouts().items()}
        return {name: checkout.commit for name, checkout in found.items()}

    def get_update_steps(self) -> list[UpdateStep]:
        return [self._step(name, path) for name, path in self._checkouts().items()]

    def _checkouts(self) -> dict[str, Path]:
        """Raises StepError where the configuration names none, or in another way."""
        given = self.config.options.get("paths")
        if not isinstance(given, list):
            raise StepError("paths under [plugin.git-repositories] must be a list of checkouts")
        found: dict[Path, Path] = {}
        for pattern in given:
            if not isinstance(pattern, str):
                raise StepError(f"paths under [plugin.git-repositories]: {pattern!r} is no text")
            for path in sorted(_matching(pattern)):
                if (path / ".git").exists():
                    found.setdefault(path.resolve(), path)
        return step_names(list(found.values()), Path.home())

    def _step(self, name: str, path: Path) -> UpdateStep:
        async def update() -> AsyncIterator[StreamEvent]:
            place = Checkout(path, self.query)
            try:
                if mended := await place.mend():
                    yield OutputEvent(plugin_name=self.name, step_name=name, line=mended)
                if obstacle := (await self._status(path)).obstacle:
                    raise StepError(obstacle)
                async for line in place.forward():
                    yield OutputEvent(plugin_name=self.name, step_name=name, line=line)
            except StepError as error:
                yield self._left_alone(name, path, error.message)

        return UpdateStep(
            name=name,
            description=f"Move {path} forward",
            execute_fn=update,
            mutexes=[f"git-{name}", "network"],
        )

    def _left_alone(self, name: str, path: Path, why: str) -> WarningEvent:
        # A failed step would keep the other checkouts from being updated.
        message = f"{path} is left alone: {why}"
        return WarningEvent(plugin_name=self.name, step_name=name, message=message, code="left-alone")

    async def _update(self, name: str, path: Path) -> Change | None:
        """What is new; None where nothing is, or it is left alone. Raises StepError where it cannot know."""
        checkout = await self._status(path)
        # A tree that was cut off half-way looks changed; the run finishes it, or says why not.
        if checkout.obstacle and not await Checkout(path, self.query).interrupted():
            return None
        where = "--format=%(upstream:remotename)\t%(upstream:remoteref)"
        answer = await self._git(path, "for-each-ref", where, f"refs/heads/{checkout.branch}")
        remote, _, reference = answer.stdout.strip().partition("\t")
        listed = await self._git(path, "ls-remote", "--exit-code", remote, reference)
        tip = listed.stdout.partition("\t")[0]
        if not listed.ok or not tip:
            raise StepError(f"{path}: the upstream {checkout.upstream} cannot be asked: {complaint(listed)}")
        if (await self._git(path, "merge-base", "--is-ancestor", tip, checkout.commit)).ok:
            return None
        return Change(item=name, old=checkout.commit, new=tip)

    async def _status(self, path: Path) -> Status:
        """Raises StepError where git refuses to look at it."""
        output = await self._git(path, *_STATUS)
        if not output.ok:
            raise StepError(f"{path}: git cannot read it: {complaint(output)}")
        return parse_status(output.stdout)

    async def _git(self, path: Path, *arguments: str, seconds: float = 20.0) -> QueryOutput:
        return await Checkout(path, self.query).git(*arguments, seconds=seconds)


def _matching(pattern: str) -> Iterator[Path]:
    """What an absolute path, or one that begins with ~, matches. Raises StepError for an unknown user."""
    try:
        path = Path(pattern).expanduser()
    except RuntimeError as error:
        raise StepError(f"paths under [plugin.git-repositories]: {pattern!r}: {error}") from None
    parts = path.relative_to(path.anchor)
    return Path(path.anchor).glob(str(parts)) if path.anchor and parts.parts else iter(())
