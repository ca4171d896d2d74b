"""Spack, which is a git checkout: moved forward only, and back again if the new commit does not run.

Which commit ran last is a reference of its own while the new one is on trial, so a kill does not lose it.

Sources: git-merge(1), --ff-only; git-reset(1), --keep; Spack documentation ("Getting Started", and
"Repositories": `spack repo update` is new in version 1.0).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from update_all.api import (
    BasePlugin,
    Change,
    CheckResult,
    Detection,
    OutputEvent,
    Phase,
    QueryOutput,
    StepError,
    StreamEvent,
    UpdateCommand,
    UpdateStep,
)
from update_all.plugins.checkouts import Checkout
from update_all.plugins.git_repositories import parse_status

REMOTES = ("https://github.com/spack/spack", "git@github.com:spack/spack")
_GIT = ("git", "-c", "core.hooksPath=/dev/null")
_FETCH_SECONDS = 900.0
_MUTEXES = ["network", "spack"]
_PROVEN = "refs/update-all/proven"


class SpackPlugin(BasePlugin):
    """A checkout of Spack, moved to what its upstream has."""

    description = "Spack and its package recipes"
    tags = ("hpc",)
    presence = "spack"
    options: ClassVar = {
        "directory": "the checkout; else $SPACK_ROOT, else where spack on PATH is",
        "remote": "the address to follow instead of Spack's own",
    }

    @property
    def name(self) -> str:
        return "spack"

    @property
    def command(self) -> str:
        return "git"

    @property
    def root(self) -> Path:
        """The checkout. Raises StepError where there is none."""
        found = super().detect()
        if not found.present:
            raise StepError(found.reason)
        root = Path(found.reason).expanduser()
        if not (root / "bin/spack").exists():
            raise StepError(f"there is no bin/spack in {root}")
        # A file in a worktree (git-worktree(1)).
        if not (root / ".git").exists():
            raise StepError(f"it is no git checkout, so whoever installed it updates it: {root}")
        if not os.access(root, os.W_OK):
            raise StepError(f"it belongs to somebody else: {root}")
        return root

    def detect(self) -> Detection:
        try:
            return Detection(True, str(self.root))
        except StepError as error:
            return Detection(False, error.message)

    async def installed_versions(self) -> Mapping[str, str]:
        return {"spack": (await self._git("rev-parse", "--short=12", "HEAD")).strip()}

    async def check(self) -> CheckResult:
        try:
            remote, branch = await self._upstream(moving=await self._checkout.interrupted())
            proven = await self._proven()
            installed = (await self.installed_versions())["spack"]
            offered = (await self._git("ls-remote", "--exit-code", remote, branch)).split()[0]
            known = await self._is_ancestor(offered)
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        if known and not proven:
            return CheckResult.of([])
        return CheckResult.of([Change("spack", proven[:12] or installed, offered[:12])])

    @property
    def _checkout(self) -> Checkout:
        return Checkout(self.root, self._without_hooks)

    async def _without_hooks(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None
    ) -> QueryOutput:
        """Ask git, with the checkout's own hooks left out."""
        return await self.query([*_GIT, *argv[1:]], timeout=timeout, env=env)

    async def _proven(self) -> str:
        """The commit that ran last, while a newer one that was never tried is in its place; else empty."""
        code, proven, _ = await self._ask("rev-parse", "--verify", "--quiet", _PROVEN)
        head = (await self._git("rev-parse", "HEAD")).strip()
        if code != 0 or proven.strip() == head or not await self._is_ancestor(proven.strip()):
            return ""
        return proven.strip()

    async def _upstream(self, *, moving: bool = False) -> tuple[str, str]:
        """Remote and branch that may be followed. Raises StepError, saying why, where none may. `moving`: a
        move was cut off, so files that look changed are no obstacle.
        """
        status = parse_status(await self._git("status", "--porcelain=v2", "--branch", "--untracked-files=no"))
        if status.obstacle and not moving:
            raise StepError(f"{self.root} is left alone: {status.obstacle}")
        remote = (await self._git("config", f"branch.{status.branch}.remote")).strip()
        branch = (await self._git("config", f"branch.{status.branch}.merge")).strip()
        url = (await self._git("remote", "get-url", remote)).strip()
        option = self.config.options.get("remote")
        if url.removesuffix(".git") not in ((str(option).removesuffix(".git"),) if option else REMOTES):
            raise StepError(
                f"{self.root} follows {url}, which is not Spack's own repository",
                hint="set remote for [plugin.spack] in your configuration to follow it",
            )
        return remote, branch

    async def _pull(self) -> AsyncIterator[StreamEvent]:
        place = self._checkout
        if mended := await place.mend():
            yield OutputEvent(line=mended)
        await self._upstream()
        before = await self._proven() or (await self._git("rev-parse", "HEAD")).strip()
        await self._git("update-ref", _PROVEN, before)
        try:
            async for line in place.forward():
                yield OutputEvent(line=line)
        except StepError as error:
            raise StepError(
                f"{self.root} cannot be moved forward: {error.message}", hint=error.hint
            ) from None
        after = (await self._git("rev-parse", "HEAD")).strip()
        runs = await self.query([str(self.root / "bin/spack"), "--version"], timeout=_FETCH_SECONDS)
        if not runs.ok:
            await self._git("reset", "--keep", before)
            raise StepError(
                f"the new commit {after[:12]} does not run, so Spack is at {before[:12]} again",
                hint="it may be mended soon: update-all run spack tomorrow",
            )
        await self._git("update-ref", "-d", _PROVEN)
        yield OutputEvent(line=f"{before[:12]} → {after[:12]}")

    def get_update_steps(self) -> list[UpdateStep]:
        try:
            spack = str(self.root / "bin/spack")
        except StepError:
            spack = "spack"
        # Before version 1.0 the recipes are part of the checkout.
        recipes = UpdateCommand([spack, "repo", "update"], success_patterns=(r"invalid choice: '?update",))
        return [
            UpdateStep(
                name="git-pull",
                description="Move the checkout forward",
                execute_fn=self._pull,
                mutexes=_MUTEXES,
                phase=Phase.EXECUTE,
            ),
            UpdateStep(
                name="update",
                description="Update the package recipes",
                commands=[recipes],
                depends_on=["git-pull"],
                mutexes=_MUTEXES,
            ),
        ]

    async def _is_ancestor(self, commit: str) -> bool:
        """Whether the checkout has a commit already; one that it has never seen it has not."""
        answer = await self._ask("merge-base", "--is-ancestor", commit, "HEAD")
        return answer[0] == 0

    async def _git(self, *arguments: str) -> str:
        """What git prints. Raises StepError with its last line when it fails."""
        code, stdout, stderr = await self._ask(*arguments)
        if code != 0:
            last = stderr.strip().rpartition("\n")[2]
            raise StepError(f"git {arguments[0]} in {self.root}: {last or f'exit code {code}'}")
        return stdout

    async def _ask(self, *arguments: str) -> tuple[int, str, str]:
        answer = await self.query([*_GIT, "-C", str(self.root), *arguments], timeout=_FETCH_SECONDS)
        return answer.code, answer.stdout, answer.stderr
