"""The plan of a run and the graph that the scheduler sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from update_all.core.models import CheckResult, Phase, UpdateCommand, UpdateStep
from update_all.core.planning import (
    DEFAULT_STEP_SECONDS,
    PluginPlan,
    announce,
    build_graph,
    plan_plugin,
    remaining_steps,
)
from update_all.plugins.base import BasePlugin

Plan = Callable[..., PluginPlan]


def step(name: str, *depends_on: str, phase: Phase | None = None, **fields: Any) -> UpdateStep:
    command = UpdateCommand(["echo", name])
    return UpdateStep(name, f"Step {name}", [command], depends_on=list(depends_on), phase=phase, **fields)


@pytest.fixture
def plan(plugin_of: Callable[..., BasePlugin]) -> Plan:
    def made(
        name: str, *steps: UpdateStep, parallel: bool = False, after: tuple[str, ...] = ()
    ) -> PluginPlan:
        return plan_plugin(plugin_of(steps, name=name, parallel=parallel, dependencies=after), steps)

    return made


def edges(plans: list[PluginPlan], **options: Any) -> dict[str, tuple[str, ...]]:
    return {node.id: node.depends_on for node in build_graph(plans, **options).nodes}


def test_a_plan_is_ordered_and_knows_its_steps(plan: Plan) -> None:
    made = plan("go", step("install", "fetch"), step("fetch"))
    assert [item.name for item in made.steps] == ["fetch", "install"]
    assert made.name == "go"
    assert made.step("install").depends_on == ["fetch"]
    assert set(made.step_fingerprints) == {"fetch", "install"}
    with pytest.raises(KeyError):
        made.step("nothing")


@pytest.mark.parametrize(
    "steps",
    [
        (step("a", "b"), step("b", "a")),
        (step("a", "nowhere"),),
        (step("a"), step("a")),
        (step("a", "a"),),
    ],
)
def test_steps_that_cannot_be_ordered_are_a_value_error(plan: Plan, steps: tuple[UpdateStep, ...]) -> None:
    with pytest.raises(ValueError, match="a"):
        plan("go", *steps)


def test_the_fingerprint_of_a_plan_is_that_of_its_steps(plan: Plan) -> None:
    assert plan("go", step("a"), step("b")).fingerprint == plan("go", step("b"), step("a")).fingerprint
    assert plan("go", step("a")).fingerprint != plan("go", step("b")).fingerprint


def test_steps_of_a_plugin_follow_each_other_unless_it_says_otherwise(plan: Plan) -> None:
    steps = step("a"), step("b"), step("c", "a")
    assert edges([plan("p", *steps)]) == {"p:a": (), "p:b": ("p:a",), "p:c": ("p:a", "p:b")}
    assert edges([plan("p", *steps, parallel=True)]) == {"p:a": (), "p:b": (), "p:c": ("p:a",)}


def test_a_plugin_waits_for_those_that_it_depends_on(plan: Plan) -> None:
    first = plan("first", step("a"), step("b"))
    second = plan("second", step("c"), step("d"), after=("first", "not-in-this-run"))
    found = edges([second, first])
    assert found["second:c"] == ("first:a", "first:b")
    assert found["second:d"] == ("second:c",)


def test_a_plugin_with_nothing_to_do_hands_on_what_it_waits_for(plan: Plan) -> None:
    plans = [
        plan("a", step("one")),
        plan("b", step("two"), after=("a",)),
        plan("c", step("three"), after=("b",)),
    ]
    assert edges(plans, done={"b": {"two"}})["c:three"] == ("a:one",)


def test_plugins_that_wait_for_each_other_are_a_value_error(plan: Plan) -> None:
    plans = [plan("a", step("x"), after=("b",)), plan("b", step("y"), after=("a",))]
    with pytest.raises(ValueError, match="Circular dependency: a → b → a"):
        build_graph(plans)


def test_done_steps_and_later_phases_are_left_out(plan: Plan) -> None:
    made = plan(
        "go",
        step("check", phase=Phase.CHECK),
        step("fetch", "check", phase=Phase.DOWNLOAD),
        step("install", "fetch"),
        step("docs", "install", phase=Phase.DOWNLOAD),
        step("more", "check", phase=Phase.DOWNLOAD),
    )

    def left(done: set[str], last: Phase) -> list[str]:
        return [item.name for item in remaining_steps(made, done, last)]

    assert left(set(), Phase.EXECUTE) == ["check", "fetch", "install", "docs", "more"]
    assert left({"check"}, Phase.EXECUTE) == ["fetch", "install", "docs", "more"]
    assert left(set(), Phase.CHECK) == ["check"]
    assert left(set(), Phase.DOWNLOAD) == ["check", "fetch", "more"], "docs needs what is not run"
    assert left({"check", "fetch", "install"}, Phase.DOWNLOAD) == ["docs", "more"]


def test_expected_seconds_and_mutexes_reach_the_graph(plan: Plan) -> None:
    made = plan("go", step("a", mutexes=["dpkg", "dpkg", "network"]), step("b"))
    first, second = build_graph([made], seconds={("go", "a"): 3.5}).nodes
    assert (first.seconds, first.mutexes) == (3.5, ("dpkg", "network"))
    assert second.seconds == DEFAULT_STEP_SECONDS
    assert (first.group, first.order, second.order) == ("go", 0, 1)


def test_the_plan_is_announced_as_it_will_run(plan: Plan) -> None:
    made = plan("go", step("b", "a", sudo=True, mutexes=["m"]), step("a"), after=("apt",))
    [announced] = announce([made], done={"go": {"a"}}, seconds={("go", "b"): 2.0})
    assert (announced.name, announced.dependencies) == ("go", ("apt",))
    assert [(item.name, item.done, item.sudo) for item in announced.steps] == [
        ("a", True, False),
        ("b", False, True),
    ]
    assert announced.steps[1].expected_seconds == 2.0
    assert announced.steps[1].depends_on == ("a",)
    assert announced.steps[1].mutexes == ("m",)


def test_what_a_check_found_is_kept_with_the_plan(plugin_of: Callable[..., BasePlugin]) -> None:
    check = CheckResult.of([])
    made = plan_plugin(plugin_of([]), [step("a")], check=check, versions_before={"x": "1"})
    assert made.check is check
    assert made.versions_before == {"x": "1"}


@st.composite
def shapes(draw: st.DrawFn) -> list[tuple[list[list[int]], bool, list[int], set[int]]]:
    """Per plugin: the dependencies of its steps, parallel or not, plugins before it, steps that are done."""
    plugins = []
    for number in range(draw(st.integers(1, 4))):
        size = draw(st.integers(0, 4))
        needs = [draw(st.lists(st.integers(0, at - 1), unique=True)) if at else [] for at in range(size)]
        before = draw(st.lists(st.integers(0, number - 1), unique=True)) if number else []
        done: set[int] = set()
        for at in range(size):
            if set(needs[at]) <= done and draw(st.booleans()):
                done.add(at)
        plugins.append((needs, draw(st.booleans()), before, done))
    return plugins


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes())
def test_whatever_the_plans_nothing_starts_before_what_it_needs(
    plan: Plan, shape: list[tuple[list[list[int]], bool, list[int], set[int]]]
) -> None:
    plans = [
        plan(
            f"p{number}",
            *(step(f"s{at}", *(f"s{need}" for need in needs)) for at, needs in enumerate(steps)),
            parallel=parallel,
            after=tuple(f"p{other}" for other in before),
        )
        for number, (steps, parallel, before, _) in enumerate(shape)
    ]
    done = {f"p{number}": {f"s{at}" for at in item[3]} for number, item in enumerate(shape)}
    found = edges(plans, done=done)
    assert len(found) == sum(len(item[0]) - len(item[3]) for item in shape)

    def all_before(node: str) -> Iterator[str]:
        for need in found[node]:
            yield need
            yield from all_before(need)

    def transitive(number: int) -> set[int]:
        direct = set(shape[number][2])
        return direct.union(*(transitive(other) for other in direct))

    for node in found:
        plugin, name = node.split(":")
        needs, parallel, _, _ = shape[int(plugin[1:])]
        before = set(all_before(node))
        for need in needs[int(name[1:])]:
            assert f"{plugin}:s{need}" in before or f"s{need}" in done[plugin]
        for other in transitive(int(plugin[1:])):
            assert {item for item in found if item.startswith(f"p{other}:")} <= before
        if not parallel:
            assert {item for item in found if item.startswith(f"{plugin}:") and item < node} <= before
