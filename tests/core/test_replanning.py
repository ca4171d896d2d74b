"""A run whose steps do not take the time that their past tells."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from update_all.core.forecast import lower_bound, plan_priorities, remaining, simulate
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.orchestration import RunSettings
from update_all.core.planning import plan_plugin
from update_all.core.replanning import FEWEST, MOST, PAUSE_SECONDS, Replanner
from update_all.core.rights import Rights
from update_all.core.scheduling import Graph, Node, Scheduler
from update_all.core.session import Session
from update_all.core.streaming import StepStartEvent, StreamEvent
from update_all.plugins.base import BasePlugin

SHORT = 20.0
LONG = 50.0


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - examples, not secrets


def chains(chance: random.Random, plugins: int) -> Graph:
    """Plugins of three steps, of which half need one of four mutexes at their end."""
    nodes: list[Node] = []
    for plugin in range(plugins):
        mutex = (f"m{chance.randrange(4)}",) if chance.random() < 0.5 else ()
        before: tuple[str, ...] = ()
        for number in range(3):
            seconds = chance.choice((2.0, 8.0, 12.0)) * math.exp(chance.gauss(0, 0.6))
            taken = mutex if number == 2 else ()
            nodes.append(Node(f"p{plugin}/{number}", f"p{plugin}", before, taken, seconds, len(nodes)))
            before = (nodes[-1].id,)
    return Graph(nodes)


def carried_out(graph: Graph, truth: Mapping[str, float], jobs: int, *, replans: bool) -> tuple[float, int]:
    """Seconds of a planned run whose steps take what `truth` says, and how often it was planned anew."""
    priority = plan_priorities(graph, jobs).priority
    scheduler = Scheduler(graph, jobs, {}, priority)
    replanner = Replanner(graph, jobs, {}, priority, graph.index)
    now, plans = 0.0, 0
    ends: list[tuple[float, str]] = []
    while not scheduler.is_finished:
        for id in scheduler.start_ready():
            replanner.started(id, now)
            heapq.heappush(ends, (now + truth[id], id))
        if replans and replanner.is_due(now):
            better = replanner.plan(scheduler.pending, now)
            if better is not None:
                plans += 1
                scheduler.replan(better)
        now, id = heapq.heappop(ends)
        replanner.ended(id, now)
        scheduler.finish(id)
    return now, plans


def independent(count: int, seconds: float = SHORT) -> list[Node]:
    return [Node(f"s{number}", f"s{number}", seconds=seconds, order=number) for number in range(count)]


def follow(graph: Graph, *, known: bool = True) -> Replanner:
    return Replanner(graph, 2, {}, graph.priority(), graph.index if known else ())


def test_what_takes_the_expected_time_is_no_reason() -> None:
    replanner = follow(Graph(independent(8)))
    replanner.started("s0", 100.0)
    assert not replanner.is_due(100.0 + SHORT)
    replanner.ended("s0", 100.0 + SHORT * 1.1)
    assert not replanner.is_due(100.0 + SHORT * 1.1)


@pytest.mark.parametrize("seconds", [0.0, SHORT / 2, SHORT * 2])
def test_an_end_too_early_or_too_late_is_a_reason_once(seconds: float) -> None:
    graph = Graph(independent(8))
    replanner = follow(graph)
    replanner.started("s0", 5.0)
    replanner.ended("s0", 5.0 + seconds)
    assert replanner.is_due(5.0 + seconds)
    priority = replanner.plan([f"s{number}" for number in range(1, 8)], 5.0 + seconds)
    assert priority is not None
    assert set(priority) == set(graph.index) - {"s0"}
    assert not replanner.is_due(1_000.0)


def test_a_step_that_does_not_end_is_a_reason_less_and_less_often() -> None:
    replanner = follow(Graph(independent(8)))
    replanner.started("s0", 0.0)
    pending = [f"s{number}" for number in range(1, 8)]
    planned = []
    for tenth in range(20_000):
        now = tenth / 10
        if replanner.is_due(now):
            replanner.plan(pending, now)
            planned.append(now)
    assert 3 <= len(planned) <= 12
    assert SHORT < planned[0] < 2 * SHORT
    assert planned[-1] - planned[-2] > 10 * (planned[1] - planned[0])


def test_nothing_departs_from_a_duration_that_nobody_knows() -> None:
    replanner = follow(Graph(independent(8)), known=False)
    replanner.started("s0", 0.0)
    assert not replanner.is_due(1_000.0)
    replanner.ended("s0", 1_000.0)
    assert not replanner.is_due(1_000.0)


def test_plans_keep_a_distance() -> None:
    replanner = follow(Graph(independent(9)))
    for number in range(2):
        replanner.started(f"s{number}", 0.0)
    replanner.ended("s0", 0.0)
    assert replanner.plan([f"s{number}" for number in range(2, 9)], 0.0) is not None
    replanner.ended("s1", 0.0)
    assert not replanner.is_due(PAUSE_SECONDS / 2)
    assert replanner.is_due(PAUSE_SECONDS)


@pytest.mark.parametrize("count", [FEWEST - 1, MOST + 1])
def test_neither_a_few_steps_nor_very_many_are_ordered_anew(count: int) -> None:
    replanner = follow(Graph(independent(count + 1)))
    replanner.started("s0", 0.0)
    replanner.ended("s0", 0.0)
    assert replanner.plan([f"s{number}" for number in range(1, count + 1)], 0.0) is None
    assert not replanner.is_due(1_000.0)


def test_the_longest_goes_first_once_the_order_is_seen_to_be_wrong() -> None:
    nodes = [*independent(7), Node("long", "long", seconds=LONG, order=7)]
    stale = {node.id: float(-node.order) for node in nodes}
    replanner = Replanner(Graph(nodes), 2, {}, stale, {"s0"})
    replanner.started("s0", 0.0)
    replanner.started("s1", 0.0)
    replanner.ended("s0", 0.0)
    priority = replanner.plan([*(f"s{number}" for number in range(2, 7)), "long"], 0.0)
    assert priority is not None
    assert sorted(priority, key=priority.__getitem__, reverse=True).index("long") <= 2


@given(st.integers(0, 10**6), st.integers(1, 5))
@settings(max_examples=30)
def test_the_new_order_is_never_expected_to_take_longer(seed: int, jobs: int) -> None:
    chance = chance_of(seed)
    graph = chains(chance, 5)
    stale = {node.id: chance.random() for node in graph.nodes}
    whole = simulate(graph, jobs, {}, stale)
    now = chance.choice(sorted(whole.end.values())[: len(graph.nodes) // 2])
    replanner = Replanner(graph, jobs, {}, stale, graph.index)
    ended = [id for id, end in whole.end.items() if end <= now]
    running = {id: now - at for id, at in whole.start.items() if at < now < whole.end[id]}
    for id in running:
        replanner.started(id, whole.start[id])
    pending = [id for id in graph.index if id not in ended and id not in running]
    priority = replanner.plan(pending, now)
    assert priority is not None
    rest, first = remaining(graph, ended, running), dict.fromkeys(running, math.inf)
    new = simulate(rest, jobs, {}, {**priority, **first}).makespan
    assert new <= simulate(rest, jobs, {}, {**stale, **first}).makespan


def test_planning_anew_makes_runs_shorter_whose_steps_take_what_they_like() -> None:
    """The parts of the bound that are lost, without and with new plans."""
    lost: dict[bool, list[float]] = {False: [], True: []}
    plans = 0
    for seed in range(12):
        chance = chance_of(seed)
        graph = chains(chance, 20)
        truth = {node.id: node.seconds * math.exp(chance.gauss(0, 0.4)) for node in graph.nodes}
        actual = [Node(n.id, n.group, n.depends_on, n.mutexes, truth[n.id]) for n in graph.nodes]
        bound = lower_bound(Graph(actual), 8)
        for replans in lost:
            seconds, count = carried_out(graph, truth, 8, replans=replans)
            lost[replans].append(seconds / bound - 1)
            plans += count
    assert plans > 12
    assert statistics.mean(lost[True]) < statistics.mean(lost[False])


def test_a_run_starts_its_steps_in_the_new_order(
    tmp_path: Path, plugin_of: Callable[..., BasePlugin]
) -> None:
    """All that is expected to take long ends at once; the long one is last in the order given beforehand."""
    names = ["first", *(f"short{number}" for number in range(12)), "long"]
    seconds = {(name, "a"): SHORT for name in names} | {("first", "a"): 100.0, ("long", "a"): LONG}
    stale = {f"{name}:a": float(-place) for place, name in enumerate(names)}

    def order(**known: object) -> list[str]:
        events: list[StreamEvent] = []
        plans = []
        for name in names:
            steps = [UpdateStep("a", "a", [UpdateCommand(["true"])])]
            plans.append(plan_plugin(plugin_of(steps, name=name), steps))
        with Session(tmp_path / f"state{len(known)}", "20260101-000000-aaaaaa") as session:
            asyncio.run(
                session.run(
                    plans,
                    {plan.name: session.start_afresh(plan) for plan in plans},
                    privileges=Rights.find(may_ask=False),
                    settings=RunSettings(jobs=2, priority=stale, **known),  # type: ignore[arg-type]
                    sink=events.append,
                )
            )
        return [event.plugin_name for event in events if isinstance(event, StepStartEvent)]

    assert order()[-1] == "long"
    replanned = order(seconds=seconds)
    assert sorted(replanned) == sorted(names)
    assert replanned.index("long") < len(names) // 2
