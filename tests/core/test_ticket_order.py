"""Steps that end the sudo ticket run behind the others that need it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from update_all.core.command import Command
from update_all.core.errors import StepError
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.orchestration import RunSettings
from update_all.core.planning import before_ticket_ends, plan_plugin
from update_all.core.scheduling import Graph, Node
from update_all.core.session import Session
from update_all.core.streaming import StepStartEvent, StreamEvent
from update_all.plugins.base import BasePlugin


@given(
    edges=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14),
    root=st.sets(st.integers(0, 7)),
    ending=st.sets(st.integers(0, 7), min_size=1),
)
def test_what_waits_for_an_ending_step_is_not_waited_for(
    edges: list[tuple[int, int]], root: set[int], ending: set[int]
) -> None:
    needs = {
        number: tuple({str(low) for low, high in edges if high == number and low < high})
        for number in range(8)
    }
    graph = Graph([Node(str(number), "group", depends_on=needs[number]) for number in range(8)])
    found = before_ticket_ends(graph, {str(n) for n in root}, {str(n) for n in ending})

    def reaches(number: str) -> bool:
        return int(number) in ending or any(reaches(need) for need in needs[int(number)])

    assert found == {str(number) for number in root if not reaches(str(number))}


class Free:
    """Root costs nothing; notes when it is given back."""

    def wrap(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        return list(argv)

    def refusal(self, exit_code: int, output: str) -> StepError | None:
        return None

    async def signal(self, pids: Sequence[int], number: int) -> None:
        return None

    async def let_ask(self, command: Command, too_late: Callable[[], bool]) -> bool:
        return False

    async def release(self) -> None:
        return None


class Tool(BasePlugin):
    command = "true"

    def __init__(self, name: str, steps: list[UpdateStep]) -> None:
        super().__init__()
        self._name, self.steps = name, steps

    @property
    def name(self) -> str:
        return self._name

    def get_update_steps(self) -> list[UpdateStep]:
        return self.steps


def step(name: str, *, root: bool = False, drops: bool = False, code: int = 0) -> UpdateStep:
    argv = [sys.executable, "-I", "-S", "-c", f"raise SystemExit({code})"]
    return UpdateStep(name, name, commands=[UpdateCommand(argv)], sudo=root, drops_sudo=drops)


def order(tmp_path: Path, *plugins: Tool) -> list[str]:
    """The steps in the order of their starts."""
    events: list[StreamEvent] = []
    with Session(tmp_path / "state", "20260101-000000-000000") as session:
        plans = [plan_plugin(plugin, plugin.steps) for plugin in plugins]
        recoveries = {plan.name: session.start_afresh(plan) for plan in plans}
        asyncio.run(
            session.run(
                plans, recoveries, privileges=Free(), settings=RunSettings(jobs=8), sink=events.append
            )
        )
    return [event.step_name for event in events if isinstance(event, StepStartEvent)]


def test_it_starts_behind_the_root_steps_of_all_plugins(tmp_path: Path) -> None:
    brew = Tool("brew", [step("drops", drops=True), step("late", root=True)])
    apt = Tool("apt", [step("a", root=True), step("b", root=True), step("c", root=True)])
    assert order(tmp_path, brew, apt) == ["a", "b", "c", "drops", "late"]


def test_it_starts_also_when_they_fail_or_do_not_run(tmp_path: Path) -> None:
    brew = Tool("brew", [step("drops", drops=True)])
    apt = Tool("apt", [step("a", root=True, code=1), step("b", root=True)])
    assert order(tmp_path, brew, apt) == ["a", "drops"]


def test_without_other_root_steps_it_starts_at_once(tmp_path: Path) -> None:
    brew = Tool("brew", [step("drops", root=True, drops=True)])
    cargo = Tool("cargo", [step("a"), step("b")])
    assert set(order(tmp_path, brew, cargo)[:2]) == {"drops", "a"}
