"""Programs that come as archives from their publisher: found, verified, unpacked, switched to in one rename.

A plugin says where the program may live, how to run it, what the newest release is and how its steps are
called; the steps are here. What one finds and another needs is in the facts `version`, `installed` and
`download`.
"""

from __future__ import annotations

import os
import platform
import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from update_all.core.errors import (
    ConfigError,
    DownloadRefusedError,
    MissingFactError,
    StepError,
    UpdateAllError,
    UpToDate,
)
from update_all.core.models import Change, CheckResult, Detection, JsonValue, Phase, UpdateStep
from update_all.core.paths import directories
from update_all.core.streaming import OutputEvent, StreamEvent
from update_all.downloads.spec import DownloadSettings, DownloadSpec, Signature
from update_all.downloads.versions import HighestSeen, version_key
from update_all.plugins.base import BasePlugin
from update_all.plugins.presence import Rule, release

if TYPE_CHECKING:
    from update_all.downloads.cache import Cache
    from update_all.downloads.generations import Generations


@contextmanager
def _as_step_error() -> Iterator[None]:
    """A lock that another process holds, a record that cannot be read, a full disk: the step fails of it."""
    try:
        yield
    except StepError:
        raise
    except UpdateAllError as error:
        raise StepError(error.message, hint=error.hint) from error
    except OSError as error:
        raise StepError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Release:
    """What a publisher offers: a version and the archive it comes in."""

    version: str
    download: DownloadSpec


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the five things that a release goes through."""

    description: str
    body: Callable[[], AsyncIterator[StreamEvent]]
    is_done: Callable[[], bool] | Callable[[], Awaitable[bool]] | None = None
    phase: Phase = Phase.EXECUTE
    mutex: str = ""


def _step(name: str, parts: Sequence[_Part], after: list[str]) -> UpdateStep:
    """The step of one part or several, which is done when its last part is."""

    async def body() -> AsyncIterator[StreamEvent]:
        for part in parts:
            async for event in part.body():
                yield event

    description = ", ".join(part.description for part in parts)
    return UpdateStep(
        name=name,
        description=description[0].upper() + description[1:],
        execute_fn=body,
        check_fn=parts[-1].is_done,
        depends_on=after,
        mutexes=sorted({part.mutex for part in parts} - {""}),
        phase=parts[-1].phase,
    )


class ReleasePlugin(BasePlugin):
    """A program in a directory of its own, replaced as a whole.

    `places` are the directories it may be in, "~" for users only; the first that is there is taken. `smoke`
    is the command that tells its version, its program a path inside the directory; `version_pattern` finds
    the version in the output (group 1). `architectures` maps uname(2)'s machine to the publisher's word;
    `top` and `must_have` are what its archives hold (downloads.archives.extract). `step_names` are the steps
    of `look_up`, `download`, `unpack`, `install` and `switch`; neighbours of one name are one step.

    DIRECTORY becomes a link to DIRECTORY-versions/current, beside it; a plain directory is adopted, and is
    there at every instant.
    """

    options: ClassVar[Mapping[str, str]] = {
        "directory": "where the program is or shall be, an absolute path",
        "feed": "another address that tells the versions",
        "mirror": "another address to fetch from",
        "keyring": "a file of keys: the publisher's signature is checked too",
        "allow_downgrade": "accept a version older than one offered before (false)",
        "allow_unverified": "accept what is published without checksum or signature (false)",
        "allow_http": "hosts from which a file with a known checksum may come over plain HTTP",
        "bandwidth": "most bytes per second, a whole number",
    }

    places: ClassVar[tuple[str, ...]] = ()
    smoke: ClassVar[tuple[str, ...]] = ()
    version_pattern: ClassVar[str] = r"(\d\S*)"
    architectures: ClassVar[Mapping[str, str]] = {}
    top: ClassVar[str] = ""
    must_have: ClassVar[tuple[str, ...]] = ()
    step_names: ClassVar[tuple[str, str, str, str, str]] = (
        "check",
        "download",
        "extract",
        "install",
        "install",
    )

    @abstractmethod
    async def newest_release(self) -> Release:
        """What the publisher offers now. Raises StepError (DownloadError) when that cannot be known."""

    @property
    def architecture(self) -> str:
        """The publisher's word for this machine. Raises StepError where it has none."""
        machine = platform.machine()
        if machine not in self.architectures:
            raise StepError(f"not applicable: the publisher has no build for {machine or 'this machine'}")
        return self.architectures[machine]

    @property
    def directory(self) -> Path:
        """Where the program is, or is wanted. Raises StepError when it is in none of its places."""
        chosen = self.option("directory")
        if chosen:
            path = Path(chosen).expanduser()
            if not path.is_absolute():
                raise ConfigError(f"[plugin.{self.name}] directory must be an absolute path, got {chosen!r}")
            return path
        found = super().detect()
        if not found.present:
            raise StepError(found.reason)
        return Path(found.reason)

    @property
    def _rule(self) -> Rule:
        return super()._rule if self.presence else release(*self.places)

    @property
    def _is_there(self) -> bool:
        return os.path.lexists(self.directory)

    @property
    def generations(self) -> Generations:
        """The installed versions. Raises StepError when the program is in none of its places."""
        from update_all.downloads.generations import Generations

        directory = self.directory
        return Generations(directory.with_name(f"{directory.name}-versions"))

    def detect(self) -> Detection:
        try:
            directory = self.directory
            _ = self.architecture
            self._require_ours(directory)
        except StepError as error:
            return Detection(False, error.message)
        if not os.access(directory.parent, os.W_OK | os.X_OK):
            owner = "root" if directory.parent.stat().st_uid == 0 else "somebody else"
            return Detection(False, f"it belongs to {owner}: run update-all as {owner} to update {directory}")
        return Detection(True, str(directory))

    def _require_ours(self, directory: Path) -> None:
        if not directory.parent.is_dir():
            raise StepError(f"there is no directory {directory.parent}")
        if not directory.is_symlink():
            return
        generations = self.generations
        target = directory.readlink()
        if target != generations.current and target.parent != generations.versions:
            raise StepError(f"it is a link to {target}, which is left alone: {directory}")

    def get_update_steps(self) -> list[UpdateStep]:
        unverified = " (unverified, if it has no checksum)" if self._flag("allow_unverified") else ""
        parts = (
            _Part("look for a new version", self.look_up, None, Phase.CHECK, "network"),
            _Part(
                f"fetch the archive{unverified}", self.download, self.is_downloaded, Phase.DOWNLOAD, "network"
            ),
            _Part("unpack it beside the installed versions", self.unpack, self.is_unpacked),
            _Part("make it an installed version, if it runs", self.install, self.is_installed),
            _Part("lead the link to the new version", self.switch),
        )
        named = zip(self.step_names, parts, strict=True)
        groups = [(name, [part for _, part in group]) for name, group in groupby(named, itemgetter(0))]
        before: list[list[str]] = [[], *([name] for name, _ in groups)]
        return [_step(name, group, after) for (name, group), after in zip(groups, before, strict=False)]

    async def get_installed_version(self) -> str | None:
        """The version the program tells; None where there is no program yet. Raises StepError."""
        program = self.directory / self.smoke[0]
        if not self._is_there:
            return None
        answer = await self.query([str(program), *self.smoke[1:]], cwd="/")
        match = re.search(self.version_pattern, answer.stdout)
        if not answer.ok or match is None:
            raise StepError(f"{program} does not tell its version")
        return match[1]

    async def get_available_version(self) -> str | None:
        return (await self.newest_release()).version

    async def installed_versions(self) -> Mapping[str, str] | None:
        version = await self.get_installed_version()
        return {} if version is None else {self.command: version}

    async def check(self) -> CheckResult:
        try:
            installed, release = await self.get_installed_version(), await self._offered()
        except StepError as error:
            return CheckResult.cannot_know(error.described)
        if not self._is_wanted(installed, release.version):
            return CheckResult.of([])
        return CheckResult.of(
            [Change(self.command, installed, release.version, size_bytes=release.download.size)]
        )

    async def look_up(self) -> AsyncIterator[StreamEvent]:
        """Find the newest release and note it. Raises UpToDate, and StepError for one that is refused."""
        with _as_step_error():
            installed, release = await self.get_installed_version(), await self._offered()
        if not self._is_wanted(installed, release.version):
            raise UpToDate(f"{self.command} {installed} is the newest version")
        with _as_step_error():
            self._seen.record(
                self.name,
                release.version,
                release.download.digest,
                allow_downgrade=self._flag("allow_downgrade"),
            )
        self.facts["installed"], self.facts["version"] = installed, release.version
        self.facts["download"] = release.download.to_fact()
        yield OutputEvent(line=f"{self.command} {installed or '(none)'} → {release.version}")

    async def download(self) -> AsyncIterator[StreamEvent]:
        """Bring the archive into the cache, verified."""
        from update_all.downloads.fetch import fetch

        with _as_step_error():
            async for event in fetch(self._download, self._cache, settings=self._settings):
                yield event

    async def is_downloaded(self) -> bool:
        return self.is_installed() or await self._cache.lookup(self._download) is not None

    async def unpack(self) -> AsyncIterator[StreamEvent]:
        """Unpack the archive, verified once more, beside the installed versions."""
        from update_all.downloads.archives import extract

        with _as_step_error():
            if self.is_unpacked():
                return
            archive = await self._cache.lookup(self._download)
            if archive is None:
                raise StepError(
                    f"{self._download.filename} is no longer in the cache",
                    hint=f"update-all run --plugin {self.name} --resume-from {self.step_names[1]}",
                )
            staged = self.generations.staged(self._version)
            unpacked = await extract(
                archive,
                staged,
                expect_top=self.top,
                must_have=self.must_have,
                label=self._download.filename,
            )
        yield OutputEvent(line=f"{unpacked.entries} entries, {unpacked.bytes} bytes")

    def is_unpacked(self) -> bool:
        return self.is_installed() or self.generations.staged(self._version).is_dir()

    async def install(self) -> AsyncIterator[StreamEvent]:
        """Make what was unpacked a version, if it runs. What people run is not touched."""
        import asyncio

        generations, version = self.generations, self._version
        with _as_step_error():
            staged = generations.staged(version)
            path = await asyncio.to_thread(generations.place, staged, version, self.smoke)
        yield OutputEvent(line=f"installed as {path}")

    def is_installed(self) -> bool:
        return self.generations.path(self._version).is_dir()

    async def switch(self) -> AsyncIterator[StreamEvent]:
        """Lead people to the new version; back to the old one if it does not run. Old versions are pruned."""
        import asyncio

        with _as_step_error():
            line = await asyncio.to_thread(self._switch)
        yield OutputEvent(line=line)

    def _switch(self) -> str:
        directory, generations, installed = self.directory, self.generations, self.facts.get("installed")
        if isinstance(installed, str):
            generations.adopt(directory, installed)
        generations.switch(self._version, self.smoke)
        if not directory.is_symlink():
            directory.symlink_to(generations.current)
        generations.prune()
        return f"{directory} is version {self._version}"

    async def rollback(self) -> str:
        import asyncio

        self._require_ours(self.directory)
        version = await asyncio.to_thread(self.generations.rollback)
        return f"{self.directory} is version {version} again"

    def option(self, name: str, default: str = "") -> str:
        """An option that holds text. Raises ConfigError for anything else."""
        value = self.config.options.get(name, default)
        if not isinstance(value, str):
            raise ConfigError(f"[plugin.{self.name}] {name} must be a string, got {value!r}")
        return value

    async def fetch_json(self, url: str) -> JsonValue:
        """A small JSON document of the publisher, under the user's settings. Raises DownloadError."""
        from update_all.downloads.documents import fetch_json

        return await fetch_json(url, settings=self._settings)

    async def fetch_text(self, url: str) -> str:
        """A small text of the publisher, under the user's settings. Raises DownloadError."""
        from update_all.downloads.documents import fetch_text

        return await fetch_text(url, settings=self._settings)

    def signature(self, url: str) -> Signature | None:
        """The signature at `url`, where the user has named the keyring to check it with."""
        keyring = self.option("keyring")
        return Signature(url, Path(keyring).expanduser()) if keyring else None

    async def _offered(self) -> Release:
        """The newest release, unless it is older than one offered before, or the same with other bytes."""
        release = await self.newest_release()
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}", release.version):
            raise DownloadRefusedError(f"{release.version!r} cannot be the name of a version")
        digest = release.download.digest
        self._seen.require(
            self.name, release.version, digest=digest, allow_downgrade=self._flag("allow_downgrade")
        )
        return release

    def _is_wanted(self, installed: str | None, offered: str) -> bool:
        if installed is None:
            return True
        if self._flag("allow_downgrade"):
            return version_key(offered) != version_key(installed)
        return version_key(offered) > version_key(installed)

    def _flag(self, name: str) -> bool:
        value = self.config.options.get(name, False)
        if not isinstance(value, bool):
            raise ConfigError(f"[plugin.{self.name}] {name} must be true or false, got {value!r}")
        return value

    @property
    def _settings(self) -> DownloadSettings:
        hosts, rate = self.config.options.get("allow_http", []), self.config.options.get("bandwidth")
        if not isinstance(hosts, list) or not (rate is None or type(rate) is int):
            raise ConfigError(f"[plugin.{self.name}] allow_http must be a list, bandwidth a whole number")
        return DownloadSettings(
            bandwidth=rate,
            allow_unverified=self._flag("allow_unverified"),
            http_hosts=frozenset(map(str, hosts)),
        )

    @property
    def _cache(self) -> Cache:
        from update_all.downloads.cache import Cache

        return Cache(directories().cache / "downloads")

    @property
    def _seen(self) -> HighestSeen:
        return HighestSeen(directories().state / "releases" / f"{self.name}.json")

    @property
    def _version(self) -> str:
        version = self.facts.get("version")
        if not isinstance(version, str):
            raise MissingFactError("the fact 'version' is missing", hint=f"update-all run {self.name}")
        return version

    @property
    def _download(self) -> DownloadSpec:
        return DownloadSpec.from_fact(self.facts.get("download"))
