"""What must hold for every graph and every history: the scheduler against a naive model."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from update_all.core.scheduling import Graph, Node, NodeState, Scheduler, WaitReason

MUTEXES = ("m", "n", "o", "network")
WAITING = (NodeState.PENDING, NodeState.DEFERRED)


@st.composite
def node_lists(draw: st.DrawFn, max_size: int = 12) -> list[Node]:
    """Acyclic nodes in shuffled order, some of equal priority."""
    nodes: list[Node] = []
    for place in range(draw(st.integers(0, max_size))):
        ids = [node.id for node in nodes]
        nodes.append(
            Node(
                id=f"s{place}",
                group=draw(st.sampled_from("xyz")),
                depends_on=tuple(draw(st.lists(st.sampled_from(ids), max_size=2))) if ids else (),
                mutexes=tuple(draw(st.lists(st.sampled_from(MUTEXES), max_size=3))),
                seconds=draw(st.sampled_from((0.0, 1.0, 2.0, 5.0))),
            )
        )
    return [replace(node, order=place) for place, node in enumerate(draw(st.permutations(nodes)))]


limit_maps = st.dictionaries(st.sampled_from(MUTEXES), st.integers(1, 3))


class Model:
    """The rules word by word: sets and loops over everything, no cleverness."""

    def __init__(self, nodes: list[Node], jobs: int, limits: dict[str, int]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.jobs = jobs
        self.limits = limits
        self.urgency = Graph(nodes).priority()
        self.state = dict.fromkeys(self.nodes, NodeState.PENDING)
        self.passed: set[str] = set()

    def having(self, *states: NodeState) -> list[str]:
        return [id for id, state in self.state.items() if state in states]

    def satisfied(self, id: str) -> bool:
        """Done, or dropped as if done with all before it satisfied."""
        if self.state[id] is NodeState.DONE:
            return True
        return id in self.passed and all(map(self.satisfied, self.nodes[id].depends_on))

    def holders(self, mutex: str) -> list[str]:
        return [id for id in self.having(NodeState.RUNNING) if mutex in self.nodes[id].mutexes]

    def can_start(self, id: str) -> bool:
        node = self.nodes[id]
        return (
            self.state[id] is NodeState.PENDING
            and all(map(self.satisfied, node.depends_on))
            and all(len(self.holders(mutex)) < self.limits.get(mutex, 1) for mutex in node.mutexes)
            and len(self.having(NodeState.RUNNING)) < self.jobs
        )

    def start(self) -> list[str]:
        started = []
        while able := [id for id in self.nodes if self.can_start(id)]:
            best = min(able, key=lambda id: (-self.urgency[id], self.nodes[id].order))
            self.state[best] = NodeState.RUNNING
            started.append(best)
        return started

    def block(self, causes: list[str]) -> set[str]:
        lost: set[str] = set()
        reached = set(causes)
        while more := {id for id, n in self.nodes.items() if reached & set(n.depends_on)} - reached:
            reached |= more
        for id in reached - set(causes):
            if self.state[id] in WAITING:
                self.state[id] = NodeState.BLOCKED
                lost.add(id)
        return lost


class SchedulerMachine(RuleBasedStateMachine):
    """Any history of reports and requests, each compared with the model."""

    @initialize(nodes=node_lists(), jobs=st.integers(1, 4), limits=limit_maps)
    def begin(self, nodes: list[Node], jobs: int, limits: dict[str, int]) -> None:
        self.model = Model(nodes, jobs, limits)
        self.run = Scheduler(Graph(nodes), jobs, limits)
        self.halted = False
        self.started: set[str] = set()

    def pick(self, data: st.DataObject, *states: NodeState) -> str | None:
        ids = self.model.having(*states)
        return data.draw(st.sampled_from(ids)) if ids else None

    @rule()
    def start(self) -> None:
        started = self.run.start_ready()
        assert started == self.model.start()
        self.started |= set(started)

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if id := self.pick(data, NodeState.RUNNING):
            self.run.finish(id)
            self.model.state[id] = NodeState.DONE

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        if id := self.pick(data, NodeState.RUNNING):
            self.model.state[id] = NodeState.FAILED
            lost = self.run.fail(id)
            assert {name for name, _ in lost} == self.model.block([id])
            assert {cause for _, cause in lost} <= {id}

    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        if id := self.pick(data, NodeState.RUNNING):
            self.run.requeue(id)
            self.model.state[id] = NodeState.DROPPED if self.halted else NodeState.PENDING
            self.started.discard(id)

    @rule(data=st.data())
    def defer(self, data: st.DataObject) -> None:
        if id := self.pick(data, NodeState.RUNNING, NodeState.PENDING):
            self.run.defer(id)
            self.model.state[id] = NodeState.DROPPED if self.halted else NodeState.DEFERRED
            self.started.discard(id)

    @rule(data=st.data())
    def undefer(self, data: st.DataObject) -> None:
        if id := self.pick(data, NodeState.DEFERRED):
            self.run.undefer(id)
            self.model.state[id] = NodeState.PENDING

    @rule(data=st.data(), satisfied=st.booleans())
    def drop(self, data: st.DataObject, satisfied: bool) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.model.nodes) or [""]), max_size=2, unique=True))
        lost = self.run.drop(filter(None, ids), satisfied=satisfied)
        assert {id for id, _ in lost} == self.dropped([id for id in ids if id], satisfied)

    @rule(group=st.sampled_from("xyz"), satisfied=st.booleans())
    def stop_group(self, group: str, satisfied: bool) -> None:
        ids = [id for id, node in self.model.nodes.items() if node.group == group]
        own = [id for id in ids if self.model.state[id] in WAITING]
        lost = self.run.stop_group(group, satisfied=satisfied)
        assert [id for id, _ in lost][: len(own)] == own
        assert {id for id, _ in lost[len(own) :]} == self.dropped(ids, satisfied)

    def dropped(self, ids: list[str], satisfied: bool) -> set[str]:
        ids = [id for id in ids if self.model.state[id] in WAITING]
        for id in ids:
            self.model.state[id] = NodeState.DROPPED
        if satisfied:
            self.model.passed |= set(ids)
            return set()
        return self.model.block(ids)

    @rule(values=st.lists(st.floats(0, 9), max_size=12))
    def replan(self, values: list[float]) -> None:
        self.model.urgency = dict.fromkeys(self.model.nodes, 0.0) | dict(
            zip(self.model.nodes, values, strict=False)
        )
        self.run.replan(self.model.urgency)

    @precondition(lambda self: not self.halted)
    @rule(chance=st.integers(0, 9))
    def halt(self, chance: int) -> None:
        if chance == 0:
            assert self.run.halt() == self.model.having(*WAITING)
            self.halted = True
            for id in self.model.having(*WAITING):
                self.model.state[id] = NodeState.DROPPED

    @invariant()
    def states_agree(self) -> None:
        assert {id: self.run.state(id) for id in self.model.nodes} == self.model.state
        assert set(self.run.running) == set(self.model.having(NodeState.RUNNING))
        assert self.run.done == set(self.model.having(NodeState.DONE))
        assert self.run.pending == self.model.having(*WAITING)
        assert self.run.is_finished == (not self.model.having(NodeState.RUNNING, *WAITING))

    @invariant()
    def limits_hold(self) -> None:
        assert len(self.run.running) <= self.model.jobs
        for mutex in MUTEXES:
            assert len(self.model.holders(mutex)) <= self.model.limits.get(mutex, 1)

    @invariant()
    def what_failed_reaches_nobody_who_started(self) -> None:
        for id in self.started:
            assert all(map(self.model.satisfied, self.model.nodes[id].depends_on))

    @invariant()
    def each_wait_is_true_and_complete(self) -> None:
        waits = {wait.id: wait for wait in self.run.waiting()}
        for_mutexes = [wait for wait in waits.values() if wait.reason is WaitReason.MUTEX]
        assert self.run.mutex_waits() == for_mutexes
        able = {id for id in self.model.nodes if self.model.can_start(id)}
        assert waits.keys() | able == set(self.model.having(*WAITING))
        assert not waits.keys() & able
        for wait in waits.values():
            if wait.reason is WaitReason.MUTEX:
                assert sorted(wait.on) == sorted(self.model.holders(wait.mutex))
                assert len(wait.on) == self.model.limits.get(wait.mutex, 1)
                assert wait.mutex in self.model.nodes[wait.id].mutexes
            elif wait.reason is WaitReason.DEPENDENCY:
                assert wait.on
                assert not any(map(self.model.satisfied, wait.on))
                assert all(self.model.state[id] in (*WAITING, NodeState.RUNNING) for id in wait.on)

    def teardown(self) -> None:
        """From wherever the history stopped, the run comes to its end: no deadlock, nobody forgotten."""
        if not hasattr(self, "run"):
            return
        for id in self.model.having(NodeState.DEFERRED):
            self.run.undefer(id)
        while not self.run.is_finished:
            self.run.start_ready()
            assert self.run.running
            self.run.finish(self.run.running[0])


SchedulerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestScheduler = SchedulerMachine.TestCase


@given(node_lists(), st.integers(1, 4), limit_maps, st.data())
def test_every_node_runs_exactly_once_whatever_the_order_of_ends(
    nodes: list[Node], jobs: int, limits: dict[str, int], data: st.DataObject
) -> None:
    run = Scheduler(Graph(nodes), jobs, limits)
    started: list[str] = []
    while not run.is_finished:
        started += run.start_ready()
        run.finish(data.draw(st.sampled_from(run.running)))

    assert sorted(started) == sorted(node.id for node in nodes)
    place = {id: number for number, id in enumerate(started)}
    assert all(place[need] < place[node.id] for node in nodes for need in node.depends_on)
    assert run.start_ready() == []


@given(node_lists(), st.integers(1, 4), limit_maps)
def test_the_same_inputs_give_the_same_schedule(nodes: list[Node], jobs: int, limits: dict[str, int]) -> None:
    def schedule() -> list[list[str]]:
        run = Scheduler(Graph(nodes), jobs, dict(reversed(limits.items())))
        rounds = []
        while not run.is_finished:
            rounds.append(run.start_ready())
            run.finish(run.running[0])
        return rounds

    assert schedule() == schedule()
