"""SIGKILL at random instants and places, then resume: nothing lost, nothing repeated, nothing twice at once.

UPDATE_ALL_FAULT_KILLS sets the number of kills (default 40; the full tier uses 2200; some come too late).
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import Ledger, Plugin, Report, Scenario, Step, cleaning_up, find, finished, kill, wait_for

from update_all.core.streaming import StepStartEvent

KILLS = int(os.environ.get("UPDATE_ALL_FAULT_KILLS", "40"))
KILLS_PER_RUN = 2
PARTS = 8
NEEDS_DECISION = 4


def mixed(directory: Path) -> tuple[Scenario, Ledger]:
    """Three plugins with idempotent and other steps, one after another and side by side, some with two
    commands."""
    ledger = Ledger(directory / "ledger")

    def step(name: str, *, idempotent: bool = True, commands: int = 1) -> Step:
        names = [name if number == 0 else f"{name}+{number}" for number in range(commands)]
        workers = [ledger.worker(part, 0.06) for part in names]
        return Step(name, workers, idempotent=idempotent, uninterruptible=not idempotent)

    scenario = Scenario(
        directory,
        Plugin("first", [step("a1"), step("a2", idempotent=False), step("a3", commands=2)]),
        Plugin("second", [step("b1", idempotent=False, commands=2), step("b2"), step("b3")], parallel=True),
        Plugin("third", [step("c1"), step("c2", idempotent=False)]),
    )
    return scenario, ledger


def everyone(scenario: Scenario, driver: int) -> list[int]:
    return [driver, *(pid for pid in scenario.living() if pid != driver)]


def the_shim(scenario: Scenario, driver: int) -> list[int]:
    return find(scenario.living(), "shim.py")


def a_child(scenario: Scenario, driver: int) -> list[int]:
    return find(scenario.living(), "worker.py")[:1]


def the_orchestrator(scenario: Scenario, driver: int) -> list[int]:
    return [driver]


TARGETS: list[Callable[[Scenario, int], list[int]]] = [the_orchestrator, the_shim, a_child, everyone]


class Oracle:
    """Compares what the steps did with what was promised."""

    def __init__(self, scenario: Scenario, ledger: Ledger) -> None:
        self.scenario = scenario
        self.ledger = ledger
        self.allowed: dict[str, int] = {}
        self.starts_of_done: dict[str, int] = {}
        self.violations: list[str] = []

    def steps(self) -> list[Step]:
        return [step for plugin in self.scenario.plugins for step in plugin.steps]

    def starts(self, step: Step) -> int:
        names = {command[5] for command in step.commands}
        return sum(self.ledger.count("start", name) for name in names)

    def note_completed(self) -> None:
        """Before a resume: what is done now must not be started any more."""
        for step in self.steps():
            if step.name in self.scenario.completed():
                before = self.starts_of_done.setdefault(step.name, self.starts(step))
                if self.starts(step) != before:
                    self.violations.append(f"completed and repeated: {step.name}")

    def decide(self, report: Report) -> list[str]:
        """Answer for the steps that the run asks about: those that began are said to be done."""
        options = []
        for step in self.steps():
            end = self.scenario.ends().get(step.name)
            if end is None or end.error_code != "needs-decision":
                continue
            if all(self.ledger.count("end", command[5]) for command in step.commands):
                options += ["--assume-done", step.name]
            else:
                options += ["--redo", step.name]
                self.allowed[step.name] = self.allowed.get(step.name, 1) + 1
        return options

    def judge(self) -> list[str]:
        """All that was found wrong, after the last run."""
        self.note_completed()
        found = list(self.violations)
        found += [f"ran twice at once: {pid}" for pid in self.ledger.details("overlap")]
        for step in self.steps():
            for command in step.commands:
                if self.ledger.count("end", command[5]) == 0:
                    found.append(f"lost: {command[5]}")
                starts = self.ledger.count("start", command[5])
                if not step.idempotent and starts > self.allowed.get(step.name, 1):
                    found.append(f"repeated without asking: {command[5]}")
        return found


def resume_until_done(scenario: Scenario, oracle: Oracle) -> None:
    options: list[str] = []
    for _ in range(10):
        oracle.note_completed()
        report = scenario.run("--resume", *options)
        if report.exit == 0:
            return
        assert report.exit in (1, NEEDS_DECISION), report
        options = oracle.decide(report)
    raise AssertionError(f"no end: {report.stdout}")


def kill_and_resume(directory: Path, chance: random.Random) -> tuple[int, list[str]]:
    """One run, killed a few times at random and then left alone: kills that hit, what the oracle finds."""
    scenario, ledger = mixed(directory)
    oracle = Oracle(scenario, ledger)
    with cleaning_up(scenario):
        options: list[str] = []
        kills = 0
        for _ in range(KILLS_PER_RUN):
            oracle.note_completed()
            target = chance.choice(TARGETS)
            with scenario.started(*options) as process:
                time.sleep(chance.uniform(0.1, 0.6))
                pids: list[int] = []
                while process.poll() is None and not (pids := target(scenario, process.pid)):
                    time.sleep(0.005)
                kills += process.poll() is None
                kill(pids)
                report = finished(process)
            options = ["--resume", *(oracle.decide(report) if report.exit > 0 else [])]
        resume_until_done(scenario, oracle)
        wait_for("the end of every process", lambda: not scenario.living())
        return kills, oracle.judge()


@pytest.mark.timeout(120 + 5 * KILLS)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_kills_lose_and_repeat_nothing(
    tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(part)  # noqa: S311 - instants of kills
    hits = 0
    for number in range(max(1, KILLS // KILLS_PER_RUN // PARTS)):
        kills, found = kill_and_resume(tmp_path / str(number), chance)
        assert found == [], f"run {number} of {part}"
        hits += kills
    assert hits > 0
    record_property("kills", hits)


def one_step(directory: Path, seconds: float, *, idempotent: bool = True) -> tuple[Scenario, Ledger]:
    ledger = Ledger(directory / "ledger")
    step = Step("only", [ledger.worker("only", seconds)], idempotent=idempotent)
    return Scenario(directory, Plugin("plugin", [step])), ledger


def kill_when_started(scenario: Scenario, ledger: Ledger, *targets: str, off: str = "") -> None:
    """Start a run and kill these of its processes as soon as its step has begun."""
    with scenario.started(*(["--off", off] if off else [])) as process:
        wait_for("the step's begin", lambda: ledger.count("start"))
        living = scenario.living()
        kill([pid for target in targets for pid in find(living, target)])
        finished(process)


@pytest.mark.parametrize("idempotent", [True, False])
def test_orchestrator_killed_alone_and_step_ended_meanwhile_is_adopted(
    tmp_path: Path, idempotent: bool
) -> None:
    scenario, ledger = one_step(tmp_path / "run", 0.3, idempotent=idempotent)
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "run_driver.py")
        wait_for("the step's end", lambda: not scenario.living())

        assert scenario.run("--resume").exit == 0

    assert (ledger.count("start"), ledger.count("end")) == (1, 1)
    end = scenario.ends()["only"]
    assert end.success
    assert end.exit_code == 0
    assert Path(end.log).read_text() == "only begins\nonly is done\n"


def test_orchestrator_killed_alone_and_step_living_is_re_attached(tmp_path: Path) -> None:
    scenario, ledger = one_step(tmp_path / "run", 1.0, idempotent=False)
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "run_driver.py")
        assert scenario.run("--resume").exit == 0

    assert (ledger.count("start"), ledger.count("end")) == (1, 1)
    starts = [event for event in scenario.events() if isinstance(event, StepStartEvent)]
    assert starts[-1].reattached
    assert scenario.ends()["only"].exit_code == 0


def test_shim_killed_alone_step_is_waited_for_before_it_is_repeated(tmp_path: Path) -> None:
    scenario, ledger = one_step(tmp_path / "run", 0.5)
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "shim.py")

    assert [entry.what for entry in ledger.entries()] == ["start", "end", "start", "end"]
    assert scenario.ends()["only"].success


def test_shim_killed_alone_step_that_must_not_be_repeated_asks(tmp_path: Path) -> None:
    scenario, ledger = one_step(tmp_path / "run", 0.3, idempotent=False)
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "shim.py")
        assert scenario.ends()["only"].error_code == "needs-decision"
        assert scenario.run("--resume").exit == NEEDS_DECISION
        assert ledger.count("start") == 1
        assert scenario.run("--resume", "--assume-done", "only").exit == 0

    assert ledger.count("start") == 1


def test_step_ends_with_its_child_killed(tmp_path: Path) -> None:
    scenario, ledger = one_step(tmp_path / "run", 5.0)
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "worker.py")

    end = scenario.ends()["only"]
    assert (end.success, end.exit_code) == (False, -signal.SIGKILL)
    assert end.error_message is not None
    assert "was ended by signal 9" in end.error_message


@pytest.mark.parametrize("idempotent", [True, False])
def test_everything_killed_is_unknown(tmp_path: Path, idempotent: bool) -> None:
    scenario, ledger = one_step(tmp_path / "run", 0.4, idempotent=idempotent)
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "run_driver.py", "shim.py", "worker.py")
        report = scenario.run("--resume")

        assert report.exit == (0 if idempotent else NEEDS_DECISION)
        assert ledger.count("start") == (2 if idempotent else 1)
        if not idempotent:
            assert scenario.run("--resume", "--redo", "only").exit == 0
    assert ledger.count("end") == 1


def test_check_decides_about_the_unknown(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    proof = tmp_path / "proof"
    command = ledger.worker("only", 0.5)
    step = Step("only", [command], idempotent=False, check=str(proof))
    scenario = Scenario(tmp_path / "run", Plugin("plugin", [step]))
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "run_driver.py", "shim.py", "worker.py")
        proof.touch()
        assert scenario.run("--resume").exit == 0

    assert ledger.count("start") == 1
    assert scenario.ends()["only"].skipped


def test_commands_that_were_done_are_adopted_and_the_next_one_goes_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    commands = [ledger.worker("one", 0.0), ledger.worker("two", 0.6), ledger.worker("three", 0.0)]
    scenario = Scenario(tmp_path / "run", Plugin("plugin", [Step("only", commands, idempotent=False)]))
    with cleaning_up(scenario), scenario.started() as process:
        wait_for("the second command", lambda: ledger.count("start", "two"))
        kill([process.pid])
        finished(process)
        assert scenario.run("--resume").exit == 0

    assert [entry.name for entry in ledger.entries() if entry.what == "start"] == ["one", "two", "three"]
    log = Path(scenario.ends()["only"].log).read_text()
    assert log == "".join(f"{name} begins\n{name} is done\n" for name in ("one", "two", "three"))


def test_without_the_lock_a_living_step_would_be_started_twice(tmp_path: Path) -> None:
    scenario, ledger = one_step(tmp_path / "run", 3.0)
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "run_driver.py", "shim.py", off="lock")
        scenario.run("--resume")

    assert ledger.count("overlap") == 1


def test_without_exit_records_a_step_that_ended_would_be_repeated(tmp_path: Path) -> None:
    scenario, ledger = one_step(tmp_path / "run", 0.3)
    with cleaning_up(scenario):
        kill_when_started(scenario, ledger, "run_driver.py", off="records")
        wait_for("the step's end", lambda: not scenario.living())
        scenario.run("--resume")

    assert ledger.count("start") == 2
