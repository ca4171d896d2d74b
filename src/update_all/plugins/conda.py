"""What the plugins of conda, mamba and micromamba share: the program, its environments, what it answers.

Sources: conda documentation ("Commands": env list, update, clean; "Managing environments"); CEP 22 for frozen
environments; --json output as conda 23 and micromamba 1.5 print it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from update_all.api import BasePlugin, Change, JsonValue, QueryOutput, StepError

MUTEX = "conda"
OPTIONS = {"program": "conda, mamba or micromamba, or the path of one; else the first on PATH"}
_NOTHING = "All requested packages already installed"
_SOLVE_SECONDS = 300.0


def parse_answer(output: QueryOutput, asked: str) -> Mapping[str, JsonValue]:
    """The JSON object that a command with --json prints. Raises StepError with conda's own message."""
    try:
        answer: JsonValue = json.loads(output.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise StepError(f"{asked} printed no JSON object (exit code {output.code})")
    if not output.ok or answer.get("success") is False or "exception_name" in answer:
        message = str(answer.get("message") or answer.get("error") or f"exit code {output.code}")
        raise StepError(f"{asked}: {message.strip().partition(chr(10))[0]}")
    return answer


def parse_changes(answer: Mapping[str, JsonValue]) -> list[Change]:
    """The changes that a dry run of an update announces, by package. Raises StepError for another shape.

    A package that is only built anew keeps its version and is no update to tell of.
    """
    actions = answer.get("actions")
    if actions is None and str(answer.get("message")).startswith(_NOTHING):
        return []
    if not isinstance(actions, dict):
        raise StepError("the answer of the dry run holds no actions")
    old, new = _versions(actions.get("UNLINK")), _versions(actions.get("LINK"))
    sizes = _sizes(actions.get("FETCH"))
    return [
        Change(name, old.get(name), new.get(name), size_bytes=sizes.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _versions(packages: JsonValue) -> dict[str, str]:
    found: dict[str, str] = {}
    for package in packages if isinstance(packages, list) else []:
        match package:
            case {"name": str(name), "version": str(version)}:
                found[name] = version
    return found


def _sizes(packages: JsonValue) -> dict[str, int]:
    found: dict[str, int] = {}
    for package in packages if isinstance(packages, list) else []:
        match package:
            case {"name": str(name), "size": int(size)}:
                found[name] = size
    return found


def environment_names(prefixes: Sequence[Path], base: Path) -> dict[str, Path]:
    """A name for each environment that can be a step's, in their order, none twice. Pure.

    The base environment is "base", others have the name of their directory; of several with one name the
    later ones also have that of the directory they are in, and a number if need be.
    """
    names: dict[str, Path] = {}
    for prefix in dict.fromkeys(prefixes):
        own = "base" if prefix == base else _plain(prefix.name)
        choices = [own, _plain(f"{own}-{prefix.parent.name}")]
        choices += [f"{choices[1]}-{number}" for number in range(2, len(prefixes) + 2)]
        names[next(name for name in choices if name not in names)] = prefix
    return names


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+@-]+", "-", text).lstrip("._+@-")[:60] or "environment"


def installed_in(prefix: Path) -> dict[str, str]:
    """Package → version, from the names of the files in conda-meta (NAME-VERSION-BUILD.json)."""
    files = (path.stem.rsplit("-", 2) for path in (prefix / "conda-meta").glob("*-*-*.json"))
    return {parts[0]: parts[1] for parts in files}


class CondaPlugin(BasePlugin):
    """A plugin that works with whichever of the programs is here."""

    tags = ("python", "conda")
    options: ClassVar[Mapping[str, str]] = OPTIONS

    @property
    def command(self) -> str:
        wanted = self.config.options.get("program")
        if isinstance(wanted, str):
            return wanted
        found = BasePlugin.detect(self)
        return Path(found.reason).name if found.present else "conda"

    @property
    def is_micromamba(self) -> bool:
        return self.command.rpartition("/")[2] == "micromamba"

    async def ask(self, *arguments: str) -> Mapping[str, JsonValue]:
        """The answer of a command that changes nothing. Raises StepError."""
        command = [self.command, *arguments, "--json"]
        return parse_answer(
            await self.query(command, timeout=_SOLVE_SECONDS), f"{self.command} {arguments[0]}"
        )

    async def base(self) -> Path:
        """The prefix of the base environment. Raises StepError."""
        answer = await self.ask("info")
        prefix = answer.get("root_prefix") or answer.get("base environment")
        if not isinstance(prefix, str):
            raise StepError(f"{self.command} info names no base environment")
        return Path(prefix)

    async def environments(self) -> dict[str, Path]:
        """The environments that may be changed, by name. Raises StepError.

        Left out: those of others, those that their owner froze, and directories that are none.
        """
        listed = (await self.ask("env", "list")).get("envs")
        if not isinstance(listed, list):
            raise StepError(f"{self.command} env list names no environments")
        prefixes = [Path(str(prefix)) for prefix in listed]
        usable = [
            prefix
            for prefix in prefixes
            if os.access(prefix / "conda-meta", os.W_OK) and not (prefix / "conda-meta/frozen").exists()
        ]
        return environment_names(usable, await self.base())

    async def planned(self, prefix: Path, *what: str) -> list[Change]:
        """What an update of an environment would change. Raises StepError."""
        return parse_changes(await self.ask("update", "--prefix", str(prefix), "--dry-run", *what))
