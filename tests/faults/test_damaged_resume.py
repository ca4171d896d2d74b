"""A run is killed, a state file is damaged, and the run resumed: nothing lost, nothing silently repeated.

The kinds of damage are those of tests/core/test_damaged_state.py; here each is done to the state of a real
run, in several places, and the steps' own ledger tells what the resume has made of it.
UPDATE_ALL_FAULT_DAMAGE sets the number of damaged states (default 12; the full tier uses 300).
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from harness import Ledger, Scenario, cleaning_up, finished, kill, wait_for
from test_damaged_state import SET_ASIDE
from test_kill_resume import NEEDS_DECISION, Oracle, mixed

CASES = int(os.environ.get("UPDATE_ALL_FAULT_DAMAGE", "12"))
PARTS = 4
PLUGINS = ("first", "second", "third")
PLACES = ("the newest", "the newest, and none is before it", "the newest and the one before")
STARTS = (1, 3, 5, 7, 9)
"""After how many starts of workers the run is killed."""


def killed_run(room: Path, starts: int) -> tuple[Scenario, Ledger]:
    """A run of which everything was killed while a step was running."""
    scenario, ledger = mixed(room)
    with cleaning_up(scenario), scenario.started() as process:
        wait_for("the step", lambda: ledger.count("start") >= starts)
        kill([process.pid, *scenario.living()])
        finished(process)
        wait_for("the end of every process", lambda: not scenario.living())
    return scenario, ledger


def damaged(scenario: Scenario, plugin: str, place: str, kind: str) -> list[bytes]:
    """Damage the plugin's state; what was written, which is to be kept."""
    newest = scenario.state / "steps" / f"{plugin}.json"
    previous = newest.with_name(f"{newest.name}.prev")
    SET_ASIDE[kind](newest)
    files = [newest]
    if place != PLACES[0]:
        previous.unlink(missing_ok=True)
    if place == PLACES[2]:
        shutil.copy(newest, previous)
        files.append(previous)
    return [path.read_bytes() for path in files]


def resumed(scenario: Scenario, ledger: Ledger, plugin: str, evidence: list[bytes]) -> list[str]:
    """Resume to the end; all that is not as promised."""
    oracle = Oracle(scenario, ledger)
    report = scenario.run("--resume")
    kept = sorted((scenario.state / "steps").glob(f"{plugin}.json*.corrupt-*"))
    found = [] if [path.read_bytes() for path in kept] == evidence else ["the damaged file was not kept"]
    if f"{plugin}.json" not in report.warnings:
        found.append(f"no warning names it: {report.warnings!r}")
    for _ in range(10):
        if report.exit == 0:
            return found + oracle.judge()
        if report.exit not in (1, NEEDS_DECISION):
            break
        report = scenario.run("--resume", *oracle.decide(report))
    return [*found, f"no end: {report}"]


def cases(part: int) -> list[tuple[str, str, str, int]]:
    """The part's share of the damaged states: kinds × places × plugins × instants, mixed."""
    every = list(product(SET_ASIDE, PLACES, PLUGINS, STARTS))
    random.Random(7).shuffle(every)  # noqa: S311 - an order
    return every[: max(CASES, PARTS)][part::PARTS]


@pytest.mark.timeout(60 + 10 * CASES)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_damaged_state_loses_and_repeats_nothing(
    tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    room, saved = tmp_path / "room", tmp_path / "saved"
    runs: dict[int, tuple[Scenario, Ledger]] = {}
    chosen = cases(part)
    for kind, place, plugin, starts in chosen:
        shutil.rmtree(room, ignore_errors=True)
        if starts not in runs:
            runs[starts] = killed_run(room, starts)
            shutil.copytree(room, saved / str(starts))
        else:
            shutil.copytree(saved / str(starts), room)
        scenario, ledger = runs[starts]
        evidence = damaged(scenario, plugin, place, kind)
        with cleaning_up(scenario):
            assert resumed(scenario, ledger, plugin, evidence) == [], (kind, place, plugin, starts)
    record_property("cases", len(chosen))


def test_without_the_files_of_the_run_a_lost_state_would_repeat_steps(tmp_path: Path) -> None:
    scenario, ledger = killed_run(tmp_path / "room", 7)
    scenario.always = ["--off", "traces"]
    found: list[str] = []
    with cleaning_up(scenario):
        for plugin in PLUGINS:
            evidence = damaged(scenario, plugin, PLACES[1], "garbage")
        found = resumed(scenario, ledger, plugin, evidence)
    assert any("repeated without asking" in line for line in found), found
