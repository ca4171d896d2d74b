"""Durations that no past run tells, and the order that they give."""

from __future__ import annotations

import asyncio
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from update_all.core.assumed import MOST_SECONDS, NETWORK, assumed_seconds, rough_priority
from update_all.core.forecast import Simulator, lower_bound
from update_all.core.models import Change, CheckResult, Phase, UpdateCommand, UpdateStep
from update_all.core.orchestration import RunSettings
from update_all.core.planning import PluginPlan, plan_plugin
from update_all.core.rights import Rights
from update_all.core.scheduling import Graph, Node
from update_all.core.session import Session
from update_all.core.streaming import RunStartEvent, StepStartEvent, StreamEvent
from update_all.plugins.base import BasePlugin

Make = Callable[..., BasePlugin]


def step(name: str, phase: Phase, *mutexes: str) -> UpdateStep:
    return UpdateStep(name, name, [UpdateCommand(["true"])], phase=phase, mutexes=list(mutexes))


def planned(make: Make, *steps: UpdateStep, sizes: tuple[int | None, ...] = ()) -> PluginPlan:
    updates = [Change(f"item{number}", size_bytes=size) for number, size in enumerate(sizes)]
    return plan_plugin(make(list(steps)), steps, check=CheckResult.of(updates))


def test_a_query_is_shorter_than_a_download_and_that_than_both_at_once(plugin_of: Make) -> None:
    plan = planned(
        plugin_of,
        step("check", Phase.CHECK, NETWORK),
        step("fetch", Phase.DOWNLOAD, NETWORK),
        step("all", Phase.EXECUTE, NETWORK),
        step("install", Phase.EXECUTE),
    )
    seconds = assumed_seconds([plan])
    assert seconds["demo", "check"] < seconds["demo", "fetch"] < seconds["demo", "all"]
    assert seconds["demo", "check"] < seconds["demo", "install"] < seconds["demo", "all"]


@given(st.lists(st.none() | st.integers(-(10**12), 10**15), max_size=5), st.integers(0, 10**12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_more_to_fetch_never_takes_less_and_nothing_takes_forever(
    plugin_of: Make, sizes: list[int | None], more: int
) -> None:
    steps = [step(f"{phase}{net}", phase, *([NETWORK] if net else [])) for phase in Phase for net in (0, 1)]

    def seconds(*found: int | None) -> dict[tuple[str, str], float]:
        return assumed_seconds([planned(plugin_of, *steps, sizes=found)])

    before, after = seconds(*sizes), seconds(*sizes, more)
    assert all(0 < value <= MOST_SECONDS for value in after.values())
    assert all(before[key] <= after[key] for key in after)
    assert before["demo", "check1"] == after["demo", "check1"]
    assert seconds(None)["demo", "download1"] == seconds()["demo", "download1"]
    assert seconds(10**9)["demo", "download1"] > seconds(10**8)["demo", "download1"]


def test_what_leads_to_a_mutex_with_a_queue_goes_before_an_equally_long_path() -> None:
    nodes = [
        node
        for name in "abcd"
        for node in (Node(f"{name}1", name), Node(f"{name}2", name, (f"{name}1",), ("m",) * (name != "a")))
    ]
    priority = rough_priority(Graph(nodes))
    assert priority["b1"] == priority["c1"] == priority["d1"] > priority["a1"]
    roomy = rough_priority(Graph(nodes), {"m": 3})
    assert roomy["b1"] == roomy["a1"]


@given(st.integers(0, 10**6))
def test_a_path_is_never_behind_what_it_leads_to(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - examples, not secrets
    nodes: list[Node] = []
    for number in range(20):
        before = tuple(node.id for node in nodes if chance.random() < 0.15)
        mutexes = tuple(name for name in "mn" if chance.random() < 0.4)
        nodes.append(Node(f"s{number}", "g", before, mutexes, chance.uniform(0, 9)))
    priority = rough_priority(Graph(nodes), {"m": 2})
    for node in nodes:
        assert all(priority[need] >= priority[node.id] for need in node.depends_on)


@pytest.mark.parametrize("jobs", [4, 8])
def test_without_a_past_the_order_is_better_than_any_at_random(jobs: int) -> None:
    """Nothing is known of the durations, and they differ a lot."""
    rough, blind = [], []
    for seed in range(25):
        chance = random.Random(seed)  # noqa: S311 - examples, not secrets
        nodes: list[Node] = []
        for plugin in range(30):
            mutex = (f"m{chance.randrange(4)}",) if chance.random() < 0.5 else ()
            before: tuple[str, ...] = ()
            for number in range(chance.randint(1, 5)):
                taken = mutex if number >= 1 else ()
                nodes.append(Node(f"p{plugin}/{number}", f"p{plugin}", before, taken, 10.0, len(nodes)))
                before = (nodes[-1].id,)
        graph = Graph(nodes)
        truth = [node.seconds * math.exp(chance.gauss(0, 0.6)) for node in nodes]
        known = Graph(
            Node(node.id, node.group, node.depends_on, node.mutexes, seconds, node.order)
            for node, seconds in zip(nodes, truth, strict=True)
        )
        bound, simulator = lower_bound(known, jobs), Simulator(graph, jobs)
        rough.append(simulator.makespan(truth, graph.ranked(rough_priority(graph))) / bound)
        for _ in range(4):
            any_order = {node.id: chance.random() for node in nodes}
            blind.append(simulator.makespan(truth, graph.ranked(any_order)) / bound)
    assert statistics.mean(rough) <= 1.15
    assert statistics.mean(rough) - 1 <= 0.6 * (statistics.mean(blind) - 1)


def test_a_run_without_a_past_uses_them_for_its_order_and_shows_none(plugin_of: Make, tmp_path: Path) -> None:
    events: list[StreamEvent] = []
    phases = {"query": Phase.CHECK, "install": Phase.EXECUTE, "fetch": Phase.DOWNLOAD}
    plans = []
    for name, phase in phases.items():
        steps = [step("a", phase, *([NETWORK] if phase is Phase.EXECUTE else []))]
        plans.append(plan_plugin(plugin_of(steps, name=name), steps))
    with Session(tmp_path / "state", "20260101-000000-aaaaaa") as session:
        recoveries = {plan.name: session.start_afresh(plan) for plan in plans}
        run = session.run(
            plans,
            recoveries,
            privileges=Rights.find(may_ask=False),
            settings=RunSettings(jobs=1),
            sink=events.append,
        )
        assert asyncio.run(run).exit_code == 0
    started = [event.plugin_name for event in events if isinstance(event, StepStartEvent)]
    assert started == ["install", "fetch", "query"]
    [start] = [event for event in events if isinstance(event, RunStartEvent)]
    assert {found.expected_seconds for plugin in start.plugins for found in plugin.steps} == {None}
