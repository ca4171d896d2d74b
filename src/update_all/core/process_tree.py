"""Find and end all processes of a command, also those that left its group (system.md section 5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MARKER = "UPDATE_ALL_COMMAND"
"""Environment variable that every process of a command inherits; its value is the command's key."""


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - names only, fast


def _parent_and_state(pid: int) -> tuple[int, bytes]:
    """Parent pid and state letter: proc(5), stat fields 4 and 3; (0, b"") when the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0, b""
    return int(fields[1]), fields[0]


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    return _parent_and_state(pid)[1] not in (b"", b"Z", b"X")


def start_ticks(pid: int) -> int:
    """Start time in clock ticks since boot: proc(5), stat field 22; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def marked(key: str) -> list[int]:
    """Living pids whose environment carries the marker of a command.

    Processes of other users cannot be read, and sudo drops the marker: those are found by parentage.
    """
    wanted = f"{MARKER}={key}".encode()
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and alive(pid):
            found.append(pid)
    return found


def descendants(roots: list[int]) -> list[int]:
    """Living pids below `roots` by parent links."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        parent, state = _parent_and_state(pid)
        if state not in (b"", b"Z", b"X"):
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = list(roots)
    while queue:
        below = children.pop(queue.pop(), [])
        found += below
        queue += below
    return found


def tree_of(key: str, pid: int | None) -> list[int]:
    """All living processes that can be found to belong to a command: its tree, and what escaped from it."""
    roots = [*([pid] if pid is not None and alive(pid) else []), *marked(key)]
    return [found for found in dict.fromkeys(roots + descendants(roots)) if found != os.getpid()]


def send_signal(pid: int, number: int) -> bool:
    """Signal one process; False when it may not be signalled. One that is gone counts as signalled."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True
