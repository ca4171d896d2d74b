"""A step from its first attempt to its last: what is done already, intents, retries, unknown ends."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import time
from collections.abc import Callable

from update_all.core.cleaning import clean_line
from update_all.core.command import ShimLostError
from update_all.core.committing import Committer
from update_all.core.errors import StateError, StepError, UpdateAllError
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.models import StepResult, UpdateStep
from update_all.core.planning import PluginPlan, node_id
from update_all.core.recovery import StepRecovery, undecided
from update_all.core.state import StateStore
from update_all.core.steps import Attempt, StepRunner
from update_all.core.streaming import WarningEvent
from update_all.core.supervision import InterruptedStepError, SkippedStepError
from update_all.core.transitions import Verdict, command_record, start_record, unknown_verdict


def failed_step(step: UpdateStep, error: UpdateAllError) -> StepResult:
    """The result of a step that failed with this error before or after its commands."""
    return failure_of(step.name, error)


def failure_of(name: str, error: UpdateAllError) -> StepResult:
    """The failure of what is called `name`: a step, or a plugin as a whole."""
    message = clean_line(error.described)
    return StepResult(name, success=False, error_message=message, error_code=error.code)


def _gave_up(attempt: Attempt) -> StepError:
    return StepError(f"it was started {attempt.number - 1} times and never came to an end")


class StepAttempts:
    """Carries one step through its attempts; its intent is durable before anything of it starts.

    `not_now` tells, for a plugin's step, why it is not to run today, or None.
    """

    def __init__(
        self,
        store: StateStore,
        committer: Committer,
        runner: StepRunner,
        interrupts: Interrupts,
        not_now: Callable[[str, UpdateStep], str | None],
    ) -> None:
        self._store = store
        self._committer = committer
        self._runner = runner
        self._interrupts = interrupts
        self._not_now = not_now
        self._intents: set[str] = set()
        self._own: dict[str, Interrupts] = {}
        self._waits: dict[str, asyncio.Future[None]] = {}

    def intend(self, plan: PluginPlan, step: UpdateStep, attempt: Attempt) -> None:
        """Record that an attempt will start. The caller's next commit makes it durable."""
        commands = len(step.commands or ())
        self._store.record(plan.name, start_record(step.name, attempt.number, commands))
        self._intents.add(node_id(plan.name, step.name))

    async def perform(
        self, plan: PluginPlan, step: UpdateStep, recovery: StepRecovery | None
    ) -> tuple[StepResult, Attempt]:
        """All attempts of a step, beginning with what an earlier process left of it."""
        node = node_id(plan.name, step.name)
        own = self._own[node] = self._interrupts.child()
        try:
            result, attempt = await self._perform(plan, step, recovery)
        finally:
            del self._own[node]
        if result.error_code == InterruptedStepError.code and own.urgency > self._interrupts.urgency:
            result = dataclasses.replace(result, error_code=SkippedStepError.code)
        return result, attempt

    def skip(self, node: str) -> bool:
        """End a step that is being performed; the second time, kill it. False when it is not."""
        own = self._own.get(node)
        if own is None:
            return False
        own.why = "somebody skipped it"
        own.escalate(Urgency.FINISH if own.urgency < Urgency.FINISH else Urgency.KILL)
        return True

    def retry(self, node: str) -> bool:
        """Let a step that waits for its next attempt have it now. False when it does not wait."""
        wait = self._waits.get(node)
        if wait is not None and not wait.done():
            wait.set_result(None)
        return wait is not None

    async def _perform(
        self, plan: PluginPlan, step: UpdateStep, recovery: StepRecovery | None
    ) -> tuple[StepResult, Attempt]:
        attempt = Attempt(1) if recovery is None else recovery.attempt
        known = Verdict.START if recovery is None else recovery.verdict
        starts = known in (Verdict.START, Verdict.RERUN, Verdict.CHECK) and not attempt.first_command
        if recovery is None or (step.interactive and starts):
            reason = self._not_now(plan.name, step)
            if reason is not None:
                return StepResult(step.name, success=True, skipped=True, reason=reason), attempt
        asked_first = known in (Verdict.CHECK, Verdict.RERUN) or recovery is None
        if step.check_fn is not None and asked_first:
            answer = await self._check(plan, step)
            if answer is not None:
                return answer, attempt
            if known is Verdict.CHECK and recovery is not None:
                known = Verdict.RERUN
        if known is Verdict.ASK:
            return failed_step(step, undecided(plan.name, step.name)), attempt
        if known is Verdict.GIVE_UP:
            return failed_step(step, _gave_up(attempt)), attempt
        return await self._attempts(plan, step, attempt)

    async def _attempts(
        self, plan: PluginPlan, step: UpdateStep, attempt: Attempt
    ) -> tuple[StepResult, Attempt]:
        retries = step.retries
        while True:
            try:
                result = await self._attempt(plan, step, attempt)
            except StateError as error:
                return failed_step(step, error), attempt
            except ShimLostError:
                decided = await self._after_lost(plan, step, attempt)
                if decided is not None:
                    return decided, attempt
            else:
                ended = result.error_code == InterruptedStepError.code
                stopped = ended or self._interrupts.urgency > Urgency.NONE
                if result.success or retries == 0 or stopped:
                    return result, attempt
                await self._back_off(plan, step, result, step.retries - retries)
                retries -= 1
            attempt = Attempt(attempt.number + 1)

    async def _attempt(self, plan: PluginPlan, step: UpdateStep, attempt: Attempt) -> StepResult:
        node = node_id(plan.name, step.name)
        self._committer.check()
        if node not in self._intents and not attempt.found_running and not attempt.first_command:
            self.intend(plan, step, attempt)
            await self._committer.durable()
        self._intents.discard(node)

        async def command_done(index: int) -> None:
            self._store.record(plan.name, command_record(step.name, index))
            await self._committer.durable()

        state = self._store.state(plan.name)
        skip = frozenset(state.commands_done.get(step.name, ()))
        own = self._own[node]
        return await self._runner.run(
            plan.plugin, step, attempt, skip=skip, on_command=command_done, interrupts=own
        )

    async def _after_lost(self, plan: PluginPlan, step: UpdateStep, attempt: Attempt) -> StepResult | None:
        """A command ended and nobody recorded how: a result, or None to run the step again."""
        if step.check_fn is not None:
            answer = await self._check(plan, step)
            if answer is not None:
                return answer
        found = unknown_verdict(idempotent=step.idempotent, attempt=attempt.number)
        if found is Verdict.ASK and step.check_fn is None:
            return failed_step(step, undecided(plan.name, step.name))
        return failed_step(step, _gave_up(attempt)) if found is Verdict.GIVE_UP else None

    async def _back_off(self, plan: PluginPlan, step: UpdateStep, result: StepResult, attempts: int) -> None:
        delay = step.retry_delay_seconds * 2**attempts
        self._warn(plan, step, "retry", f"{result.error_message}; trying again in {delay:g} s")
        node = node_id(plan.name, step.name)
        now = self._waits[node] = asyncio.get_running_loop().create_future()
        over = self._own[node].reached(Urgency.FINISH)
        try:
            await asyncio.wait([over, now], timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waits[node]
            over.cancel()
            now.cancel()

    async def _check(self, plan: PluginPlan, step: UpdateStep) -> StepResult | None:
        """Ask the step's `check_fn`: a result when it is done already or cannot be asked, None to run it."""
        assert step.check_fn is not None  # noqa: S101 - asked by the callers
        began = time.monotonic()
        try:
            if inspect.iscoroutinefunction(step.check_fn):
                answer = await step.check_fn()
            else:
                answer = await asyncio.to_thread(step.check_fn)
                if inspect.isawaitable(answer):
                    answer = await answer
        except Exception as error:  # noqa: BLE001 - a plugin's check may raise anything; both ways are reported
            if not step.idempotent:
                return failed_step(step, StepError(f"its check failed: {type(error).__name__}: {error}"))
            self._warn(plan, step, "check-failed", f"its check failed, so it runs: {error}")
            return None
        if not answer:
            return None
        seconds = time.monotonic() - began
        return StepResult(
            step.name, success=True, skipped=True, duration_seconds=seconds, reason="already done"
        )

    def _warn(self, plan: PluginPlan, step: UpdateStep, code: str, message: str) -> None:
        self._runner.emit(
            WarningEvent(plugin_name=plan.name, step_name=step.name, code=code, message=clean_line(message))
        )
