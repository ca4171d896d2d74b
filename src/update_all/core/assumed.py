"""How long a step is taken to last where no past run tells: for the order of a run, never to be shown. Pure.

Only the proportions count. A query takes seconds; what fetches takes as long as its bytes do; what also
installs takes longer than what only fetches, and longer still with each thing that it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from update_all.core.models import Phase, UpdateStep
from update_all.core.planning import PluginPlan
from update_all.core.scheduling import Graph

NETWORK = "network"
"""The mutex of whatever downloads."""

SECONDS: Mapping[tuple[Phase, bool], float] = MappingProxyType(
    {
        (Phase.CHECK, False): 2.0,
        (Phase.CHECK, True): 4.0,
        (Phase.DOWNLOAD, False): 12.0,
        (Phase.DOWNLOAD, True): 12.0,
        (Phase.EXECUTE, False): 10.0,
        (Phase.EXECUTE, True): 20.0,
    }
)
"""By phase, and whether the step needs the network."""

BYTES_PER_SECOND = 5_000_000.0
"""A download, where the check tells its size."""

SECONDS_PER_UPDATE = 0.5
"""Unpacking and configuring one of the things that the check names."""

MOST_SECONDS = 600.0
"""A size that a tool tells wrongly must not decide the whole order."""

QUEUE_SHARE = 0.4
"""How much the work at a contended mutex counts, beside that of a path that leads to it."""


def assumed_seconds(plans: Sequence[PluginPlan]) -> dict[tuple[str, str], float]:
    """Seconds by plugin and step, all of them above 0 and at most MOST_SECONDS."""
    return {(plan.name, step.name): _seconds(plan, step) for plan in plans for step in plan.steps}


def _seconds(plan: PluginPlan, step: UpdateStep) -> float:
    phase, online = step.effective_phase, NETWORK in step.mutexes
    least = SECONDS[phase, online]
    updates = plan.check.updates if plan.check is not None and phase is not Phase.CHECK else ()
    fetching = installing = 0.0
    if phase is Phase.DOWNLOAD or online:
        fetching = sum(max(0, change.size_bytes or 0) for change in updates) / BYTES_PER_SECOND
    if phase is Phase.EXECUTE:
        installing = len(updates) * SECONDS_PER_UPDATE
    return min(max(least, fetching) + installing, MOST_SECONDS)


def rough_priority(graph: Graph, limits: Mapping[str, int] | None = None) -> dict[str, float]:
    """An order for durations that are only assumed: the longest path, and what waits at its worst mutex.

    A simulation would fit the order to durations that will not come true. That a mutex will have a queue is
    certain enough, and that queue is the longer the later its first step comes.
    """
    taken, capacity, _ = graph.contended(limits or {})
    queue = [0.0] * len(capacity)
    for node, mutexes in zip(graph.nodes, taken, strict=True):
        for mutex in mutexes:
            queue[mutex] += node.seconds / capacity[mutex]
    ahead = [max((queue[mutex] for mutex in mutexes), default=0.0) for mutexes in taken]
    for number in reversed(graph.topological):
        ahead[number] = max([ahead[number], *(ahead[follower] for follower in graph.successors[number])])
    paths = graph.remaining_seconds()
    return {
        node.id: path + QUEUE_SHARE * queued
        for node, path, queued in zip(graph.nodes, paths, ahead, strict=True)
    }
