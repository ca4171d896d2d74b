"""What the two plugins of TeX Live share: where it is, what tlmgr prints, what it has installed.

Sources: tlmgr(1) ("MACHINE-READABLE OUTPUT", "USER MODE"); tlmgr 63068 (2022) for messages and exit codes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from update_all.api import BasePlugin, Change, CheckResult, StepError, UpdateCommand

_ITSELF = re.compile(r"texlive\.infra(\..+)?")
_RECORD = re.compile(r"^name (\S+)\n(?:(?!name ).*\n)*?revision (\d+)$", re.MULTILINE)
_OTHER_RELEASE = re.compile(
    r"is older than remote repository|do not include the version of the local|are not compatible:"
)
SECONDS = 120.0
"""How long a question to the repository may take."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of packages. `tlmgr` is the program; `user`: a tree below TEXMFHOME, in tlmgr's user mode."""

    root: Path
    tlmgr: Path
    user: bool

    @property
    def database(self) -> Path:
        return self.root / "tlpkg/texlive.tlpdb"

    @property
    def writable(self) -> bool:
        return os.access(self.database.parent, os.W_OK)


def parse_updates(text: str) -> list[tuple[str, Change]]:
    """Flag and change of each package in `tlmgr --machine-readable update --list`.

    "u" is an update, "a" a new member of an installed collection, "d" was removed at the publisher; others
    need nothing. Raises StepError unless the list came to its end.
    """
    _, header, rest = text.partition("end-of-header\n")
    body, end, _ = rest.partition("end-of-updates")
    if not header or not end:
        raise StepError("tlmgr did not finish its list of updates")
    found: list[tuple[str, Change]] = []
    for line in body.splitlines():
        package, flag, old, new, size, *_ = [*line.split("\t"), "", "", "", ""]
        before = old if old.isdecimal() else None
        bytes_ = int(size) if size.isdecimal() else None
        if flag in ("u", "a"):
            found.append((flag, Change(package, before if flag == "u" else None, new, size_bytes=bytes_)))
        elif flag == "d":
            found.append((flag, Change(package, before)))
    return found


def parse_database(text: str) -> dict[str, str]:
    """Package → revision of texlive.tlpdb; entries that begin with "00" describe the tree itself."""
    return {match[1]: match[2] for match in _RECORD.finditer(text) if not match[1].startswith("00")}


def is_itself(package: str) -> bool:
    """Whether a package is part of tlmgr, which must be updated before all others."""
    return _ITSELF.fullmatch(package) is not None


class TexLivePlugin(BasePlugin):
    """One tree of TeX Live."""

    tags = ("tex",)
    options: ClassVar[Mapping[str, str]] = {
        "repository": "the address of a repository, instead of the tree's own",
        "user_mode": "update the tree below TEXMFHOME (where tlmgr came as a package, true)",
    }

    @property
    def command(self) -> str:
        return "tlmgr"

    @property
    def sudo_commands(self) -> Sequence[str]:
        try:
            return (str(self.tree().tlmgr),)
        except StepError:
            return ()

    def tree(self) -> Tree:
        """Raises StepError, saying why, where there is none to update."""
        found = super().detect()
        if not found.present:
            raise StepError(found.reason)
        root, tlmgr = Path(found.reason), Path(shutil.which("tlmgr") or "tlmgr")
        # A tree of user mode holds no programs.
        return Tree(root, tlmgr, user=not tlmgr.resolve().is_relative_to(root.resolve()))

    async def installed_versions(self) -> Mapping[str, str] | None:
        try:
            return parse_database(self.tree().database.read_text("utf-8"))
        except OSError as error:
            raise StepError(f"cannot read the packages of TeX Live: {error}") from error

    async def check(self) -> CheckResult:
        try:
            updates = await self.list_updates()
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        return CheckResult.of([change for _, change in updates if self.is_mine(change.item)])

    def is_mine(self, package: str) -> bool:
        """Whether the plugin updates a package."""
        return not is_itself(package)

    async def list_updates(self) -> list[tuple[str, Change]]:
        """What the repository has that is newer. Raises StepError when that cannot be known."""
        command = self.tlmgr("--machine-readable", "update", "--list")
        answer = await self.query(command, timeout=SECONDS)
        if _OTHER_RELEASE.search(answer.stderr + answer.stdout):
            raise StepError(
                "TeX Live cannot be updated across releases: the repository holds another year than is"
                " installed; the next release is installed beside it"
            )
        if not answer.ok:
            lines = [line for line in answer.stderr.splitlines() if line.strip()]
            raise StepError(f"tlmgr does not answer: {lines[-1] if lines else f'exit code {answer.code}'}")
        return parse_updates(answer.stdout)

    def tlmgr(self, *arguments: str) -> list[str]:
        """The command, for the tree and repository that are configured."""
        repository = self.config.options.get("repository")
        options = ["--repository", str(repository)] if repository else []
        try:
            tree = self.tree()
        except StepError:
            return ["tlmgr", *options, *arguments]
        if tree.user:
            options = ["--usermode", "--usertree", str(tree.root), *options]
        return [str(tree.tlmgr), *options, *arguments]

    @property
    def needs_root(self) -> bool:
        """Whether the tree is somebody else's."""
        try:
            return not self.tree().writable
        except StepError:
            return False

    def update_command(self, *arguments: str, description: str) -> UpdateCommand:
        """A command that changes the tree, as root where need be."""
        return UpdateCommand(
            self.tlmgr(*arguments),
            description,
            sudo=self.needs_root,
            error_patterns=(r"tlmgr itself needs to be updated",),
        )
