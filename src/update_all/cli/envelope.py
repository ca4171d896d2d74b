"""The JSON documents of `--json`: versioned, one object each (ux.md section 3.6). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from update_all.cli.planned import Planned
from update_all.cli.recording import Recorder
from update_all.core.aftermath import Aftermath
from update_all.core.dry_run import describe_step
from update_all.core.errors import SKIPPED_BY_HAND
from update_all.core.models import Change, JsonValue, UpdateStep
from update_all.core.planning import PluginPlan
from update_all.core.streaming import CompletionEvent, StepEndEvent

Document = dict[str, JsonValue]


def change_to(change: Change) -> Document:
    return {
        "item": change.item,
        "old": change.old,
        "new": change.new,
        "kind": change.kind.value,
        "size_bytes": change.size_bytes,
        "security": change.security,
    }


def not_planned(planned: Planned) -> Document:
    """The plugins that have nothing to do, or cannot."""
    return {
        "up_to_date": list(planned.up_to_date),
        "cannot_know": dict(planned.unknown),
        "undecided": dict(planned.undecided),
        "not_here": dict(planned.absent),
        "broken": {item.name: item.reason for item in planned.broken},
    }


def plan_document(
    planned: Planned, *, root: str, left_out: Mapping[tuple[str, str], str] | None = None
) -> Document:
    """`update-all.plan/1`. `root` goes before what runs as root.

    `left_out`: plugin and step → why it would not be run.
    """
    reasons = left_out or {}
    return {
        "schema": "update-all.plan/1",
        "plugins": [
            {
                "name": plan.name,
                "updates": [change_to(change) for change in (plan.check.updates if plan.check else ())],
                "depends_on": list(plan.dependencies),
                "steps": [
                    {
                        "name": step.name,
                        "description": step.description,
                        "commands": _commands(plan, step, reasons, root),
                        "left_out": reasons.get((plan.name, step.name)),
                        "depends_on": list(step.depends_on),
                        "mutexes": list(step.mutexes),
                        "sudo": step.needs_root,
                        "phase": step.effective_phase.value,
                        "idempotent": step.idempotent,
                        "checked": step.check_fn is not None,
                    }
                    for step in plan.steps
                ],
            }
            for plan in planned.plans
        ],
        **not_planned(planned),
        "errors": [],
    }


def _commands(
    plan: PluginPlan, step: UpdateStep, reasons: Mapping[tuple[str, str], str], root: str
) -> list[JsonValue]:
    if step.commands is None or (plan.name, step.name) in reasons:
        return []
    return list(describe_step(plan.plugin, step, root=root))


def run_document(
    run_id: str, exit_code: int, record: Recorder, planned: Planned, left: Aftermath
) -> Document:
    """`update-all.run/1`; `left` is what the machine needs now."""
    plugins: list[JsonValue] = []
    failed: list[JsonValue] = []
    for completion in record.completions:
        name = completion.plugin_name
        steps = [event for event in record.steps if event.plugin_name == name]
        status = _status(completion, steps)
        plugins.append(
            {
                "name": name,
                "status": status,
                "error": None if status == "skipped" else completion.error_message,
                "steps": [_step_to(event) for event in steps],
                "changes": [change_to(change) for change in completion.changes],
            }
        )
        if not completion.success:
            failed.append(f"update-all resume {name}")
    return {
        "schema": "update-all.run/1",
        "run": run_id,
        "status": {0: "success", 130: "interrupted"}.get(exit_code, "partial"),
        "exit_code": exit_code,
        "plugins": plugins,
        **not_planned(planned),
        "warnings": [{"code": item.code, "message": item.message} for item in record.warnings],
        "reboot": {"needed": bool(left.restart), "why": left.restart},
        "services": list(left.services),
        "programs": list(left.programs),
        "next": failed,
    }


def _status(completion: CompletionEvent, steps: Sequence[StepEndEvent]) -> str:
    if completion.up_to_date:
        return "up-to-date"
    if completion.success:
        return "done"
    failed = any(_step_status(event) == "failed" for event in steps)
    if not failed and any(event.error_code == SKIPPED_BY_HAND for event in steps):
        return "skipped"
    return "interrupted" if completion.interrupted else "failed"


def _step_status(event: StepEndEvent) -> str:
    if event.skipped or event.error_code == SKIPPED_BY_HAND:
        return "skipped"
    return "done" if event.success else "failed"


def _step_to(event: StepEndEvent) -> Document:
    by_hand = event.error_code == SKIPPED_BY_HAND
    return {
        "name": event.step_name,
        "status": _step_status(event),
        "reason": event.reason or (event.error_message or "" if by_hand else ""),
        "seconds": round(event.duration_seconds, 3),
        "attempts": event.attempts,
        "exit_code": event.exit_code,
        "error": None if by_hand else event.error_message,
        "error_code": event.error_code,
        "log": event.log or None,
    }
