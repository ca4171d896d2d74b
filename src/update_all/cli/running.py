"""What `run` and `resume` share: the printer, signals, history and the summary around one run."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from update_all.cli.recording import Recorder
from update_all.cli.workspace import Workspace
from update_all.core.errors import BusyError, StateError
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.locks import exclusive, exclusive_when_free, holder
from update_all.core.models import Phase
from update_all.core.orchestration import RunResult, RunSettings
from update_all.core.paths import secure_directory
from update_all.core.planning import PluginPlan, build_graph
from update_all.core.recovery import PluginRecovery
from update_all.core.rights import Rights
from update_all.core.session import Session
from update_all.core.streaming import StreamEvent, WarningEvent
from update_all.ui.printers import Printer, make_printer
from update_all.ui.summary import summary
from update_all.ui.terminal import Sink, is_terminal, style_of
from update_all.ui.view import RunView

ROOT_LOCK = Path("/run/lock/update-all-root.lock")
TICK_SECONDS = 0.1

LADDER = {
    Urgency.FINISH: "Interrupted: nothing new starts; package transactions finish, the rest is being ended."
    " Ctrl-C again ends more.",
    Urgency.STOP: "Interrupted again: transactions are asked to stop. Ctrl-C again kills what may be killed.",
    Urgency.KILL: "Killing what is left; a package transaction that still runs is left to finish by itself.",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a command wants its run shown and carried out."""

    jobs: int
    fail_fast: bool = False
    last_phase: Phase = Phase.EXECUTE
    progress: str = "auto"
    color: str = "auto"
    as_json: bool = False
    no_input: bool = False


@contextlib.asynccontextmanager
async def one_run(workspace: Workspace, *, wait: bool) -> AsyncIterator[None]:
    """Hold the one lock that each user has. Raises StateError, and BusyError unless it is waited for."""
    path = secure_directory(workspace.state_directory) / "lock"
    async with contextlib.AsyncExitStack() as stack:
        try:
            stack.enter_context(exclusive(path, "update-all"))
        except BusyError:
            if not wait:
                raise
            sys.stderr.write(f"update-all: waiting for another run to end: {holder(path).describe()}\n")
            await stack.enter_async_context(exclusive_when_free(path, "update-all"))
        yield


def past_durations(workspace: Workspace) -> Mapping[tuple[str, str], Sequence[float]]:
    """Durations of steps in past runs, newest first; nothing where there is no history."""
    if not workspace.directories.history.exists():
        return {}
    try:
        with workspace.history(read_only=True) as history:
            return history.durations()
    except StateError:
        return {}


def last_success(workspace: Workspace) -> Mapping[tuple[str, str], datetime]:
    """When each step last succeeded; nothing where there is no history."""
    if not workspace.directories.history.exists():
        return {}
    try:
        with workspace.history(read_only=True) as history:
            return history.last_success()
    except StateError:
        return {}


def usual_seconds(durations: Mapping[tuple[str, str], Sequence[float]]) -> dict[tuple[str, str], float]:
    """The median of each step."""
    return {key: median(values) for key, values in durations.items() if values}


async def carry_out(
    workspace: Workspace,
    session: Session,
    plans: Sequence[PluginPlan],
    recoveries: Mapping[str, PluginRecovery],
    manner: Manner,
    *,
    resumed: bool = False,
    before: Sequence[StreamEvent] = (),
) -> tuple[RunResult, RunView, Recorder]:
    """Run the plans with a printer, the Ctrl-C ladder, privileges and the history around them."""
    durations = past_durations(workspace)
    settings = _settings(workspace, plans, recoveries, manner, durations, resumed)
    view, recorder, interrupts = RunView(), Recorder(), Interrupts()
    stream = sys.stdout if not manner.as_json or manner.progress == "jsonl" else sys.stderr
    printer = make_printer("none" if manner.as_json else manner.progress, stream, color=manner.color)

    def sink(event: StreamEvent) -> None:
        view.apply(event)
        recorder.handle(event)
        printer.handle(event)

    for event in before:
        sink(event)
    async with _privileges(workspace, plans, recoveries, manner, sink) as rights:
        with contextlib.closing(printer), _signals(interrupts, sink):
            ticker = asyncio.ensure_future(_tick(printer))
            try:
                result = await session.run(
                    plans,
                    recoveries,
                    privileges=rights,
                    settings=settings,
                    sink=sink,
                    interrupts=interrupts,
                    before=before,
                )
            finally:
                ticker.cancel()
    for warning in recorder.write(workspace):
        view.apply(WarningEvent(message=warning, code="history"))
    return result, view, recorder


def _settings(
    workspace: Workspace,
    plans: Sequence[PluginPlan],
    recoveries: Mapping[str, PluginRecovery],
    manner: Manner,
    durations: Mapping[tuple[str, str], Sequence[float]],
    resumed: bool,
) -> RunSettings:
    from update_all.core.forecast import expected_range, plan_priorities

    limits = {"network": workspace.config.network.downloads, **workspace.config.limits}
    seconds = usual_seconds(durations)
    done = {name: recovery.done for name, recovery in recoveries.items()}
    graph = build_graph(plans, done=done, seconds=seconds, last_phase=manner.last_phase)
    priority: Mapping[str, float] | None = None
    expected: tuple[float, float] | None = None
    if durations and graph.nodes:
        priority = plan_priorities(graph, manner.jobs, limits).priority
        known = {f"{plugin}:{step}": values for (plugin, step), values in durations.items()}
        if all(node.id in known for node in graph.nodes):
            low, high = expected_range(graph, manner.jobs, limits, priority, known)
            expected = (low, high)
    return RunSettings(
        jobs=manner.jobs,
        limits=limits,
        fail_fast=manner.fail_fast,
        last_phase=manner.last_phase,
        seconds=seconds,
        priority=priority,
        expected=expected,
        root_lock=ROOT_LOCK if any(step.needs_root for plan in plans for step in plan.steps) else None,
        resumed=resumed,
        last_success=last_success(workspace),
    )


@contextlib.asynccontextmanager
async def _privileges(
    workspace: Workspace,
    plans: Sequence[PluginPlan],
    recoveries: Mapping[str, PluginRecovery],
    manner: Manner,
    sink: Callable[[StreamEvent], None],
) -> AsyncIterator[Rights]:
    """Ask for root once, up front, if a step that is left needs it; give it back at the end."""
    sudo = workspace.config.sudo
    rights = Rights.find(sudo.command, keepalive=sudo.keepalive, may_ask=not manner.no_input)
    async with rights.privilege:
        if any(
            step.needs_root and step.name not in recoveries[plan.name].done
            for plan in plans
            for step in plan.steps
        ):
            refused = await rights.authenticate()
            if refused is not None:
                sink(WarningEvent(message=f"what needs root will not run: {refused}", code="needs-privilege"))
        yield rights


@contextlib.contextmanager
def _signals(interrupts: Interrupts, sink: Callable[[StreamEvent], None]) -> Iterator[None]:
    """Each Ctrl-C is a rung of the ladder; TERM and HUP are like the first one."""
    loop = asyncio.get_running_loop()

    def escalate() -> None:
        sink(WarningEvent(message=LADDER[interrupts.escalate()], code="interrupted"))

    def finish() -> None:
        interrupts.escalate(Urgency.FINISH)

    loop.add_signal_handler(signal.SIGINT, escalate)
    loop.add_signal_handler(signal.SIGTERM, finish)
    loop.add_signal_handler(signal.SIGHUP, finish)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _tick(printer: Printer) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        printer.tick(time.time())


def show_summary(view: RunView, manner: Manner) -> None:
    """The summary, on standard output."""
    if manner.as_json or manner.progress == "jsonl":
        return
    import os

    from update_all.cli.after_run import advice

    out = Sink(sys.stdout)
    style = style_of(sys.stdout, os.environ, manner.color)
    width = out.size().width if is_terminal(sys.stdout, os.environ) else 100
    out.write("\n".join(["", *summary(view, width, style, advice=advice(view))]) + "\n")
