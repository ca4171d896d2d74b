"""execute_streaming with real commands: the plan's tables INT-001 … INT-003 and SINT-001 … SINT-003."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from update_all.core import paths
from update_all.core.models import StepResult, UpdateCommand, UpdateStep
from update_all.core.state import StateStore
from update_all.core.streaming import (
    CompletionEvent,
    OutputEvent,
    StepEndEvent,
    StepStartEvent,
    StreamEvent,
)
from update_all.plugins.base import BasePlugin

Create = Callable[[list[UpdateStep]], BasePlugin]
Collect = Callable[[AsyncIterator[StreamEvent]], list[StreamEvent]]


class Everything(BasePlugin):
    """Declares its update in all three ways, as far as it is told to."""

    name = "everything"
    command = "echo"

    def __init__(
        self, *, steps: bool = False, commands: Sequence[UpdateCommand] = (), error: str | None = None
    ):
        super().__init__()
        self._has_steps = steps
        self._commands = list(commands)
        self._error = error

    def get_update_steps(self) -> list[UpdateStep]:
        if not self._has_steps:
            return []
        return [UpdateStep("stepping", "A step", commands=[UpdateCommand(["echo", "by step"])])]

    def get_update_commands(self, dry_run: bool = False) -> list[UpdateCommand]:
        return self._commands

    async def _execute_update(self, _config: object) -> tuple[str, str | None]:
        return "by legacy\n", self._error


def output(events: list[StreamEvent]) -> list[str]:
    return [line for event in events if isinstance(event, OutputEvent) for line in event.lines]


def started(events: list[StreamEvent]) -> list[str]:
    return [event.step_name for event in events if isinstance(event, StepStartEvent)]


def end_of(events: list[StreamEvent], step: str) -> StepEndEvent:
    return next(event for event in events if isinstance(event, StepEndEvent) and event.step_name == step)


def completion(events: list[StreamEvent]) -> CompletionEvent:
    last = events[-1]
    assert isinstance(last, CompletionEvent)
    return last


def test_uses_steps_when_available(collect: Collect) -> None:
    """INT-001."""
    plugin = Everything(steps=True, commands=[UpdateCommand(["echo", "by command"])])
    events = collect(plugin.execute_streaming())
    assert started(events) == ["stepping"]
    assert output(events) == ["by step"]


def test_falls_back_to_commands(collect: Collect) -> None:
    """INT-002: named commands are steps of their own, a run of unnamed ones is one step."""
    commands = [
        UpdateCommand(["echo", "1"], step_name="refresh"),
        UpdateCommand(["echo", "2"]),
        UpdateCommand(["echo", "3"]),
        UpdateCommand(["echo", "4"], step_name="clean"),
    ]
    events = collect(Everything(commands=commands).execute_streaming())
    assert started(events) == ["refresh", "update", "clean"]
    assert output(events) == ["1", "2", "3", "4"]
    assert completion(events).success


@pytest.mark.parametrize("error", [None, "the server said no"])
def test_falls_back_to_legacy(collect: Collect, error: str | None) -> None:
    """INT-003."""
    events = collect(Everything(error=error).execute_streaming())
    assert started(events) == ["update"]
    assert output(events) == ["by legacy"]
    assert completion(events).success is (error is None)
    assert completion(events).error_message == error


def test_real_command_execution(create_step_plugin: Create, collect: Collect, tmp_path: Path) -> None:
    """SINT-001: arguments, environment, directory, exit codes and output are those of a real program."""
    program = "import os, sys; print(sys.argv[1:], os.environ['GREETING'], os.getcwd()); sys.exit(3)"
    command = UpdateCommand(
        [sys.executable, "-c", program, "a b", "$HOME", "*"],
        env={"GREETING": "hello {who}"},
        cwd=str(tmp_path),
        ignore_exit_codes=(3,),
    )

    async def find() -> AsyncIterator[StreamEvent]:
        plugin.facts["who"] = "world"
        yield OutputEvent(line="looked")

    steps = [UpdateStep("find", "Find", execute_fn=find), UpdateStep("talk", "Talk", commands=[command])]
    plugin = create_step_plugin(steps)
    events = collect(plugin.execute_streaming())
    assert output(events)[-1] == f"['a b', '$HOME', '*'] hello world {tmp_path}"
    end = end_of(events, "talk")
    assert (end.success, end.exit_code) == (True, 3)
    assert end.cpu_seconds is not None
    assert end.max_rss_bytes
    assert Path(end.log).read_text().splitlines() == output(events)[-1:]
    assert Path(end.log).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("program", "fields", "error"),
    [
        ("print('E: broken')", {"error_patterns": ("^E:",)}, "reported: E: broken"),
        ("print('all good'); exit(5)", {"success_patterns": ("good$",)}, None),
        (
            "print('E: x good'); exit(0)",
            {"error_patterns": ("^E",), "success_patterns": ("good",)},
            "reported",
        ),
        ("exit(4)", {"success_patterns": ("good",)}, "exited with 4"),
        ("exit(4)", {"ignore_exit_codes": (4,)}, None),
        ("import os; os.kill(os.getpid(), 15)", {}, "was ended by signal 15"),
        ("print('good', end='')", {"error_patterns": ("good$",)}, "reported: good"),
    ],
)
def test_patterns_and_exit_codes_in_their_order(
    create_step_plugin: Create,
    collect: Collect,
    program: str,
    fields: dict[str, tuple[str]],
    error: str | None,
) -> None:
    command = UpdateCommand([sys.executable, "-c", program], **fields)  # type: ignore[arg-type]
    events = collect(create_step_plugin([UpdateStep("s", "S", commands=[command])]).execute_streaming())
    message = end_of(events, "s").error_message
    assert (message is None) if error is None else (message is not None and error in message)
    assert completion(events).success is (error is None)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes root without a question only as root")
def test_step_with_sudo(create_step_plugin: Create, collect: Collect) -> None:
    """SINT-002: the command of a step that needs root runs as root; the one beside it need not."""
    command = UpdateCommand(["id", "-u"])
    steps = [
        UpdateStep("whole", "As root", commands=[command], sudo=True),
        UpdateStep("part", "Partly as root", commands=[UpdateCommand(["id", "-u"], sudo=True), command]),
    ]
    events = collect(create_step_plugin(steps).execute_streaming())
    assert completion(events).success, completion(events).error_message
    assert output(events) == ["0", "0", str(os.geteuid())]


def test_step_timeout(create_step_plugin: Create, collect: Collect, tmp_path: Path) -> None:
    """SINT-003: the whole tree is ended, also a child that left the group and keeps the output open."""
    note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    child = f"import time, os; os.setsid(); {note}; time.sleep(300)"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    step = UpdateStep(
        "slow", "Slow", commands=[UpdateCommand([sys.executable, "-c", program])], timeout_seconds=2
    )
    events = collect(create_step_plugin([step]).execute_streaming())
    end = end_of(events, "slow")
    assert (end.success, end.error_code) == (False, "timed-out")
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()


def test_a_function_that_takes_too_long_is_ended(create_step_plugin: Create, collect: Collect) -> None:
    import asyncio

    ended: list[str] = []

    async def forever() -> AsyncIterator[StreamEvent]:
        try:
            await asyncio.sleep(300)
            yield OutputEvent(line="never")
        finally:
            ended.append("cleaned up")

    steps = [UpdateStep("slow", "Slow", execute_fn=forever, timeout_seconds=1)]
    events = collect(create_step_plugin(steps).execute_streaming())
    assert end_of(events, "slow").error_code == "timed-out"
    assert ended == ["cleaned up"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_a_fact_that_cannot_be_kept_fails_its_step_by_name(
    create_step_plugin: Create, collect: Collect, value: object
) -> None:
    async def find() -> AsyncIterator[StreamEvent]:
        plugin.facts["odd"] = value  # type: ignore[assignment]
        yield OutputEvent(line="found")

    plugin = create_step_plugin([UpdateStep("find", "Find", execute_fn=find)])
    events = collect(plugin.execute_streaming())
    assert "the fact 'odd' cannot be kept" in str(end_of(events, "find").error_message)
    loaded = StateStore(paths.directories().state).load(plugin.name)
    assert loaded.warnings == ()


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=st.dictionaries(st.text(min_size=1), plain, max_size=4))
def test_whatever_facts_a_step_keeps_its_state_stays_readable(
    create_step_plugin: Create, collect: Collect, facts: dict[str, object]
) -> None:
    async def find() -> AsyncIterator[StreamEvent]:
        plugin.facts.update(facts)  # type: ignore[arg-type]
        yield OutputEvent(line="found")

    plugin = create_step_plugin([UpdateStep("find", "Find", execute_fn=find)])
    events = collect(plugin.execute_streaming())
    loaded = StateStore(paths.directories().state).load(plugin.name)
    assert loaded.state is not None
    assert loaded.warnings == ()
    assert isinstance(loaded.state.execution.step_results["find"], StepResult)
    if completion(events).success:
        assert loaded.state.facts == facts


def test_a_path_is_a_fact(create_step_plugin: Create, collect: Collect, tmp_path: Path) -> None:
    async def find() -> AsyncIterator[StreamEvent]:
        plugin.facts["archive"] = tmp_path / "go.tar"  # type: ignore[assignment]
        yield OutputEvent(line="found")

    steps = [
        UpdateStep("find", "Find", execute_fn=find),
        UpdateStep("use", "Use", commands=[UpdateCommand(["echo", "{archive}"])]),
    ]
    plugin = create_step_plugin(steps)
    assert output(collect(plugin.execute_streaming()))[-1] == str(tmp_path / "go.tar")


def test_a_dry_run_lists_and_runs_nothing(
    create_step_plugin: Create, collect: Collect, tmp_path: Path
) -> None:
    touch = UpdateCommand(["touch", str(tmp_path / "ran")])
    steps = [
        UpdateStep("late", "Late", commands=[UpdateCommand(["echo", "{version}"])], depends_on=["early"]),
        UpdateStep("early", "Early", commands=[touch]),
    ]
    plugin = create_step_plugin(steps)
    events = collect(plugin.execute_streaming(dry_run=True))
    assert output(events) == [f"touch {tmp_path / 'ran'}", "echo '{version}'"]
    assert completion(events).success
    assert not (tmp_path / "ran").exists()
    assert not paths.directories().state.exists()
