"""Order of steps and plugins."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.errors import InvalidDefinitionError, StepOrderError
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.order import resolve_step_order, topological_order

if TYPE_CHECKING:
    from types import FrameType

    from _typeshed import TraceFunction


def step(name: str, *depends_on: str) -> UpdateStep:
    return UpdateStep(name, f"Step {name}", commands=[UpdateCommand(["true"])], depends_on=list(depends_on))


@st.composite
def acyclic(draw: st.DrawFn) -> tuple[list[str], dict[str, list[str]]]:
    """Names in a shuffled declared order, and dependencies along a hidden order."""
    hidden = [f"n{number}" for number in range(draw(st.integers(0, 12)))]
    depends_on = {
        name: draw(st.lists(st.sampled_from(hidden[:place]), max_size=4)) if place else []
        for place, name in enumerate(hidden)
    }
    return draw(st.permutations(hidden)), depends_on


def first_ready_order(names: list[str], depends_on: dict[str, list[str]]) -> list[str]:
    """The definition, word by word: again and again the first declared name that is ready."""
    order: list[str] = []
    while len(order) < len(names):
        order.append(next(n for n in names if n not in order and set(depends_on[n]) <= set(order)))
    return order


@given(acyclic())
def test_order_is_the_first_declared_ready_name_each_time(
    case: tuple[list[str], dict[str, list[str]]],
) -> None:
    names, depends_on = case

    assert topological_order(names, depends_on) == first_ready_order(names, depends_on)


@given(acyclic(), st.data())
def test_any_cycle_is_shown_as_a_path_of_real_dependencies(
    case: tuple[list[str], dict[str, list[str]]], data: st.DataObject
) -> None:
    names, depends_on = case
    if not names:
        return
    ring = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    for name, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        depends_on[name].append(following)

    with pytest.raises(StepOrderError, match="Circular dependency") as raised:
        topological_order(names, depends_on)

    path = raised.value.message.removeprefix("Circular dependency: ").split(";")[0].split(" → ")
    assert path[0] == path[-1]
    assert len(set(path)) == len(path) - 1
    assert all(following in depends_on[name] for name, following in itertools.pairwise(path))


def test_steps_come_back_as_the_same_objects_in_stable_order() -> None:
    steps = [step("clean", "install"), step("install", "download"), step("notes"), step("download")]

    ordered = resolve_step_order(steps)

    assert [item.name for item in ordered] == ["notes", "download", "install", "clean"]
    assert {id(item) for item in ordered} == {id(item) for item in steps}


def test_unknown_dependency_names_both_and_the_nearest_name() -> None:
    with pytest.raises(StepOrderError, match="Unknown dependency") as raised:
        resolve_step_order([step("download"), step("install", "downlaod")])

    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, InvalidDefinitionError)
    assert "'install'" in raised.value.message
    assert "'downlaod'" in raised.value.message
    assert "'download'" in raised.value.hint
    assert raised.value.exit_code == 2


def test_unknown_dependency_like_nothing_else_still_has_a_hint() -> None:
    with pytest.raises(StepOrderError) as raised:
        resolve_step_order([step("download", "zzz")])

    assert "'zzz'" in raised.value.hint


def test_cycle_is_a_path_that_begins_with_the_first_declared() -> None:
    with pytest.raises(StepOrderError) as raised:
        resolve_step_order([step("before"), step("a", "b", "before"), step("b", "c"), step("c", "a")])

    assert "a → b → c → a" in raised.value.message
    assert "before" not in raised.value.message


def test_self_dependency_is_refused_by_name() -> None:
    with pytest.raises(StepOrderError, match="depends on itself") as raised:
        resolve_step_order([step("a"), step("b", "b")])

    assert "Circular dependency: b → b" in raised.value.message


def test_duplicate_name_is_refused_with_both_places() -> None:
    with pytest.raises(StepOrderError, match="Duplicate step name: 'a'") as raised:
        resolve_step_order([step("a"), step("b"), step("a")])

    assert "number 1 and 3" in raised.value.message


def test_a_dependency_named_twice_counts_once() -> None:
    assert [item.name for item in resolve_step_order([step("b", "a", "a"), step("a")])] == ["a", "b"]


def test_messages_use_the_word_of_the_caller() -> None:
    with pytest.raises(StepOrderError, match="plugin 'npm' depends on 'node'"):
        topological_order(["npm", "apt"], {"npm": ["node"]}, what="plugin")


def test_names_without_an_entry_depend_on_nothing() -> None:
    assert topological_order(["b", "a"], {}) == ["b", "a"]


class Name(str):
    """A name that can be seen being compared and looked up."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


@pytest.mark.parametrize("shape", ["chain", "reversed chain", "independent", "star"])
def test_cost_grows_nearly_linearly(shape: str) -> None:
    """Counted in lines that run, comparisons and look-ups among them: a clock would count the machine."""

    def lines(count: int) -> int:
        names = [Name(number) for number in range(count)]
        chain = {name: [before] for before, name in itertools.pairwise(names)}
        depends_on = {"chain": chain, "reversed chain": chain, "star": dict.fromkeys(names[1:], names[:1])}
        if shape == "reversed chain":
            names.reverse()
        seen = 0

        def trace(_frame: FrameType, event: str, _argument: object) -> TraceFunction:
            nonlocal seen
            seen += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            topological_order(names, depends_on)
        finally:
            sys.settrace(before)
        return seen

    assert lines(4_000) < 11 * lines(400)
