"""What holds for the shipped definitions as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from update_all.core.models import Change, CheckResult, UpdateStep
from update_all.plugins.builtin import BUILT_IN, CATALOGUE
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.decoding import parse_definition
from update_all.plugins.definition import Definition
from update_all.plugins.registry import order_between

FILES = sorted(CATALOGUE.glob("*.toml"))
ASKED_FOR_ONLY = {"docker-images", "podman-images", "fwupd", "distrobox", "toolbox", "waydroid", "ollama"}


def definition(path: Path) -> Definition:
    return parse_definition(path.read_text("utf-8"), path.name)


class WithTwoThings(DeclarativePlugin):
    """The plugin of a tool that is not here; two things are installed."""

    async def installed_versions(self) -> dict[str, str]:
        return {"one": "1", "two": "1"}

    async def unfinished(self) -> list[Change]:
        return [Change("one"), Change("two")] if self.definition.unfinished else []


def steps(path: Path, home: Path) -> list[UpdateStep]:
    """The steps where two things can be updated, for a user with an empty environment."""
    plugin = WithTwoThings(definition(path), environ={"HOME": str(home)})
    updates = [Change(item, "1", "2") for item in ("one", "two")]
    return asyncio.run(plugin.plan_steps(CheckResult.of(updates)))


def test_at_least_eighty_tools() -> None:
    assert len(BUILT_IN) >= 80


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_steps_are_complete_in_an_empty_environment(path: Path, tmp_path: Path) -> None:
    found = steps(path, tmp_path)
    declared = definition(path)
    assert [step.name for step in found if not step.name.startswith("find-")] == [
        step.name for step in declared.step
    ]
    for step in found:
        for command in step.commands or ():
            assert all("${" not in part and part != "~" and not part.startswith("~/") for part in command.cmd)


def test_what_is_large_or_dangerous_waits_to_be_asked_for() -> None:
    optional = {path.stem for path in FILES if not definition(path).enabled}
    assert optional >= ASKED_FOR_ONLY


def test_the_order_between_all_of_them_has_no_cycle(tmp_path: Path) -> None:
    plugins = [DeclarativePlugin(definition(path), environ={"HOME": str(tmp_path)}) for path in FILES]
    before = {name: set(names) for name, names in order_between(plugins).items()}
    while before:
        free = {name for name, names in before.items() if not names & before.keys()}
        assert free, f"these wait for each other: {sorted(before)}"
        before = {name: names for name, names in before.items() if name not in free}


def test_what_comes_before_or_after_exists() -> None:
    for path in FILES:
        found = definition(path)
        assert {*found.after, *found.before} <= BUILT_IN.keys(), path.name
