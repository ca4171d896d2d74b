"""A run of one plugin as an async stream: what `BasePlugin` offers to callers of the API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from update_all.core import paths
from update_all.core.interrupts import Urgency
from update_all.core.models import CheckResult, StepExecutionState, UpdateStep
from update_all.core.orchestration import RunSettings
from update_all.core.planning import Updater, plan_plugin
from update_all.core.session import ResumeOptions, Session, next_run_id
from update_all.core.state import StateStore
from update_all.core.streaming import StreamEvent, WarningEvent
from update_all.core.transitions import Outcome

MOST_UNREAD = 16
"""Events that may wait for a slow reader before the output of commands is left in its files: one event can
hold 1 MiB."""


def unfinished_state(plugin: str) -> StepExecutionState | None:
    """The state of a plugin's last run, None when there is none or it ended well. Raises StateError."""
    state = StateStore(paths.directories().state).load(plugin).state
    return None if state is None or state.outcome is not Outcome.UNFINISHED else state.execution


def unfinished_check(plugin: str) -> CheckResult | None:
    """What the check of a plugin's last run found, None unless that run is unfinished. Raises StateError."""
    state = StateStore(paths.directories().state).load(plugin).state
    return None if state is None or state.outcome is not Outcome.UNFINISHED else state.check


async def stream_plugin(
    plugin: Updater, steps: Sequence[UpdateStep], *, resume_from: str | None = None
) -> AsyncIterator[StreamEvent]:
    """Run a plugin's steps and yield its events; the last one is its CompletionEvent.

    Closing the stream interrupts the run. Raises StepOrderError, UsageError, StateError, BusyError before
    anything runs.
    """
    from update_all.core.interrupts import Interrupts
    from update_all.core.rights import Rights

    plan = plan_plugin(plugin, steps)
    queue: asyncio.Queue[StreamEvent | None] = asyncio.Queue()
    interrupts = Interrupts()
    reading = True
    state_directory = paths.directories().state
    with Session(state_directory, next_run_id(state_directory)) as session:
        if resume_from is None:
            recovery = session.start_afresh(plan)
        else:
            options = ResumeOptions(from_step=resume_from)
            recovery = session.start_at(plan, session.load(plan.name), options)

        async def run() -> None:
            try:
                await session.run(
                    [plan],
                    {plan.name: recovery},
                    privileges=Rights.find(),
                    settings=RunSettings(),
                    sink=lambda event: queue.put_nowait(event) if reading else None,
                    may_continue=lambda: not reading or queue.qsize() < MOST_UNREAD,
                    interrupts=interrupts,
                )
            finally:
                queue.put_nowait(None)

        task = asyncio.ensure_future(run())
        try:
            while (event := await queue.get()) is not None:
                if event.plugin_name == plan.name or isinstance(event, WarningEvent):
                    yield event
            await task
        finally:
            reading = False
            interrupts.escalate(Urgency.STOP)
            with contextlib.suppress(asyncio.CancelledError):
                await task
