"""Debian and Ubuntu packages through apt-get and dpkg.

Sources: apt-get(8), apt.conf(5), dpkg(1), dpkg-query(1); exit codes and output seen with apt 2.6.1 and dpkg
1.21.22. Every command line can be pointed at a private root by APT_CONFIG (apt-config(8)) and DPKG_ADMINDIR.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from update_all.api import (
    BasePlugin,
    Change,
    CheckResult,
    OutputEvent,
    Phase,
    StepError,
    StreamEvent,
    UpdateCommand,
    UpdateStep,
    UpToDate,
)
from update_all.plugins.apt_output import (
    PLACES,
    Places,
    age_in_words,
    parse_installed,
    parse_places,
    parse_simulation,
    parse_sizes,
    with_sizes,
)

FRESH_SECONDS = 3600.0
"""Package lists that a complete refresh brought within this time are not fetched again."""

MODES: Mapping[str, tuple[str, ...]] = {
    "upgrade": ("upgrade", "--with-new-pkgs"),
    "full-upgrade": ("dist-upgrade",),
}
"""Values of the option `mode`. "upgrade" installs what new versions need and never removes a package."""

# sudo drops the environment, so what keeps apt from asking and from giving up on a lock is said by argument.
_DPKG_POLICY = ("--force-confdef", "--force-confold")
_APT = (
    "apt-get",
    "-q",
    "-y",
    *(word for option in _DPKG_POLICY for word in ("-o", f"Dpkg::Options::={option}")),
    "-o",
    "DPkg::Lock::Timeout=600",
)

# dpkg does not wait for its lock, and a dpkg whose apt-get was killed holds it until its script ends.
# `apt-get check` takes the same locks and waits; that it then fails where dpkg was interrupted is expected.
_WAIT_AND_CONFIGURE = (
    UpdateCommand(
        [*_APT, "check"],
        "Wait for the locks of dpkg",
        sudo=True,
        ignore_exit_codes=(100,),
    ),
    UpdateCommand(
        ["dpkg", "--configure", "-a", *_DPKG_POLICY], "Finish interrupted installations", sudo=True
    ),
)


class AptPlugin(BasePlugin):
    """All packages of the distribution. Raises StepError for an option that has another value than it may."""

    description = "Packages of Debian, Ubuntu and their relatives"
    tags = ("system",)
    presence = "apt"
    options: ClassVar = {
        "mode": '"upgrade", or "full-upgrade", which may remove packages',
        "autoremove": "remove packages that nothing needs any more (true)",
    }

    @property
    def name(self) -> str:
        return "apt"

    @property
    def command(self) -> str:
        return "apt-get"

    @property
    def sudo_commands(self) -> Sequence[str]:
        return ("apt-get", "dpkg")

    def get_update_steps(self) -> list[UpdateStep]:
        """repair, refresh, compare, download, upgrade, autoremove.

        Mutexes follow apt's own locks: `apt-get update` holds only that of the lists; everything else,
        `--download-only` too, takes dpkg's front-end lock. So a plugin that installs packages can fetch them
        while apt upgrades, but not install them.
        """
        return [
            UpdateStep(
                "repair",
                "Finish what an interrupted dpkg left behind",
                commands=[
                    *_WAIT_AND_CONFIGURE,
                    UpdateCommand([*_APT, "--fix-broken", "--no-remove", "install"], sudo=True),
                ],
                check_fn=self._is_sound,
                mutexes=["dpkg"],
                sudo=True,
                uninterruptible=True,
            ),
            UpdateStep(
                "refresh",
                "Fetch the package lists",
                # Without this mode an unreachable server is a warning, and old lists pass for new ones.
                commands=[UpdateCommand([*_APT, "-o", "APT::Update::Error-Mode=any", "update"], sudo=True)],
                depends_on=["repair"],
                check_fn=self._lists_are_fresh,
                mutexes=["apt-lists"],
                sudo=True,
                phase=Phase.DOWNLOAD,
            ),
            UpdateStep(
                "compare",
                "Compare installed and available versions",
                execute_fn=self._compare,
                depends_on=["refresh"],
                phase=Phase.DOWNLOAD,
            ),
            UpdateStep(
                "download",
                "Download new packages",
                commands=[UpdateCommand([*_APT, "--download-only", *self._upgrade], sudo=True)],
                depends_on=["compare"],
                mutexes=["apt-lists", "dpkg"],
                sudo=True,
                phase=Phase.DOWNLOAD,
            ),
            UpdateStep(
                "upgrade",
                "Install new packages",
                # A resumed run begins here, after the repair it did before it was killed.
                commands=[*_WAIT_AND_CONFIGURE, UpdateCommand([*_APT, *self._upgrade], sudo=True)],
                depends_on=["download"],
                mutexes=["dpkg"],
                sudo=True,
                uninterruptible=True,
            ),
            *self._autoremove_steps(),
        ]

    def _autoremove_steps(self) -> list[UpdateStep]:
        if not self._autoremove:
            return []
        return [
            UpdateStep(
                "autoremove",
                "Remove packages that nothing needs any more",
                commands=[UpdateCommand([*_APT, "autoremove"], sudo=True)],
                depends_on=["upgrade"],
                check_fn=self._nothing_to_remove,
                mutexes=["dpkg"],
                sudo=True,
                uninterruptible=True,
            )
        ]

    async def check(self) -> CheckResult:
        """What the package lists say. Old lists, or lists of a partial refresh, do not prove "up to date"."""
        try:
            places = await self._places()
            doubt = _doubt(places, time.time()) or await self._interruption()
            if doubt:
                return CheckResult.cannot_know(doubt, runnable=True)
            pending = await self._pending()
        except StepError as error:
            return CheckResult.cannot_know(error.message)
        if not pending and not _is_refreshed(places, time.time()):
            reason = "the package lists hold nothing new, but may be incomplete; the run refreshes them"
            return CheckResult.cannot_know(reason, runnable=True)
        return CheckResult.of(pending)

    async def installed_versions(self) -> Mapping[str, str]:
        import asyncio

        places, listed = await asyncio.gather(
            self._places(),
            self._ask(
                "dpkg-query",
                "--show",
                "--showformat=${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Abbrev}\\n",
            ),
        )
        return parse_installed(listed, places.architecture)

    @property
    def _upgrade(self) -> tuple[str, ...]:
        mode = self.config.options.get("mode", "upgrade")
        if mode not in MODES:
            raise StepError(f"plugin apt: mode is {mode!r}", hint=f"use one of {', '.join(sorted(MODES))}")
        return MODES[str(mode)]

    @property
    def _autoremove(self) -> bool:
        value = self.config.options.get("autoremove", True)
        if not isinstance(value, bool):
            raise StepError(f"plugin apt: autoremove is {value!r}", hint="use true or false")
        return value

    async def _ask(self, *argv: str) -> str:
        answer = await self.query(argv)
        if not answer.ok:
            message = answer.stderr.strip().splitlines() or ["no message"]
            raise StepError(f"{shlex.join(argv)} ended with {answer.code}: {message[-1]}")
        return answer.stdout

    async def _places(self) -> Places:
        return parse_places(
            await self._ask("apt-config", "shell", *(word for pair in PLACES.items() for word in pair))
        )

    async def _pending(self) -> list[Change]:
        """All that a run would install and remove, with sizes. Raises StepError when apt cannot say."""
        import asyncio

        simulate = ("apt-get", "-s", "-qq")
        upgraded, uris, removed = await asyncio.gather(
            self._ask(*simulate, *self._upgrade),
            self.query(["apt-get", "-qq", "--print-uris", *self._upgrade]),
            self._ask(*simulate, "autoremove") if self._autoremove else _nothing(),
        )
        simulation = parse_simulation(upgraded)
        changes = with_sizes(simulation, parse_sizes(uris.stdout)) if uris.ok else simulation.changes
        seen = {change.item for change in changes}
        return [*changes, *(c for c in parse_simulation(removed).changes if c.item not in seen)]

    async def _interruption(self) -> str:
        return "" if await self._is_sound() else "dpkg was interrupted; the run repairs that first"

    async def _is_sound(self) -> bool:
        import asyncio

        places = await self._places()
        if places.journal.is_dir() and any(places.journal.iterdir()):
            return False
        audit, simulated = await asyncio.gather(
            self._ask("dpkg", "--audit"), self.query(["apt-get", "-s", "-qq", *self._upgrade])
        )
        return simulated.ok and not audit.strip() and not parse_simulation(simulated.stdout).unfinished

    async def _lists_are_fresh(self) -> bool:
        return _is_refreshed(await self._places(), time.time())

    async def _nothing_to_remove(self) -> bool:
        return not parse_simulation(await self._ask("apt-get", "-s", "-qq", "autoremove")).changes

    async def _compare(self) -> AsyncIterator[StreamEvent]:
        if not await self._lists_are_fresh():
            _note_refresh(await self._places())
        pending = await self._pending()
        if not pending:
            raise UpToDate("all packages are up to date")
        lines = (f"{change.item} {change.old or 'new'} → {change.new or 'removed'}" for change in pending)
        yield OutputEvent(plugin_name=self.name, step_name="compare", line="\n".join(lines))


async def _nothing() -> str:
    return ""


# A refresh that found nothing new leaves no trace in apt's files, and one that failed half-way leaves the
# same as a complete one. So a file of our own says when a complete refresh ended, and of which lists.
def _stamp() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else Path.home() / ".cache") / "update-all" / "apt-refreshed"


def _note_refresh(places: Places) -> None:
    stamp = _stamp()
    # Where it cannot be written, the next run refreshes once more.
    with contextlib.suppress(OSError):
        stamp.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp.write_text(f"{places.lists}\n", encoding="utf-8")


def _refreshed_at(places: Places) -> float:
    """When the last complete refresh of these lists ended; 0 where none is known. Seconds since 1970."""
    try:
        stamp = _stamp()
        noted = stamp.read_text(encoding="utf-8") == f"{places.lists}\n"
        return stamp.stat().st_mtime if noted else 0.0
    except (OSError, UnicodeDecodeError):
        return 0.0


def _is_refreshed(places: Places, now: float) -> bool:
    """Whether a complete refresh within the last hour is known, of the sources as they are now."""
    refreshed = _refreshed_at(places)
    return not _doubt(places, now) and 0 <= now - refreshed < FRESH_SECONDS and _changed(places) <= refreshed


def _doubt(places: Places, now: float) -> str:
    """Why the lists say nothing about today, or ""."""
    try:
        if not any(path.is_file() and path.name != "lock" for path in places.lists.iterdir()):
            return "the package lists were never fetched; the run fetches them"
        # The folder changes whenever a refresh brings something new, whoever did it.
        newest = max(places.lists.stat().st_mtime, _refreshed_at(places))
    except OSError as error:
        return f"the package lists cannot be read ({error.strerror}); the run fetches them"
    if _changed(places) > newest:
        return "the package sources have changed since the lists were fetched; the run refreshes them"
    if now < newest:
        return "the package lists are newer than the clock; the run refreshes them"
    if now - newest < FRESH_SECONDS:
        return ""
    return f"the package lists are {age_in_words(now - newest)} old; the run refreshes them"


def _changed(places: Places) -> float:
    """When the list of sources was last changed; 0 where there is none."""
    files = [*places.sources, *places.sources[1].glob("*")]
    times = [0.0]
    for path in files:
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)
