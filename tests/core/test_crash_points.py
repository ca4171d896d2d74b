"""Killed at every call that touches the state, then resumed: nothing lost, nothing silently repeated.

Each process is a fork that dies by `os._exit` at its n-th call: no handler, no flush, no clean-up. What it
has started lives on, as after `kill -9`. The oracle is a ledger to which every step appends its name.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from update_all.core import paths, recovery, transitions
from update_all.core.errors import NeedsDecisionError
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.orchestration import RunSettings
from update_all.core.planning import plan_plugin
from update_all.core.recovery import PluginRecovery
from update_all.core.rights import Rights
from update_all.core.session import ResumeOptions, Session
from update_all.core.state import StateStore
from update_all.core.streaming import OutputEvent, StreamEvent
from update_all.core.transitions import Outcome, PluginState, Verdict
from update_all.plugins.base import BasePlugin

KILLED = 137
CALLS = ("open", "close", "fstat", "lstat", "write", "fsync", "rename", "link", "unlink", "mkdir")
MakePlugin = Callable[..., BasePlugin]


class DiesAt(paths.FileSystem):
    """The process is gone before its n-th call."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __getattribute__(self, name: str) -> object:
        if name in CALLS:
            self.left -= 1
            if self.left == 0:
                os._exit(KILLED)
        return super().__getattribute__(name)


class Scene:
    """A plugin of four steps, its ledger, and processes that run and resume it."""

    def __init__(self, directory: Path, plugin_of: MakePlugin) -> None:
        self.state = directory / "state"
        self.ledger = directory / "ledger"
        self.ledger.touch()
        self.plugin_of = plugin_of
        self.asked: set[str] = set()

    def steps(self) -> list[UpdateStep]:
        return [
            self.command("fetch", idempotent=True),
            self.function("prepare", idempotent=False),
            self.command("install", idempotent=False),
            self.function("report", idempotent=True),
        ]

    def command(self, name: str, idempotent: bool) -> UpdateStep:
        argv = ["sh", "-c", 'echo "$1" >> "$2"', "sh", name, str(self.ledger)]
        return UpdateStep(name, name, commands=[UpdateCommand(argv)], idempotent=idempotent)

    def function(self, name: str, idempotent: bool) -> UpdateStep:
        async def work() -> AsyncIterator[StreamEvent]:
            with self.ledger.open("a") as file:
                file.write(f"{name}\n")
            yield OutputEvent(line=name)

        return UpdateStep(name, name, execute_fn=work, idempotent=idempotent)

    def counts(self) -> Counter[str]:
        return Counter(self.ledger.read_text().split())

    def process(self, work: Callable[[], int], die_at: int) -> int:
        """Do it in a process of its own, which dies at that call (0: never); its exit code."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads.
            pid = os.fork()
        if pid == 0:
            code = 99
            try:
                paths.filesystem = DiesAt(die_at)
                code = work()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _carry_out(self, session: Session, open_plugin: Callable[..., PluginRecovery]) -> int:
        plugin = self.plugin_of(self.steps())
        plan = plan_plugin(plugin, plugin.get_update_steps())
        found = open_plugin(plan)
        result = asyncio.run(
            session.run(
                [plan],
                {plan.name: found},
                privileges=Rights.find(may_ask=False),
                settings=RunSettings(),
                sink=lambda _: None,
            )
        )
        return result.exit_code

    def run(self) -> int:
        with Session(self.state, "20260101-000000-aaaaaa") as session:
            return self._carry_out(session, session.start_afresh)

    def resume(self) -> int:
        """As a person would: a step that must not be repeated without asking is decided by the ledger."""
        found = StateStore(self.state).load("demo").state
        if found is None:
            return self.run()
        if found.outcome is not Outcome.UNFINISHED:
            return 0
        counts = self.counts()
        undecided = {name for name, result in found.execution.step_results.items() if result.error_code}
        undecided &= {"prepare", "install"}
        options = ResumeOptions(
            assume_done=frozenset(name for name in undecided if counts[name]),
            redo=frozenset(name for name in undecided if not counts[name]),
        )
        with Session(self.state, found.run_id, resumed=True) as session:
            state = session.load("demo")
            assert state is not None
            return self._carry_out(session, lambda plan: session.go_on(plan, state, options))

    def finish(self, die_at: int = 0) -> None:
        """Resume until it is done; the first resume may die as well."""
        for attempt in range(8):
            code = self.process(self.resume, die_at if attempt == 0 else 0)
            if code == 0:
                return
            assert code in (KILLED, 1, 4), f"a resume ended with {code}"
        raise AssertionError("the run never came to its end")

    def violations(self) -> list[str]:
        """What must never be found, whatever was killed when."""
        counts = self.counts()
        lost = [f"{step.name} is lost" for step in self.steps() if not counts[step.name]]
        doubled = [name for name in ("prepare", "install") if counts[name] > 1]
        return [*lost, *(f"{name} was silently repeated" for name in doubled)]


def sweep(
    directory: Path, plugin_of: MakePlugin, second: Callable[[int], int], *, first: int = 1, stride: int = 1
) -> Iterator[str]:
    """Kill at each call in turn until a run comes through, and tell of all violations."""
    for at in range(first, 400, stride):
        (directory / str(at)).mkdir()
        scene = Scene(directory / str(at), plugin_of)
        code = scene.process(scene.run, at)
        if code == 0:
            assert at > 40, "the sweep saw too few calls to mean anything"
            return
        assert code == KILLED
        scene.finish(second(at))
        yield from (f"call {at}: {violation}" for violation in scene.violations())
    raise AssertionError("the run never came through")


def test_killed_at_every_call_of_a_run(tmp_path: Path, plugin_of: MakePlugin) -> None:
    assert list(sweep(tmp_path, plugin_of, lambda at: 0)) == []


def test_killed_at_a_call_of_the_run_and_of_its_resume(tmp_path: Path, plugin_of: MakePlugin) -> None:
    assert list(sweep(tmp_path, plugin_of, lambda at: 1 + at * 7 % 45, first=3, stride=4)) == []


def test_the_sweep_bites_when_nobody_is_asked(
    tmp_path: Path, plugin_of: MakePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the protection the same oracle finds a step that was silently repeated."""
    for module in (recovery, transitions):
        monkeypatch.setattr(module, "unknown_verdict", lambda **_: Verdict.RERUN)
    assert "prepare was silently repeated" in next(sweep(tmp_path, plugin_of, lambda at: 0, first=20))


def test_the_sweep_bites_when_exit_records_are_not_read(
    tmp_path: Path, plugin_of: MakePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "verdict", lambda **_: Verdict.RERUN)
    found = sweep(tmp_path, plugin_of, lambda at: 0, first=30)
    assert any("install was silently repeated" in violation for violation in found)


def test_the_sweep_bites_when_intents_are_not_recorded(
    tmp_path: Path, plugin_of: MakePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PluginState, "_start", lambda *_: None)
    found = sweep(tmp_path, plugin_of, lambda at: 0, first=20)
    assert any("was silently repeated" in violation for violation in found)


def test_a_new_run_refuses_what_an_earlier_one_left_undecided(tmp_path: Path, plugin_of: MakePlugin) -> None:
    scene = Scene(tmp_path, plugin_of)

    def dies() -> int:
        def work() -> AsyncIterator[StreamEvent]:
            os._exit(KILLED)

        scene.steps = lambda: [UpdateStep("install", "I", execute_fn=work, idempotent=False)]  # type: ignore[method-assign]
        return scene.run()

    assert scene.process(dies, 0) == KILLED
    steps = [scene.function("install", idempotent=False)]
    plan = plan_plugin(plugin_of(steps), steps)
    with (
        Session(scene.state, "20260102-000000-bbbbbb") as session,
        pytest.raises(NeedsDecisionError, match="demo: install may or may not have happened") as caught,
    ):
        session.start_afresh(plan)
    assert "--redo install" in caught.value.hint
    assert "--assume-done install" in caught.value.hint
    assert scene.counts() == {}


def test_a_command_that_outlives_its_orchestrator_is_waited_for(
    tmp_path: Path, plugin_of: MakePlugin
) -> None:
    """Killed while the command runs: the resume attaches to it, and a new run is refused until it ends."""
    scene = Scene(tmp_path, plugin_of)
    gate = tmp_path / "gate"
    script = 'while [ ! -e "$1" ]; do sleep 0.05; done; echo install >> "$2"'
    command = UpdateCommand(["sh", "-c", script, "sh", str(gate), str(scene.ledger)])
    scene.steps = lambda: [UpdateStep("install", "I", commands=[command], idempotent=False)]  # type: ignore[method-assign]

    def dies() -> int:
        async def run() -> None:
            asyncio.get_running_loop().call_later(0.5, os._exit, KILLED)
            await asyncio.to_thread(scene.run)

        asyncio.run(run())
        return 1

    assert scene.process(dies, 0) == KILLED
    plan = plan_plugin(plugin_of(scene.steps()), scene.steps())
    with (
        Session(scene.state, "20260102-000000-bbbbbb") as session,
        pytest.raises(Exception, match="install of an earlier run is still running"),
    ):
        session.start_afresh(plan)
    gate.touch()
    scene.finish()
    assert scene.counts() == {"install": 1}
