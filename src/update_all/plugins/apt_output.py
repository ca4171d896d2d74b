"""What apt and dpkg print, read into values.

Sources: apt-get(8), apt-config(8), dpkg-query(1); output seen with apt 2.6.1 and dpkg 1.21.22.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from update_all.api import Change, StepError

PLACES = {
    "ARCHITECTURE": "APT::Architecture",
    "LISTS": "Dir::State::lists/d",
    "STATUS": "Dir::State::status/f",
    "SOURCE_LIST": "Dir::Etc::sourcelist/f",
    "SOURCE_PARTS": "Dir::Etc::sourceparts/d",
}
"""Names that `parse_places` wants → what `apt-config shell` is asked for under that name."""

_INST = re.compile(r"Inst (\S+)(?: \[([^\]]*)\])? \((\S+)(?: (.*?))? ?\[([^\]]+)\]\)")
_REMV = re.compile(r"Remv (\S+)(?: \[([^\]]*)\])?")
_CONF = re.compile(r"Conf (\S+) ")
_URI = re.compile(r"'[^']*' (\S+)_([^_ ]+)_([^_ ]+)\.deb (\d{1,18})(?: |$)")


@dataclass(frozen=True, slots=True)
class Simulation:
    """What `apt-get -s` says it would do. `unfinished`: unpacked earlier and not configured since."""

    changes: tuple[Change, ...]
    unfinished: tuple[str, ...]
    architectures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Where this apt keeps things: apt-config(8) knows, also in a private root."""

    architecture: str
    lists: Path
    sources: tuple[Path, ...]
    journal: Path


def parse_simulation(text: str) -> Simulation:
    """`Inst`, `Remv` and `Conf` lines of `apt-get -s`; anything else is ignored.

    A version is a security update when one of its origins names a security archive (Debian-Security,
    jammy-security, …).
    """
    changes: list[Change] = []
    architectures: list[str] = []
    configured: list[str] = []
    for line in text.splitlines():
        if match := _INST.match(line):
            name, old, new, origins, architecture = match.groups()
            changes.append(Change(name, old, new, security="security" in (origins or "").lower()))
            architectures.append(architecture)
        elif match := _REMV.match(line):
            changes.append(Change(match[1], match[2], None))
            architectures.append("")
        elif match := _CONF.match(line):
            configured.append(match[1])
    installed = {change.item for change in changes}
    unfinished = tuple(name for name in configured if name not in installed)
    return Simulation(tuple(changes), unfinished, tuple(architectures))


def parse_sizes(text: str) -> dict[tuple[str, str, str], int]:
    """(package, version, architecture) → bytes to fetch, from `apt-get --print-uris`.

    A file that lies in the archive cache already, or in a `file:` repository, is not printed.
    """
    matches = (_URI.match(line) for line in text.splitlines())
    return {(m[1], unquote(m[2]), m[3]): int(m[4]) for m in matches if m is not None}


def with_sizes(simulation: Simulation, sizes: Mapping[tuple[str, str, str], int]) -> tuple[Change, ...]:
    """The changes with their download sizes; what `sizes` does not name needs no download."""
    return tuple(
        replace(change, size_bytes=sizes.get((change.item.partition(":")[0], change.new, architecture), 0))
        if change.new is not None
        else change
        for change, architecture in zip(simulation.changes, simulation.architectures, strict=True)
    )


def parse_places(text: str) -> Places:
    """The answer of `apt-config shell` to PLACES. Raises StepError where a value is missing."""
    try:
        values = dict(word.partition("=")[::2] for word in shlex.split(text) if "=" in word)
        return Places(
            architecture=values["ARCHITECTURE"],
            lists=Path(values["LISTS"]),
            sources=(Path(values["SOURCE_LIST"]), Path(values["SOURCE_PARTS"])),
            # apt's own test for "dpkg was interrupted": files in `updates` beside the status file.
            journal=Path(values["STATUS"]).parent / "updates",
        )
    except KeyError as error:
        raise StepError(f"apt-config does not know {error.args[0]}") from None
    except ValueError as error:
        raise StepError(f"apt-config printed garbage: {error}") from None


def parse_installed(text: str, native: str) -> dict[str, str]:
    """Package → version from `dpkg-query -W` in the format of `installed_versions`.

    Only what is installed and configured; a package of a foreign architecture is `name:architecture`, as apt
    writes it. Raises StepError for anything else.
    """
    versions: dict[str, str] = {}
    for line in text.splitlines():
        match line.split("\t"):
            case [name, architecture, version, status]:
                pass
            case _:
                raise StepError(f"dpkg-query: cannot read {line!r:.200}")
        if status[1:2] == "i":
            versions[name if architecture in {native, "all"} else f"{name}:{architecture}"] = version
    return versions


def age_in_words(seconds: float) -> str:
    """A rough age: "40 minutes", "5 hours", "3 days"."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return "less than a minute"
