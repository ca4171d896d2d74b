"""The run: one loop starts steps, one place emits events, one place writes state (system.md section 2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from update_all.core.assumed import assumed_seconds, rough_priority
from update_all.core.attempts import StepAttempts, failed_step, failure_of
from update_all.core.cleaning import secrets_of
from update_all.core.committing import Committer
from update_all.core.errors import NeedsDecisionError, StateError, StepError
from update_all.core.evidence import Evidence
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.locks import SharedHold
from update_all.core.models import Change, Phase, StepResult, UpdateStep
from update_all.core.planning import PluginPlan, before_ticket_ends, build_graph, node_id, not_now
from update_all.core.processes import ShimClient
from update_all.core.queries import SILENT_ENVIRONMENT
from update_all.core.recovery import PluginRecovery
from update_all.core.reporting import Ending, Progress, Reporter
from update_all.core.scheduling import Graph, NodeState, NotRun, Scheduler
from update_all.core.state import StateStore
from update_all.core.steering import Steering
from update_all.core.steps import Attempt, Privileges, StepRunner, plain_facts
from update_all.core.streaming import RunEndEvent, StepWaitEvent, StreamEvent, WarningEvent
from update_all.core.supervision import DetachedError, SkippedStepError
from update_all.core.transitions import Outcome, end_record, outcome_record
from update_all.core.verification import verify

if TYPE_CHECKING:
    from update_all.core.replanning import Replanner

WAITS_SECONDS = 0.1
MOST_WAITS = 50


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run is carried out. `seconds` are expected durations, `last_success` times, by (plugin, step)."""

    jobs: int = 4
    limits: Mapping[str, int] = field(default_factory=dict)
    fail_fast: bool = False
    last_phase: Phase = Phase.EXECUTE
    seconds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    priority: Mapping[str, float] | None = None
    expected: tuple[float, float] | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    root_lock: Path | None = None
    resumed: bool = False
    last_success: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    terminal: tuple[int, int] | None = None
    """Columns and rows of the person's terminal; None where nobody answers a step that asks."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended: the exit code of system.md section 7, and each plugin's ending."""

    exit_code: int
    interrupted: bool
    plugins: Mapping[str, Ending]


class Run:
    """Carries out the plans of some plugins, from the state that `recoveries` describe.

    The store must have each plugin open. Events go to `sink`, in order, from the event loop's thread.
    """

    def __init__(
        self,
        plans: Sequence[PluginPlan],
        recoveries: Mapping[str, PluginRecovery],
        *,
        run_id: str,
        directory: Path,
        store: StateStore,
        privileges: Privileges,
        settings: RunSettings,
        sink: Callable[[StreamEvent], None],
        flush: Callable[[], None] = lambda: None,
        may_continue: Callable[[], bool] = lambda: True,
        interrupts: Interrupts | None = None,
        steering: Steering | None = None,
    ) -> None:
        self.run_id = run_id
        self.settings = settings
        self.interrupts = interrupts or Interrupts()
        self._steering = steering or Steering()
        self._sink = sink
        self._reporter = Reporter(sink)
        self._flush = flush
        self._store = store
        self._started = time.monotonic()
        self._now = datetime.now(UTC)
        done = {plan.name: recoveries[plan.name].done for plan in plans}
        seconds = {**assumed_seconds(plans), **settings.seconds}
        graph = build_graph(plans, done=done, seconds=seconds, last_phase=settings.last_phase)
        priority = settings.priority or rough_priority(graph, settings.limits)
        self._scheduler = Scheduler(graph, settings.jobs, settings.limits, priority)
        self._replanner = _replanner(graph, settings)
        self._nodes = {node.id: node for node in graph.nodes}
        self._steps = {node_id(plan.name, step.name): (plan, step) for plan in plans for step in plan.steps}
        counts = {plan.name: 0 for plan in plans}
        for node in graph.nodes:
            counts[node.group] += 1
        self._plugins = {
            plan.name: Progress(
                plan=plan,
                recovery=recoveries[plan.name],
                left=counts[plan.name],
                numbers={step.name: number for number, step in enumerate(plan.steps, 1)},
            )
            for plan in plans
        }
        self._committer = Committer(store, self._state_failed)
        self._root_hold = None if settings.root_lock is None else SharedHold(settings.root_lock)
        secrets = secrets_of(settings.environment)
        evidence = Evidence(directory)
        self._runner = StepRunner(
            directory=directory,
            shim=ShimClient(evidence, {**settings.environment, **SILENT_ENVIRONMENT}),
            evidence=evidence,
            privileges=privileges,
            interrupts=self.interrupts,
            emit=sink,
            may_continue=may_continue,
            environment=settings.environment,
            silent=SILENT_ENVIRONMENT,
            secrets=secrets,
            steering=self._steering,
            terminal=settings.terminal,
        )
        self._root_left = {node for node in self._nodes if self._steps[node][1].needs_root}
        self._end_ticket = [node for node in self._nodes if self._steps[node][1].drops_sudo]
        self._before_ticket_ends = before_ticket_ends(graph, self._root_left, self._end_ticket)
        if self._before_ticket_ends:
            for ending in self._end_ticket:
                self._scheduler.defer(ending)
        self._waits_due = False
        self._stays = False
        self._told_to_finish = False
        self._attempts = StepAttempts(store, self._committer, self._runner, self.interrupts, self._not_now)

    async def execute(self) -> RunResult:
        """Run to the end, whatever happens to single steps."""
        self._reporter.run_started(
            self.run_id,
            list(self._plugins.values()),
            jobs=self.settings.jobs,
            resumed=self.settings.resumed,
            seconds=self.settings.seconds,
            expected=self.settings.expected,
        )
        interrupted = self.interrupts.reached(Urgency.FINISH)
        interrupted.add_done_callback(self._halt)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._steering.hold(self)
                for progress in self._plugins.values():
                    if progress.left == 0:
                        group.create_task(self._complete(progress))
                self._pump()
        finally:
            self._steering.hold(None)
            interrupted.cancel()
            self._runner.shim.close()
        return self._finish()

    def _finish(self) -> RunResult:
        endings = {name: progress.ending for name, progress in self._plugins.items()}
        interrupted = self._interrupted
        code = 130 if interrupted else _exit_code(self._plugins.values())
        self._sink(
            RunEndEvent(
                run_id=self.run_id,
                exit_code=code,
                interrupted=interrupted,
                duration_seconds=time.monotonic() - self._started,
            )
        )
        return RunResult(code, interrupted, endings)

    @property
    def _interrupted(self) -> bool:
        return self._told_to_finish or self.interrupts.urgency > Urgency.NONE

    def go_on(self) -> None:
        """Start what could not while the run was paused."""
        self._pump()

    def finish(self) -> None:
        """Start nothing new; what runs goes on to its end."""
        self._told_to_finish = True
        halted = [NotRun(node, "") for node in self._scheduler.halt()]
        self._report_not_run(halted, "not run, because the run was told to end")

    def skip(self, step_id: str) -> str:
        """Leave out a step that waits, and what depends on it; end one that runs. "" or why not."""
        if step_id not in self._nodes:
            return f"{step_id} is not part of this run"
        state = self._scheduler.state(step_id)
        if state is NodeState.RUNNING:
            if self._steps[step_id][1].uninterruptible:
                return f"{step_id} changes packages and must not be ended in the middle"
            return "" if self._attempts.skip(step_id) else f"{step_id} is at its very beginning or end"
        if state not in (NodeState.PENDING, NodeState.DEFERRED):
            return f"{step_id} has ended already"
        lost = self._scheduler.drop([step_id], satisfied=False)
        self._report_not_run([NotRun(step_id, "")], "skipped")
        self._report_not_run(lost, f"not run, because {step_id} was skipped")
        self._group.create_task(self._release_root({step_id, *(other.id for other in lost)}))
        return ""

    def retry(self, step_id: str) -> str:
        """Have the next attempt of a step at once. "" or why not."""
        if self._attempts.retry(step_id):
            return ""
        plugin = step_id.partition(":")[0]
        return f"{step_id} waits for no further attempt; after the run: update-all resume {plugin}"

    def _pump(self) -> None:
        """Start whatever can start now; its intent shares the flush of what ended just before."""
        if self._steering.paused and not self._interrupted and self._scheduler.pending:
            if not self._stays:
                self._stays = True
                self._group.create_task(self._stay())
            return
        for node in self._scheduler.start_ready():
            plan, step = self._steps[node]
            if self._replanner is not None:
                self._replanner.started(node, time.monotonic())
            recovery = self._plugins[plan.name].recovery.steps.get(step.name)
            if recovery is None and step.check_fn is None and self._not_now(plan.name, step) is None:
                self._attempts.intend(plan, step, Attempt(1))
            self._group.create_task(self._run_node(node))
        self._schedule_waits()

    async def _stay(self) -> None:
        """Keep the run from ending while it is paused."""
        going_on, interrupted = self._steering.going_on(), self.interrupts.reached(Urgency.FINISH)
        await asyncio.wait([going_on, interrupted], return_when=asyncio.FIRST_COMPLETED)
        interrupted.cancel()
        self._stays = False
        self._pump()

    def _not_now(self, plugin: str, step: UpdateStep) -> str | None:
        last = self.settings.last_success.get((plugin, step.name))
        return not_now(step, last, self._now, somebody_answers=self.settings.terminal is not None)

    def _schedule_waits(self) -> None:
        """While anything runs, waits are announced and the journal is written, ten times a second."""
        if not self._waits_due and self._scheduler.running:
            self._waits_due = True
            asyncio.get_running_loop().call_later(WAITS_SECONDS, self._announce_waits)

    def _announce_waits(self) -> None:
        self._waits_due = False
        self._flush()
        self._replan()
        self._schedule_waits()
        for wait in self._scheduler.mutex_waits()[:MOST_WAITS]:
            self._reporter.step_waits(*self._steps[wait.id], wait)

    async def _run_node(self, node: str) -> None:
        plan, step = self._steps[node]
        progress = self._plugins[plan.name]
        recovery = progress.recovery.steps.get(step.name)
        # The end of the step before is durable, and shown, before this one appears.
        with contextlib.suppress(StateError):
            await self._committer.durable()
        self._reporter.step_started(progress, step, recovery)
        attempt = Attempt(1) if recovery is None else recovery.attempt
        try:
            if self._root_hold is not None and step.needs_root:
                async with self._holding_root(self._root_hold, plan, step):
                    result, attempt = await self._attempts.perform(plan, step, recovery)
            else:
                result, attempt = await self._attempts.perform(plan, step, recovery)
        except DetachedError as detached:
            progress.detached = True
            result = failed_step(step, detached)
        await self._end_node(node, progress, step, result, attempt)

    @contextlib.asynccontextmanager
    async def _holding_root(
        self, root: SharedHold, plan: PluginPlan, step: UpdateStep
    ) -> AsyncIterator[None]:
        def waits(holder: str) -> None:
            reason = f"waiting for the steps of another user that run as root, held by {holder}"
            self._sink(
                StepWaitEvent(plugin_name=plan.name, step_name=step.name, reason=reason, holder=holder)
            )

        async with root.hold(waits):
            yield

    async def _end_node(
        self, node: str, progress: Progress, step: UpdateStep, result: StepResult, attempt: Attempt
    ) -> None:
        """Record the end, let others start, and only then show it."""
        plan = progress.plan
        if self._replanner is not None:
            self._replanner.ended(node, time.monotonic())
        if not progress.detached:
            try:
                self._store.record(plan.name, end_record(result, plain_facts(plan.plugin.facts)))
            except StepError as error:
                result = failed_step(step, error)
                self._store.record(plan.name, end_record(result))
        not_run: list[NotRun] = []
        nothing: list[NotRun] = []
        skipped = False
        if result.success:
            self._scheduler.finish(node)
            progress.changes += result.changes
            if result.up_to_date:
                progress.up_to_date = True
                nothing = self._scheduler.stop_group(plan.name, satisfied=True)
        else:
            progress.failure = progress.failure or result
            not_run = self._scheduler.fail(node)
            skipped = result.error_code == SkippedStepError.code
            if not skipped:
                not_run += self._scheduler.stop_group(plan.name, cause=node)
            if self.settings.fail_fast and not skipped:
                not_run += [NotRun(other, node) for other in self._scheduler.halt()]
        self._pump()
        recorded = False
        with contextlib.suppress(StateError):
            await self._committer.durable()
            recorded = not progress.detached
        log = str(self._runner.log_path(plan.name, step.name, attempt.number)) if result.output else ""
        self._reporter.step_ended(progress, step, result, attempt.number, log)
        self._skip_rest(nothing)
        self._report_not_run(not_run, f"not run, because {node} was skipped" if skipped else "")
        await self._release_root({node, *(lost.id for lost in nothing), *(lost.id for lost in not_run)})
        self._count_down(progress)
        # Steps that can start now do so first; what follows happens while their processes begin.
        await asyncio.sleep(0)
        if recorded:
            self._runner.discard_spools(plan.name, step, attempt.number)
        self._flush()
        self._replan()

    def _replan(self) -> None:
        """Another order for what is left, where steps have not taken the time that was expected."""
        if self._replanner is not None and self._replanner.is_due(now := time.monotonic()):
            priority = self._replanner.plan(self._scheduler.pending, now)
            if priority is not None:
                self._scheduler.replan(priority)

    async def _release_root(self, ended: Collection[str]) -> None:
        """Give root back behind the last step that needs it; what ends the ticket waits for the others."""
        if self._before_ticket_ends:
            self._before_ticket_ends -= set(ended)
            if not self._before_ticket_ends:
                for node in self._end_ticket:
                    self._scheduler.undefer(node)
                self._pump()
        if self._root_left:
            self._root_left -= set(ended)
            if not self._root_left:
                await self._runner.privileges.release()

    def _skip_rest(self, dropped: Sequence[NotRun]) -> None:
        """The steps behind one that found nothing to do are reported skipped."""
        for node, _ in dropped:
            plan, step = self._steps[node]
            self._reporter.step_skipped(self._plugins[plan.name], step)
            self._count_down(self._plugins[plan.name])

    def _report_not_run(self, not_run: Sequence[NotRun], reason: str = "") -> None:
        for node, cause in not_run:
            plan, step = self._steps[node]
            progress = self._plugins[plan.name]
            why = reason or f"not run, because {cause} failed"
            if progress.failure is None and progress.not_run is None:
                progress.not_run = why
            self._reporter.step_not_run(progress, step, why, cause)
            self._count_down(progress)

    def _count_down(self, progress: Progress) -> None:
        progress.left -= 1
        if progress.left == 0:
            self._group.create_task(self._complete(progress))

    async def _complete(self, progress: Progress) -> None:
        """The plugin's last event, once all its steps are accounted for."""
        plan = progress.plan
        changes: Sequence[Change] = progress.changes
        whole = self.settings.last_phase is Phase.EXECUTE
        if progress.ending in (Ending.DONE, Ending.UP_TO_DATE):
            if whole and plan.versions_before is not None:
                changes, problem = await verify(plan)
                if problem is not None:
                    progress.failure = failure_of(plan.name, problem)
            if whole and progress.failure is None:
                up_to_date = progress.up_to_date and not changes
                self._store.record(
                    plan.name, outcome_record(Outcome.UP_TO_DATE if up_to_date else Outcome.COMPLETE)
                )
        try:
            await self._committer.durable()
        except StateError as error:
            progress.failure = progress.failure or failure_of(plan.name, error)
        with contextlib.suppress(StateError):
            self._store.fold(plan.name)
        self._reporter.plugin_completed(progress, changes, interrupted=self._interrupted)

    def _halt(self, interrupted: asyncio.Future[None]) -> None:
        if not interrupted.cancelled():
            halted = [NotRun(node, "") for node in self._scheduler.halt()]
            self._report_not_run(halted, "not run, because the run was interrupted")

    def _state_failed(self, error: StateError) -> None:
        """What cannot be recorded must not start: everything that has not, does not."""
        self._sink(WarningEvent(message=error.message, hint=error.hint, code=error.code))
        halted = [NotRun(node, "") for node in self._scheduler.halt()]
        self._report_not_run(halted, "not run, because the state cannot be written")


def _replanner(graph: Graph, settings: RunSettings) -> Replanner | None:
    """None for a run that was not planned: without a past nothing departs from it."""
    if settings.priority is None or not settings.seconds:
        return None
    from update_all.core.replanning import Replanner

    known = [node_id(*key) for key in settings.seconds]
    return Replanner(graph, settings.jobs, settings.limits, settings.priority, known)


def _exit_code(plugins: Collection[Progress]) -> int:
    failures = [progress.failure for progress in plugins if progress.failure is not None]
    if not failures:
        return 0 if all(progress.not_run is None for progress in plugins) else 1
    waiting = {NeedsDecisionError.code, "needs-input", "needs-privilege"}
    return 4 if all(failure.error_code in waiting for failure in failures) else 1
