"""What an update that was cut off left: found by `check`, mended by steps that are there for nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from update_all.core.errors import InvalidDefinitionError, StepError
from update_all.core.facts import fill_command
from update_all.core.models import Change, CheckResult, CheckStatus
from update_all.plugins.builtin import CATALOGUE
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.decoding import parse_definition
from update_all.plugins.definition import Parser
from update_all.plugins.parsers import read_records

TEXT = """
schema = 1
name = "demo"
description = "A demonstration"
[detect]
command = "{tool}"
[outdated]
cmd = ["{tool}", "outdated"]
columns = ["item", "old", "new"]
[unfinished]
cmd = ["{tool}", "unfinished"]
columns = ["item"]
[[step]]
name = "mend"
description = "Mend what is half done"
cmd = ["{tool}", "mend", "{{item}}"]
for-each = "unfinished"
[[step]]
name = "update"
description = "Update"
cmd = ["{tool}", "update"]
depends-on = ["mend"]
"""
Make = Callable[[str, str], DeclarativePlugin]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """The plugin above, of a tool that says what is outdated and what is unfinished."""

    def build(outdated: str, unfinished: str) -> DeclarativePlugin:
        path = tmp_path / "demo"
        path.write_text(f"#!/bin/sh\ncase $1 in\noutdated) {outdated};;\nunfinished) {unfinished};;\nesac\n")
        path.chmod(0o755)
        return DeclarativePlugin(parse_definition(TEXT.format(tool=path), "demo.toml"))

    return build


def commands(plugin: DeclarativePlugin, check: CheckResult) -> list[list[str]]:
    steps = asyncio.run(plugin.plan_steps(check))
    return [command.cmd[1:] for step in steps for command in step.commands or ()]


def test_with_nothing_to_update_the_run_mends(make: Make) -> None:
    demo = make("true", "echo zlib; echo zlib; echo bash")
    check = asyncio.run(demo.check())
    assert (check.status, check.runnable) == (CheckStatus.CANNOT_KNOW, True)
    assert check.reason == "an update was begun and not finished: zlib, bash"
    assert commands(demo, check) == [["mend", "zlib"], ["mend", "bash"], ["update"]]


def test_a_command_that_names_no_item_runs_once(make: Make) -> None:
    demo = make("true", "echo zlib; echo bash")
    text = TEXT.replace('"mend", "{{item}}"', '"mend"').format(tool=demo.command)
    once = DeclarativePlugin(parse_definition(text, "demo.toml"))
    assert commands(once, asyncio.run(once.check())) == [["mend"], ["update"]]


def test_updates_are_told_and_what_is_half_done_is_mended_with_them(make: Make) -> None:
    demo = make("echo zlib 1 2", "echo bash")
    check = asyncio.run(demo.check())
    assert check == CheckResult.of([Change("zlib", "1", "2")])
    assert commands(demo, check) == [["mend", "bash"], ["update"]]


def test_where_nothing_is_half_done_nothing_is_mended(make: Make) -> None:
    demo = make("true", "true")
    check = asyncio.run(demo.check())
    assert check.status is CheckStatus.UP_TO_DATE
    steps = asyncio.run(demo.plan_steps(check))
    assert [(step.name, step.depends_on) for step in steps] == [("update", [])]


def test_a_long_list_is_cut_short(make: Make) -> None:
    check = asyncio.run(make("true", "seq 7").check())
    assert check.reason.endswith("1, 2, 3, 4 more")


@pytest.mark.parametrize("answer", ["exit 2", "printf 'a\\033[2Jb\\n'", "echo oops >&2; kill -9 $$"])
def test_no_answer_is_neither_whole_nor_half_done(make: Make, answer: str) -> None:
    demo = make("true", answer)
    check = asyncio.run(demo.check())
    if check.status is CheckStatus.CANNOT_KNOW and not check.runnable:
        with pytest.raises(StepError):
            asyncio.run(demo.plan_steps(CheckResult.of([Change("zlib", "1", "2")])))
    else:
        assert "begun and not finished" in check.reason


def test_a_step_for_each_needs_the_query_and_knows_the_name_only() -> None:
    text = TEXT.format(tool="demo")
    query = '[unfinished]\ncmd = ["demo", "unfinished"]\ncolumns = ["item"]\n'
    with pytest.raises(InvalidDefinitionError, match=r"needs an \[unfinished\] query"):
        parse_definition(text.replace(query, ""), "demo.toml")
    with pytest.raises(InvalidDefinitionError, match=r"\{new\} is no fact"):
        parse_definition(text.replace("{item}", "{new}"), "demo.toml")


def test_as_declared_each_step_is_there_with_its_templates(make: Make) -> None:
    demo = make("exit 3", "exit 3")
    declared = [command.cmd[1:] for step in demo.lowered_steps() for command in step.commands or ()]
    assert declared == [["mend", "{item}"], ["update"]]


@pytest.mark.parametrize(
    ("listed", "left"),
    [("a\nb\na\n", ["a", "a"]), ("a\nb\n", []), ("", []), ("a\nb\nb\nc\na\n", ["a", "b", "b", "a"])],
)
def test_only_what_is_there_more_than_once(listed: str, left: list[str]) -> None:
    records = read_records(Parser(columns=("item",), repeated_only=True), listed)
    assert [record["item"] for record in records] == left


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "pacman/db.lck"
    path.parent.mkdir()
    path.touch()
    return path


def unlock(lock: Path, path: str = os.environ["PATH"]) -> int:
    """Run the command that pacman's definition has for its lock, on this one."""
    text = (CATALOGUE / "pacman.toml").read_text("utf-8").replace("/var/lib/pacman", str(lock.parent))
    plugin = DeclarativePlugin(parse_definition(text, "pacman.toml"))
    planned = {step.name: step for step in asyncio.run(plugin.plan_steps(CheckResult.of([])))}
    step = planned["unlock"]
    assert step.commands
    (command,) = step.commands
    done = subprocess.run(
        fill_command(command, {}).cmd, env={"PATH": path}, stdout=subprocess.DEVNULL, check=False
    )
    return done.returncode


@pytest.mark.skipif(shutil.which("fuser") is None, reason="needs fuser")
def test_a_lock_of_pacman_goes_only_where_nobody_has_it_open(lock: Path) -> None:
    waits = "import sys; file = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", waits, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        assert unlock(lock) == 0
        assert lock.exists()
        holder.communicate()
    assert unlock(lock) == 0
    assert not lock.exists()


def test_a_lock_of_pacman_stays_where_fuser_cannot_be_asked(lock: Path, tmp_path: Path) -> None:
    find = shutil.which("find")
    assert find is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/find").symlink_to(find)
    unlock(lock, str(tmp_path / "bin"))
    assert lock.exists()
