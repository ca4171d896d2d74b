"""Simulated schedules: bounds, planned orders and expected ranges."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from update_all.core.forecast import (
    CLOSE_ENOUGH,
    Simulator,
    expected_range,
    lower_bound,
    plan_priorities,
    remaining,
    simulate,
)
from update_all.core.scheduling import Graph, Node, Scheduler

MUTEXES = ("m", "n", "network")


@st.composite
def graphs(draw: st.DrawFn, max_size: int = 14) -> Graph:
    nodes: list[Node] = []
    for place in range(draw(st.integers(0, max_size))):
        ids = [node.id for node in nodes]
        nodes.append(
            Node(
                id=f"s{place}",
                group=draw(st.sampled_from("xyz")),
                depends_on=tuple(draw(st.lists(st.sampled_from(ids), max_size=2))) if ids else (),
                mutexes=tuple(draw(st.lists(st.sampled_from(MUTEXES), max_size=2))),
                seconds=draw(st.floats(0, 10) | st.sampled_from((0.0, 1.0, 2.0))),
                order=place,
            )
        )
    return Graph(nodes)


jobs_counts = st.integers(1, 5)
limit_maps = st.dictionaries(st.sampled_from(MUTEXES), st.integers(1, 3))


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - examples, not secrets


def synthetic(seed: int, plugins: int = 30) -> Graph:
    """A run like a real one: chains, a third of them behind four mutexes, some plugins after another."""
    chance = seeded(seed)
    nodes: list[Node] = []
    for plugin in range(plugins):
        mutex = (f"m{chance.randrange(4)}",) if chance.random() < 0.4 else ()
        before: tuple[str, ...] = ()
        if nodes and chance.random() < 0.25:
            before = (chance.choice(nodes).id,)
        steps = chance.randint(2, 6)
        for step in range(steps):
            seconds = chance.choice((1, 2, 4, 8, 12)) * math.exp(chance.gauss(0, 0.8))
            taken = mutex if step >= steps // 2 else ()
            nodes.append(Node(f"p{plugin}/{step}", f"p{plugin}", before, taken, seconds, len(nodes)))
            before = (nodes[-1].id,)
    return Graph(nodes)


def assert_overlap_within_limits(graph: Graph, jobs: int, limits: Mapping[str, int]) -> None:
    schedule = simulate(graph, jobs, limits)
    for now in schedule.start.values():
        active = [n for n in graph.nodes if schedule.start[n.id] <= now < schedule.end[n.id]]
        assert len(active) <= jobs
        for mutex in MUTEXES:
            assert sum(mutex in node.mutexes for node in active) <= limits.get(mutex, 1)


@given(graphs(), jobs_counts, limit_maps)
def test_simulated_schedule_keeps_durations_dependencies_and_limits(
    graph: Graph, jobs: int, limits: dict[str, int]
) -> None:
    schedule = simulate(graph, jobs, limits)

    assert schedule.start.keys() == schedule.end.keys() == {node.id for node in graph.nodes}
    assert schedule.makespan == max(schedule.end.values(), default=0.0)
    for node in graph.nodes:
        assert schedule.end[node.id] == schedule.start[node.id] + node.seconds
        assert all(schedule.end[need] <= schedule.start[node.id] for need in node.depends_on)
    assert_overlap_within_limits(graph, jobs, limits)


@given(graphs(), jobs_counts, limit_maps, st.randoms(use_true_random=False))
def test_the_fast_simulator_and_the_scheduler_agree(
    graph: Graph, jobs: int, limits: dict[str, int], chance: random.Random
) -> None:
    priority = {node.id: chance.choice((0.0, 1.0, chance.random())) for node in graph.nodes}
    seconds = [node.seconds for node in graph.nodes]

    fast = Simulator(graph, jobs, limits).makespan(seconds, graph.ranked(priority))

    assert fast == simulate(graph, jobs, limits, priority).makespan


@given(graphs(), jobs_counts, limit_maps, st.randoms(use_true_random=False))
def test_no_schedule_beats_the_lower_bound(
    graph: Graph, jobs: int, limits: dict[str, int], chance: random.Random
) -> None:
    bound = lower_bound(graph, jobs, limits)

    for _ in range(5):
        priority = {node.id: chance.random() for node in graph.nodes}
        assert simulate(graph, jobs, limits, priority).makespan >= bound * (1 - 1e-9)


def test_lower_bound_is_the_longest_path() -> None:
    graph = Graph([Node("a", "g", seconds=3), Node("b", "g", ("a",), seconds=4), Node("c", "g", seconds=1)])

    assert lower_bound(graph, 8) == 7


def test_lower_bound_is_the_work_on_all_jobs() -> None:
    assert lower_bound(Graph(Node(str(n), "g", seconds=3) for n in range(6)), 2) == 9


def test_lower_bound_counts_jobs_that_idle_before_and_after() -> None:
    """One step of a second before and after everything else: nothing overlaps with either."""
    middle = [Node(str(n), "g", ("first",), seconds=2) for n in range(4)]
    last = Node("last", "g", tuple(node.id for node in middle), seconds=1)
    graph = Graph([Node("first", "g", seconds=1), *middle, last])

    assert lower_bound(graph, 4) == 4
    assert lower_bound(graph, 2) == 6


def test_lower_bound_of_a_mutex_counts_heads_and_tails() -> None:
    """Two holders of five seconds, each behind three and before two: 3 + 5 + 5 + 2."""
    nodes = [
        node
        for side in "ab"
        for node in (
            Node(f"{side}1", side, seconds=3),
            Node(f"{side}2", side, (f"{side}1",), ("m",), seconds=5),
            Node(f"{side}3", side, (f"{side}2",), seconds=2),
        )
    ]

    assert lower_bound(Graph(nodes), 8) == 15
    assert lower_bound(Graph(nodes), 8, {"m": 2}) == 10


def test_lower_bound_of_a_mutex_preempts_for_the_longer_tail() -> None:
    """`long` begins at 0 and yields at 2; the others hold it to 5 and to 8, and each has 6 s to go: 14 s."""
    holders = [
        node
        for name, head in (("b", 2), ("c", 3))
        for node in (
            Node(f"{name}1", name, seconds=head),
            Node(f"{name}2", name, (f"{name}1",), ("m",), seconds=3),
            Node(f"{name}3", name, (f"{name}2",), seconds=6),
        )
    ]
    graph = Graph(
        [Node("long", "a", (), ("m",), seconds=4), Node("end", "a", ("long",), seconds=1), *holders]
    )

    assert lower_bound(graph, 8) == 14


@given(graphs(), jobs_counts, limit_maps)
@settings(max_examples=50)
def test_a_plan_is_never_worse_than_the_longest_path_rule_and_is_what_the_scheduler_does(
    graph: Graph, jobs: int, limits: dict[str, int]
) -> None:
    plan = plan_priorities(graph, jobs, limits, tries=12)

    assert plan.makespan <= simulate(graph, jobs, limits).makespan
    assert plan.makespan == simulate(graph, jobs, limits, plan.priority).makespan
    assert plan == plan_priorities(graph, jobs, limits, tries=12)


@pytest.mark.parametrize("jobs", [4, 8])
def test_planning_takes_most_of_what_the_longest_path_rule_loses(jobs: int) -> None:
    planned, plain = [], []
    for seed in range(10):
        graph = synthetic(seed)
        bound = lower_bound(graph, jobs)
        planned.append(plan_priorities(graph, jobs).makespan / bound)
        plain.append(simulate(graph, jobs).makespan / bound)

    assert statistics.mean(planned) <= {4: 1.03, 8: 1.05}[jobs]
    assert statistics.mean(planned) - 1 <= 0.7 * (statistics.mean(plain) - 1)


def test_a_plan_ends_early_when_nothing_can_be_gained() -> None:
    graph = Graph(Node(str(n), "g", (str(n - 1),) if n else (), seconds=1, order=n) for n in range(50))

    plan = plan_priorities(graph, 4, tries=10**9)

    assert plan.makespan <= lower_bound(graph, 4) * CLOSE_ENOUGH
    assert plan.priority == graph.priority()


def test_what_runs_already_stays_first_in_a_new_plan() -> None:
    graph = Graph([Node("long", "g", (), ("m",), 9), Node("runs", "g", (), ("m",), 1), Node("x", "g")])

    plan = plan_priorities(graph, 1, running=["runs"])

    assert simulate(graph, 1, {}, plan.priority).start["runs"] == 0
    assert plan.makespan == 11


@given(graphs(), jobs_counts, limit_maps, st.data())
def test_the_rest_of_a_run_takes_the_rest_of_its_time(
    graph: Graph, jobs: int, limits: dict[str, int], data: st.DataObject
) -> None:
    whole = simulate(graph, jobs, limits)
    now = data.draw(st.sampled_from(sorted(whole.start.values()) or [0.0]))
    ended = {id for id, end in whole.end.items() if end <= now}
    running = {id: now - start for id, start in whole.start.items() if start <= now < whole.end[id]}

    rest = remaining(graph, ended, running)
    priority = graph.priority() | dict.fromkeys(running, math.inf)

    assert {node.id for node in rest.nodes} == {node.id for node in graph.nodes} - ended
    left = simulate(rest, jobs, limits, priority).makespan
    assert left >= lower_bound(rest, jobs, limits) * (1 - 1e-9)
    for id, elapsed in running.items():
        assert rest.nodes[rest.index[id]].seconds == pytest.approx(
            graph.nodes[graph.index[id]].seconds - elapsed, abs=1e-9
        )


@given(graphs(), jobs_counts, limit_maps, st.integers(0, 3))
@settings(max_examples=50)
def test_range_is_ordered_and_the_same_each_time(
    graph: Graph, jobs: int, limits: dict[str, int], seed: int
) -> None:
    past = {node.id: [node.seconds, 2 * node.seconds] for node in graph.nodes[::2]}
    low, high = expected_range(graph, jobs, limits, None, past, samples=20, seed=seed)

    assert 0 <= low <= high < math.inf
    assert (low, high) == expected_range(graph, jobs, limits, None, past, samples=20, seed=seed)


@pytest.mark.parametrize(("noise", "shared"), [(0.1, 0.3), (0.4, 0.3), (0.4, 0.0)])
def test_after_five_runs_the_range_holds_the_next_one_nine_times_in_ten(noise: float, shared: float) -> None:
    """Runs vary step by step and as a whole (`shared` of the variance)."""
    held = []
    for seed in range(60):
        chance = seeded(seed)
        graph = synthetic(seed, plugins=chance.choice((3, 10, 20)))

        def run(graph: Graph = graph, chance: random.Random = chance) -> list[float]:
            day = chance.gauss(0, math.sqrt(shared))
            moved = [day + chance.gauss(0, math.sqrt(1 - shared)) for _ in graph.nodes]
            return [n.seconds * math.exp(noise * z) for n, z in zip(graph.nodes, moved, strict=True)]

        runs = [run() for _ in range(5)]
        past = {node.id: values for node, *values in zip(graph.nodes, *runs, strict=True)}
        known = Graph(replace(node, seconds=statistics.median(past[node.id])) for node in graph.nodes)
        low, high = expected_range(known, 4, {}, known.priority(), past)
        truth = Simulator(known, 4).makespan(run(), known.ranked())
        held.append(low <= truth <= high)

    assert statistics.mean(held) >= 0.9


def test_history_narrows_the_range() -> None:
    graph = synthetic(3)
    past = {node.id: [node.seconds * factor for factor in (0.97, 1.0, 1.03)] for node in graph.nodes}

    unknown = expected_range(graph, 4)
    known = expected_range(graph, 4, durations=past)

    assert known.high / known.low < unknown.high / unknown.low
    assert known.low <= simulate(graph, 4).makespan <= known.high


def test_elapsed_seconds_are_taken_off_what_history_tells() -> None:
    graph = Graph([Node("a", "g", seconds=5)])
    past = {"a": [10.0] * 20}

    low, high = expected_range(graph, 1, durations=past)
    late_low, late_high = expected_range(graph, 1, durations=past, elapsed={"a": 8.0})

    assert (late_low, late_high) == pytest.approx((max(0.0, low - 8), high - 8))
    assert expected_range(graph, 1, durations=past, elapsed={"a": 1_000.0}) == (0.0, 0.0)


def test_the_planned_order_is_one_the_scheduler_accepts() -> None:
    graph = synthetic(1, plugins=5)
    run = Scheduler(graph, 2, {}, plan_priorities(graph, 2).priority)

    started = 0
    while not run.is_finished:
        started += len(run.start_ready())
        run.finish(run.running[0])

    assert started == len(graph.nodes)
