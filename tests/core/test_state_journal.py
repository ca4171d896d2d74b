"""The journal of a big state: what is folded, what a crash or damage leaves, and errors at every call."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from state_documents import state_to

from update_all.core import paths, state
from update_all.core.errors import StateWriteError
from update_all.core.models import StepExecutionState, StepResult
from update_all.core.state import StateStore
from update_all.core.transitions import PluginState, end_record, start_record

Damage = Callable[[Path], None]


def _rewrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)
    path.chmod(0o600)


@pytest.fixture
def journaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateStore:
    """A store whose last four transitions are in the journal only."""
    monkeypatch.setattr(state, "WHOLE_FILE_BYTES", 0)
    made = StateStore(tmp_path)
    made.open(PluginState(run_id="r1", execution=StepExecutionState("apt")), [start_record("a", 1, 1)])
    for record in (
        end_record(StepResult("a", success=True)),
        start_record("b", 1, 1),
        end_record(StepResult("b", success=True)),
        start_record("c", 1, 1),
    ):
        made.record("apt", record)
        made.commit()
    return made


def reread(store: StateStore) -> PluginState | None:
    return StateStore(store.directory.parent).load("apt").state


def test_a_journal_is_folded_into_the_state(journaled: StateStore) -> None:
    assert journaled.path("apt").with_suffix(".journal").read_bytes().count(b"\n") == 4
    found = reread(journaled)
    assert found is not None
    assert state_to(found) == state_to(journaled.state("apt"))
    assert state_to(StateStore(journaled.directory.parent).peek("apt")) == state_to(found)


def test_the_journal_does_not_outgrow_the_state(journaled: StateStore) -> None:
    path = journaled.path("apt")
    largest = 0
    for number in range(200):
        journaled.record("apt", start_record("c", number, 1))
        journaled.commit()
        journal = path.with_suffix(".journal")
        largest = max(largest, journal.stat().st_size if journal.exists() else 0)
    assert largest < 2 * path.stat().st_size
    assert reread(journaled) == journaled.state("apt")
    journaled.fold("apt")
    assert not path.with_suffix(".journal").exists()
    assert reread(journaled) == journaled.state("apt")


JOURNAL_DAMAGE: dict[str, tuple[Damage, int, bool]] = {
    "removed": (lambda path: path.unlink(), 1, False),
    "a torn last line": (lambda path: _rewrite(path, path.read_bytes()[:-5]), 4, False),
    "half a line more": (lambda path: _rewrite(path, path.read_bytes() + b'{"n":6,'), 5, False),
    "a broken line": (lambda path: _rewrite(path, path.read_bytes().replace(b'"b"', b'"b', 1)), 2, True),
    "zeros": (lambda path: _rewrite(path, b"\0" * 100 + b"\n"), 1, True),
    "a line that is missing": (
        lambda path: _rewrite(path, b"".join(path.read_bytes().splitlines(keepends=True)[1:])),
        1,
        True,
    ),
    "a line that is missing before the last": (
        lambda path: _rewrite(
            path,
            b"".join([line for line in path.read_bytes().splitlines(keepends=True) if b'"n":4' not in line]),
        ),
        3,
        True,
    ),
    "a record of an unknown kind": (
        lambda path: _rewrite(path, path.read_bytes() + b'{"n":6,"at":null,"do":"sing"}\n'),
        6,
        True,
    ),
    "no record": (lambda path: _rewrite(path, path.read_bytes() + b"[]\n"), 5, True),
    "records that are known already": (
        lambda path: _rewrite(path, b'{"n":1,"at":null,"do":"sing"}\n' + path.read_bytes()),
        5,
        False,
    ),
}


@pytest.mark.parametrize("kind", JOURNAL_DAMAGE)
def test_a_damaged_journal_is_used_as_far_as_it_goes_and_named(journaled: StateStore, kind: str) -> None:
    damage, sequence, lost = JOURNAL_DAMAGE[kind]
    journal = journaled.path("apt").with_suffix(".journal")
    damage(journal)
    data = journal.read_bytes() if journal.exists() else b""
    fresh = StateStore(journaled.directory.parent)
    loaded = fresh.load("apt")
    assert loaded.state is not None
    assert (loaded.state.sequence, loaded.lost) == (sequence, lost)
    assert [str(journal) in warning for warning in loaded.warnings] == [True] * lost
    fresh.open(loaded.state)
    kept = journal.with_name("apt.journal.corrupt-1")
    assert kept.exists() is lost
    assert not lost or kept.read_bytes() == data
    assert StateStore(journaled.directory.parent).load("apt").warnings == ()


def test_what_was_damaged_once_is_set_aside_once(journaled: StateStore) -> None:
    journal = journaled.path("apt").with_suffix(".journal")
    _rewrite(journal, b"zeros\n")
    fresh = StateStore(journaled.directory.parent)
    found = fresh.load("apt").state
    assert found is not None
    for attempt in (1, 2):
        fresh.open(found)
        assert not journal.exists()
        fresh.record("apt", start_record("d", attempt, 1))
        fresh.commit()
        assert journal.exists()
    assert [path.name for path in journaled.directory.glob("*.corrupt-*")] == ["apt.journal.corrupt-1"]


def test_a_long_journal_of_what_is_known_is_read_to_its_end(journaled: StateStore) -> None:
    """It may be as long as the state, of which several MiB are allowed, and a batch more."""
    journal = journaled.path("apt").with_suffix(".journal")
    known = b'{"n":1,"at":null,"do":"start","because":"%b"}\n' % (b"x" * 100_000)
    _rewrite(journal, known * 90 + journal.read_bytes())
    loaded = StateStore(journaled.directory.parent).load("apt")
    assert (loaded.warnings, loaded.state) == ((), journaled.state("apt"))


def test_a_transition_is_dated(journaled: StateStore) -> None:
    found = reread(journaled)
    assert found is not None
    assert found.execution.started_at is not None
    assert found.execution.last_updated is not None
    assert found.execution.last_updated >= found.execution.started_at


def test_a_state_is_not_written_that_would_be_too_long_with_its_last_newline(
    journaled: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    journaled.fold("apt")
    size = journaled.path("apt").stat().st_size
    for limit, refused in ((size, False), (size - 1, True)):
        monkeypatch.setattr(paths, "MAX_STATE_BYTES", limit)
        store = StateStore(journaled.directory.parent)
        with pytest.raises(StateWriteError, match="long") if refused else nullcontext():
            store.open(journaled.state("apt"))


def test_a_journal_without_its_state_is_what_is_left(journaled: StateStore) -> None:
    """It is evidence, and kept when the plugin begins anew."""
    for path in journaled.directory.glob("apt.json*"):
        path.unlink()
    loaded = journaled.load("apt")
    assert (loaded.state, loaded.lost) == (None, True)
    assert "apt.journal" in loaded.warnings[0]
    journal = journaled.path("apt").with_suffix(".journal")
    data = journal.read_bytes()
    journaled.open(PluginState(run_id="r2", execution=StepExecutionState("apt")))
    assert journal.with_name("apt.journal.corrupt-1").read_bytes() == data


def test_the_file_before_is_used_in_place_of_one_that_is_missing_and_that_is_told(
    journaled: StateStore,
) -> None:
    journaled.fold("apt")
    path = journaled.path("apt")
    path.unlink()
    loaded = StateStore(journaled.directory.parent).load("apt")
    assert loaded.state is not None
    assert loaded.lost
    assert loaded.warnings == (f"{path} is missing; apt.json.prev was used",)


class Crash(BaseException):
    """The process died."""


class FailsFrom(paths.FileSystem):
    """From the n-th call on, every one fails."""

    def __init__(self, at: int, error: Callable[[], BaseException]) -> None:
        self.left = at
        self.error = error

    def __getattribute__(self, name: str) -> object:
        attribute = super().__getattribute__(name)
        if name in ("left", "error") or name.startswith("_"):
            return attribute

        def call(*args: object, **kwargs: object) -> object:
            self.left -= 1
            if self.left <= 0:
                raise self.error()
            return attribute(*args, **kwargs)

        return call


@pytest.mark.parametrize("fresh", [False, True])
def test_a_crash_at_any_call_while_a_journaled_state_is_opened_loses_nothing(
    journaled: StateStore, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    """A resume opens what it has read, a new run a state of its own: that is there whole, or the old one."""
    base = journaled.directory.parent
    for at in range(1, 100):
        old = reread(journaled)
        assert old is not None
        store = StateStore(base)
        opened = store.load("apt").state
        assert opened is not None
        if fresh:
            opened = PluginState(run_id=f"r{at}", execution=StepExecutionState("apt"), sequence=old.sequence)
        died = False
        with monkeypatch.context() as patch:
            patch.setattr(paths, "filesystem", FailsFrom(at, Crash))
            try:
                store.open(opened, [start_record("z", at, 1)])
            except Crash:
                died = True
        loaded = StateStore(base).load("apt")
        assert (loaded.lost, loaded.warnings) == (False, ())
        assert loaded.state in ((old, opened) if died else (opened,))
        if not died:
            assert at > 12
            return
        again = StateStore(base)
        state_now = again.load("apt").state
        assert state_now is not None
        again.open(state_now)
        for number in range(3):
            again.record("apt", start_record("a", number, 1))
            again.commit()
        assert reread(again) == again.state("apt")
    raise AssertionError("the state was never opened")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_every_error_of_a_commit_is_typed_and_leaves_a_readable_state(
    journaled: StateStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def error() -> OSError:
        return OSError(code, os.strerror(code))

    failures: list[StateWriteError] = []
    for at in range(1, 40):
        before = reread(journaled)
        assert before is not None
        journaled.record("apt", start_record("c", at, 1))
        with monkeypatch.context() as patch:
            patch.setattr(paths, "filesystem", FailsFrom(at, error))
            try:
                journaled.commit()
            except StateWriteError as failure:
                failures.append(failure)
        loaded = StateStore(journaled.directory.parent).load("apt")
        assert loaded.warnings == ()
        assert loaded.state in (before, journaled.state("apt"))
        journaled.open(journaled.state("apt"))
    assert len(failures) >= 3
    assert all(os.strerror(code) in failure.message and failure.hint for failure in failures)
