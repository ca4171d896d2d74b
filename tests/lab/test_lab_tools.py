"""Every recipe through the real program: the whole cycle, a dead index, a kill in the middle.

What is asserted is what a user is promised (system.md section 8); docs/lab.md is made from the same run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from recipe import Recipe
from room import UPDATE_ALL, Room, why_not

from tools import RECIPES
from update_all.core.models import Change

Record = Callable[[str, object], None]

OFFLINE_SECONDS = 20
EXIT_UPDATES = 100
SLOW_TOO = bool(os.environ.get("UPDATE_ALL_TEST_LAB"))


@dataclass(frozen=True)
class Answer:
    """What `--json` printed, and how it ended."""

    code: int
    document: Mapping[str, object]
    seconds: float

    def plugin(self, name: str) -> Mapping[str, object]:
        """The entry of a plugin; empty where it has none."""
        plugins = self.document.get("plugins")
        assert isinstance(plugins, list)
        return next((entry for entry in plugins if entry["name"] == name), {})


def ask(room: Room, *arguments: str) -> Answer:
    started = time.monotonic()
    process = room.start("sh", "-c", 'exec "$@" 2>"$HOME/stderr"', "sh", *UPDATE_ALL, *arguments, "--json")
    output, _ = process.communicate(timeout=200)
    try:
        document = json.loads(output)
    except ValueError:
        errors = (room.home / "stderr").read_text()
        raise AssertionError(f"{arguments} ended with {process.returncode}: {output}\n{errors}") from None
    return Answer(process.returncode, document, time.monotonic() - started)


def changes(entries: object) -> frozenset[Change]:
    assert isinstance(entries, list)
    return frozenset(Change(entry["item"], entry["old"], entry["new"]) for entry in entries)


def newest(expected: frozenset[Change]) -> dict[str, str]:
    return {change.item: change.new for change in expected if change.new is not None}


def has_planned(recipe: Recipe, expected: frozenset[Change]) -> None:
    """The planned versions are there, the tool finds nothing wrong, and nothing is left to do."""
    here = recipe.installed()
    assert {item: here.get(item) for item in newest(expected)} == newest(expected)
    assert recipe.complaint() == ""
    after = ask(recipe.room, "check", recipe.plugin)
    assert after.plugin(recipe.plugin)["status"] == nothing_new(recipe), after.document


def nothing_new(recipe: Recipe) -> str:
    """What `check` answers where everything is up to date."""
    return "up-to-date" if recipe.tells_updates else "cannot-know"


on_each = pytest.mark.parametrize(
    "recipe",
    [pytest.param(kind, id=kind.plugin, marks=[] if kind.quick else [pytest.mark.lab]) for kind in RECIPES],
    indirect=True,
)


@pytest.fixture
def recipe(request: pytest.FixtureRequest, tmp_path: Path, record_property: Record) -> Iterator[Recipe]:
    kind: type[Recipe] = request.param
    reason = why_not() or kind.missing()
    if not (kind.quick or SLOW_TOO):
        reason = reason or "takes long: `python tools/lab.py`, or UPDATE_ALL_TEST_LAB=1"
    record_property("plugin", kind.plugin)
    if reason:
        pytest.skip(f"{kind.plugin}: {reason}")
    with Room(tmp_path) as room:
        found = kind(room)
        try:
            found.prepare()
            record_property("version", found.version())
            yield found
        finally:
            found.close()


@on_each
def test_cycle(recipe: Recipe, record_property: Record) -> None:
    before = ask(recipe.room, "check", recipe.plugin)
    assert before.plugin(recipe.plugin).get("status") == nothing_new(recipe), before.document
    expected = recipe.outdate(pausing=False)

    check = ask(recipe.room, "check", recipe.plugin)
    if recipe.tells_updates:
        assert changes(check.plugin(recipe.plugin)["updates"]) == expected, check.document
        assert check.code == EXIT_UPDATES

    run = ask(recipe.room, "run", "--yes", recipe.plugin)
    assert run.code == 0, run.document
    assert changes(run.plugin(recipe.plugin)["changes"]) == expected, run.document
    has_planned(recipe, expected)

    again = ask(recipe.room, "run", "--yes", recipe.plugin)
    assert again.code == 0
    if recipe.tells_updates:
        assert again.document["up_to_date"] == [recipe.plugin], again.document
        assert not again.plugin(recipe.plugin).get("steps")
    else:
        assert again.plugin(recipe.plugin)["changes"] == []
    record_property("seconds", f"{check.seconds + run.seconds:.1f}")
    seen = ", ".join(f"{c.item} {c.old} → {c.new}" for c in sorted(expected, key=str))
    record_property("seen", seen if recipe.tells_updates else f"{seen}; not known before the run")


@on_each
def test_offline(recipe: Recipe, record_property: Record) -> None:
    recipe.outdate(pausing=False)
    before = recipe.installed()
    recipe.cut()
    check = ask(recipe.room, "check", recipe.plugin)
    found = check.plugin(recipe.plugin)
    assert found["status"] == "cannot-know", check.document
    assert found["reason"]
    assert check.seconds < OFFLINE_SECONDS
    run = ask(recipe.room, "run", "--yes", recipe.plugin)
    assert recipe.plugin not in str(run.document["up_to_date"]), run.document
    assert run.code != 0, run.document
    assert recipe.installed() == before
    record_property("seconds", f"{check.seconds:.1f}")
    record_property("seen", str(found["reason"]).replace(str(recipe.room.folder), ""))


@on_each
def test_killed_then_resume(recipe: Recipe, record_property: Record) -> None:
    killed(recipe, record_property, "resume")


@on_each
def test_killed_then_run(recipe: Recipe, record_property: Record) -> None:
    killed(recipe, record_property, "run", "--yes", recipe.plugin)


def killed(recipe: Recipe, record_property: Record, *command: str) -> None:
    """Kill a run in its middle with all that it started, and let another command go on."""
    expected = recipe.outdate(pausing=True)
    process = recipe.room.start(*UPDATE_ALL, "run", "--yes", recipe.plugin)
    deadline = time.monotonic() + 90
    while not recipe.interrupted:
        assert process.poll() is None, f"it ended before its middle: {process.communicate()[0][-3000:]}"
        assert time.monotonic() < deadline, "it never came to its middle"
        time.sleep(0.02)
    recipe.room.kill()
    process.communicate()
    left = recipe.complaint().strip().replace(str(recipe.room.folder), "")

    again = ask(recipe.room, *command)
    assert again.code == 0, json.dumps(again.document)
    has_planned(recipe, expected)
    record_property("seen", left.replace("\n", "; ") or "whole")
