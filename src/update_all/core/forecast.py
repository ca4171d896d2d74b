"""How long a run takes before it starts, and the order that makes it short (system.md section 3). Pure.

Makespan is the time from the first start to the last end, in seconds. The lower bounds and what a hundred
perturbed list schedules reach: Graham 1966 (list scheduling), Carlier 1982 (one machine, heads and tails).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from update_all.core.scheduling import Graph, Node, Scheduler

NODE_BUDGET = 24_000
"""Nodes simulated per plan or forecast at most: a huge graph gets fewer simulations, not a longer wait."""

CLOSE_ENOUGH = 1.001
"""Makespan / lower bound at which the search for a better order ends."""

PLUGIN_SPREADS = (0.15, 0.4, 0.8)
"""How far a try moves a plugin: standard deviation of the logarithm of the factor on its priorities."""

STEP_SPREAD = 0.1
"""The same for each step by itself."""

TYPICAL_SPREAD = 0.4
"""Standard deviation of the logarithm of a step's duration where nothing is known about it."""

TYPICAL_RUNS = 4
"""As many past runs as what is known of the other steps weighs against those of the step itself."""

SHARED = 0.3
"""Part of the variance that the steps of one run have in common: a slow network, a loaded machine."""

MOST = 2.0
"""Logarithm of the largest factor by which a sampled duration differs from the typical one."""

COVERED = 0.98
"""Part of the sampled runs that end within the expected range; of real ones some 95 % after a few runs."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Start and end per id, in seconds from the beginning of the run, and the end of the last."""

    start: Mapping[str, float]
    end: Mapping[str, float]
    makespan: float


class Plan(NamedTuple):
    """A priority for the Scheduler, and the makespan it is expected to have."""

    priority: Mapping[str, float]
    makespan: float


class Range(NamedTuple):
    """Seconds between which a run is expected to end."""

    low: float
    high: float


def simulate(
    graph: Graph,
    jobs: int,
    limits: Mapping[str, int] | None = None,
    priority: Mapping[str, float] | None = None,
) -> Schedule:
    """What the Scheduler does when each node takes exactly its `seconds`."""
    scheduler = Scheduler(graph, jobs, limits, priority)
    start: dict[str, float] = {}
    end: dict[str, float] = {}
    now = 0.0
    ends: list[tuple[float, int]] = []
    while True:
        for id in scheduler.start_ready():
            number = graph.index[id]
            start[id] = now
            heapq.heappush(ends, (now + graph.nodes[number].seconds, number))
        if not ends:
            return Schedule(start, end, now)
        now = ends[0][0]
        while ends and ends[0][0] == now:
            id = graph.nodes[heapq.heappop(ends)[1]].id
            end[id] = now
            scheduler.finish(id)


class Simulator:
    """The makespans of many schedules of one graph: those of `simulate`, several times as fast.

    Mutexes are bits here: one is set while the mutex has no room. Nodes with the same mutexes share a queue.
    """

    def __init__(self, graph: Graph, jobs: int, limits: Mapping[str, int] | None = None) -> None:
        taken, self._capacity, _ = graph.contended(limits or {})
        self._jobs = jobs
        self._successors = graph.successors
        self._missing = [len(needs) for needs in graph.needs]
        self._needs = [sum(1 << mutex for mutex in mutexes) for mutexes in taken]
        self._masks = list(dict.fromkeys(self._needs))
        place = {mask: number for number, mask in enumerate(self._masks)}
        self._queue = [place[mask] for mask in self._needs]
        self._alone = [sum(1 << m for m in mutexes if self._capacity[m] == 1) for mutexes in taken]
        self._counted = [tuple(m for m in mutexes if self._capacity[m] > 1) for mutexes in taken]

    def makespan(self, seconds: Sequence[float], by_rank: Sequence[int]) -> float:
        """`seconds` per node number; `by_rank` are the node numbers from most to least urgent."""
        rank = [0] * len(by_rank)
        queues: list[list[int]] = [[] for _ in self._masks]
        missing = self._missing.copy()
        for place, number in enumerate(by_rank):
            rank[number] = place
            if not missing[number]:
                queues[self._queue[number]].append(place)
        room = self._capacity.copy()
        ends: list[tuple[float, int]] = []
        full, now = 0, 0.0
        while True:
            while len(ends) < self._jobs:
                best = self._best(queues, full)
                if best is None:
                    break
                number = by_rank[heapq.heappop(best)]
                full |= self._take(number, room)
                heapq.heappush(ends, (now + seconds[number], number))
            if not ends:
                return now
            now = ends[0][0]
            while ends and ends[0][0] == now:
                number = heapq.heappop(ends)[1]
                full &= ~self._give(number, room)
                for follower in self._successors[number]:
                    missing[follower] -= 1
                    if not missing[follower]:
                        heapq.heappush(queues[self._queue[follower]], rank[follower])

    def _best(self, queues: Sequence[list[int]], full: int) -> list[int] | None:
        """The queue whose first node can start and is the most urgent of these."""
        best: list[int] | None = None
        for queue, mask in zip(queues, self._masks, strict=True):
            if queue and not mask & full and (best is None or queue[0] < best[0]):
                best = queue
        return best

    def _take(self, number: int, room: list[int]) -> int:
        """The bits of the mutexes that are full now."""
        full = self._alone[number]
        for mutex in self._counted[number]:
            room[mutex] -= 1
            if not room[mutex]:
                full |= 1 << mutex
        return full

    def _give(self, number: int, room: list[int]) -> int:
        """The bits of the mutexes that have room now."""
        for mutex in self._counted[number]:
            room[mutex] += 1
        return self._needs[number]


def lower_bound(graph: Graph, jobs: int, limits: Mapping[str, int] | None = None) -> float:
    """Seconds that no schedule can beat: the longest path, all work on `jobs`, or one mutex alone."""
    taken, capacity, _ = graph.contended(limits or {})
    seconds = [node.seconds for node in graph.nodes]
    remaining = graph.remaining_seconds()
    tail = [left - own for left, own in zip(remaining, seconds, strict=True)]
    head = _heads(graph)
    bound = max(remaining, default=0.0)
    bound = max(bound, _machines(range(len(seconds)), jobs, head, seconds, tail))
    users: list[list[int]] = [[] for _ in capacity]
    for number, mutexes in enumerate(taken):
        for mutex in mutexes:
            users[mutex].append(number)
    for members, machines in zip(users, capacity, strict=True):
        if machines == 1:
            bound = max(bound, _one_machine(members, head, seconds, tail))
        else:
            bound = max(bound, _machines(members, machines, head, seconds, tail))
    return bound


def _heads(graph: Graph) -> list[float]:
    """Per node number: the longest path before it."""
    head = [0.0] * len(graph.nodes)
    for number in graph.topological:
        end = head[number] + graph.nodes[number].seconds
        for follower in graph.successors[number]:
            head[follower] = max(head[follower], end)
    return head


def _machines(
    members: Sequence[int],
    machines: int,
    head: Sequence[float],
    seconds: Sequence[float],
    tail: Sequence[float],
) -> float:
    """Work of the members on some machines, each idle before its first and after its last member."""
    if len(members) < machines:
        return 0.0
    before = sum(heapq.nsmallest(machines, (head[number] for number in members)))
    after = sum(heapq.nsmallest(machines, (tail[number] for number in members)))
    return (before + sum(seconds[number] for number in members) + after) / machines


def _one_machine(
    members: Sequence[int], head: Sequence[float], seconds: Sequence[float], tail: Sequence[float]
) -> float:
    """Jackson's preemptive schedule: always the member with the longest tail, which is optimal."""
    arrivals = sorted(members, key=head.__getitem__, reverse=True)
    ready: list[tuple[float, int, float]] = []
    bound = now = 0.0
    while arrivals or ready:
        if not ready:
            now = max(now, head[arrivals[-1]])
        while arrivals and head[arrivals[-1]] <= now:
            number = arrivals.pop()
            heapq.heappush(ready, (-tail[number], number, seconds[number]))
        after, number, left = ready[0]
        if arrivals and head[arrivals[-1]] < now + left:
            heapq.heapreplace(ready, (after, number, left - (head[arrivals[-1]] - now)))
            now = head[arrivals[-1]]
        else:
            heapq.heappop(ready)
            now += left
            bound = max(bound, now - after)
    return bound


def plan_priorities(
    graph: Graph,
    jobs: int,
    limits: Mapping[str, int] | None = None,
    *,
    running: Collection[str] = (),
    known: Mapping[str, float] | None = None,
    tries: int = 200,
    budget: int = NODE_BUDGET,
    seed: int = 0,
) -> Plan:
    """The best of many simulated orders, the longest remaining path first being the first of them.

    A try multiplies the priorities of each plugin by a random factor, since what gains is mostly which plugin
    gets a contended mutex first; every fourth begins at the longest path again, the others at the best so
    far. The same arguments give the same plan. `running` are ids that run already: they stay first. `known`
    is an order to improve on: the plan is never worse. `budget`: nodes simulated in all.
    """
    first = {graph.index[id] for id in running}

    def ahead(values: Sequence[float]) -> list[float]:
        return [math.inf if number in first else value for number, value in enumerate(values)]

    base = ahead(graph.remaining_seconds())
    starts = [base]
    if known is not None:
        starts.insert(0, ahead([known.get(node.id, 0.0) for node in graph.nodes]))
    seconds = [node.seconds for node in graph.nodes]
    groups = [node.group for node in graph.nodes]
    declared = sorted(range(len(base)), key=lambda number: graph.nodes[number].order)
    simulator = Simulator(graph, jobs, limits)
    enough = lower_bound(graph, jobs, limits) * CLOSE_ENOUGH
    chance = random.Random(seed)  # noqa: S311 - a search, not a secret
    best, shortest = base, math.inf
    for number in range(len(starts) + min(tries, budget // max(1, len(base)))):
        if number < len(starts):
            priority = starts[number]
        else:
            start = best if number % 4 else base
            priority = _perturbed(start, groups, PLUGIN_SPREADS[number % len(PLUGIN_SPREADS)], chance)
        by_rank = sorted(declared, key=[-value for value in priority].__getitem__)
        makespan = simulator.makespan(seconds, by_rank)
        if makespan < shortest:
            best, shortest = priority, makespan
        if shortest <= enough:
            break
    return Plan({node.id: value for node, value in zip(graph.nodes, best, strict=True)}, shortest)


def _perturbed(
    start: Sequence[float], groups: Sequence[str], spread: float, chance: random.Random
) -> list[float]:
    moved = {group: chance.gauss(0.0, spread) for group in dict.fromkeys(groups)}
    return [
        value * math.exp(moved[group] + chance.gauss(0.0, STEP_SPREAD))
        for value, group in zip(start, groups, strict=True)
    ]


def remaining(graph: Graph, ended: Collection[str], elapsed: Mapping[str, float]) -> Graph:
    """What is left of a run, to plan or forecast it again.

    `ended` are the ids that are done or will not run; `elapsed` are seconds per running id. One that runs for
    longer than expected is expected to go on for as long as it is late.
    """
    gone = frozenset(ended)
    return Graph(
        replace(
            node,
            depends_on=tuple(need for need in node.depends_on if need not in gone),
            seconds=abs(node.seconds - elapsed.get(node.id, 0.0)),
        )
        for node in graph.nodes
        if node.id not in gone
    )


def expected_range(
    graph: Graph,
    jobs: int,
    limits: Mapping[str, int] | None = None,
    priority: Mapping[str, float] | None = None,
    durations: Mapping[str, Sequence[float]] | None = None,
    *,
    elapsed: Mapping[str, float] | None = None,
    samples: int = 120,
    seed: int = 0,
) -> Range:
    """Seconds between which the run will very likely end (COVERED of the sampled runs do).

    `durations` are those of past runs per id; a node without any is assumed to take about its `seconds`.
    `elapsed`: seconds since the start of running ids, taken off what their `durations` tell. The same
    arguments give the same range.
    """
    elapsed = elapsed or {}
    past = durations or {}
    logs = [[math.log(max(0.001, seconds)) for seconds in past.get(node.id, ())] for node in graph.nodes]
    usual = _variance(TYPICAL_SPREAD**2, logs)
    steps = [
        _Duration.of(node, own, usual, elapsed.get(node.id, 0.0))
        for node, own in zip(graph.nodes, logs, strict=True)
    ]
    simulator = Simulator(graph, jobs, limits)
    by_rank = graph.ranked(priority)
    chance = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    count = max(8, min(samples, NODE_BUDGET // max(1, len(steps))))
    spans: list[float] = []
    for _ in range(count):
        shared = chance.gauss(0.0, math.sqrt(SHARED))
        spans.append(simulator.makespan([step.draw(shared, chance) for step in steps], by_rank))
    spans.sort()
    outside = round((1 - COVERED) / 2 * (count - 1))
    return Range(spans[outside], spans[-1 - outside])


def _variance(usual: float, samples: Sequence[Sequence[float]]) -> float:
    """Common variance of samples with means of their own; `usual` weighs as much as TYPICAL_RUNS values."""
    squares, freedom = usual * TYPICAL_RUNS, float(TYPICAL_RUNS)
    for values in samples:
        if values:
            mean = sum(values) / len(values)
            squares += sum((value - mean) ** 2 for value in values)
            freedom += len(values) - 1
    return squares / freedom


@dataclass(frozen=True, slots=True)
class _Duration:
    """A log-normal duration in seconds, less what has already passed."""

    typical: float
    spread: float
    elapsed: float

    @classmethod
    def of(cls, node: Node, logs: Sequence[float], usual: float, elapsed: float) -> _Duration:
        """From the logarithms of past durations and the variance that is usual for steps."""
        if not logs:
            return cls(node.seconds, TYPICAL_SPREAD, 0.0)
        # The typical value is itself uncertain by the n-th part of the variance.
        variance = _variance(usual, [logs]) * (1 + 1 / len(logs))
        return cls(math.exp(sum(logs) / len(logs)), math.sqrt(variance), elapsed)

    def draw(self, shared: float, chance: random.Random) -> float:
        """Seconds in one sampled run; `shared` is what all its steps have in common."""
        normal = shared + chance.gauss(0.0, math.sqrt(1 - SHARED))
        moved = max(-MOST, min(MOST, self.spread * normal))
        return max(0.0, self.typical * math.exp(moved) - self.elapsed)
