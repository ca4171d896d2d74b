"""What a run would do, step by step, and which steps it would leave out and why."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime

from update_all.cli.asking import takes_keys
from update_all.cli.planned import Planned
from update_all.cli.running import last_success
from update_all.cli.workspace import Workspace
from update_all.core.dry_run import describe_step
from update_all.core.errors import StateError
from update_all.core.models import Phase
from update_all.core.planning import PluginPlan, not_now, remaining_steps
from update_all.core.session import steps_before
from update_all.core.state import StateStore
from update_all.core.transitions import PluginState
from update_all.ui.text import plural

LeftOut = Mapping[tuple[str, str], str]
"""Plugin and step → why a run leaves the step out."""


def peeked(workspace: Workspace, plugin: str) -> PluginState | None:
    """The state of a plugin as far as it can be read without setting anything aside."""
    with contextlib.suppress(OSError, StateError, ValueError):
        return StateStore(workspace.state_directory).peek(plugin)
    return None


def left_out_steps(workspace: Workspace, planned: Planned, options: argparse.Namespace) -> LeftOut:
    """The steps that a run leaves out. Raises UsageError for a step that it cannot start at."""
    found: dict[tuple[str, str], str] = {}
    last_successes, now = last_success(workspace), datetime.now(UTC)
    answers = takes_keys(options.progress, as_json=options.json, no_input=options.no_input)
    for plan in planned.plans:
        before: list[str] = []
        if options.resume_from:
            state = peeked(workspace, plan.name)
            before = steps_before(plan, state, options.resume_from, force=options.force)
            plan.plugin.facts = {} if state is None else dict(state.facts)
        last = Phase.DOWNLOAD if options.download_only else Phase.EXECUTE
        left = {step.name for step in remaining_steps(plan, set(before), last)}
        for step in plan.steps:
            if step.name in before:
                found[plan.name, step.name] = f"the run starts at {options.resume_from}"
            elif step.name not in left:
                found[plan.name, step.name] = "only downloads are wanted"
            else:
                last_time = last_successes.get((plan.name, step.name))
                if reason := not_now(step, last_time, now, somebody_answers=answers):
                    found[plan.name, step.name] = reason
    return found


def dry_run_lines(planned: Planned, left_out: LeftOut, root: str) -> list[str]:
    """Each step with its exact commands; what is left out has none. Pure."""
    lines: list[str] = []
    for plan in planned.plans:
        lines += [plan.name, *_step_lines(plan, left_out, root)]
    lines += [f"{name}: up to date" for name in planned.up_to_date]
    lines += [f"{name}: cannot know: {reason}" for name, reason in planned.unknown.items()]
    lines += [f"{item.name}: broken: {item.reason}" for item in planned.broken]
    return [*lines, *_absent_lines(planned), "Nothing was run."]


def _absent_lines(planned: Planned) -> list[str]:
    """A line for what somebody has enabled by name; the rest, which may be a hundred, is counted."""
    lines = [
        f"{name}: not here: {reason}" for name, reason in planned.absent.items() if name in planned.missed
    ]
    if others := len(planned.absent) - len(lines):
        count = plural(others, "more plugin" if lines else "plugin")
        lines.append(f"{count} {'is' if others == 1 else 'are'} not here: update-all plugins list says why")
    return lines


def _step_lines(plan: PluginPlan, left_out: LeftOut, root: str) -> list[str]:
    lines: list[str] = []
    for number, step in enumerate(plan.steps, 1):
        reason = left_out.get((plan.name, step.name))
        why = f" (left out: {reason})" if reason else ""
        built_in = "" if step.commands or reason else " (built in)"
        lines.append(f"  {number}/{len(plan.steps)} {step.name}: {step.description}{built_in}{why}")
        if not reason:
            if step.commands:
                lines += [f"      {line}" for line in describe_step(plan.plugin, step, root=root)]
            if step.check_fn is not None:
                lines.append("      (skipped if its check says that it is done)")
    return lines
