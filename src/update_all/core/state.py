"""The state store: every transition durable before anything acts on it, and readable after any crash.

A plugin's state is `steps/<plugin>.json`, replaced whole at each transition. Once it is too big for that to
be cheap, its records go to `steps/<plugin>.journal` (appended and flushed), folded into the file when the
journal has grown as large as the file: the cost of a transition does not depend on the number of steps.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from update_all.core import paths
from update_all.core.errors import InvalidDefinitionError, StateError, StateWriteError
from update_all.core.json_reading import Reader, loads
from update_all.core.names import NAME
from update_all.core.state_json import NewerSchemaError, state_from
from update_all.core.state_summary import plugins_in
from update_all.core.state_text import StateText, encode
from update_all.core.transitions import PluginState, Record

WHOLE_FILE_BYTES = 16 * 1024
"""Up to this size a state is written whole at each transition."""
KEPT_CORRUPT = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found. `warnings` name what was set aside; `lost` says that the newest state was."""

    state: PluginState | None
    warnings: tuple[str, ...]
    lost: bool


class _Writer:
    """One plugin's files while a run has it open."""

    def __init__(self, state: PluginState, path: Path) -> None:
        self.state = state
        self.path = path
        self.journal = path.with_suffix(".journal")
        self.whole_bytes = 0
        self.journal_bytes = 0
        self.pending: list[Record] = []
        self._text = StateText()

    def commit(self) -> None:
        records, self.pending = self.pending, []
        if self.whole_bytes <= WHOLE_FILE_BYTES or self.journal_bytes > self.whole_bytes:
            self.write_whole(self.encoded())
        else:
            self.append(records)

    def write_whole(self, data: bytes) -> None:
        """Write the encoded state."""
        if len(data) >= paths.MAX_STATE_BYTES:
            raise StateWriteError(
                f"the state of {self.state.plugin} would be {len(data)} bytes long, which nothing would read",
                hint="the plugin keeps too much in its facts",
            )
        paths.write_atomic(self.path, data + b"\n")
        self.whole_bytes = len(data)
        if self.journal_bytes:
            # Its records are all in the file now; a journal that stays behind is skipped by sequence number.
            with contextlib.suppress(StateWriteError):
                paths.remove(self.journal)
            self.journal_bytes = 0

    def encoded(self) -> bytes:
        return self._text.of(self.state).encode()

    def append(self, records: list[Record]) -> None:
        lines = "".join(encode(record) + "\n" for record in records)
        paths.append_durable(self.journal, lines.encode(), first=self.journal_bytes == 0)
        self.journal_bytes += len(lines)


class StateStore:
    """All plugins' states below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "steps"
        self._writers: dict[str, _Writer] = {}
        self._dirty: dict[str, _Writer] = {}
        self._damaged_journals: set[str] = set()

    def path(self, plugin: str) -> Path:
        """The state file of a plugin. Raises StateError for a name that cannot be one."""
        if NAME.fullmatch(plugin) is None:
            raise StateError(f"{plugin!r} cannot be the name of a state file")
        return self.directory / f"{plugin}.json"

    def plugins(self) -> list[str]:
        """Names of the plugins that have a state, also one of which only older or damaged files are left."""
        return plugins_in(self.directory)

    def load(self, plugin: str) -> Loaded:
        """Read a state; a damaged one is set aside and the previous one used (system.md section 4).

        Raises StateError for what must be left alone: newer schema, wrong owner, a link, too big.
        """
        path = self.path(plugin)
        journal = path.with_suffix(".journal")
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
            problem = self._replay(state)
            if problem and not lost:
                warnings.append(f"{journal} is damaged ({problem}); what follows there is lost")
                lost = True
            return Loaded(state, tuple(warnings), lost)
        remains = [name for name in (journal, *_corrupt_names(path)) if name.exists()]
        if remains and not lost:
            warnings.append(f"{path} is missing; {remains[-1].name} is what is left of it")
        if journal in remains:
            self._damaged_journals.add(plugin)
        return Loaded(None, tuple(warnings), lost or bool(remains))

    def peek(self, plugin: str) -> PluginState:
        """Read a state without setting anything aside. Raises StateError, ValueError when it is damaged."""
        state = self._read(self.path(plugin), plugin)
        if problem := self._replay(state):
            raise ValueError(f"its journal is damaged: {problem}")
        return state

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
        return state

    def _replay(self, state: PluginState) -> str:
        """Fold the journal into a state. Returns what is wrong with it, "" for a good one.

        Records that the state has already are what a crash leaves between writing the state whole and
        removing the journal; a torn last line is what one leaves in the middle of an append.
        """
        journal = self.path(state.plugin).with_suffix(".journal")
        try:
            data = paths.read_secure(journal, max_bytes=paths.MAX_STATE_BYTES * 4)
        except FileNotFoundError:
            return ""
        try:
            for line in data.split(b"\n")[:-1]:
                record = Reader(loads(line), "record")
                number = record.get("n", int)
                if number > state.sequence + 1:
                    raise ValueError(f"record {number} follows record {state.sequence}")
                if number == state.sequence + 1:
                    state.apply(dict(record.data))
        except ValueError as error:
            self._damaged_journals.add(state.plugin)
            return str(error)
        return ""

    def open(self, state: PluginState, records: Sequence[Record] = ()) -> None:
        """Make this the plugin's state, changed by `records`, durably and at once.

        The state's sequence must not be below that of the state before: it tells the records of an older
        journal. Raises StateWriteError, and InvalidDefinitionError for a state that could not be read again.
        """
        for record in records:
            state.apply(_stamped(state, record))
        writer = _Writer(state, self.path(state.plugin))
        try:
            data = writer.encoded()
            state_from(loads(data))
        except ValueError as error:
            raise InvalidDefinitionError(
                f"plugin {state.plugin!r} has answered what cannot be kept: {error}"
            ) from None
        paths.secure_directory(self.directory)
        writer.write_whole(data)
        # Only now: until then the state and its journal are what is known of the plugin.
        if state.plugin in self._damaged_journals:
            _set_aside(writer.journal)
        paths.remove(writer.journal)
        self._damaged_journals.discard(state.plugin)
        self._writers[state.plugin] = writer

    def state(self, plugin: str) -> PluginState:
        """The state of a plugin that is open. Raises KeyError."""
        return self._writers[plugin].state

    def record(self, plugin: str, record: Record) -> None:
        """Apply a record to the state in memory; `commit` makes it durable."""
        writer = self._writers[plugin]
        stamped = _stamped(writer.state, record)
        writer.state.apply(stamped)
        writer.pending.append(stamped)
        self._dirty[plugin] = writer

    def commit(self) -> None:
        """Make all recorded transitions durable. Raises StateWriteError; nothing may start after that."""
        dirty, self._dirty = self._dirty, {}
        for writer in dirty.values():
            writer.commit()

    def fold(self, plugin: str) -> None:
        """Write the state whole, whatever its size: at the end of the plugin."""
        writer = self._writers.get(plugin)
        if writer is not None and writer.journal_bytes:
            writer.write_whole(writer.encoded())


def _stamped(state: PluginState, record: Record) -> Record:
    return {"n": state.sequence + 1, "at": datetime.now(UTC).isoformat(), **record}


def _corrupt_names(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}.corrupt-{number}") for number in range(1, KEPT_CORRUPT + 1)]


def _set_aside(path: Path) -> Path:
    """Rename a damaged file to `.corrupt-<n>`, keeping the newest five."""
    taken = _corrupt_names(path)
    free = next((name for name in taken if not os.path.lexists(name)), None)
    try:
        if free is None:
            for older, newer in itertools.pairwise(taken):
                paths.rename(newer, older.name)
            free = taken[-1]
        paths.rename(path, free.name)
    except OSError as error:
        raise StateWriteError(
            f"{path} is damaged and cannot be set aside: {error.strerror}", hint=f"rm {path}"
        ) from error
    return free
