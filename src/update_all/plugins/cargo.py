"""Programs that `cargo install` built.

Sources: the Cargo Book ("cargo install", "cargo add", "Configuration"); `$CARGO_HOME/.crates2.json` as cargo
1.95 writes it. Cargo has no list of outdated programs, but `cargo add --dry-run` reads the index, and only
the index, for the crates it is given.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

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

_KEY = re.compile(r"(\S+) (\S+) \((registry|sparse)\+(\S+)\)")
# The name cargo records for its default registry, also where the configuration replaces it by a mirror.
_DEFAULT_INDEX = "/crates.io-index"
_ADDING = re.compile(r"\s*Adding (\S+) v(\S+) to dependencies")
_UNKNOWN = re.compile(r"error: the crate `([^`]+)` could not be found in registry index")
_HOST = re.compile(r"^host: (\S+)$", re.MULTILINE)
_MANIFEST = '[package]\nname = "update-all-probe"\nversion = "0.0.0"\nedition = "2021"\n'
_QUICK_INDEX = {"CARGO_NET_RETRY": "0", "CARGO_HTTP_TIMEOUT": "10"}


@dataclass(frozen=True, slots=True)
class Crate:
    """An installed crate of the default registry, and the options to build it again as it was."""

    name: str
    version: str
    options: tuple[str, ...]


def parse_crates(text: str) -> list[Crate]:
    """The contents of `.crates2.json`, without crates from elsewhere and those installed by `--version`.

    Raises StepError for anything else.
    """
    try:
        data: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    installs = data.get("installs") if isinstance(data, dict) else None
    if not isinstance(installs, dict):
        raise StepError(".crates2.json does not hold what cargo writes there")
    crates: list[Crate] = []
    for key, value in installs.items():
        match = _KEY.fullmatch(key)
        entry = value if isinstance(value, dict) else {}
        if match and match[4].endswith(_DEFAULT_INDEX) and not entry.get("version_req"):
            crates.append(Crate(match[1], match[2], _options(entry)))
    return crates


def _options(entry: Mapping[str, JsonValue]) -> tuple[str, ...]:
    options: list[str] = []
    features = entry.get("features")
    if isinstance(features, list) and features:
        options += ["--features", ",".join(str(feature) for feature in features)]
    if entry.get("all_features"):
        options.append("--all-features")
    if entry.get("no_default_features"):
        options.append("--no-default-features")
    if entry.get("profile") not in (None, "release"):
        options += ["--profile", str(entry["profile"])]
    host = _HOST.search(str(entry.get("rustc")))
    if host and entry.get("target") not in (None, host[1]):
        options += ["--target", str(entry["target"])]
    return tuple(options)


def parse_additions(text: str) -> dict[str, str]:
    """Crate → newest version, from `Adding name v1.2.3 to dependencies` of `cargo add`."""
    matches = (_ADDING.match(line) for line in text.splitlines())
    return {match[1]: match[2] for match in matches if match is not None}


class CargoPlugin(BasePlugin):
    """Programs installed from the default registry.

    Programs installed with an explicit version, from git or from another registry are left alone.
    """

    description = "Programs installed by cargo install"
    tags = ("rust",)
    options: ClassVar = {"locked": "build with the versions that the author has locked (true)"}

    @property
    def name(self) -> str:
        return "cargo"

    @property
    def command(self) -> str:
        return "cargo"

    @property
    def dependencies(self) -> Sequence[str]:
        """New compilers first: programs are built by them."""
        return ("rustup",)

    async def check(self) -> CheckResult:
        try:
            installed = await self.installed_versions()
            newest = await self._newest(list(installed))
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        return CheckResult.of(newer(installed, newest))

    async def installed_versions(self) -> Mapping[str, str]:
        return {crate.name: crate.version for crate in self._crates()}

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """One step with a command for each crate.

        No version is named: cargo would record it, and it would look like the user's wish.
        """
        options = {crate.name: crate.options for crate in self._crates()}
        locked = ["--locked"] if self.config.options.get("locked", True) else []
        commands = [
            UpdateCommand(
                ["cargo", "install", *locked, *options.get(change.item, ()), change.item],
                f"Build {change.item} {change.new}",
            )
            for change in check.updates
        ]
        if not commands:
            return []
        return [
            UpdateStep(
                "install",
                "Build and install new versions",
                commands=commands,
                mutexes=["cargo"],
                independent_commands=True,
            )
        ]

    def _crates(self) -> list[Crate]:
        home = os.environ.get("CARGO_INSTALL_ROOT") or os.environ.get("CARGO_HOME")
        try:
            return parse_crates((Path(home or Path.home() / ".cargo") / ".crates2.json").read_text("utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise StepError(f"cannot read .crates2.json: {error}") from error

    async def _newest(self, names: Sequence[str]) -> dict[str, str]:
        """The newest version of each crate; those that the index does not have are left out.

        Raises StepError when the index does not answer.
        """
        wanted = list(names)
        with tempfile.TemporaryDirectory(prefix="update-all-cargo-") as folder:
            manifest = Path(folder) / "Cargo.toml"
            manifest.write_text(_MANIFEST, encoding="utf-8")
            (Path(folder) / "src").mkdir()
            (Path(folder) / "src" / "lib.rs").touch()
            while wanted:
                answer = await self._add(manifest, wanted)
                if answer.ok:
                    return _complete(parse_additions(answer.stderr), wanted)
                unknown = _UNKNOWN.search(answer.stderr)
                if unknown is None or unknown[1] not in wanted:
                    raise StepError(f"the crate index does not answer: {_last_line(answer.stderr)}")
                wanted.remove(unknown[1])
        return {}

    async def _add(self, manifest: Path, names: Sequence[str]) -> QueryOutput:
        # From the home directory: a project's own .cargo/config.toml must not decide.
        command = ["cargo", "add", "--dry-run", "--manifest-path", str(manifest), *names]
        return await self.query(command, env=_QUICK_INDEX, cwd=Path.home())


def _complete(newest: dict[str, str], wanted: Sequence[str]) -> dict[str, str]:
    missing = sorted(set(wanted) - set(newest))
    if missing:
        raise StepError(f"cargo add says nothing of {', '.join(missing)}")
    return newest


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no message"
