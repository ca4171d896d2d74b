"""What earlier processes left behind in a run's directory: exit records, spools and their locks."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from update_all.core import process_tree
from update_all.core.command import Command, Exit, ShimLostError, exit_from
from update_all.core.console import Console

REATTACH_POLL_SECONDS = 0.05
_FROM_OUTSIDE = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL})
"""No program ends itself by these; by the others of signal(7) it does, when it is broken."""


def records_path(directory: Path, number: int) -> Path:
    """Where the n-th shim of a run writes how its commands ended."""
    return directory / f"exits-{number}.jsonl"


class Evidence:
    """What shims of earlier processes left in a run's directory: records, spools, locks."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.exits: dict[str, Exit] = {}
        self.refused: dict[str, int] = {}
        self.pids: dict[str, tuple[int, int]] = {}
        self.devices: dict[str, str] = {}
        self.asking: set[str] = set()
        self.records_of: dict[str, Path] = {}
        self.read()

    def read(self) -> None:
        """Read the records again."""
        for path in sorted(self.directory.glob("exits-*.jsonl")):
            for record in _records(path):
                key = record.get("key")
                if isinstance(key, str):
                    self._take(key, record, path)

    def _take(self, key: str, record: Mapping[str, object], path: Path) -> None:
        if "code" in record:
            self.exits[key] = exit_from(record)
        elif "refused" in record:
            if record["refused"] != errno.EEXIST:
                self.refused[key] = int(str(record["refused"]))
        elif "asks" in record:
            self.asking.add(key)
        elif "pid" in record:
            self.pids[key] = (int(str(record["pid"])), int(str(record.get("ticks", 0))))
            self.records_of[key] = path
            if "device" in record:
                self.devices[key] = str(record["device"])

    def spool(self, key: str) -> Path:
        return self.directory / f"{key}.out"

    def spooled_keys(self) -> list[str]:
        """Keys of the commands whose raw output is still there."""
        return [path.stem for path in self.directory.glob("*.out")]

    def started(self, key: str) -> bool:
        """Whether there is any trace that the command was started."""
        return key in self.pids or key in self.exits or self.spool(key).exists()

    def running(self, key: str) -> bool:
        """Whether processes of the command live, or its shim does and will record its end."""
        if key in self.exits:
            return False
        records = self.records_of.get(key)
        return is_locked(self.spool(key)) or (records is not None and is_locked(records))

    def killed(self, key: str) -> bool:
        """Whether somebody ended the command from outside, and no process of it is left."""
        end = self.exits.get(key)
        return end is not None and -end.code in _FROM_OUTSIDE and not is_locked(self.spool(key))

    def attach(self, key: str) -> Command:
        """Follow a command that somebody else started. Its `exited` fails with ShimLostError when it ended
        and nobody recorded how."""
        exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        pid, ticks = self.pids.get(key, (0, 0))
        alive = bool(pid) and process_tree.start_ticks(pid) == ticks
        command = Command(key, self.spool(key), pid if alive else None, exited)
        if alive and key in self.devices:
            command.console = Console(command.spool, self.devices[key])
        self.watch(command)
        return command

    def watch(self, command: Command) -> None:
        """Complete `command.exited` from what is found on disk: its shim does not speak with us."""
        waiter = asyncio.get_running_loop().create_task(self._wait(command))
        command.exited.add_done_callback(lambda _: waiter.cancel())

    async def _wait(self, command: Command) -> None:
        while True:
            # Asked before the records are read: a record that is written in between is then still seen.
            running = self.running(command.key)
            self.read()
            command.asks = command.key in self.asking
            if command.key in self.exits:
                command.exited.set_result(self.exits[command.key])
                return
            if not running:
                command.exited.set_exception(ShimLostError("it ended while nobody could record how"))
                command.exited.exception()  # Whoever waited for it may be gone.
                return
            await asyncio.sleep(REATTACH_POLL_SECONDS)


def _records(path: Path) -> Iterator[dict[str, object]]:
    """Whole lines only: a torn last line is what a kill leaves."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    for line in data.split(b"\n")[:-1]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def is_locked(path: Path) -> bool:
    """Whether anybody holds the flock of a file; False when it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
