"""Fingerprints: what makes a plan another plan."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.fingerprint import PlanDifference, compare, plan_fingerprint, step_fingerprint
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.streaming import OutputEvent, StreamEvent

COMMAND = UpdateCommand(["apt-get", "upgrade"], env={"A": "1", "B": "2"})
STEP = UpdateStep("upgrade", "Upgrade", commands=[COMMAND], depends_on=["refresh", "fetch"])


def one() -> AsyncIterator[StreamEvent]:
    raise NotImplementedError


async def other() -> AsyncIterator[StreamEvent]:
    yield OutputEvent()


def with_command(**changes: Any) -> UpdateStep:
    return replace(STEP, commands=[replace(COMMAND, **changes)])


@pytest.mark.parametrize(
    "changed",
    [
        replace(STEP, name="upgrade2"),
        replace(STEP, depends_on=["refresh"]),
        replace(STEP, idempotent=False),
        replace(STEP, sudo=True),
        replace(STEP, commands=[COMMAND, COMMAND]),
        replace(STEP, commands=None, execute_fn=one),
        with_command(cmd=["apt-get", "upgrade", "-y"]),
        with_command(cmd=["apt-get upgrade"]),
        with_command(cmd=["apt-get", "upgrade", ""]),
        with_command(sudo=True),
        with_command(env={"A": "1", "B": "3"}),
        with_command(env=None),
        with_command(cwd="/"),
        with_command(ignore_exit_codes=(100,)),
    ],
)
def test_what_a_step_would_do_is_in_its_fingerprint(changed: UpdateStep) -> None:
    assert step_fingerprint(changed) != step_fingerprint(STEP)


@pytest.mark.parametrize(
    "same",
    [
        replace(STEP),
        replace(STEP, description="Another text"),
        replace(STEP, depends_on=["fetch", "refresh"]),
        replace(STEP, check_fn=lambda: True),
        replace(STEP, mutexes=["dpkg"], retries=3, timeout_seconds=5),
        with_command(env={"B": "2", "A": "1"}),
        with_command(description="Another text", timeout_seconds=9),
    ],
)
def test_how_it_is_described_or_guarded_is_not(same: UpdateStep) -> None:
    assert step_fingerprint(same) == step_fingerprint(STEP)


def test_functions_are_told_apart_by_name_and_the_same_one_is_the_same() -> None:
    def prints(function: Any) -> str:
        return step_fingerprint(UpdateStep("s", "S", execute_fn=function))

    assert prints(one) == prints(one)
    assert prints(one) != prints(other)
    assert prints(functools.partial(one)) == prints(functools.partial(one))


maps = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2"]))


@given(maps, maps)
def test_a_plan_is_another_one_exactly_when_a_step_is(old: dict[str, str], new: dict[str, str]) -> None:
    difference = compare(old, new)
    assert bool(difference) is (plan_fingerprint(old) != plan_fingerprint(new))
    assert set(difference.vanished) == old.keys() - new.keys()
    assert set(difference.added) == new.keys() - old.keys()
    assert {*difference.changed} == {name for name in old if name in new and old[name] != new[name]}
    assert compare(new, old).vanished == difference.added


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (PlanDifference(), ""),
        (PlanDifference(vanished=("a", "b")), "gone: a, b"),
        (PlanDifference(changed=("a",), added=("c",)), "changed: a; new: c"),
    ],
)
def test_a_difference_names_the_steps(difference: PlanDifference, text: str) -> None:
    assert difference.describe() == text
