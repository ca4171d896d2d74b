"""When steps take longer or shorter than their past tells, the rest of a run is planned anew. Pure.

What is late or early is compared with what was expected last, so one departure is one new plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from update_all.core.forecast import plan_priorities, remaining
from update_all.core.scheduling import Graph

LEAST_SECONDS = 1.0
"""A step that departs by less changes no order."""

SHARE = 0.25
"""As far as that part of its expected seconds, a step takes what was expected."""

PAUSE_SECONDS = 1.0
"""Between two plans: at most a few hundredths of the time are spent on planning."""

FEWEST, MOST = 4, 2_000
"""Steps not started: with fewer there is little to order, with more a plan takes too long."""

NODE_BUDGET = 5_000
"""Nodes simulated per plan: ten to twenty milliseconds."""


class Replanner:
    """Follows one run of a graph and gives a better order of the rest, when there is reason to look for one.

    `known` are the ids whose `seconds` come from past runs: only these can depart. Times are seconds of any
    clock that goes forward.
    """

    def __init__(
        self,
        graph: Graph,
        jobs: int,
        limits: Mapping[str, int],
        priority: Mapping[str, float],
        known: Collection[str],
    ) -> None:
        self._graph = graph
        self._jobs = jobs
        self._limits = limits
        self._priority = priority
        self._known = frozenset(known)
        self._started: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._departed = False
        self._not_before = float("-inf")

    def started(self, id: str, now: float) -> None:
        """It runs from now on."""
        self._started[id] = now
        self._due[id] = now + self._expected(id)

    def ended(self, id: str, now: float) -> None:
        """It runs no longer, however it ended."""
        if self._late(id, now, both_ways=True):
            self._departed = True
        del self._started[id], self._due[id]

    def is_due(self, now: float) -> bool:
        """Whether something has departed since the last plan. Looks at running steps only."""
        if now < self._not_before:
            return False
        return self._departed or any(self._late(id, now) for id in self._due)

    def plan(self, pending: Collection[str], now: float) -> Mapping[str, float] | None:
        """Priorities for the Scheduler, no worse than the last ones; None where there is nothing to order.

        `pending` are the ids that have not started and still may.
        """
        self._departed = False
        self._not_before = now + PAUSE_SECONDS
        elapsed = {id: now - start for id, start in self._started.items()}
        for id, seconds in elapsed.items():
            self._due[id] = now + abs(self._expected(id) - seconds)
        if not FEWEST <= len(pending) <= MOST:
            return None
        left = {*pending, *elapsed}
        rest = remaining(self._graph, [id for id in self._graph.index if id not in left], elapsed)
        self._priority = plan_priorities(
            rest, self._jobs, self._limits, running=elapsed, known=self._priority, budget=NODE_BUDGET
        ).priority
        return self._priority

    def _expected(self, id: str) -> float:
        return self._graph.nodes[self._graph.index[id]].seconds

    def _late(self, id: str, now: float, *, both_ways: bool = False) -> bool:
        if id not in self._known:
            return False
        late = now - self._due[id]
        return (abs(late) if both_ways else late) > max(LEAST_SECONDS, SHARE * self._expected(id))
