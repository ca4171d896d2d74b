"""What a person does with a run while it runs: real steps, steered from the run's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from update_all.core import supervision
from update_all.core.interrupts import Interrupts
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.orchestration import RunResult, RunSettings
from update_all.core.planning import plan_plugin
from update_all.core.reporting import Ending
from update_all.core.rights import Rights
from update_all.core.session import ResumeOptions, Session
from update_all.core.steering import Steering
from update_all.core.streaming import (
    CompletionEvent,
    RunEndEvent,
    StepEndEvent,
    StepNotRunEvent,
    StepStartEvent,
    StreamEvent,
    WarningEvent,
)
from update_all.plugins.base import BasePlugin

RUN = "20260101-000000-aaaaaa"
Make = Callable[..., BasePlugin]
Event = TypeVar("Event", bound=StreamEvent)
React = Callable[[StreamEvent], None]


class Ride:
    """Runs plugins, and lets a test react to events while they come."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "state"
        self.ledger = directory / "ledger"
        self.ledger.touch()
        self.gates = directory / "gates"
        self.gates.mkdir()
        self.events: list[StreamEvent] = []
        self.interrupts = Interrupts()
        self.steering = Steering()

    def note(self, word: str) -> UpdateCommand:
        return UpdateCommand(["sh", "-c", 'echo "$1" >> "$2"', "sh", word, str(self.ledger)])

    def gated(self, word: str) -> UpdateCommand:
        """A command that waits for `open(word)`, then notes the word."""
        script = 'while ! test -e "$2"; do sleep 0.02; done; echo "$1" >> "$3"'
        return UpdateCommand(["sh", "-c", script, "sh", word, str(self.gates / word), str(self.ledger)])

    def open(self, word: str) -> None:
        (self.gates / word).touch()

    def words(self) -> list[str]:
        return self.ledger.read_text().split()

    def run(
        self, *plugins: BasePlugin, react: React = lambda _: None, resume: bool = False, **settings: Any
    ) -> RunResult:
        self.events = []

        def sink(event: StreamEvent) -> None:
            self.events.append(event)
            react(event)

        with Session(self.directory, RUN, resumed=resume) as session:
            plans = [plan_plugin(plugin, plugin.get_update_steps()) for plugin in plugins]
            recoveries = {}
            for plan in plans:
                state = session.load(plan.name)
                if resume and state is not None:
                    recoveries[plan.name] = session.go_on(plan, state, ResumeOptions())
                else:
                    recoveries[plan.name] = session.start_afresh(plan)

            async def work() -> RunResult:
                self.interrupts = Interrupts()
                self.steering = Steering(lambda: self.interrupts.escalate() and None)
                async with asyncio.timeout(40):
                    return await session.run(
                        plans,
                        recoveries,
                        privileges=Rights.find(may_ask=False),
                        settings=RunSettings(**settings),
                        sink=sink,
                        interrupts=self.interrupts,
                        steering=self.steering,
                    )

            return asyncio.run(work())

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def not_run(self) -> dict[str, str]:
        return {f"{event.plugin_name}:{event.step_name}": event.reason for event in self.of(StepNotRunEvent)}


@pytest.fixture
def ride(tmp_path: Path) -> Ride:
    return Ride(tmp_path)


def step(name: str, *commands: UpdateCommand, **fields: Any) -> UpdateStep:
    return UpdateStep(name, name, list(commands), **fields)


def at(plugin: str, name: str, act: Callable[[], object], kind: type[StreamEvent] = StepStartEvent) -> React:
    """Act, a moment after the first event of this kind about this step."""
    done: list[bool] = []

    def react(event: StreamEvent) -> None:
        about = (event.plugin_name, getattr(event, "step_name", "")) == (plugin, name)
        if about and isinstance(event, kind) and not done:
            done.append(True)
            asyncio.get_running_loop().call_later(0.2, act)

    return react


def chain(names: Sequence[str], ride: Ride, **fields: Any) -> list[UpdateStep]:
    return [step(name, ride.note(name), **fields) for name in names]


def test_a_paused_run_starts_nothing_and_goes_on_where_it_was(ride: Ride, plugin_of: Make) -> None:
    seen: list[list[str]] = []

    def pause() -> None:
        ride.steering.pause(True)
        ride.open("a")
        asyncio.get_running_loop().call_later(0.5, go_on)

    def go_on() -> None:
        seen.append(ride.words())
        assert ride.steering.paused
        ride.steering.pause(False)

    plugin = plugin_of([step("a", ride.gated("a")), *chain("bc", ride)])
    result = ride.run(plugin, react=at("demo", "a", pause))
    assert (seen, ride.words()) == ([["a"]], ["a", "b", "c"])
    assert result.exit_code == 0


def test_a_paused_run_can_be_interrupted(ride: Ride, plugin_of: Make) -> None:
    def pause() -> None:
        ride.steering.pause(True)
        ride.open("a")
        asyncio.get_running_loop().call_later(0.4, ride.steering.stop)

    result = ride.run(
        plugin_of([step("a", ride.gated("a")), *chain("b", ride)]), react=at("demo", "a", pause)
    )
    assert (result.exit_code, ride.words()) == (130, ["a"])
    assert ride.run(plugin_of([step("a", ride.gated("a")), *chain("b", ride)]), resume=True).exit_code == 0
    assert ride.words() == ["a", "b"]


def test_pausing_when_all_has_started_keeps_no_run_from_ending(ride: Ride, plugin_of: Make) -> None:
    def pause() -> None:
        ride.steering.pause(True)
        ride.open("a")

    assert ride.run(plugin_of([step("a", ride.gated("a"))]), react=at("demo", "a", pause)).exit_code == 0


def test_told_to_finish_it_ends_what_runs_and_starts_nothing(ride: Ride, plugin_of: Make) -> None:
    def finish() -> None:
        ride.steering.finish()
        ride.open("a")

    steps = [step("a", ride.gated("a")), *chain("b", ride)]
    result = ride.run(plugin_of(steps), react=at("demo", "a", finish))
    assert (result.exit_code, ride.words()) == (130, ["a"])
    assert ride.of(RunEndEvent)[0].interrupted
    assert ride.not_run() == {"demo:b": "not run, because the run was told to end"}
    assert ride.run(plugin_of(steps), resume=True).exit_code == 0
    assert ride.words() == ["a", "b"]


def test_a_skipped_step_takes_along_what_depends_on_it_and_is_offered_again(
    ride: Ride, plugin_of: Make
) -> None:
    def skip() -> None:
        assert ride.steering.skip("demo:b") == ""
        assert "ended already" in ride.steering.skip("demo:b")
        ride.open("a")

    first = plugin_of([step("a", ride.gated("a")), *chain("bc", ride)])
    other = plugin_of(chain("x", ride), name="other")
    result = ride.run(first, other, react=at("demo", "a", skip))
    assert result.exit_code == 1
    assert result.plugins == {"demo": Ending.NOT_RUN, "other": Ending.DONE}
    assert sorted(ride.words()) == ["a", "x"]
    assert ride.not_run() == {"demo:b": "skipped", "demo:c": "not run, because demo:b was skipped"}
    assert len(ride.of(CompletionEvent)) == 2
    assert ride.run(first, resume=True).exit_code == 0
    assert ride.words()[-2:] == ["b", "c"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_running_step_that_is_skipped_is_ended_and_the_second_time_killed(
    ride: Ride, plugin_of: Make, tmp_path: Path, stubborn: bool
) -> None:
    trap = "trap '' TERM INT;" if stubborn else ""
    script = f'test -e "$1" && exit 0; touch "$1"; {trap} while :; do sleep 0.02; done'
    endless = UpdateCommand(["sh", "-c", script, "sh", str(tmp_path / "was there")])

    def skip() -> None:
        assert ride.steering.skip("demo:a") == ""
        if stubborn:
            asyncio.get_running_loop().call_later(0.3, ride.steering.skip, "demo:a")

    steps = [step("a", endless), *chain("b", ride)]
    other = plugin_of(chain("x", ride), name="other")
    result = ride.run(plugin_of(steps), other, react=at("demo", "a", skip), fail_fast=True)
    assert result.exit_code == 1
    end = next(event for event in ride.of(StepEndEvent) if event.step_name == "a")
    assert (end.success, end.error_code) == (False, "skipped")
    assert "somebody skipped it" in (end.error_message or "")
    assert end.duration_seconds < supervision.TERM_GRACE_SECONDS
    assert not ride.of(RunEndEvent)[0].interrupted
    assert ride.not_run() == {"demo:b": "not run, because demo:a was skipped"}
    assert ride.words() == ["x"]
    assert ride.run(plugin_of(steps), resume=True).exit_code == 0
    assert ride.words() == ["x", "b"]


def test_a_function_that_runs_can_be_skipped(ride: Ride, plugin_of: Make) -> None:
    async def wait() -> Any:
        await asyncio.sleep(60)
        yield WarningEvent(message="never")

    function = UpdateStep("a", "a", execute_fn=wait)
    result = ride.run(plugin_of([function]), react=at("demo", "a", lambda: ride.steering.skip("demo:a")))
    assert (result.exit_code, ride.of(StepEndEvent)[0].error_code) == (1, "skipped")


def test_what_must_not_be_ended_is_not_skipped(ride: Ride, plugin_of: Make) -> None:
    answers: list[str] = []

    def skip() -> None:
        answers.append(ride.steering.skip("demo:a"))
        answers.append(ride.steering.skip("demo:nothing"))
        ride.open("a")

    result = ride.run(
        plugin_of([step("a", ride.gated("a"), uninterruptible=True)]), react=at("demo", "a", skip)
    )
    assert result.exit_code == 0
    assert "must not be ended" in answers[0]
    assert "not part of this run" in answers[1]


def test_a_retry_comes_at_once_when_it_is_asked_for(ride: Ride, plugin_of: Make, tmp_path: Path) -> None:
    script = 'test -e "$1" || { touch "$1"; exit 1; }'
    second = UpdateCommand(["sh", "-c", script, "sh", str(tmp_path / "tried")])
    answers: list[str] = []

    def retry() -> None:
        answers.append(ride.steering.retry("demo:b"))
        answers.append(ride.steering.retry("demo:a"))

    steps = [step("a", second, retries=1, retry_delay_seconds=600.0), *chain("b", ride)]
    result = ride.run(plugin_of(steps), react=at("demo", "a", retry, WarningEvent))
    assert result.exit_code == 0
    assert "update-all resume demo" in answers[0]
    assert answers[1] == ""


def test_nothing_can_be_done_before_and_after_a_run(ride: Ride, plugin_of: Make) -> None:
    assert ride.steering.skip("demo:a") == "nothing runs"
    ride.run(plugin_of(chain("a", ride)))
    assert ride.steering.skip("demo:a") == "nothing runs"
    assert ride.steering.retry("demo:a") == "nothing runs"
    assert "takes no input" in ride.steering.answer("demo:a", "yes")


ASK = 'read -rp "name? " name; echo "hello $name"; stty -echo; read -rp "word? " word; echo "${#word}"'


def test_a_step_that_asks_gets_the_answers_of_a_person(ride: Ride, plugin_of: Make) -> None:
    answers = ["Ada", "sesame, open"]

    def react(event: StreamEvent) -> None:
        if isinstance(event, WarningEvent) and event.code == "needs-input":
            assert ride.steering.wants_input() == ["demo:ask"]
            assert ride.steering.answer("demo:ask", answers.pop(0)) == ""

    asks = step("ask", UpdateCommand(["bash", "-c", ASK]), interactive=True)
    result = ride.run(plugin_of([asks]), react=react, terminal=(80, 24))
    assert result.exit_code == 0
    assert answers == []
    questions = [event.message for event in ride.of(WarningEvent)]
    assert ["name?" in questions[0], "word?" in questions[1]] == [True, True]
    log = Path(ride.of(StepEndEvent)[0].log).read_text()
    assert "hello Ada" in log
    assert "12" in log
    for path in ride.directory.rglob("*"):
        assert not path.is_file() or b"sesame" not in path.read_bytes(), path
    assert ride.steering.wants_input() == []


def test_a_step_that_asks_is_left_out_where_nobody_is_there(ride: Ride, plugin_of: Make) -> None:
    asks = step("ask", UpdateCommand(["bash", "-c", ASK]), interactive=True)
    assert ride.run(plugin_of([asks])).exit_code == 0
    end = ride.of(StepEndEvent)[0]
    assert (end.skipped, "by hand" in end.reason) == (True, True)


def test_a_step_that_asks_can_be_interrupted_and_asks_again(ride: Ride, plugin_of: Make) -> None:
    asks = step("ask", UpdateCommand(["bash", "-c", 'read -rp "name? " name']), interactive=True)

    def leave(event: StreamEvent) -> None:
        if isinstance(event, WarningEvent) and event.code == "needs-input":
            ride.steering.stop()

    assert ride.run(plugin_of([asks]), react=leave, terminal=(80, 24)).exit_code == 130

    def answer(event: StreamEvent) -> None:
        if isinstance(event, WarningEvent) and event.code == "needs-input":
            ride.steering.answer("demo:ask", "Ada")

    assert ride.run(plugin_of([asks]), react=answer, resume=True, terminal=(80, 24)).exit_code == 0
