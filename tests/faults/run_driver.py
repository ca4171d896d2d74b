"""A whole run in a process of its own, to be killed: `run_driver.py STATE_DIRECTORY SCENARIO [--resume] …`.

Uses the engine as the command line does: sessions, recovery, signals. The scenario is JSON
(harness.Scenario). `--off PROTECTION` switches a protection off, to show that a test finds what it protects
from. The last line on stdout is JSON: exit code, endings, peak memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TypedDict

from update_all.core import (
    locks,
    orchestration,
    paths,
    process_tree,
    processes,
    state,
    streaming,
    supervision,
)
from update_all.core import session as sessions
from update_all.core.command import Command
from update_all.core.errors import StepError, UpdateAllError
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.orchestration import RunResult, RunSettings
from update_all.core.output import StepLog
from update_all.core.planning import PluginPlan, plan_plugin
from update_all.core.recovery import PluginRecovery
from update_all.core.session import ResumeOptions, Session, next_run_id
from update_all.core.state import StateStore
from update_all.core.streaming import OutputEvent, StreamEvent
from update_all.core.transitions import Outcome
from update_all.plugins.base import BasePlugin


class StepData(TypedDict):
    """A step of a scenario: `commands` are argument lists, `check` a file whose existence says "done"."""

    name: str
    commands: list[list[str]]
    idempotent: bool
    uninterruptible: bool
    timeout: int | None
    depends_on: list[str]
    mutexes: list[str]
    check: str


class PluginData(TypedDict):
    """A plugin of a scenario."""

    name: str
    parallel: bool
    third_party: bool
    steps: list[StepData]


class Privileges:
    """Nothing here needs root."""

    def wrap(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        return list(argv)

    def refusal(self, exit_code: int, output: str) -> StepError | None:
        return None

    async def signal(self, pids: Sequence[int], number: int) -> None:
        return None

    async def release(self) -> None:
        return None

    async def let_ask(self, command: Command, too_late: Callable[[], bool]) -> bool:
        return False


class ScenarioPlugin(BasePlugin):
    """A plugin as the scenario describes it."""

    command = "true"

    def __init__(self, data: PluginData) -> None:
        super().__init__()
        self.data = data
        self.parallel_steps = data["parallel"]
        self.third_party = data["third_party"]

    @property
    def name(self) -> str:
        return self.data["name"]

    def get_update_steps(self) -> list[UpdateStep]:
        return [_step(data) for data in self.data["steps"]]


def _step(data: StepData) -> UpdateStep:
    check = data["check"]
    return UpdateStep(
        name=data["name"],
        description=data["name"],
        commands=[UpdateCommand(cmd=argv) for argv in data["commands"]],
        depends_on=data["depends_on"],
        mutexes=data["mutexes"],
        idempotent=data["idempotent"],
        check_fn=(lambda: Path(check).exists()) if check else None,
        timeout_seconds=data["timeout"],
        uninterruptible=data["uninterruptible"],
    )


def _switch_off(protection: str, directory: Path) -> None:
    shim = processes.SHIM.read_text()
    replacements = {
        "asks": ("os.WNOHANG | os.WUNTRACED", "os.WNOHANG"),
        "lock": ("fcntl.flock(spool, fcntl.LOCK_EX)", "None"),
        "records": ('self.record(message)\n        self.send({"did"', 'self.send({"did"'),
    }
    if protection in replacements:
        old, new = replacements[protection]
        if old not in shim:
            raise SystemExit(f"the shim has changed: {old!r} is not in it")
        processes.SHIM = directory / "shim.py"
        processes.SHIM.write_text(shim.replace(old, new))
    elif protection == "traces":
        setattr(sessions, "_traces", lambda directory, plugin: [])  # noqa: B010 - not ours to replace
    elif protection == "sweep":
        process_tree.marked = lambda key, spool: []
    elif protection == "flush":
        paths.FileSystem.fsync = lambda self, fd: None  # type: ignore[method-assign]
    elif protection == "cleaning":
        StepLog.write = _write_raw  # type: ignore[method-assign]
    else:
        raise SystemExit(f"there is no protection {protection!r}")


def _shift_clock(seconds: float) -> None:
    """The wall clock of this process is that many seconds off. The monotonic one is never set."""

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Shifted:
            real = datetime.now(tz) + timedelta(seconds=seconds)
            return cls.fromtimestamp(real.timestamp(), tz)

    for module in (locks, orchestration, sessions, state, streaming):
        module.datetime = Shifted  # type: ignore[attr-defined]
    really = time.time
    time.time = lambda: really() + seconds


def _write_raw(self: StepLog, data: bytes) -> None:
    spools = sorted(self.path.parent.glob("*.out"))
    self.path.write_bytes(b"".join(spool.read_bytes() for spool in spools))


def _open(
    session: Session, plan: PluginPlan, options: argparse.Namespace
) -> tuple[PluginPlan, PluginRecovery]:
    state = session.load(plan.name) if options.resume else None
    if state is None:
        return plan, session.start_afresh(plan)
    how = ResumeOptions(redo=frozenset(options.redo), assume_done=frozenset(options.assume_done))
    return plan, session.go_on(plan, state, how)


async def _run(
    session: Session, opened: Sequence[tuple[PluginPlan, PluginRecovery]], jobs: int, tty: bool
) -> RunResult:
    interrupts = Interrupts()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupts.escalate)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupts.escalate, Urgency.FINISH)

    def show(event: StreamEvent) -> None:
        if tty and isinstance(event, OutputEvent):
            print(event.line)

    return await session.run(
        [plan for plan, _ in opened],
        {plan.name: recovery for plan, recovery in opened},
        privileges=Privileges(),
        settings=RunSettings(jobs=jobs, resumed=session.resumed),
        sink=show,
        interrupts=interrupts,
    )


async def _stream(plugin: ScenarioPlugin, slowly: float) -> None:
    """Read the plugin's events as a slow caller of the API does."""
    events: AsyncIterator[StreamEvent] = plugin.execute_streaming()
    async for event in events:
        if isinstance(event, OutputEvent):
            await asyncio.sleep(slowly)


def _report(code: int, message: str = "", **more: object) -> int:
    # Not ru_maxrss: that begins with the size of the process that started us.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps({"exit": code, "message": message, "peak": peak, **more}), flush=True)
    return code


def main() -> int:
    """Start or resume the run of the scenario; the exit code is the run's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--redo", action="append", default=[])
    parser.add_argument("--assume-done", action="append", default=[])
    parser.add_argument("--off", action="append", default=[])
    parser.add_argument("--slowly", type=float, default=0.0)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--clock", type=float, default=0.0)
    parser.add_argument("--boot", help="the machine was started anew: its boot id")
    options = parser.parse_args()
    scenario = json.loads(options.scenario.read_text())
    supervision.TERM_GRACE_SECONDS = scenario["grace"]
    if options.boot:
        setattr(sessions, "boot_id", lambda: str(options.boot))  # noqa: B010 - an import of that module
    if options.clock:
        _shift_clock(options.clock)
    for protection in options.off:
        _switch_off(protection, options.scenario.parent)
    plugins = [ScenarioPlugin(data) for data in scenario["plugins"]]
    if options.slowly:
        asyncio.run(_stream(plugins[0], options.slowly))
        return _report(0)
    try:
        return _session(options, plugins, scenario["jobs"])
    except UpdateAllError as error:
        return _report(error.exit_code, f"{error.code}: {error.message}")


def _session(options: argparse.Namespace, plugins: Sequence[ScenarioPlugin], jobs: int) -> int:
    store = StateStore(options.state)
    states = {name: store.load(name).state for name in store.plugins()} if options.resume else {}
    left = [
        plugin
        for plugin in plugins
        if (state := states.get(plugin.name)) is None or state.outcome is Outcome.UNFINISHED
    ]
    known = [state.run_id for state in states.values() if state is not None]
    began = time.monotonic()
    with Session(
        options.state, max(known, default=next_run_id(options.state)), resumed=options.resume
    ) as session:
        opened = [_open(session, plan_plugin(plugin, plugin.lowered_steps()), options) for plugin in left]
        result = asyncio.run(_run(session, opened, jobs, options.show))
    endings = {name: ending.value for name, ending in result.plugins.items()}
    seconds = time.monotonic() - began
    return _report(result.exit_code, endings=endings, seconds=seconds, warnings="\n".join(session.warnings))


if __name__ == "__main__":
    sys.exit(main())
