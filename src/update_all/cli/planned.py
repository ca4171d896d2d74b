"""From checked plugins to plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from update_all.cli.checking import Checked, cleaned
from update_all.cli.workspace import Broken
from update_all.core.errors import InvalidDefinitionError, UpdateAllError
from update_all.core.models import CheckResult, CheckStatus
from update_all.core.planning import PluginPlan, build_graph, plan_plugin
from update_all.plugins.base import BasePlugin
from update_all.plugins.registry import order_between


@dataclass(slots=True)
class Planned:
    """What a run would do, and what it leaves alone and why."""

    plans: list[PluginPlan] = field(default_factory=list)
    up_to_date: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    undecided: dict[str, str] = field(default_factory=dict)
    """Plugins with a step that may have happened, and what a person has to say about it."""
    absent: dict[str, str] = field(default_factory=dict)
    missed: frozenset[str] = frozenset()
    """Of the absent plugins, those that the configuration enables by name."""
    broken: list[Broken] = field(default_factory=list)
    check_seconds: float = 0.0
    """How long the checks took, all together."""

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
