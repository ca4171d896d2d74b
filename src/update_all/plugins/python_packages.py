"""What pip and pipx share: the output of pip, and the folders in which Python packages lie."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from update_all.api import Change, JsonValue, StepError

QUICK_INDEX: Mapping[str, str] = {
    "PIP_RETRIES": "0",
    "PIP_DEFAULT_TIMEOUT": "8",
    "UV_HTTP_RETRIES": "0",
    "UV_HTTP_TIMEOUT": "8",
}
"""Environment in which an unreachable index is known within seconds (default of pip: half a minute)."""

_INDEX_VERSIONS = re.compile(r"^\S+ \(([^()\s]+)\)$", re.MULTILINE)


def canonical(name: str) -> str:
    """The normalised name (Python Packaging User Guide, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_outdated(text: str) -> list[Change]:
    """The answer of `pip list --outdated --format=json`. Raises StepError for anything else.

    An unreachable index also yields `[]` with exit code 0 (pip 23 to 26): an empty list proves nothing.
    """
    try:
        entries: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        raise StepError("pip list --outdated printed no JSON") from None
    changes: list[Change] = []
    for entry in entries if isinstance(entries, list) else [entries]:
        fields = entry if isinstance(entry, dict) else {}
        name, old, new = (fields.get(key) for key in ("name", "version", "latest_version"))
        if not (isinstance(name, str) and isinstance(old, str) and isinstance(new, str)):
            raise StepError(f"pip list --outdated: unexpected entry {entry!r}")
        changes.append(Change(canonical(name), old, new))
    return changes


def parse_index_versions(text: str) -> str | None:
    """The newest version from the first line of `pip index versions NAME`: `NAME (2.0)`."""
    match = _INDEX_VERSIONS.search(text)
    return match[1] if match else None


def installed_in(site: Path) -> dict[str, str]:
    """Package → version of a site-packages folder, from the names of its metadata folders."""
    versions: dict[str, str] = {}
    for path in site.glob("*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").partition("-")
        if version and not name.startswith("~"):
            versions[canonical(name)] = version
    return versions


def leftovers_in(site: Path) -> dict[Path, str]:
    """Metadata folders that pip renamed to `~ame-1.0.dist-info` and had no time to delete → package."""
    found: dict[Path, str] = {}
    for path in site.glob("~*.dist-info"):
        try:
            metadata = (path / "METADATA").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if match := re.search(r"^Name: *(\S+)", metadata, re.MULTILINE):
            found[path] = canonical(match[1])
    return found
