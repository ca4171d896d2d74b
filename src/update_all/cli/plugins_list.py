"""`plugins list`: every plugin, seen from afar. Imports little, since most of its time would be imports."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from update_all.cli.configured import is_configured
from update_all.core.cleaning import clean_line
from update_all.core.errors import StateError, UpdateAllError
from update_all.core.paths import Directories, directories
from update_all.plugins.registry import Entry, Registry, discover
from update_all.plugins.sources import SearchPaths

TYPE_CHECKING = False  # What `typing` says.
if TYPE_CHECKING:
    from update_all.cli.workspace import Workspace
    from update_all.core.models import JsonValue

_SHOWN = ("name", "status", "defined", "root", "last", "why")
_WIDTH = 160


class _Setting:
    """What the configuration says of plugins; it is read only where somebody wrote one."""

    def __init__(self) -> None:
        self.directories = directories()
        self._workspace = self._open() if is_configured(self.directories, os.environ) else None
        self.registry: Registry = (
            self._workspace.registry if self._workspace else discover(SearchPaths.default())
        )

    def warn_of_strays(self) -> None:
        if self._workspace is not None:
            from update_all.cli.stray_names import warn_of_strays

            warn_of_strays(self._workspace)

    def _open(self) -> Workspace:
        from update_all.cli.workspace import Workspace

        return Workspace.open()

    @property
    def trusted(self) -> Sequence[str]:
        return self._workspace.config.plugins.trusted if self._workspace else ()

    def options(self, name: str) -> Mapping[str, JsonValue]:
        return self._workspace.plugin_config(name).options if self._workspace else {}

    def enabled(self, name: str) -> bool:
        if self._workspace is None:
            return self.registry.enabled_by_default(name)
        return self._workspace.enabled(name)

    def ask(self, name: str) -> tuple[bool, str, bool]:
        """What the plugin itself says: whether its tool is here, why, whether it may act as root."""
        self._workspace = self._workspace or self._open()
        plugin = self._workspace.load(name)
        found = plugin.detect()
        return found.present, found.reason, bool(plugin.sudo_commands)


def list_plugins(*, as_json: bool) -> int:
    """Write the list; exit code 0."""
    setting = _Setting()
    setting.warn_of_strays()
    rows = [_row(setting, entry) for entry in setting.registry.entries()]
    rows += _untrusted(setting)
    setting.registry.save_cache()
    rows.sort(key=lambda row: str(row["name"]))
    last = _last(setting.directories)
    for row in rows:
        row["last"] = last.get(str(row["name"]), "")
    if as_json:
        from update_all.cli.json_output import write_json

        write_json({"schema": "update-all.plugins/1", "plugins": rows})
        return 0
    table = [["PLUGIN", "STATUS", "DEFINED", "ROOT", "LAST", "WHY"]]
    table += [[str(row[key] or "") for key in _SHOWN] for row in rows]
    sys.stdout.write("\n".join(_lines(table)) + "\n")
    return 0


def _lines(table: Sequence[Sequence[str]]) -> list[str]:
    if sys.stdout.encoding.lower() == "utf-8" and all(cell.isascii() for row in table for cell in row):
        widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return [line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…" for line in lines]
    from update_all.ui.terminal import style_of
    from update_all.ui.text import columns

    style = style_of(sys.stdout, os.environ)
    return [style.text(line.rstrip()) for line in columns(table, _WIDTH, indent="")]


def _row(setting: _Setting, entry: Entry) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {
        "name": entry.name,
        "status": "broken",
        "defined": f"{entry.origin} {entry.kind}",
        "place": entry.place,
        "overrides": list(entry.overrides),
        "root": "",
        "why": "",
    }
    if entry.broken_reason:
        row["why"] = clean_line(_reason_first(entry.broken_reason))
        return row
    try:
        seen = setting.registry.glance(entry.name, setting.options(entry.name))
        present, reason, root = seen if seen is not None else setting.ask(entry.name)
    except UpdateAllError as error:
        row["why"] = clean_line(_reason_first(error.message))
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; it is shown as broken
        row["why"] = clean_line(f"{type(error).__name__}: {error}")
    else:
        here = "present" if present else "not here"
        row["status"] = here if setting.enabled(entry.name) else "disabled"
        row["root"] = "root" if root else ""
        row["why"] = clean_line(reason)
        if entry.overrides:
            origins = ", ".join(place.partition(" (")[0] for place in entry.overrides)
            row["why"] = f"overrides {origins}; {row['why']}"
    return row


def _reason_first(message: str) -> str:
    """`FILE: what is wrong` the other way round: a line that is too long loses its end."""
    place, colon, reason = message.partition(": ")
    return f"{reason}; in {place}" if colon and place.startswith("/") else message


def _untrusted(setting: _Setting) -> list[dict[str, JsonValue]]:
    """The plugins of installed packages that are not loaded, with the command that trusts the package."""
    import shlex

    return [
        {
            "name": clean_line(found.name),
            "status": "not trusted",
            "defined": f"{found.origin} {found.kind}",
            "place": found.place,
            "overrides": [],
            "root": "",
            "why": clean_line(
                "its code runs as you after: update-all config set plugins.trusted "
                + shlex.quote(",".join([*setting.trusted, found.distribution]))
            ),
        }
        for found in setting.registry.not_trusted(frozenset(setting.trusted))
    ]


def _last(found: Directories) -> dict[str, str]:
    if not found.history.exists():
        return {}
    from update_all.core.last_results import last_results

    try:
        return {
            name: word + ended.strftime(" %Y-%m-%d")
            for name, (word, ended) in last_results(found.history).items()
        }
    except StateError:
        return {}
