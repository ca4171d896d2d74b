"""Dependency order of steps and plugins (system.md section 2, "Order")."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from update_all.core.errors import StepOrderError

if TYPE_CHECKING:
    from update_all.core.models import UpdateStep


def resolve_step_order(steps: Sequence[UpdateStep]) -> list[UpdateStep]:
    """The steps of one plugin so that each comes after what it depends on, declared order among equals.

    Raises StepOrderError (a ValueError) as `topological_order` does.
    """
    order = topological_order([step.name for step in steps], {step.name: step.depends_on for step in steps})
    by_name = {step.name: step for step in steps}
    return [by_name[name] for name in order]


def topological_order(
    names: Sequence[str], depends_on: Mapping[str, Iterable[str]], what: str = "step"
) -> list[str]:
    """The names in dependency order; of those that are ready, the one declared first comes first.

    `depends_on` maps a name to what it depends on; a name that is missing there depends on nothing. `what`
    is the word for one name in messages. Takes O((names + dependencies) log names).

    Raises StepOrderError for a duplicate name, an unknown dependency, and a cycle, shown as a path.
    """
    position = _positions(names, what)
    needed = [_needed(name, depends_on.get(name, ()), position, what) for name in names]
    followers: list[list[int]] = [[] for _ in names]
    for index, dependencies in enumerate(needed):
        for dependency in dependencies:
            followers[dependency].append(index)
    missing = [len(dependencies) for dependencies in needed]
    ready = [index for index, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for follower in followers[index]:
            missing[follower] -= 1
            if missing[follower] == 0:
                heapq.heappush(ready, follower)
    if len(order) < len(names):
        raise _cycle_error([names[index] for index in _cycle(needed, missing)], what)
    return [names[index] for index in order]


def _positions(names: Sequence[str], what: str) -> dict[str, int]:
    position: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in position:
            raise StepOrderError(
                f"Duplicate {what} name: {name!r} is declared as number {position[name] + 1} and {index + 1}",
                hint=f"give each {what} a name of its own",
            )
        position[name] = index
    return position


def _needed(name: str, dependencies: Iterable[str], position: Mapping[str, int], what: str) -> list[int]:
    unique = list(dict.fromkeys(dependencies))
    for dependency in unique:
        if dependency == name:
            raise _cycle_error([name], what)
        if dependency not in position:
            raise StepOrderError(
                f"Unknown dependency: {what} {name!r} depends on {dependency!r}, which does not exist",
                hint=_nearest(dependency, [other for other in position if other != name], what),
            )
    return [position[dependency] for dependency in unique]


def _nearest(wanted: str, names: Sequence[str], what: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(wanted, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"declare a {what} {wanted!r}, or remove the dependency"


def _cycle(needed: Sequence[Sequence[int]], missing: Sequence[int]) -> list[int]:
    """One cycle among the names that could not be ordered, beginning with the one declared first.

    Each of those depends on another of them, so following dependencies must come back.
    """
    index = next(index for index, count in enumerate(missing) if count)
    seen: dict[int, int] = {}
    path: list[int] = []
    while index not in seen:
        seen[index] = len(path)
        path.append(index)
        index = next(dependency for dependency in needed[index] if missing[dependency])
    cycle = path[seen[index] :]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def _cycle_error(cycle: Sequence[str], what: str) -> StepOrderError:
    path = " → ".join([*cycle, cycle[0]])
    story = "depends on itself" if len(cycle) == 1 else "depends on the next, so none can be first"
    each = f"{what} {cycle[0]!r}" if len(cycle) == 1 else f"each {what}"
    return StepOrderError(
        f"Circular dependency: {path}; {each} {story}",
        hint=f"remove one of these dependencies from {', '.join(map(repr, cycle))}",
    )
