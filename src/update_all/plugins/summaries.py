"""What a listing needs to know of each definition, compiled into one small file of JSON.

Reading it costs neither a parser of TOML nor the schema of definitions. An entry counts for a file with the
same times, size and inode, and for this version of the program. As with the cache of definitions, the file
must be the user's own and private; losing it costs time only, so nothing here raises for it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from update_all import __version__
from update_all.core.errors import StateError
from update_all.core.paths import read_secure, secure_directory, write_atomic

TYPE_CHECKING = False  # What `typing` says, which a listing would wait for.
if TYPE_CHECKING:
    from update_all.core.models import JsonValue
    from update_all.plugins.sources import Stamp

FORMAT = 1
_FILE = "plugins.json"

Point = tuple[str, str, str]
"""An entry point: its name, its value, the distribution that it belongs to."""


class Summary:
    """Of one definition: when its tool is here (see detection.Conditions), and what `plugins list` shows.

    `place` is what detection says where no condition names a place.
    """

    __slots__ = ("absent", "command", "enabled", "os_release", "paths", "place", "root")

    def __init__(
        self,
        *,
        enabled: bool,
        root: bool,
        command: str | None = None,
        paths: Sequence[str] = (),
        absent: Sequence[str] = (),
        os_release: Sequence[str] = (),
        place: str = "",
    ) -> None:
        self.enabled = enabled
        self.root = root
        self.command = command
        self.paths = paths
        self.absent = absent
        self.os_release = os_release
        self.place = place


class Summaries:
    """File → summary, in memory; `save` writes it when something was added. `directory` None: no file."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._writer = f"{__version__}/{FORMAT}"
        self._entries: dict[str, JsonValue] = {}
        self._decoded: dict[str, Summary] = {}
        self._points: JsonValue = None
        self._changed = False
        if directory is not None:
            self._load(directory / _FILE)

    def get(self, path: str, stamp: Stamp) -> Summary | None:
        """What is known of the file, None where nothing is or the file is another by now."""
        entry = self._entries.get(path)
        if not isinstance(entry, dict) or entry.get("stamp") != list(stamp):
            return None
        found = self._decoded.get(path) or _summary_from(entry)
        if found is not None:
            self._decoded[path] = found
        return found

    def put(self, path: str, stamp: Stamp, summary: Summary) -> None:
        self._decoded.pop(path, None)
        self._entries[path] = {
            "stamp": list(stamp),
            "enabled": summary.enabled,
            "root": summary.root,
            "command": summary.command,
            "paths": list(summary.paths),
            "absent": list(summary.absent),
            "os_release": list(summary.os_release),
            "place": summary.place,
        }
        self._changed = True

    def points(self, places: Sequence[tuple[str, int]]) -> list[Point] | None:
        """The entry points found when the search path had these directories and times; else None."""
        known = self._points
        if not isinstance(known, dict) or known.get("places") != [list(place) for place in places]:
            return None
        found = known.get("found")
        if not isinstance(found, list):
            return None
        points = [tuple(item) for item in found if isinstance(item, list) and len(item) == 3]
        return [(str(name), str(value), str(owner)) for name, value, owner in points]

    def put_points(self, places: Sequence[tuple[str, int]], found: Sequence[Point]) -> None:
        self._points = {
            "places": [list(place) for place in places],
            "found": [list(point) for point in found],
        }
        self._changed = True

    def save(self) -> None:
        """Write what was added. A file that cannot be written is done without."""
        if self._directory is None or not self._changed:
            return
        self._changed = False
        data = {"writer": self._writer, "entries": self._entries, "points": self._points}
        try:
            secure_directory(self._directory)
            text = json.dumps(data, separators=(",", ":")) + "\n"
            write_atomic(self._directory / _FILE, text.encode(), keep_previous=False)
        except (StateError, OSError, ValueError):
            self._directory = None

    def _load(self, path: Path) -> None:
        try:
            data = json.loads(read_secure(path))
        except (StateError, OSError, ValueError, RecursionError):
            return
        if isinstance(data, dict) and data.get("writer") == self._writer:
            entries = data.get("entries")
            self._entries = entries if isinstance(entries, dict) else {}
            self._points = data.get("points")


def _summary_from(entry: dict[str, JsonValue]) -> Summary | None:
    enabled, root, command, place = (entry.get(name) for name in ("enabled", "root", "command", "place"))
    if not isinstance(enabled, bool) or not isinstance(root, bool) or not isinstance(place, str):
        return None
    if command is not None and not isinstance(command, str):
        return None
    paths, absent, os_release = (_strings(entry.get(name)) for name in ("paths", "absent", "os_release"))
    if paths is None or absent is None or os_release is None:
        return None
    return Summary(
        enabled=enabled,
        root=root,
        command=command,
        paths=paths,
        absent=absent,
        os_release=os_release,
        place=place,
    )


def _strings(value: JsonValue) -> list[str] | None:
    if not isinstance(value, list):
        return None
    found = [item for item in value if isinstance(item, str)]
    return found if len(found) == len(value) else None
