"""From checked plugins to plans, and the plan as a person reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from update_all.cli.checking import Checked, cleaned
from update_all.cli.workspace import Broken
from update_all.core.errors import InvalidDefinitionError, UpdateAllError
from update_all.core.models import Change, ChangeKind, CheckResult, CheckStatus
from update_all.core.planning import PluginPlan, build_graph, plan_plugin
from update_all.plugins.base import BasePlugin
from update_all.plugins.registry import order_between
from update_all.ui.text import Style, columns, duration, plural, size

CHANGES_SHOWN = 3


@dataclass(slots=True)
class Planned:
    """What a run would do, and what it leaves alone and why."""

    plans: list[PluginPlan] = field(default_factory=list)
    up_to_date: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    undecided: dict[str, str] = field(default_factory=dict)
    """Plugins with a step that may have happened, and what a person has to say about it."""
    absent: dict[str, str] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)

    @property
    def needs_root(self) -> list[str]:
        return [plan.name for plan in self.plans if any(step.needs_root for step in plan.steps)]

    def exit_code(self, code: int) -> int:
        """The exit code of a command whose run ended with `code`, which says nothing of what was not run."""
        if code:
            return code
        if self.broken:
            return 2
        if self.unknown:
            return 1
        return 4 if self.undecided else 0

    def refuse_broken(self, names: Collection[str]) -> None:
        """Raise InvalidDefinitionError if a plugin is broken that somebody has named."""
        for item in self.broken:
            if item.name in names:
                raise InvalidDefinitionError(f"the plugin {item.name!r} is broken: {item.reason}")


async def plan_checked(checked: Sequence[Checked], planned: Planned) -> Planned:
    """Add a plan for each plugin that has something to do; one that cannot be planned is broken.

    Raises StepOrderError for plugins that wait for each other.
    """
    for item in checked:
        name, result = item.plugin.name, item.result
        if result.status is CheckStatus.UP_TO_DATE:
            planned.up_to_date.append(name)
        elif result.status is CheckStatus.CANNOT_KNOW and not result.runnable:
            planned.unknown[name] = cleaned(result).reason
        else:
            try:
                plan = await plan_one(item.plugin, result, item.versions)
                if plan.steps:
                    planned.plans.append(plan)
                else:
                    planned.up_to_date.append(name)
            except UpdateAllError as error:
                planned.broken.append(Broken.of(name, error))
            except Exception as error:  # noqa: BLE001 - a plugin of anybody; it is reported, the rest goes on
                planned.broken.append(Broken(name, f"{type(error).__name__}: {error}"))
    planned.plans = in_order(planned.plans)
    return planned


def in_order(plans: Sequence[PluginPlan]) -> list[PluginPlan]:
    """The plans with what each has to wait for: also plugins that want to come before others.

    Raises StepOrderError for plugins that wait for each other.
    """
    order = order_between([plan.plugin for plan in plans])
    ordered = [dataclasses.replace(plan, after=order[plan.name]) for plan in plans]
    build_graph(ordered)
    return ordered


async def plan_one(plugin: BasePlugin, check: CheckResult, versions: Mapping[str, str] | None) -> PluginPlan:
    """The plan of one plugin, knowing what its check found."""
    steps = await plugin.plan_steps(check)
    return plan_plugin(plugin, steps, check=cleaned(check), versions_before=versions)


def plan_lines(
    planned: Planned, width: int, style: Style, seconds: Mapping[tuple[str, str], float]
) -> list[str]:
    """The plan as a table: plugin, what changes, size, usual time, privilege. Pure."""
    rows = [_row(plan, style, seconds) for plan in planned.plans]
    lines = columns(rows, width) if rows else []
    for name, reason in planned.unknown.items():
        lines.append(f"  {style.text(name)}  cannot know: {style.text(reason)}")
    lines += [f"  {style.text(item.name)}  broken: {style.text(item.reason)}" for item in planned.broken]
    return [*lines, "", _total(planned, seconds)] if lines else []


def _row(plan: PluginPlan, style: Style, seconds: Mapping[tuple[str, str], float]) -> list[str]:
    updates = () if plan.check is None else plan.check.updates
    return [
        plan.name,
        _changes_text(updates) if updates else _unchecked_text(plan),
        _size_text(updates),
        _usual_text(plan, seconds),
        "root" if any(step.needs_root for step in plan.steps) else "",
    ]


def _unchecked_text(plan: PluginPlan) -> str:
    reason = "" if plan.check is None else plan.check.reason
    return reason or plural(len(plan.steps), "step")


def _changes_text(updates: Sequence[Change]) -> str:
    ordered = sorted(updates, key=_importance)
    shown = ", ".join(_change_text(change) for change in ordered[:CHANGES_SHOWN])
    more = f", +{len(updates) - CHANGES_SHOWN}" if len(updates) > CHANGES_SHOWN else ""
    return shown + more


def _importance(change: Change) -> tuple[bool, bool, bool, str]:
    """Removals, security and majors first."""
    return (change.kind is not ChangeKind.REMOVE, not change.security, not is_major(change), change.item)


def is_major(change: Change) -> bool:
    """Whether the first number of the version grows."""
    if change.old is None or change.new is None:
        return False
    return change.old.lstrip("v").partition(".")[0] != change.new.lstrip("v").partition(".")[0]


def risky(planned: Planned) -> bool:
    """Whether something is removed or gets a new major version: then Enter is no consent."""
    updates = [change for plan in planned.plans if plan.check is not None for change in plan.check.updates]
    return any(change.kind is ChangeKind.REMOVE or is_major(change) for change in updates)


def _change_text(change: Change) -> str:
    match change.kind:
        case ChangeKind.REMOVE:
            return f"{change.item} removed"
        case ChangeKind.INSTALL:
            return f"{change.item} {change.new}"
        case _:
            flag = " security" if change.security else ""
            return f"{change.item} {change.old} → {change.new}{flag}"


def _size_text(updates: Sequence[Change]) -> str:
    known = [change.size_bytes for change in updates if change.size_bytes is not None]
    if not known:
        return ""
    return size(sum(known)) + ("" if len(known) == len(updates) else "?")


def _usual_text(plan: PluginPlan, seconds: Mapping[tuple[str, str], float]) -> str:
    known = [seconds[plan.name, step.name] for step in plan.steps if (plan.name, step.name) in seconds]
    return f"~{duration(sum(known))}" if known else ""


def _total(planned: Planned, seconds: Mapping[tuple[str, str], float]) -> str:
    steps = sum(len(plan.steps) for plan in planned.plans)
    parts = [f"{plural(len(planned.plans), 'plugin')}, {plural(steps, 'step')}"]
    sizes = [
        change.size_bytes
        for plan in planned.plans
        if plan.check is not None
        for change in plan.check.updates
        if change.size_bytes is not None
    ]
    if sizes:
        parts.append(f"{size(sum(sizes))} to fetch")
    if planned.needs_root:
        parts.append(f"root for {', '.join(planned.needs_root)}")
    return "  " + " · ".join(parts)
