"""The scheduler, one behaviour at a time; test_scheduling_properties.py has the invariants."""

from __future__ import annotations

import math
import time

import pytest

from update_all.core.errors import StepOrderError
from update_all.core.scheduling import Graph, Node, NodeState, NotRun, Scheduler, Wait, WaitReason


def node(
    id: str, *depends_on: str, mutexes: tuple[str, ...] = (), group: str = "g", seconds: float = 1.0
) -> Node:
    return Node(id, group, depends_on, mutexes, seconds)


def scheduler(*nodes: Node, jobs: int = 8, limits: dict[str, int] | None = None) -> Scheduler:
    return Scheduler(Graph(nodes), jobs, limits)


def drain(run: Scheduler) -> list[str]:
    """Finish what runs, oldest first, to the end; the ids in the order of their starts."""
    started: list[str] = []
    while True:
        started += run.start_ready()
        if not run.running:
            return started
        run.finish(run.running[0])


def test_unknown_dependency_and_cycle_are_refused_by_name() -> None:
    with pytest.raises(StepOrderError, match="Unknown dependency: step 'b' depends on 'x'"):
        Graph([node("b", "x")])
    with pytest.raises(StepOrderError, match="Circular dependency: a → b → a"):
        Graph([node("a", "b"), node("b", "a")])


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_impossible_seconds_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="'a'"):
        Graph([node("a", seconds=seconds)])


def test_jobs_and_limits_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="jobs"):
        scheduler(node("a"), jobs=0)
    with pytest.raises(ValueError, match="network = 0"):
        scheduler(node("a"), limits={"network": 0})


def test_priority_is_the_longest_remaining_path() -> None:
    graph = Graph([node("a", seconds=1), node("b", "a", seconds=5), node("c", "a", seconds=2), node("d")])

    assert graph.priority() == {"a": 6, "b": 5, "c": 2, "d": 1}


def test_longest_remaining_path_starts_first_and_order_breaks_ties() -> None:
    late, early = Node("late", "g", order=2), Node("early", "g", order=1)

    run = scheduler(late, early, node("head"), node("tail", "head", seconds=9), jobs=1)

    assert drain(run) == ["head", "tail", "early", "late"]


def test_a_given_priority_overrules_and_can_be_replaced() -> None:
    run = Scheduler(Graph([node("a"), node("b"), node("c")]), 1, {}, {"a": 1, "b": 3, "c": 2})
    assert run.start_ready() == ["b"]

    run.replan({"a": 5})
    run.finish("b")

    assert drain(run) == ["a", "c"]


def test_all_mutexes_are_taken_at_once_or_none() -> None:
    run = scheduler(
        node("both", mutexes=("m", "n"), seconds=9), node("m", mutexes=("m",)), node("n", mutexes=("n",))
    )
    assert run.start_ready() == ["both"]
    run.finish("both")
    assert run.start_ready() == ["m", "n"]


def test_what_waits_for_two_mutexes_holds_neither() -> None:
    run = scheduler(node("m", mutexes=("m",), seconds=9), node("both", mutexes=("m", "n")))
    assert run.start_ready() == ["m"]
    run = scheduler(
        node("m", mutexes=("m",), seconds=9),
        node("both", mutexes=("m", "n"), seconds=5),
        node("n", mutexes=("n",)),
    )
    assert run.start_ready() == ["m", "n"]


def test_capacity_is_one_unless_limits_say_more() -> None:
    nodes = [node(name, mutexes=("network",)) for name in "abc"]

    assert scheduler(*nodes).start_ready() == ["a"]
    assert scheduler(*nodes, limits={"network": 2}).start_ready() == ["a", "b"]


def test_a_mutex_named_twice_is_taken_once() -> None:
    run = scheduler(node("a", mutexes=("m", "m")), node("b", mutexes=("m",)), limits={"m": 2})

    assert run.start_ready() == ["a", "b"]


def test_a_dropped_waiter_does_not_hold_up_those_behind_it() -> None:
    run = scheduler(
        node("holder", mutexes=("m",), seconds=9),
        node("dropped", mutexes=("m",), seconds=8),
        node("next", mutexes=("m", "n"), seconds=7),
        node("last", "next", mutexes=("n",)),
    )
    assert run.start_ready() == ["holder"]

    run.drop(["dropped"], satisfied=True)
    run.finish("holder")

    assert run.start_ready() == ["next"]


def test_no_waves_a_successor_starts_the_moment_it_can() -> None:
    run = scheduler(node("slow"), node("quick"), node("next", "quick"))
    run.start_ready()

    run.finish("quick")

    assert run.start_ready() == ["next"]
    assert run.running == ("slow", "next")
    assert run.done == {"quick"}


def test_failure_blocks_all_that_depends_on_it_and_names_the_cause() -> None:
    run = scheduler(node("a"), node("b", "a"), node("c", "b", "x"), node("x"), node("y", "x"))
    run.start_ready()

    assert run.fail("a") == [NotRun("b", "a"), NotRun("c", "a")]

    assert run.state("c") is NodeState.BLOCKED
    run.finish("x")
    assert run.start_ready() == ["y"]


def test_a_node_blocked_once_is_not_reported_again() -> None:
    run = scheduler(node("a"), node("b"), node("c", "a", "b"))
    run.start_ready()

    assert run.fail("b") == [("c", "b")]
    assert run.fail("a") == []
    assert run.is_finished


def test_dropped_as_satisfied_counts_as_done() -> None:
    run = scheduler(node("a"), node("b", "a"), node("c", "b"))

    assert run.drop(["a", "b"], satisfied=True) == []

    assert run.state("b") is NodeState.DROPPED
    assert run.start_ready() == ["c"]


def test_dropping_the_middle_keeps_the_order_of_the_ends() -> None:
    run = scheduler(node("a"), node("b", "a"), node("c", "b"))
    run.drop(["b"], satisfied=True)

    assert run.start_ready() == ["a"]
    assert run.waiting() == [Wait("c", WaitReason.DEPENDENCY, ("a",))]
    run.finish("a")
    assert run.start_ready() == ["c"]


def test_a_failure_reaches_through_a_dropped_middle() -> None:
    run = scheduler(node("a"), node("b", "a"), node("c", "b"))
    run.drop(["b"], satisfied=True)
    run.start_ready()

    assert run.fail("a") == [("c", "a")]
    assert run.is_finished


def test_dropped_without_being_satisfied_blocks_dependents() -> None:
    run = scheduler(node("a"), node("b", "a"), node("c", "b"), node("d"))

    assert run.drop(["a", "b"], satisfied=False) == [("c", "a")]

    assert run.start_ready() == ["d"]


def test_drop_leaves_alone_what_has_started() -> None:
    run = scheduler(node("a"), node("b", "a"))
    run.start_ready()

    assert run.drop(["a"], satisfied=False) == []
    assert run.running == ("a",)


def test_stop_group_drops_its_pending_and_blocks_dependents_elsewhere() -> None:
    apt = [node("apt/1", group="apt"), node("apt/2", group="apt"), node("apt/3", "apt/2", group="apt")]
    run = scheduler(*apt, node("npm/1", "apt/3", group="npm"), node("pip/1", group="pip"), jobs=2)
    assert run.start_ready() == ["apt/2", "apt/1"]

    assert run.fail("apt/1") == []
    assert run.stop_group("apt", cause="apt/1") == [("apt/3", "apt/1"), ("npm/1", "apt/1")]

    assert run.running == ("apt/2",)
    assert run.start_ready() == ["pip/1"]


def test_stop_group_that_is_up_to_date_releases_dependents_when_its_siblings_end() -> None:
    run = scheduler(
        node("apt/1", group="apt"),
        node("apt/2", group="apt"),
        node("apt/3", "apt/2", group="apt"),
        node("npm/1", "apt/3", group="npm"),
    )
    run.start_ready()
    run.finish("apt/1")

    assert run.stop_group("apt", satisfied=True) == [("apt/3", "apt")]

    assert run.start_ready() == []
    run.finish("apt/2")
    assert run.start_ready() == ["npm/1"]


def test_halt_starts_nothing_more_and_names_what_was_pending() -> None:
    run = scheduler(node("a"), node("b"), node("c", "a"), jobs=1)
    run.start_ready()

    assert run.halt() == ["b", "c"]

    assert run.pending == []
    assert not run.is_finished
    run.requeue("a")
    assert run.start_ready() == []
    assert run.state("a") is NodeState.DROPPED
    assert run.is_finished


def test_requeue_gives_mutexes_back_and_starts_again() -> None:
    run = scheduler(node("a", mutexes=("m",), seconds=2), node("b", mutexes=("m",)))
    assert run.start_ready() == ["a"]
    run.requeue("a")
    assert run.pending == ["a", "b"]
    assert drain(run) == ["a", "b"]


def test_a_deferred_node_lets_others_pass_until_it_is_undeferred() -> None:
    run = scheduler(node("a", mutexes=("m",), seconds=2), node("b", mutexes=("m",)))
    run.start_ready()

    run.defer("a")

    assert run.start_ready() == ["b"]
    assert run.waiting() == [Wait("a", WaitReason.DEFERRED)]
    run.finish("b")
    assert run.start_ready() == []
    assert not run.is_finished
    run.undefer("a")
    assert run.start_ready() == ["a"]


def test_a_node_may_be_deferred_before_it_can_start() -> None:
    run = scheduler(node("a"), node("b", "a"), node("c"))
    run.defer("b")
    run.defer("c")
    assert run.start_ready() == ["a"]
    run.undefer("b")
    run.finish("a")
    assert run.start_ready() == ["b"]


def test_undefer_of_a_node_that_was_dropped_meanwhile_does_nothing() -> None:
    run = scheduler(node("a"))
    run.defer("a")
    run.drop(["a"], satisfied=True)

    run.undefer("a")

    assert run.start_ready() == []
    assert run.is_finished


def test_waiting_names_dependencies_mutex_holders_and_the_jobs_limit() -> None:
    run = scheduler(
        node("holder", mutexes=("dpkg",), seconds=9),
        node("waiter", mutexes=("dpkg",)),
        node("later", "waiter", "holder"),
        node("other", seconds=8),
        node("extra"),
        jobs=2,
    )
    run.start_ready()

    assert run.waiting() == [
        Wait("waiter", WaitReason.MUTEX, ("holder",), "dpkg"),
        Wait("later", WaitReason.DEPENDENCY, ("holder", "waiter")),
        Wait("extra", WaitReason.JOBS),
    ]


def test_waiting_leaves_out_what_can_start_now() -> None:
    assert scheduler(node("a"), node("b", "a")).waiting() == [Wait("b", WaitReason.DEPENDENCY, ("a",))]


def test_reports_about_what_does_not_run_are_refused() -> None:
    run = scheduler(node("a"), node("b", "a"))
    for report in (run.finish, run.fail, run.requeue):
        with pytest.raises(ValueError, match="'b' is not running but pending"):
            report("b")
    with pytest.raises(ValueError, match="no step 'x'"):
        run.finish("x")


def test_an_empty_graph_is_finished() -> None:
    run = scheduler()

    assert run.start_ready() == []
    assert run.is_finished


def mixed(count: int, shape: str) -> list[Node]:
    """Graphs of any size whose waiting nodes are many."""
    mutexes: dict[str, tuple[tuple[str, ...], ...]] = {
        "one mutex": (("m",),),
        "two sets": (("network",), ("network", "m")),
        "many sets": tuple(("network", f"m{number // 2}") for number in range(count)),
    }
    sets = mutexes.get(shape, ((),))
    chain = shape == "chain"
    return [
        Node(str(i), "g", (str(i - 1),) if chain and i else (), sets[i % len(sets)], 1.0 + i % 7, i)
        for i in range(count)
    ]


@pytest.mark.parametrize("shape", ["independent", "chain", "one mutex", "two sets", "many sets"])
def test_a_decision_costs_hardly_more_when_ten_times_as_many_wait(shape: str) -> None:
    def seconds(count: int) -> float:
        run = Scheduler(Graph(mixed(count, shape)), 8, {"network": 2})
        begin = time.process_time()
        assert len(drain(run)) == count
        return time.process_time() - begin

    few = min(seconds(1_000) for _ in range(5))
    many = min(seconds(10_000) for _ in range(3))

    assert many < 40 * few


def test_what_has_no_priority_is_as_urgent_as_zero() -> None:
    graph = Graph([node("a"), node("b"), node("c")])
    assert graph.ranked({"b": 0.5, "c": -0.5}) == [1, 0, 2]
