"""The state store: every transition durable before anything acts on it, and readable after any crash.

A plugin's state is `steps/<plugin>.json`, replaced whole at each transition. Once it is too big for that to
be cheap, its records go to `steps/<plugin>.journal` (appended and flushed), folded into the file when the
journal has grown as large as the file: the cost of a transition does not depend on the number of steps.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from update_all.core import paths
from update_all.core.errors import StateError, StateWriteError
from update_all.core.json_reading import loads
from update_all.core.models import NAME, JsonValue, StepResult
from update_all.core.state_json import NewerSchemaError, state_from, state_to
from update_all.core.transitions import PluginState, Record, end_record

WHOLE_FILE_BYTES = 16 * 1024
"""Up to this size a state is written whole at each transition."""
KEPT_CORRUPT = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found. `warnings` name what was set aside; `lost` says that the newest state was."""

    state: PluginState | None
    warnings: tuple[str, ...] = ()
    lost: bool = False


class _Writer:
    """One plugin's files while a run has it open."""

    def __init__(self, state: PluginState, path: Path) -> None:
        self.state = state
        self.path = path
        self.journal = path.with_suffix(".journal")
        self.whole_bytes = 0
        self.journal_bytes = 0
        self.pending: list[Record] = []

    def commit(self) -> None:
        records, self.pending = self.pending, []
        if self.whole_bytes <= WHOLE_FILE_BYTES or self.journal_bytes > self.whole_bytes:
            self.write_whole()
        else:
            self.append(records)

    def write_whole(self) -> None:
        data = json.dumps(state_to(self.state), separators=(",", ":"), ensure_ascii=False).encode()
        paths.write_atomic(self.path, data + b"\n")
        self.whole_bytes = len(data)
        if self.journal_bytes:
            # Its records are all in the file now; a journal that stays behind is skipped by sequence number.
            with contextlib.suppress(OSError):
                self.journal.unlink()
            self.journal_bytes = 0

    def append(self, records: list[Record]) -> None:
        lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        paths.append_durable(self.journal, lines.encode(), first=self.journal_bytes == 0)
        self.journal_bytes += len(lines)


class StateStore:
    """All plugins' states below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "steps"
        self._writers: dict[str, _Writer] = {}
        self._dirty: dict[str, _Writer] = {}

    def path(self, plugin: str) -> Path:
        """The state file of a plugin. Raises StateError for a name that cannot be one."""
        if NAME.fullmatch(plugin) is None:
            raise StateError(f"{plugin!r} cannot be the name of a state file")
        return self.directory / f"{plugin}.json"

    def plugins(self) -> list[str]:
        """Names of the plugins that have a state."""
        try:
            return sorted(path.stem for path in self.directory.glob("*.json"))
        except OSError:
            return []

    def load(self, plugin: str) -> Loaded:
        """Read a state; a damaged one is set aside and the previous one used (system.md section 4).

        Raises StateError for what must be left alone: newer schema, wrong owner, a link, too big.
        """
        path = self.path(plugin)
        warnings: list[str] = []
        lost = False
        for candidate in (path, path.with_name(path.name + paths.PREVIOUS_SUFFIX)):
            try:
                state = self._read(candidate, plugin)
            except FileNotFoundError:
                continue
            except ValueError as error:
                kept = _set_aside(candidate)
                warnings.append(f"{candidate} is damaged ({error}); it was set aside as {kept.name}")
                lost = True
                continue
            if candidate != path and not lost:
                warnings.append(f"{path} is missing; {candidate.name} was used")
                lost = True
            return Loaded(state, tuple(warnings), lost)
        return Loaded(None, tuple(warnings), lost)

    def peek(self, plugin: str) -> PluginState:
        """Read a state without setting anything aside. Raises StateError, ValueError when it is damaged."""
        return self._read(self.path(plugin), plugin)

    def _read(self, path: Path, plugin: str) -> PluginState:
        data = paths.read_secure(path)
        try:
            state = state_from(loads(data))
        except NewerSchemaError as error:
            raise StateError(
                f"{path} was written by a newer update-all ({error})",
                hint="update-all must be updated first: pipx upgrade update-all",
            ) from None
        if state.plugin != plugin:
            raise ValueError(f"it belongs to {state.plugin!r}")
        journal = self.path(plugin).with_suffix(".journal")
        for record in _journal_records(journal):
            number = record.get("n")
            if isinstance(number, int) and number == state.sequence + 1:
                state.apply(record)
        return state

    def open(self, state: PluginState) -> None:
        """Make this the plugin's state, durably. Raises StateWriteError."""
        paths.secure_directory(self.directory)
        writer = _Writer(state, self.path(state.plugin))
        with contextlib.suppress(OSError):
            writer.journal.unlink()
        writer.write_whole()
        self._writers[state.plugin] = writer

    def state(self, plugin: str) -> PluginState:
        """The state of a plugin that is open. Raises KeyError."""
        return self._writers[plugin].state

    def record(self, plugin: str, record: Record) -> None:
        """Apply a record to the state in memory; `commit` makes it durable."""
        writer = self._writers[plugin]
        stamped: Record = {
            "n": writer.state.sequence + 1,
            "at": datetime.now(UTC).isoformat(),
            **record,
        }
        writer.state.apply(stamped)
        writer.pending.append(stamped)
        self._dirty[plugin] = writer

    def assume_done(self, plugin: str, step: str) -> None:
        """Record that a step counts as done although it did not run."""
        self.record(plugin, end_record(StepResult(step, success=True, skipped=True)))

    def commit(self) -> None:
        """Make all recorded transitions durable. Raises StateWriteError; nothing may start after that."""
        dirty, self._dirty = self._dirty, {}
        for writer in dirty.values():
            writer.commit()

    def fold(self, plugin: str) -> None:
        """Write the state whole, whatever its size: at the end of the plugin."""
        writer = self._writers.get(plugin)
        if writer is not None and writer.journal_bytes:
            writer.write_whole()


def _journal_records(path: Path) -> list[dict[str, JsonValue]]:
    """Whole lines of the journal; a torn last line is what a crash leaves."""
    try:
        data = paths.read_secure(path, max_bytes=paths.MAX_STATE_BYTES * 4)
    except FileNotFoundError:
        return []
    records = []
    for line in data.split(b"\n")[:-1]:
        try:
            record = loads(line)
        except ValueError:
            break
        if isinstance(record, dict):
            records.append(record)
    return records


def _set_aside(path: Path) -> Path:
    """Rename a damaged file to `.corrupt-<n>`, keeping the newest five."""
    taken = [path.with_name(f"{path.name}.corrupt-{number}") for number in range(1, KEPT_CORRUPT + 1)]
    free = next((name for name in taken if not os.path.lexists(name)), None)
    if free is None:
        for older, newer in itertools.pairwise(taken):
            newer.rename(older)
        free = taken[-1]
    try:
        path.rename(free)
    except OSError as error:
        raise StateWriteError(
            f"{path} is damaged and cannot be set aside: {error.strerror}", hint=f"rm {path}"
        ) from error
    return free
