"""The state store against a model: crashes and errors at any system call, reloads, damage."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from state_documents import state_to

from update_all.core import paths, state
from update_all.core.errors import StateWriteError
from update_all.core.models import JsonValue, StepExecutionState, StepResult
from update_all.core.state import StateStore
from update_all.core.transitions import (
    Outcome,
    PluginState,
    Record,
    command_record,
    end_record,
    outcome_record,
    resume_record,
    start_record,
)

PLUGIN = "demo"
CALLS = ("open", "close", "fstat", "lstat", "write", "fsync", "rename", "link", "unlink", "mkdir")


class Crash(BaseException):
    """The process died."""


class Faults(paths.FileSystem):
    """Fails at the n-th call; a crash fails at all later ones too."""

    def __init__(self, at: int, error: Callable[[], BaseException], *, dead: bool) -> None:
        self.left = at
        self.error = error
        self.dead = dead

    def __getattribute__(self, name: str) -> object:
        attribute = super().__getattribute__(name)
        if name not in CALLS:
            return attribute

        def call(*args: object, **kwargs: object) -> object:
            self.left -= 1
            if self.left == 0 or (self.dead and self.left < 0):
                raise self.error()
            return attribute(*args, **kwargs)

        return call


steps = st.sampled_from(["a", "b", "c"])
records = st.one_of(
    st.builds(start_record, steps, st.integers(1, 3), st.integers(0, 2)),
    st.builds(command_record, steps, st.integers(0, 2)),
    st.builds(
        lambda step, success, fact: end_record(StepResult(step, success=success), {"fact": fact}),
        steps,
        st.booleans(),
        st.text(st.characters(codec=None), max_size=30),
    ),
    st.builds(resume_record, st.integers(0, 3), st.just("boot"), st.lists(steps, max_size=1), st.just([])),
    st.builds(outcome_record, st.sampled_from(Outcome)),
)


class Store(RuleBasedStateMachine):
    """What `commit` and `open` have acknowledged is there after whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.directory = Path(self.folder.name)
        self.store = StateStore(self.directory)
        self.run = 0
        self.history: dict[int, JsonValue] = {}
        """The state behind each record, by sequence number."""
        self.acknowledged = 0

    @initialize(whole=st.sampled_from([0, 700, 16 * 1024]))
    def begin(self, whole: int) -> None:
        """From nothing, with the size from which on records are appended to a journal."""
        self.limit = mock.patch.object(state, "WHOLE_FILE_BYTES", whole)
        self.limit.start()
        self.open_new_run([])

    def teardown(self) -> None:
        self.limit.stop()
        self.folder.cleanup()

    def _now(self) -> PluginState:
        return self.store.state(PLUGIN)

    def _keep(self, made: PluginState) -> None:
        self.history[made.sequence] = state_to(made)

    def _acknowledge(self) -> None:
        self.acknowledged = max(self.history)

    def _fresh(self) -> PluginState:
        self.run += 1
        made = PluginState(run_id=f"r{self.run}", execution=StepExecutionState(PLUGIN))
        made.sequence = self.acknowledged
        return made

    @rule(first=st.lists(records, max_size=3))
    def open_new_run(self, first: list[Record]) -> None:
        made = self._fresh()
        self.store.open(made, first)
        self.history = {}
        self._keep(made)
        self._acknowledge()

    @rule(batch=st.lists(records, min_size=1, max_size=4))
    def commit(self, batch: list[Record]) -> None:
        for record in batch:
            self.store.record(PLUGIN, record)
            self._keep(self._now())
        self.store.commit()
        self._acknowledge()

    @rule()
    def fold(self) -> None:
        self.store.fold(PLUGIN)

    def _attempt(self, action: Callable[[], None], at: int, dead: bool, code: int) -> None:
        def error() -> BaseException:
            return Crash() if dead else OSError(code, os.strerror(code))

        with mock.patch.object(paths, "filesystem", Faults(at, error, dead=dead)):
            try:
                action()
            except (Crash, StateWriteError):
                return
        self._acknowledge()

    @rule(
        batch=st.lists(records, min_size=1, max_size=3),
        at=st.integers(1, 14),
        dead=st.booleans(),
        code=st.sampled_from([errno.ENOSPC, errno.EIO, errno.EACCES]),
    )
    def commit_fails(self, batch: list[Record], at: int, dead: bool, code: int) -> None:
        """A crash or an error at some call of a commit, and a new process after it."""
        for record in batch:
            self.store.record(PLUGIN, record)
            self._keep(self._now())
        self._attempt(self.store.commit, at, dead, code)
        self.reload()

    @rule(at=st.integers(1, 16), fresh=st.booleans(), first=st.lists(records, max_size=2))
    def opening_crashes(self, at: int, fresh: bool, first: list[Record]) -> None:
        """A resume, or a new run, that dies while it opens its state."""
        store = StateStore(self.directory)
        made = store.load(PLUGIN).state
        assert made is not None
        if fresh:
            made = self._fresh()
        with mock.patch.object(paths, "filesystem", Faults(at, Crash, dead=True)):
            try:
                store.open(made, first)
            except Crash:
                acknowledged = False
            else:
                acknowledged = True
        if fresh and made.sequence in self.history and not acknowledged:
            found = self._load()
            assert found in (state_to(made), self.history[self.acknowledged])
            self.history[made.sequence] = found
        else:
            self._keep(made)
        if acknowledged:
            self._acknowledge()
        self.reload()

    def _load(self) -> JsonValue:
        loaded = StateStore(self.directory).load(PLUGIN)
        assert loaded.state is not None
        assert not loaded.lost, loaded.warnings
        assert loaded.warnings == ()
        return state_to(loaded.state)

    @rule()
    def reload(self) -> None:
        """A new process reads, opens what it has read, and goes on."""
        found = self._load()
        assert isinstance(found, dict)
        number = found["sequence"]
        assert isinstance(number, int)
        assert number >= self.acknowledged
        assert self.history[number] == found
        self.store = StateStore(self.directory)
        again = self.store.load(PLUGIN).state
        assert again is not None
        self.store.open(again)
        self.history = {number: found}
        self._acknowledge()

    @rule(cut=st.floats(0, 0.99), garbage=st.binary(max_size=8))
    def damage(self, cut: float, garbage: bytes) -> None:
        """The file is damaged: it is kept as evidence, an older state is used, and it is said."""
        path = self.store.path(PLUGIN)
        data = path.read_bytes()
        broken = data[: int(len(data) * cut)] + garbage + b"\0"
        path.unlink()
        path.write_bytes(broken)
        path.chmod(0o600)
        store = StateStore(self.directory)
        loaded = store.load(PLUGIN)
        assert loaded.lost
        assert str(path) in loaded.warnings[0]
        kept = sorted(path.parent.glob("demo.json.corrupt-*"))
        assert 1 <= len(kept) <= 5
        assert any(file.read_bytes() == broken for file in kept)
        assert not path.exists()
        self.store = store
        if loaded.state is None:
            assert StateStore(self.directory).load(PLUGIN).lost, "the second reader must know it too"
            self.acknowledged = 0
            self.open_new_run([])
            return
        assert loaded.state.sequence <= self.acknowledged
        store.open(loaded.state)
        self.history = {}
        self._keep(loaded.state)
        self._acknowledge()

    @invariant()
    def a_reader_sees_what_was_acknowledged(self) -> None:
        found = self._load()
        assert found == self.history[self.acknowledged]
        assert json.loads(json.dumps(found)) == found
        assert StateStore(self.directory).plugins() == [PLUGIN]


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
