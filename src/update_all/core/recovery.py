"""What a crash left behind, per plugin: which steps are done, and how each one in flight goes on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from update_all.core.errors import BusyError, NeedsDecisionError, NoProgressError, PlanChangedError
from update_all.core.evidence import Evidence
from update_all.core.fingerprint import PlanDifference, compare
from update_all.core.models import UpdateStep
from update_all.core.planning import PluginPlan
from update_all.core.steps import Attempt, command_key
from update_all.core.transitions import Active, PluginState, Verdict, unknown_verdict, verdict

MAX_FRUITLESS_RESUMES = 10


@dataclass(frozen=True, slots=True)
class StepRecovery:
    """How a step of an earlier process goes on. `attempt` is for ADOPT, REATTACH and START."""

    verdict: Verdict
    attempt: Attempt


@dataclass(slots=True)
class PluginRecovery:
    """Where a plugin's steps stand.

    `forget` are steps to drop from the state, because they vanished; `reopen` are steps that run again
    although they were done, because they changed or somebody says so.
    """

    done: set[str] = field(default_factory=set)
    steps: dict[str, StepRecovery] = field(default_factory=dict)
    forget: list[str] = field(default_factory=list)
    reopen: list[str] = field(default_factory=list)
    difference: PlanDifference = field(default_factory=PlanDifference)
    fruitless_resumes: int = 0


def recover(
    plan: PluginPlan,
    state: PluginState,
    evidence: Evidence,
    *,
    boot_id: str,
    strict: bool = False,
    redo: Collection[str] = (),
    assume_done: Collection[str] = (),
) -> PluginRecovery:
    """Decide for every step of a plugin how a resume goes on (system.md section 4).

    Raises PlanChangedError (with `strict`), NoProgressError, and BusyError when a command still runs whose
    step has vanished or changed: it can neither be followed nor started beside itself.
    """
    difference = compare(state.step_fingerprints, plan.step_fingerprints)
    if difference and strict:
        raise PlanChangedError(
            f"the plan of {plan.name} has changed: {difference.describe()}",
            hint=f"update-all resume {plan.name} (without --strict) goes on with the new plan",
        )
    fruitless = state.fruitless_resumes + 1
    if fruitless > MAX_FRUITLESS_RESUMES and not redo and not assume_done:
        raise NoProgressError(
            f"{plan.name} was resumed {MAX_FRUITLESS_RESUMES} times and no step got done",
            hint=f"update-all history shows why; update-all run {plan.name} starts afresh",
        )
    for name in (*difference.vanished, *difference.changed):
        _refuse_running(plan.name, name, state, evidence)
    recovery = PluginRecovery(difference=difference, fruitless_resumes=fruitless)
    for step in plan.steps:
        _recover_step(recovery, plan, step, state, evidence, boot_id, set(redo), set(assume_done))
    results = state.execution.step_results
    if any(results[name].up_to_date for name in recovery.done if name in results):
        # It was found that nothing is to do, and the crash came before the rest was reported skipped.
        recovery.done |= {step.name for step in plan.steps if step.name not in recovery.steps}
    recovery.forget = list(difference.vanished)
    redone = (name for name, found in recovery.steps.items() if found.verdict is Verdict.RERUN)
    recovery.reopen = [*difference.changed, *(name for name in redone if name in redo)]
    return recovery


def _recover_step(
    recovery: PluginRecovery,
    plan: PluginPlan,
    step: UpdateStep,
    state: PluginState,
    evidence: Evidence,
    boot_id: str,
    redo: set[str],
    assume_done: set[str],
) -> None:
    name = step.name
    next_attempt = Attempt(state.attempts.get(name, 0) + 1)
    changed = name in recovery.difference.changed
    active = state.active.get(name)
    found = None
    if active is not None:
        same_boot = state.boot_id == boot_id
        found = _in_flight(plan.name, step, active, evidence, same_boot=same_boot, changed=changed)
    if name in assume_done and (found is None or found.verdict is not Verdict.REATTACH):
        recovery.done.add(name)
    elif found is not None:
        if name in redo and found.verdict in (Verdict.ASK, Verdict.GIVE_UP):
            found = StepRecovery(Verdict.RERUN, next_attempt)
        recovery.steps[name] = found
    elif name in redo:
        recovery.steps[name] = StepRecovery(Verdict.RERUN, next_attempt)
    elif name in state.completed and not changed:
        recovery.done.add(name)
    elif name in state.execution.step_results or name in state.attempts:
        # It failed, was interrupted, or was done by a definition that is not today's.
        recovery.steps[name] = StepRecovery(_unknown(step, attempt=1), next_attempt)


def _unknown(step: UpdateStep, attempt: int) -> Verdict:
    if step.check_fn is not None:
        return Verdict.CHECK
    return unknown_verdict(idempotent=step.idempotent, attempt=attempt)


def _keys(plugin: str, step: str, active: Active) -> list[str]:
    return [command_key(plugin, step, active.attempt, index) for index in range(active.commands)]


def _in_flight(
    plugin: str, step: UpdateStep, active: Active, evidence: Evidence, *, same_boot: bool, changed: bool
) -> StepRecovery:
    """A step whose intent is durable and whose end is not. What a changed one did says nothing of today's."""
    number, commands = active.attempt, len(step.commands or ())
    keys = [command_key(plugin, step.name, number, index) for index in range(commands)]
    if changed and any(map(evidence.started, _keys(plugin, step.name, active))):
        return StepRecovery(_unknown(step, number), Attempt(number + 1))
    recorded = [key for key in keys if key in evidence.exits or key in evidence.refused]
    current = next((index for index, key in enumerate(keys) if key not in recorded), commands)
    key = keys[current] if current < commands else ""
    running = bool(key) and evidence.running(key)
    found = verdict(
        exit_recorded=bool(keys) and current == commands,
        killed=any(map(evidence.killed, keys)),
        running=running,
        started=not keys or (bool(key) and evidence.started(key)),
        same_boot=same_boot,
        has_check=step.check_fn is not None,
        idempotent=step.idempotent,
        attempt=number,
    )
    if found in (Verdict.ADOPT, Verdict.REATTACH, Verdict.START):
        return StepRecovery(found, Attempt(number, first_command=current, found_running=running))
    return StepRecovery(found, Attempt(number + 1))


def refuse_unknown(
    plan: PluginPlan, state: PluginState, evidence: Evidence, boot_id: str, *, wanted: str = ""
) -> None:
    """For a run that starts afresh: refuse what an earlier run has left undecided.

    `wanted` is a step that a person has named to be started. Raises BusyError when a command of the earlier
    run still runs, NeedsDecisionError when another step that must not be repeated may have happened.
    """
    difference = compare(state.step_fingerprints, plan.step_fingerprints)
    for name, active in state.active.items():
        _refuse_running(plan.name, name, state, evidence)
        step = next((step for step in plan.steps if step.name == name), None)
        if step is None or name == wanted:
            continue
        changed, same_boot = name in difference.changed, state.boot_id == boot_id
        found = _in_flight(plan.name, step, active, evidence, same_boot=same_boot, changed=changed)
        if found.verdict is Verdict.ASK:
            raise undecided(plan.name, name)
    for step in plan.steps:
        result = state.execution.step_results.get(step.name)
        if result is None or step.check_fn is not None or step.name == wanted:
            continue
        # A resume has asked already, and nobody has answered.
        if result.error_code == NeedsDecisionError.code:
            raise undecided(plan.name, step.name)


def _refuse_running(plugin: str, step: str, state: PluginState, evidence: Evidence) -> None:
    active = state.active.get(step)
    if active is not None and any(map(evidence.running, _keys(plugin, step, active))):
        raise BusyError(
            f"{plugin}: {step} of an earlier run is still running",
            hint=f"update-all resume {plugin} follows it, if the plan is still the same; or wait for its end",
        )


def undecided(plugin: str, step: str) -> NeedsDecisionError:
    """The question that only a person can answer."""
    return NeedsDecisionError(
        f"{plugin}: {step} may or may not have happened, and must not be repeated without asking",
        hint=f"update-all resume {plugin} --redo {step}, or --assume-done {step}",
    )
