"""What a tool says after a run, against what was planned."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.errors import StepError
from update_all.core.models import Change, CheckResult, UpdateCommand, UpdateStep
from update_all.core.planning import PluginPlan, plan_plugin
from update_all.core.verification import difference, missing, verify
from update_all.plugins.base import BasePlugin


class Tool(BasePlugin):
    name = "tool"
    command = "tool"

    def __init__(self, after: Mapping[str, str] | StepError | None) -> None:
        super().__init__()
        self.after = after

    async def installed_versions(self) -> Mapping[str, str] | None:
        if isinstance(self.after, StepError):
            raise self.after
        return self.after


def plan(
    after: Mapping[str, str] | StepError | None, before: Mapping[str, str] | None, *planned: Change
) -> PluginPlan:
    steps = [UpdateStep("s", "S", commands=[UpdateCommand(["true"])])]
    made = plan_plugin(Tool(after), steps, check=CheckResult.of(list(planned)))
    return replace(made, versions_before=before)


@pytest.mark.parametrize(
    ("planned", "after", "lost"),
    [
        (Change("a", "1", "2"), {"a": "2"}, False),
        (Change("a", "1", "2"), {"a": "3"}, False),
        (Change("a", "1", "2"), {"a": "1"}, True),
        (Change("a", "1", "2"), {}, True),
        (Change("a", None, "2"), {"a": "2"}, False),
        (Change("a", None, "2"), {"a": "1"}, False),
        (Change("a", None, "2"), {}, True),
        (Change("a", "1", None), {}, False),
        (Change("a", "1", None), {"a": "1"}, True),
        (Change("a", "2", "2"), {"a": "2"}, False),
    ],
)
def test_a_planned_change_that_did_not_happen_is_missing(
    planned: Change, after: dict[str, str], lost: bool
) -> None:
    assert missing((planned,), after) == ([planned] if lost else [])


versions = st.dictionaries(st.sampled_from("abcde"), st.sampled_from("123"))


@given(versions, versions)
def test_the_difference_leads_from_before_to_after(before: dict[str, str], after: dict[str, str]) -> None:
    changes = difference(before, after)
    state = dict(before)
    for change in changes:
        assert state.get(change.item) == change.old
        assert change.old != change.new
        if change.new is None:
            del state[change.item]
        else:
            state[change.item] = change.new
    assert state == after
    assert [change.item for change in changes] == sorted({change.item for change in changes})
    assert missing(tuple(changes), after) == []


def test_size_and_security_come_from_the_plan() -> None:
    planned = (Change("a", "1", "2", size_bytes=10, security=True),)
    assert difference({"a": "1", "b": "1"}, {"a": "3", "b": "2"}, planned) == [
        Change("a", "1", "3", size_bytes=10, security=True),
        Change("b", "1", "2"),
    ]


def test_a_tool_that_did_what_was_planned() -> None:
    changes, problem = asyncio.run(verify(plan({"a": "2"}, {"a": "1"}, Change("a", "1", "2"))))
    assert changes == [Change("a", "1", "2")]
    assert problem is None


def test_a_tool_that_only_said_so_fails_with_the_items_named() -> None:
    planned = [Change(f"p{number}", "1", "2") for number in range(7)]
    before = {change.item: "1" for change in planned}
    after = {**before, "p0": "2"}
    del after["p1"]
    changes, problem = asyncio.run(verify(plan(after, before, *planned)))
    assert [change.item for change in changes] == ["p0", "p1"]
    assert problem is not None
    assert problem.code == "not-updated"
    assert "p1 is gone (planned 2), p2 1 (planned 2)" in problem.message
    assert problem.message.endswith("and 1 more")
    assert problem.hint == "update-all run tool"


def test_a_tool_that_cannot_be_asked_is_not_taken_for_updated() -> None:
    changes, problem = asyncio.run(verify(plan(StepError("it hangs"), {"a": "1"}, Change("a", "1", "2"))))
    assert changes == []
    assert problem is not None
    assert "it hangs" in problem.message


def test_a_tool_without_an_answer_claims_nothing() -> None:
    assert asyncio.run(verify(plan(None, {"a": "1"}, Change("a", "1", "2")))) == ([], None)
