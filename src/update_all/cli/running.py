"""What `run` and `resume` share: the printer, signals, history and the summary around one run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from update_all.cli.aside import Screen
from update_all.cli.asking import takes_keys
from update_all.cli.full_screen import FullScreens
from update_all.cli.guarding import guard
from update_all.cli.recording import Recorder
from update_all.cli.workspace import Workspace
from update_all.core.aftermath import Aftermath
from update_all.core.assumed import assumed_seconds
from update_all.core.errors import BusyError, StateError
from update_all.core.inhibit import awake
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.locks import exclusive, exclusive_when_free, holder
from update_all.core.models import ChangeKind, Phase
from update_all.core.orchestration import RunResult, RunSettings
from update_all.core.paths import secure_directory
from update_all.core.planning import PluginPlan, build_graph
from update_all.core.recovery import PluginRecovery
from update_all.core.rights import Rights
from update_all.core.scheduling import Graph
from update_all.core.session import Session
from update_all.core.steering import Steering
from update_all.core.streaming import StreamEvent, WarningEvent
from update_all.plugins.base import BasePlugin
from update_all.ui.fullscreen import why_not_here
from update_all.ui.printers import Printer, make_printer
from update_all.ui.summary import summary
from update_all.ui.terminal import Sink, is_terminal, style_of
from update_all.ui.view import RunView

Durations = Mapping[tuple[str, str], Sequence[float]]
"""Plugin and step → how many seconds it took in past runs, newest first."""

ROOT_LOCK = Path("/run/lock/update-all-root.lock")

LADDER = {
    Urgency.FINISH: "Interrupted: nothing new starts; package transactions finish, the rest is being ended."
    " Ctrl-C again ends more.",
    Urgency.STOP: "Interrupted again: transactions are asked to stop. Ctrl-C again kills what may be killed.",
    Urgency.KILL: "Killing what is left; a package transaction that still runs is left to finish by itself.",
}


EACH_TIME = "{} does not remember the password here: each step that runs as root asks for it"


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
    tui: bool = False


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


def past_durations(workspace: Workspace) -> Durations:
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


def usual_seconds(durations: Durations) -> dict[tuple[str, str], float]:
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
    steering = Steering(lambda: escalate(interrupts, sink))
    stream = sys.stdout if not manner.as_json or manner.progress == "jsonl" else sys.stderr
    printer = make_printer(_progress(manner), stream, color=manner.color)
    screen = Screen(printer)

    def sink(event: StreamEvent) -> None:
        view.apply(event)
        recorder.handle(event)
        printer.handle(event)
        screens.handle(event)

    style = style_of(stream, os.environ, manner.color)
    screens = FullScreens(view, steering, session.directory, style, screen, sink)
    if resumed:
        before = [*before, *await guard(workspace, plans)]
    for event in before:
        sink(event)
    async with (
        awake(wanted=workspace.config.guards.stay_awake),
        _privileges(workspace, plans, recoveries, manner, sink) as rights,
    ):
        with (
            contextlib.closing(printer),
            _signals(interrupts, sink, screens.hurry),
            contextlib.ExitStack() as stack,
        ):
            rights.step_aside = screen.step_aside
            stack.enter_context(_keys(manner, steering, printer, screen, screens))
            async with screen.ticking(), screens.attended(at_once=manner.tui):
                result = await session.run(
                    plans,
                    recoveries,
                    privileges=rights,
                    settings=settings,
                    sink=sink,
                    interrupts=interrupts,
                    steering=steering,
                    before=before,
                )
                for warning in recorder.write(workspace):
                    view.apply(WarningEvent(message=warning, code="history"))
    return result, view, recorder


def _keys(
    manner: Manner, steering: Steering, printer: Printer, screen: Screen, screens: FullScreens
) -> contextlib.AbstractContextManager[object]:
    """The keyboard of the live view, where there is one."""
    if not _takes_keys(manner):
        return contextlib.nullcontext()
    from update_all.cli.keyboard import Keyboard
    from update_all.ui.live import LivePrinter

    assert isinstance(printer, LivePrinter)  # noqa: S101 - keys are taken with the live view only
    return Keyboard(steering, printer, screen, screens.show, sys.stdin.fileno())


def _takes_keys(manner: Manner) -> bool:
    return takes_keys(_progress(manner), as_json=manner.as_json, no_input=manner.no_input)


def _progress(manner: Manner) -> str:
    """What is printed; plain lines do not go with a full screen, even where they are the default."""
    if manner.as_json:
        return "none"
    return "live" if manner.tui and not why_not_here() else manner.progress


def _settings(
    workspace: Workspace,
    plans: Sequence[PluginPlan],
    recoveries: Mapping[str, PluginRecovery],
    manner: Manner,
    durations: Durations,
    resumed: bool,
) -> RunSettings:
    seconds = usual_seconds(durations)
    done = {name: recovery.done for name, recovery in recoveries.items()}
    assumed = assumed_seconds(plans)
    graph = build_graph(plans, done=done, seconds={**assumed, **seconds}, last_phase=manner.last_phase)
    priority, expected = forecast(workspace, graph, manner.jobs, durations)
    return RunSettings(
        jobs=manner.jobs,
        limits=limits_of(workspace),
        fail_fast=manner.fail_fast,
        last_phase=manner.last_phase,
        seconds=seconds,
        priority=priority,
        expected=expected,
        root_lock=ROOT_LOCK if any(step.needs_root for plan in plans for step in plan.steps) else None,
        resumed=resumed,
        last_success=last_success(workspace),
        terminal=Sink(sys.stdout).size() if _takes_keys(manner) else None,
    )


def limits_of(workspace: Workspace) -> dict[str, int]:
    """How many steps may hold a mutex at once, by its name; 1 where it is not said."""
    return {"network": workspace.config.network.downloads, **workspace.config.limits}


def forecast(
    workspace: Workspace, graph: Graph, jobs: int, durations: Durations
) -> tuple[Mapping[str, float] | None, tuple[float, float] | None]:
    """The best order of the steps, and the range of seconds until the end; None where no history tells."""
    if not durations or not graph.nodes:
        return None, None
    from update_all.core.forecast import expected_range, plan_priorities

    limits = limits_of(workspace)
    priority = plan_priorities(graph, jobs, limits).priority
    known = {f"{plugin}:{step}": values for (plugin, step), values in durations.items()}
    if not all(node.id in known for node in graph.nodes):
        return priority, None
    low, high = expected_range(graph, jobs, limits, priority, known)
    return priority, (low, high)


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
            elif rights.asks_each_time:
                sink(WarningEvent(message=EACH_TIME.format(rights.prefix), code="asks-each-time"))
        yield rights


def escalate(interrupts: Interrupts, sink: Callable[[StreamEvent], None]) -> None:
    """One rung of the ladder up, and what that means."""
    sink(WarningEvent(message=LADDER[interrupts.escalate()], code="interrupted"))


@contextlib.contextmanager
def _signals(
    interrupts: Interrupts, sink: Callable[[StreamEvent], None], hurry: Callable[[], None]
) -> Iterator[None]:
    """Each Ctrl-C is a rung of the ladder; TERM and HUP are like the first one, and nobody is waited for."""
    loop = asyncio.get_running_loop()

    def finish() -> None:
        interrupts.escalate(Urgency.FINISH)
        hurry()

    loop.add_signal_handler(signal.SIGINT, escalate, interrupts, sink)
    loop.add_signal_handler(signal.SIGTERM, finish)
    loop.add_signal_handler(signal.SIGHUP, finish)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


def show_summary(view: RunView, manner: Manner, left: Aftermath, plans: Sequence[PluginPlan] = ()) -> None:
    """The summary, on standard output, with what is left to do and what can be undone."""
    if manner.as_json or manner.progress == "jsonl":
        return
    out = Sink(sys.stdout)
    style = style_of(sys.stdout, os.environ, manner.color)
    width = out.size().width if is_terminal(sys.stdout, os.environ) else 100
    told = summary(view, width, style, advice=left.advice(), undo=reversible(view, plans))
    out.write("\n".join(["", *told]) + "\n")


def reversible(view: RunView, plans: Sequence[PluginPlan]) -> list[str]:
    """The plugins that replaced a version in this run and can lead back to it. Pure."""
    replaced = {
        name
        for name, row in view.plugins.items()
        if any(change.kind is ChangeKind.UPGRADE for change in row.changes)
    }
    return [
        plan.name
        for plan in plans
        if plan.name in replaced
        and isinstance(plan.plugin, BasePlugin)
        and type(plan.plugin).rollback is not BasePlugin.rollback
    ]
