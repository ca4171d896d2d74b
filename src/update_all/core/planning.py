"""What a run is made of: the plugins' steps in order, and the graph that the scheduler sees. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from update_all.core.fingerprint import plan_fingerprint, step_fingerprint
from update_all.core.models import Change, CheckResult, Facts, Phase, UpdateStep
from update_all.core.order import resolve_step_order, topological_order
from update_all.core.scheduling import Graph, Node
from update_all.core.streaming import PlannedPlugin, PlannedStep, StreamEvent

DEFAULT_STEP_SECONDS = 10.0
"""Assumed duration of a step without history."""


class Updater(Protocol):
    """What the engine needs of a plugin. BasePlugin fulfils it."""

    facts: Facts
    parallel_steps: bool
    third_party: bool

    @property
    def name(self) -> str: ...

    @property
    def dependencies(self) -> Sequence[str]: ...

    def parse_changes(self, step_name: str, output: str) -> list[Change]: ...

    def interpret_output(self, step_name: str, line: str) -> StreamEvent | None: ...

    def end_of_output(self, step_name: str, code: int) -> None: ...

    async def installed_versions(self) -> Mapping[str, str] | None: ...


@dataclass(frozen=True, slots=True)
class PluginPlan:
    """One plugin of a run. `steps` are in the order in which they run."""

    plugin: Updater
    steps: tuple[UpdateStep, ...]
    check: CheckResult | None = None
    versions_before: Mapping[str, str] | None = None
    step_fingerprints: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] | None = None
    """Plugins to wait for, where others have a say in it; None: what the plugin itself declares."""

    @property
    def dependencies(self) -> Sequence[str]:
        return self.plugin.dependencies if self.after is None else self.after

    @property
    def name(self) -> str:
        return self.plugin.name

    @property
    def fingerprint(self) -> str:
        return plan_fingerprint(self.step_fingerprints)

    def step(self, name: str) -> UpdateStep:
        """The step of that name. Raises KeyError."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


def plan_plugin(
    plugin: Updater,
    steps: Sequence[UpdateStep],
    *,
    check: CheckResult | None = None,
    versions_before: Mapping[str, str] | None = None,
) -> PluginPlan:
    """Order and fingerprint the steps. Raises StepOrderError (a ValueError) naming the steps."""
    ordered = tuple(resolve_step_order(steps))
    return PluginPlan(
        plugin=plugin,
        steps=ordered,
        check=check,
        versions_before=versions_before,
        step_fingerprints={step.name: step_fingerprint(step) for step in ordered},
    )


def node_id(plugin: str, step: str) -> str:
    """The name of a step in the graph of a run."""
    return f"{plugin}:{step}"


def build_graph(
    plans: Sequence[PluginPlan],
    *,
    done: Mapping[str, set[str]] | None = None,
    seconds: Mapping[tuple[str, str], float] | None = None,
    last_phase: Phase = Phase.EXECUTE,
) -> Graph:
    """The graph of what is left to run: steps in `done` and of phases behind `last_phase` are left out.

    Within a plugin without `parallel_steps` each step waits for the one before it. A plugin waits for all
    steps of the plugins it depends on, where they take part. Raises StepOrderError for cyclic dependencies.
    """
    done = done or {}
    names = [plan.name for plan in plans]
    dependencies = {plan.name: [other for other in plan.dependencies if other in names] for plan in plans}
    topological_order(names, dependencies, what="plugin")
    left = {plan.name: remaining_steps(plan, done.get(plan.name, set()), last_phase) for plan in plans}
    nodes: list[Node] = []
    for plan in plans:
        before = [
            node_id(other, step.name)
            for other in _with_steps(dependencies, left, plan.name)
            for step in left[other]
        ]
        previous: str | None = None
        present = {step.name for step in left[plan.name]}
        for step in left[plan.name]:
            own = [node_id(plan.name, name) for name in step.depends_on if name in present]
            if previous is not None and not plan.plugin.parallel_steps and previous not in own:
                own.append(previous)
            key = (plan.name, step.name)
            nodes.append(
                Node(
                    id=node_id(*key),
                    group=plan.name,
                    depends_on=tuple(dict.fromkeys(own or before)),
                    mutexes=tuple(dict.fromkeys(step.mutexes)),
                    seconds=(seconds or {}).get(key, DEFAULT_STEP_SECONDS),
                    order=len(nodes),
                )
            )
            previous = node_id(*key)
    return Graph(nodes)


def before_ticket_ends(graph: Graph, root: Collection[str], ending: Collection[str]) -> set[str]:
    """The steps of `root` that go before those that end the ticket: all but these and what waits for them."""
    behind = {graph.index[node] for node in ending}
    for number in graph.topological:
        if not behind.isdisjoint(graph.needs[number]):
            behind.add(number)
    return {node for node in root if graph.index[node] not in behind}


def _with_steps(
    dependencies: Mapping[str, Sequence[str]], left: Mapping[str, Sequence[UpdateStep]], plugin: str
) -> list[str]:
    """The plugins to wait for; one that has nothing to do hands on what it waits for itself."""
    found: dict[str, None] = {}
    stack = list(dependencies[plugin])
    while stack:
        other = stack.pop()
        if left[other]:
            found[other] = None
        else:
            stack += dependencies[other]
    return sorted(found)


def remaining_steps(plan: PluginPlan, done: set[str], last_phase: Phase) -> list[UpdateStep]:
    """The steps that are not done, belong to this run's phases, and depend on nothing that does not."""
    phases = list(Phase)
    wanted = set(phases[: phases.index(last_phase) + 1])
    left: list[UpdateStep] = []
    reached = set(done)
    for step in plan.steps:
        if step.name not in done and step.effective_phase in wanted and reached.issuperset(step.depends_on):
            left.append(step)
            reached.add(step.name)
    return left


def not_now(
    step: UpdateStep, last_success: datetime | None, now: datetime, *, somebody_answers: bool = False
) -> str | None:
    """Why a step is left out today: not due yet, or it asks questions that nobody will answer; else None.

    What asks while it runs as root is not for us to answer: sudo gets no terminal of ours.
    """
    if step.interactive and (step.needs_root or not somebody_answers):
        return "it asks questions: run it by hand"
    if step.interval_seconds is None or last_success is None:
        return None
    due = last_success + timedelta(seconds=step.interval_seconds)
    if now >= due or last_success > now:
        return None
    return f"not due before {due.astimezone():%Y-%m-%d %H:%M}"


def announce(
    plans: Sequence[PluginPlan],
    *,
    done: Mapping[str, set[str]] | None = None,
    seconds: Mapping[tuple[str, str], float] | None = None,
) -> tuple[PlannedPlugin, ...]:
    """The plan as the run's first event carries it."""
    return tuple(
        PlannedPlugin(
            name=plan.name,
            dependencies=tuple(plan.dependencies),
            steps=tuple(
                PlannedStep(
                    name=step.name,
                    description=step.description,
                    mutexes=tuple(step.mutexes),
                    sudo=step.needs_root,
                    done=step.name in (done or {}).get(plan.name, set()),
                    expected_seconds=(seconds or {}).get((plan.name, step.name)),
                    depends_on=tuple(step.depends_on),
                )
                for step in plan.steps
            ),
        )
        for plan in plans
    )
