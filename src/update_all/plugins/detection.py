"""Whether a tool is on this machine. Reads the environment, PATH and files; starts nothing."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from update_all.core.errors import InvalidDefinitionError

TYPE_CHECKING = False  # What `typing` says, which a listing would wait for.
if TYPE_CHECKING:
    from typing import Protocol

    from update_all.core.models import Detection
    from update_all.plugins.presence import Programs

    class Conditions(Protocol):
        """When a tool is here; what `definition.Detect` says of each."""

        @property
        def command(self) -> str | None: ...

        @property
        def paths(self) -> Sequence[str]: ...

        @property
        def absent(self) -> Sequence[str]: ...

        @property
        def os_release(self) -> Sequence[str]: ...


OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
"""Where os-release(5) puts it, the first that exists counts."""

VARIABLE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)(?::-([^}]*))?\}")
"""`${NAME}` or `${NAME:-default}`; other uses of a dollar stand for themselves."""


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Fill `${NAME}` and `${NAME:-default}` (names in capitals), then a leading `~/`.

    Braces of a value are doubled: what comes from the environment is never a template (core.facts).
    Raises InvalidDefinitionError for a variable that is not set and has no default.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = environ.get(name) or default
        if found is None:
            raise InvalidDefinitionError(f"{text!r} needs the environment variable {name}, which is not set")
        return found.replace("{", "{{").replace("}", "}}")

    filled = VARIABLE.sub(value, text)
    if filled == "~" or filled.startswith("~/"):
        return environ.get("HOME", str(Path.home())) + filled[1:]
    return filled


def expand_path(text: str, environ: Mapping[str, str]) -> Path:
    """A path of a definition, as `expand` fills it."""
    return Path(expand(text, environ).replace("{{", "{").replace("}}", "}"))


def last_change(text: str, environ: Mapping[str, str]) -> float | None:
    """When a path of a definition changed last, in seconds since 1970; of what a * in it matches, the newest.

    None where there is nothing.
    """
    path = expand_path(text, environ)
    places = Path(path.anchor).glob(str(path.relative_to(path.anchor))) if "*" in text else [path]
    times: list[float] = []
    for place in places:
        with contextlib.suppress(OSError):
            times.append(place.stat().st_mtime)
    return max(times, default=None)


def os_ids(text: str) -> frozenset[str]:
    """ID and ID_LIKE of an os-release(5) file, in lower case."""
    found: set[str] = set()
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.strip() in ("ID", "ID_LIKE"):
            found.update(value.strip().strip("\"'").lower().split())
    return frozenset(found)


def detect(conditions: Conditions, environ: Mapping[str, str]) -> Detection:
    """Whether all conditions hold, with the first that does not in words, or the place of the tool."""
    from update_all.core.models import Detection

    return Detection(*answer(conditions, environ))


def answer(
    conditions: Conditions, environ: Mapping[str, str], programs: Programs | None = None
) -> tuple[bool, str]:
    """The same as a pair. `programs` is what is on PATH, for one who asks for many tools."""
    place = ""
    if conditions.os_release:
        here = _os_ids_here()
        if not here.intersection(map(str.lower, conditions.os_release)):
            return False, f"this system is not {' or '.join(conditions.os_release)}"
        place = " ".join(sorted(here))
    if conditions.command is not None:
        found = _program(conditions.command, environ, programs)
        if found is None:
            return False, f"{conditions.command} is not on PATH"
        place = found
    if conditions.paths:
        first = next((path for path in conditions.paths if _exists(path, environ)), None)
        if first is None:
            return False, f"there is no {' or '.join(conditions.paths)}"
        place = place or str(expand_path(first, environ))
    unwanted = next((path for path in conditions.absent if _exists(path, environ)), None)
    if unwanted is not None:
        return False, f"there is {unwanted}"
    return True, place


def _program(command: str, environ: Mapping[str, str], programs: Programs | None) -> str | None:
    try:
        path = str(expand_path(command, environ)) if "/" in command else command
    except InvalidDefinitionError:
        return None
    if programs is not None:
        return programs.which(path)
    from shutil import which

    return which(path, path=environ.get("PATH", os.defpath))


def _exists(path: str, environ: Mapping[str, str]) -> bool:
    try:
        return expand_path(path, environ).exists()
    except (InvalidDefinitionError, OSError):
        return False


def _os_ids_here() -> frozenset[str]:
    for path in OS_RELEASE:
        try:
            return os_ids(path.read_text("utf-8", "replace"))
        except OSError:
            continue
    return frozenset()
