"""Which steps start now, and why the others wait (system.md section 3). Pure: no I/O, no clock.

A `Graph` holds what does not change during a run, a `Scheduler` is one run of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from update_all.core.order import topological_order
from update_all.core.ready import ReadySet


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the whole run.

    `group` is its plugin, `seconds` the expected duration, `order` its place among equals (smaller first).
    `depends_on` holds ids.
    """

    id: str
    group: str
    depends_on: tuple[str, ...] = ()
    mutexes: tuple[str, ...] = ()
    seconds: float = 1.0
    order: int = 0


class Graph:
    """Nodes whose dependencies exist and have no cycle; nodes are numbered as they are given.

    Raises StepOrderError as `topological_order` does, ValueError for seconds that are negative or not finite.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = tuple(nodes)
        for node in self.nodes:
            if not (math.isfinite(node.seconds) and node.seconds >= 0):
                raise ValueError(f"step {node.id!r}: seconds must be finite and not negative: {node.seconds}")
        names = [node.id for node in self.nodes]
        ordered = topological_order(names, {node.id: node.depends_on for node in self.nodes})
        self.index = {name: number for number, name in enumerate(names)}
        self.topological = [self.index[name] for name in ordered]
        self.needs = [tuple(self.index[name] for name in dict.fromkeys(n.depends_on)) for n in self.nodes]
        self.successors: list[list[int]] = [[] for _ in self.nodes]
        for number, needs in enumerate(self.needs):
            for need in needs:
                self.successors[need].append(number)

    def remaining_seconds(self) -> list[float]:
        """Per node number: the longest path from its start to the end of the run, its own time included."""
        remaining = [0.0] * len(self.nodes)
        for number in reversed(self.topological):
            after = max((remaining[follower] for follower in self.successors[number]), default=0.0)
            remaining[number] = self.nodes[number].seconds + after
        return remaining

    def priority(self) -> dict[str, float]:
        """Longest remaining path first: the default priority of a Scheduler."""
        return {node.id: left for node, left in zip(self.nodes, self.remaining_seconds(), strict=True)}

    def ranked(self, priority: Mapping[str, float] | None = None) -> list[int]:
        """Node numbers from most to least urgent; ties by `order`, then as given. No value is 0."""
        if priority is None:
            priority = self.priority()
        keys = [(-priority.get(node.id, 0.0), node.order) for node in self.nodes]
        return sorted(range(len(keys)), key=keys.__getitem__)

    def contended(self, limits: Mapping[str, int]) -> tuple[list[tuple[int, ...]], list[int], list[str]]:
        """Mutexes that somebody can ever wait for: numbers per node, capacity and name per number.

        A mutex with room for everyone who takes it decides nothing and is left out. Raises ValueError for a
        limit below 1.
        """
        too_small = [f"{name} = {limit}" for name, limit in limits.items() if limit < 1]
        if too_small:
            raise ValueError(f"limits must be at least 1: {', '.join(too_small)}")
        users: dict[str, int] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.mutexes):
                users[name] = users.get(name, 0) + 1
        names = [name for name, count in users.items() if count > limits.get(name, 1)]
        number = {name: place for place, name in enumerate(names)}
        taken = [tuple(number[m] for m in dict.fromkeys(node.mutexes) if m in number) for node in self.nodes]
        return taken, [limits.get(name, 1) for name in names], names


class NodeState(StrEnum):
    """Where a node is. The last four are final."""

    PENDING = "pending"
    DEFERRED = "deferred"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"
    DROPPED = "dropped"


_WAITING = frozenset({NodeState.PENDING, NodeState.DEFERRED})


class NotRun(NamedTuple):
    """A node that will not run, and the id (or group) because of which."""

    id: str
    cause: str


class WaitReason(StrEnum):
    """Why a node does not start."""

    DEPENDENCY = "dependency"
    MUTEX = "mutex"
    JOBS = "jobs"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class Wait:
    """Why `id` waits: `on` holds the unfinished dependencies, or those who hold `mutex`."""

    id: str
    reason: WaitReason
    on: tuple[str, ...] = ()
    mutex: str = ""


class Scheduler:
    """One run of a graph: at most `jobs` at a time, at most `limits[mutex]` (default 1) holders of a mutex.

    After every report (`finish`, `fail`, …) ask `start_ready` what starts. A node takes all its mutexes as it
    starts; of those that can start, the highest `priority` (default: longest remaining path) goes first.
    Nothing that could start is left waiting. A report about a node that does not run raises ValueError.
    """

    def __init__(
        self,
        graph: Graph,
        jobs: int,
        limits: Mapping[str, int] | None = None,
        priority: Mapping[str, float] | None = None,
    ) -> None:
        if jobs < 1:
            raise ValueError(f"jobs must be at least 1: {jobs}")
        self._graph = graph
        self._jobs = jobs
        self._halted = False
        self._states = [NodeState.PENDING] * len(graph.nodes)
        self._missing = [len(needs) for needs in graph.needs]
        self._waiting = len(graph.nodes)
        self._running: dict[int, None] = {}
        self._done: set[str] = set()
        self._taken, capacity, self._mutex_names = graph.contended(limits or {})
        self._ready = ReadySet(self._taken, capacity)
        self._groups: dict[str, list[int]] = {}
        for number, node in enumerate(graph.nodes):
            self._groups.setdefault(node.group, []).append(number)
        self.replan(priority)
        for number in graph.topological:
            if not self._missing[number]:
                self._ready.add(number)

    @property
    def running(self) -> tuple[str, ...]:
        """Ids in the order of their starts."""
        return tuple(self._graph.nodes[number].id for number in self._running)

    @property
    def done(self) -> Set[str]:
        """Ids that were finished successfully; a live view."""
        return self._done

    @property
    def pending(self) -> list[str]:
        """Ids that have not started and still may, in the order given. Takes O(nodes)."""
        nodes = self._graph.nodes
        return [nodes[number].id for number, state in enumerate(self._states) if state in _WAITING]

    @property
    def is_finished(self) -> bool:
        """Whether each node is in a final state."""
        return not self._waiting and not self._running

    def state(self, id: str) -> NodeState:
        """The state of a node."""
        return self._states[self._number(id)]

    def replan(self, priority: Mapping[str, float] | None) -> None:
        """Use another priority from now on; what runs is not touched."""
        self._ready.order(self._graph.ranked(priority))

    def start_ready(self) -> list[str]:
        """The ids that start now, most urgent first."""
        started: list[str] = []
        while len(self._running) < self._jobs:
            number = self._ready.take()
            if number is None:
                break
            self._states[number] = NodeState.RUNNING
            self._running[number] = None
            started.append(self._graph.nodes[number].id)
        self._waiting -= len(started)
        return started

    def finish(self, id: str) -> None:
        """It ended well: what it held is free, and what waited for it alone becomes ready."""
        number = self._stop(id, NodeState.DONE)
        self._done.add(id)
        self._unlock(number)

    def fail(self, id: str) -> list[NotRun]:
        """It failed: what it held is free; whatever depends on it, however indirectly, will not run."""
        return self._block([self._stop(id, NodeState.FAILED)], id)

    def requeue(self, id: str) -> None:
        """It is to start again: what it held is free, and it is ready at once (dropped after `halt`)."""
        self._return(id, NodeState.PENDING)

    def defer(self, id: str) -> None:
        """Like `requeue`, also for a node that has not started; it does not start before `undefer`."""
        number = self._number(id)
        if self._states[number] in _WAITING:
            self._states[number] = NodeState.DEFERRED
            self._ready.discard([number])
        else:
            self._return(id, NodeState.DEFERRED)

    def undefer(self, id: str) -> None:
        """It may start again. A node that is not deferred (any more) is left alone."""
        number = self._number(id)
        if self._states[number] is NodeState.DEFERRED:
            self._states[number] = NodeState.PENDING
            if not self._missing[number]:
                self._ready.add(number)

    def drop(self, ids: Iterable[str], *, satisfied: bool) -> list[NotRun]:
        """Take nodes out that have not started; those that have are left alone.

        `satisfied`: they count as done for their dependents, as soon as what they themselves depend on is
        done. Otherwise their dependents will not run, and are returned, each with one of `ids` as its cause.
        """
        numbers = self._drop(map(self._number, ids))
        if satisfied:
            self._satisfy(numbers)
            return []
        return [lost for number in numbers for lost in self._block([number], self._graph.nodes[number].id)]

    def stop_group(self, group: str, *, cause: str = "", satisfied: bool = False) -> list[NotRun]:
        """Drop what has not started of a plugin: the dropped ids, then dependents elsewhere that cannot run.

        `cause` (default: the group) is what they are not run because of. `satisfied` is that of `drop`.
        """
        cause = cause or group
        numbers = self._drop(self._groups.get(group, ()))
        dropped = [NotRun(self._graph.nodes[number].id, cause) for number in numbers]
        if satisfied:
            self._satisfy(numbers)
            return dropped
        return dropped + self._block(numbers, cause)

    def halt(self) -> list[str]:
        """Start nothing any more; returns the ids that had not started. What runs may still report."""
        self._halted = True
        return [self._graph.nodes[number].id for number in self._drop(range(len(self._states)))]

    def waiting(self) -> list[Wait]:
        """Why each node waits that cannot start now, in the order given. Takes O(nodes)."""
        waits = (self._wait(number) for number, state in enumerate(self._states) if state in _WAITING)
        return [wait for wait in waits if wait is not None]

    def mutex_waits(self) -> list[Wait]:
        """Those of `waiting` that are for a mutex. Looks at ready nodes only, and only if any can wait so."""
        if not self._mutex_names:
            return []
        waits = (self._wait(number) for number in sorted(self._ready.parked()))
        return [wait for wait in waits if wait is not None and wait.reason is WaitReason.MUTEX]

    def _wait(self, number: int) -> Wait | None:
        id = self._graph.nodes[number].id
        if self._missing[number]:
            return Wait(id, WaitReason.DEPENDENCY, self._unfinished(number))
        if self._states[number] is NodeState.DEFERRED:
            return Wait(id, WaitReason.DEFERRED)
        mutex = self._ready.full_mutex(number)
        if mutex is not None:
            holders = sorted(holder for holder in self._running if mutex in self._taken[holder])
            names = tuple(self._graph.nodes[holder].id for holder in holders)
            return Wait(id, WaitReason.MUTEX, names, self._mutex_names[mutex])
        return Wait(id, WaitReason.JOBS) if len(self._running) >= self._jobs else None

    def _unfinished(self, number: int) -> tuple[str, ...]:
        """What a node waits for; in place of a dropped dependency, what that one waits for."""
        found: dict[str, None] = {}
        seen: set[int] = set()
        stack = [number]
        while stack:
            for need in reversed(self._graph.needs[stack.pop()]):
                if need in seen or self._states[need] is NodeState.DONE:
                    continue
                seen.add(need)
                if self._states[need] is NodeState.DROPPED:
                    stack.append(need)
                else:
                    found[self._graph.nodes[need].id] = None
        return tuple(sorted(found, key=self._number))

    def _number(self, id: str) -> int:
        try:
            return self._graph.index[id]
        except KeyError:
            raise ValueError(f"no step {id!r} in this run") from None

    def _stop(self, id: str, state: NodeState) -> int:
        number = self._number(id)
        if self._states[number] is not NodeState.RUNNING:
            raise ValueError(f"step {id!r} is not running but {self._states[number]}")
        self._states[number] = state
        del self._running[number]
        self._ready.release(number)
        return number

    def _return(self, id: str, state: NodeState) -> None:
        number = self._stop(id, NodeState.DROPPED if self._halted else state)
        if not self._halted:
            self._waiting += 1
            if state is NodeState.PENDING:
                self._ready.add(number)

    def _drop(self, numbers: Iterable[int]) -> list[int]:
        dropped = [number for number in dict.fromkeys(numbers) if self._states[number] in _WAITING]
        for number in dropped:
            self._states[number] = NodeState.DROPPED
        self._waiting -= len(dropped)
        self._ready.discard(dropped)
        return dropped

    def _satisfy(self, numbers: Iterable[int]) -> None:
        for number in [number for number in numbers if not self._missing[number]]:
            self._unlock(number)

    def _unlock(self, number: int) -> None:
        stack = [number]
        while stack:
            for follower in self._graph.successors[stack.pop()]:
                self._missing[follower] -= 1
                if self._missing[follower]:
                    continue
                if self._states[follower] is NodeState.PENDING:
                    self._ready.add(follower)
                elif self._states[follower] is NodeState.DROPPED:
                    stack.append(follower)

    def _block(self, numbers: Sequence[int], cause: str) -> list[NotRun]:
        """End all that depends on these, also through nodes that were dropped before."""
        lost: list[int] = []
        seen = set(numbers)
        stack = list(numbers)
        while stack:
            for follower in self._graph.successors[stack.pop()]:
                if follower in seen:
                    continue
                seen.add(follower)
                if self._states[follower] in _WAITING:
                    self._states[follower] = NodeState.BLOCKED
                    lost.append(follower)
                    stack.append(follower)
                elif self._states[follower] is NodeState.DROPPED:
                    stack.append(follower)
        self._waiting -= len(lost)
        return [NotRun(self._graph.nodes[number].id, cause) for number in sorted(lost)]
