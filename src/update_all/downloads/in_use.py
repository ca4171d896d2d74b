"""Which directories running processes still use, from /proc (proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def directories_in_use(candidates: Iterable[Path]) -> set[Path]:
    """Those of `candidates` from which some process runs, maps or holds open a file, or where it stands.

    Processes of other users that we may not look into are not seen; root sees all.
    """
    prefixes = {os.fsencode(os.path.realpath(path)) + b"/": path for path in candidates}
    found: set[Path] = set()
    for process in _PROC.iterdir():
        if len(found) == len(prefixes):
            break
        if process.name.isdigit():
            text = b"\n".join(_places(process))
            found.update(path for prefix, path in prefixes.items() if prefix in text)
    return found


def _places(process: Path) -> Iterator[bytes]:
    """Everything in which a path can occur, each path ended by a slash where it may be a directory."""
    links = [process / "exe", process / "cwd", process / "root"]
    with suppress(OSError):
        links += (process / "fd").iterdir()
    for link in links:
        with suppress(OSError):
            yield os.fsencode(link.readlink()) + b"/"
    for name in ("maps", "cmdline"):
        with suppress(OSError):
            yield (process / name).read_bytes()
