"""Dependency resolution: the plan's table DEP-001 … DEP-005."""

from __future__ import annotations

import pytest

from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.order import resolve_step_order


def step(name: str, *depends_on: str) -> UpdateStep:
    return UpdateStep(name, f"Step {name}", commands=[UpdateCommand(["true"])], depends_on=list(depends_on))


def ordered(*steps: UpdateStep) -> list[str]:
    return [item.name for item in resolve_step_order(steps)]


def test_linear_dependencies() -> None:
    """DEP-001: a chain runs from its beginning, however it is declared."""
    chain = step("install", "extract"), step("extract", "download"), step("download")

    assert ordered(*chain) == ["download", "extract", "install"]
    assert ordered(*reversed(chain)) == ["download", "extract", "install"]


def test_diamond_dependencies() -> None:
    """DEP-002: both sides come after the top and before the bottom, in declared order."""
    bottom, left, right, top = step("d", "b", "c"), step("b", "a"), step("c", "a"), step("a")

    assert ordered(bottom, left, right, top) == ["a", "b", "c", "d"]
    assert ordered(bottom, right, left, top) == ["a", "c", "b", "d"]


def test_circular_dependency_detection() -> None:
    """DEP-003: a cycle is an error that shows it as a path."""
    with pytest.raises(ValueError, match="Circular dependency: a → c → b → a"):
        ordered(step("a", "c"), step("b", "a"), step("c", "b"))


def test_missing_dependency_detection() -> None:
    """DEP-004: an unknown dependency is an error that names step and dependency."""
    with pytest.raises(ValueError, match="Unknown dependency: step 'install' depends on 'fetch'"):
        ordered(step("download"), step("install", "fetch"))


def test_no_dependencies() -> None:
    """DEP-005: steps without dependencies keep their declared order."""
    assert ordered(step("c"), step("a"), step("b")) == ["c", "a", "b"]
    assert ordered() == []
