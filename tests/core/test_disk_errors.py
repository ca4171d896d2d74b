"""A disk that is full, broken or read-only at any call of a whole run."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from update_all.core import paths
from update_all.core.errors import StateError, StateWriteError
from update_all.core.journal import JournalWriter
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.state import StateStore
from update_all.core.streaming import CompletionEvent, OutputEvent, StepEndEvent, StepStartEvent, StreamEvent
from update_all.core.transitions import Outcome
from update_all.plugins.base import BasePlugin

MakePlugin = Callable[..., BasePlugin]
CALLS = ("open", "close", "fstat", "lstat", "write", "fsync", "rename", "link", "unlink", "mkdir")
CHANGING = ("write", "fsync", "rename", "link", "unlink", "mkdir")
CODES = [errno.ENOSPC, errno.EIO, errno.EACCES]
HARMLESS = {
    errno.ENOSPC: {"close", "lstat"},
    errno.EIO: {"close", "lstat"},
    errno.EACCES: {"close", "lstat", "open"},
}
"""What may fail in a run that succeeds: the close of what was only read or is flushed, the look at a twin
that excuses a second name, the flush of a parent directory that may not be listed."""


class Faulty(paths.FileSystem):
    """The n-th call fails; with `lasting`, all later ones that change anything fail too."""

    def __init__(self, at: int, code: int, *, lasting: bool) -> None:
        self.count = 0
        self.at = at
        self.code = code
        self.lasting = lasting
        self.failed: set[str] = set()

    def __getattribute__(self, name: str) -> object:
        if name in CALLS:
            self.count += 1
            after = self.lasting and self.count > self.at and name in CHANGING
            if self.count == self.at or after:
                self.failed.add(name)
                return self._fail
        return super().__getattribute__(name)

    def _fail(self, *_: object, **__: object) -> None:
        raise OSError(self.code, os.strerror(self.code))


def steps_with(ledger: Path, commands: bool) -> list[UpdateStep]:
    def function(name: str) -> UpdateStep:
        async def work() -> AsyncIterator[StreamEvent]:
            with ledger.open("a") as file:
                file.write(f"{name}\n")
            yield OutputEvent(line=name)

        return UpdateStep(name, name, execute_fn=work)

    def command(name: str) -> UpdateStep:
        argv = ["sh", "-c", 'echo "$1" >> "$2"', "sh", name, str(ledger)]
        return UpdateStep(name, name, commands=[UpdateCommand(argv)])

    made = command if commands else function
    # A step that is checked first records its intent by itself, not with the end of the step before.
    return [made("one"), replace(made("two"), check_fn=lambda: False), made("three")]


def carry_out(plugin: BasePlugin) -> list[StreamEvent]:
    async def events() -> list[StreamEvent]:
        return [event async for event in plugin.execute_streaming()]

    return asyncio.run(events())


def attempted(code: int, at: int, lasting: bool, ledger: Path, plugin: BasePlugin) -> tuple[bool, set[str]]:
    """Run with the fault and check what it left; whether the run succeeded, and which calls failed."""
    before = StateStore(paths.directories().state).load(plugin.name).state
    ledger.write_text("")
    healthy, faulty = paths.filesystem, Faulty(at, code, lasting=lasting)
    paths.filesystem = faulty
    refused: StateError | None = None
    events: list[StreamEvent] = []
    try:
        events = carry_out(plugin)
    except StateError as error:
        refused = error
    finally:
        paths.filesystem = healthy
    ran = ledger.read_text().split()
    loaded = StateStore(paths.directories().state).load(plugin.name)
    assert (loaded.warnings, loaded.lost) == ((), False), f"call {at}: the state cannot be read"
    recorded = set() if loaded.state is None else set(loaded.state.attempts)
    assert set(ran) <= recorded, f"call {at}: something ran that was not recorded"
    if refused is not None:
        assert ran == []
        assert os.strerror(code) in refused.message or str(paths.directories().state) in refused.message
        assert refused.hint
        assert loaded.state == before or loaded.state is not None
        return False, faulty.failed
    last = events[-1]
    assert isinstance(last, CompletionEvent)
    starts = [event.step_name for event in events if isinstance(event, StepStartEvent)]
    ends = [event.step_name for event in events if isinstance(event, StepEndEvent)]
    assert sorted(starts) == sorted(ends)
    if last.success:
        assert loaded.state is not None
        assert loaded.state.outcome is Outcome.COMPLETE
    else:
        assert last.error_message
    return last.success, faulty.failed


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.__getitem__)
def test_an_error_at_any_call_is_reported_and_leaves_a_readable_state(
    tmp_path: Path, plugin_of: MakePlugin, code: int, lasting: bool
) -> None:
    ledger = tmp_path / "ledger"
    plugin = plugin_of(steps_with(ledger, commands=False))
    failures = 0
    for at in range(1, 400):
        success, failed = attempted(code, at, lasting, ledger, plugin)
        failures += not success
        if not failed:
            assert success
            assert ledger.read_text().split() == ["one", "two", "three"]
            break
        assert not success or failed <= HARMLESS[code], f"call {at} failed unnoticed"
    else:
        raise AssertionError("the run never came through")
    assert failures > 25
    assert carry_out(plugin)[-1].plugin_name == "demo"


def test_a_full_disk_at_any_call_of_a_run_of_real_commands(tmp_path: Path, plugin_of: MakePlugin) -> None:
    ledger = tmp_path / "ledger"
    plugin = plugin_of(steps_with(ledger, commands=True))
    outcomes = set()
    for at in range(2, 400, 3):
        success, failed = attempted(errno.ENOSPC, at, True, ledger, plugin)
        outcomes.add(success)
        if not failed:
            break
    assert outcomes == {True, False}


def test_a_step_whose_end_cannot_be_recorded_does_not_pass_for_recorded(
    tmp_path: Path, plugin_of: MakePlugin
) -> None:
    """The only step of a plugin, and the disk is full when it ends: the plugin fails, with the reason."""

    async def work() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="the disk fills up")
        paths.filesystem = Faulty(1, errno.ENOSPC, lasting=True)

    healthy = paths.filesystem
    plugin = plugin_of([UpdateStep("fill", "Fill", execute_fn=work)])
    try:
        last = carry_out(plugin)[-1]
    finally:
        paths.filesystem = healthy
    assert isinstance(last, CompletionEvent)
    assert not last.success
    assert last.error_code == "state-write"
    assert "No space left on device" in str(last.error_message)
    state = plugin.get_step_state()
    assert state is not None
    assert state.current_step == "fill"


def test_a_state_directory_that_is_a_file_is_a_typed_error(plugin_of: MakePlugin, tmp_path: Path) -> None:
    directory = paths.directories().state
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.touch()
    plugin = plugin_of(steps_with(tmp_path / "ledger", commands=False))
    with pytest.raises(StateError, match=str(directory)) as caught:
        carry_out(plugin)
    assert caught.value.hint
    assert not (tmp_path / "ledger").exists()


def test_a_journal_that_cannot_be_opened_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(StateWriteError, match=r"events\.jsonl cannot be written"):
        JournalWriter(tmp_path)
