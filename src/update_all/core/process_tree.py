"""Find and end all processes of a command, also those that left its group (system.md section 5)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from update_all.core.shim import LOCK_FD

KEEPER = Path(__file__).with_name("as_root.py")
"""What stands before a command that runs as root: never killed, it ends with the last process below it."""

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


def stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal."""
    return _parent_and_state(pid)[1] == b"T"


def start_ticks(pid: int) -> int:
    """Start time in clock ticks since boot: proc(5), stat field 22; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def marked(key: str, spool: Path) -> list[int]:
    """Living pids that carry the marker of a command, or still hold its spool as output or lock.

    Processes of other users cannot be read, and sudo drops the marker: those are found by parentage.
    """
    wanted = f"{MARKER}={key}".encode()
    output = str(spool)
    return [pid for pid in _pids() if (_environment_has(pid, wanted) or _holds(pid, output)) and alive(pid)]


def _environment_has(pid: int, variable: bytes) -> bool:
    try:
        return variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _holds(pid: int, output: str) -> bool:
    """Whether one of the descriptors that a command is started with is still its spool."""
    for descriptor in (1, 2, LOCK_FD):
        try:
            if os.readlink(f"/proc/{pid}/fd/{descriptor}").removesuffix(" (deleted)") == output:  # noqa: PTH115 - a text to compare
                return True
        except OSError:
            continue
    return False


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


def tree_of(key: str, spool: Path, pid: int | None) -> list[int]:
    """All living processes that can be found to belong to a command: its tree, and what escaped from it."""
    roots = [*([pid] if pid is not None and alive(pid) else []), *marked(key, spool)]
    return [found for found in dict.fromkeys(roots + descendants(roots)) if found != os.getpid()]


def arguments(pid: int) -> list[bytes]:
    """The command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


def is_keeper(pid: int) -> bool:
    """Whether a process only stands before a command that runs as root."""
    return str(KEEPER).encode() in arguments(pid)[:4]


def program_of(pid: int) -> int:
    """The program that a keeper waits for, which is its oldest child; any other process is its own."""
    if not is_keeper(pid):
        return pid
    children = [child for child in _pids() if _parent_and_state(child)[0] == pid]
    return min(children, key=start_ticks, default=pid)


def send_signal(pid: int, number: int) -> bool:
    """Signal one process; False when it may not be signalled. One that is gone counts as signalled."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True
