"""The commands that look and change nothing but the configuration: check, plan, status, history, plugins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from cli_machine import Machine

ONE, TWO = {"name": "one"}, {"name": "two", "depends-on": ["one"]}
QUERY = {"cmd": ["outdated"], "regex": "^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$"}


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ("echo jq 1.6 1.7", 100, "jq  1.6 → 1.7"),
        ("exit 0", 0, "alpha: up to date"),
        ("echo sorry >&2; exit 3", 1, "cannot know, because outdated ended with 3: sorry"),
    ],
)
def test_check_tells_and_its_exit_code_too(machine: Machine, script: str, code: int, told: str) -> None:
    machine.tool("outdated", script)
    machine.plugin("alpha", ONE, outdated=QUERY)
    ended = machine.run("check")
    assert ended.code == code
    assert told in ended.out
    assert machine.tree() == set()


def test_updates_matter_more_than_a_check_that_failed(machine: Machine) -> None:
    machine.tool("outdated", "echo jq 1.6 1.7")
    machine.plugin("alpha", ONE, outdated=QUERY)
    machine.plugin("beta", ONE, outdated={**QUERY, "cmd": ["false"]})
    assert machine.run("check").code == 100
    assert machine.run("check", "beta").code == 1
    assert machine.run("check", "-x", "alpha").code == 1


def test_check_without_plugins(machine: Machine) -> None:
    machine.plugin("absent", ONE, detect="no-such-tool")
    ended = machine.run("check")
    assert ended.code == 0
    assert "plugins list" in ended.out


def test_plan_shows_the_graph(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {**TWO, "mutexes": ["lock"]})
    machine.plugin("beta", {**ONE, "mutexes": ["lock"]}, after=["alpha"])
    ended = machine.run("plan")
    assert ended.code == 0
    for told in ("$ note alpha one", "after alpha:one", "holds lock", "after alpha:one, alpha:two"):
        assert told in ended.out
    assert "alpha:two and beta:one: lock" in ended.out
    assert (machine.ledger, machine.tree()) == ([], set())


def test_plan_may_answer_by_its_exit_code(machine: Machine) -> None:
    machine.tool("outdated", f"test -e {machine.root}/new && echo jq 1.6 1.7; exit 0")
    machine.plugin("alpha", ONE, outdated=QUERY)
    assert machine.run("plan", "--exit-code").code == 0
    (machine.root / "new").touch()
    assert machine.run("plan", "--exit-code").code == 100
    assert machine.run("plan").code == 0


def test_plan_as_a_drawing(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {**TWO, "mutexes": ["lo-ck"]})
    machine.plugin("beta", {**ONE, "mutexes": ["lo-ck"]})
    drawn = machine.run("plan", "--graphviz").out
    assert '"alpha:one" -> "alpha:two"' in drawn
    assert re.search(r'"alpha:two" -> "beta:one" \[style=dashed.*lo-ck', drawn)
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=drawn, text=True, check=True, capture_output=True)


def test_the_way_to_root_is_shown_where_it_would_be_used(machine: Machine) -> None:
    machine.plugin("alpha", {**ONE, "sudo": True})
    sudo = "" if os.geteuid() == 0 else "sudo "
    for command in (("run", "--dry-run"), ("plan",), ("plugins", "show", "alpha")):
        out = machine.run(*command).out
        assert re.search(rf"^ +(?:\$ )?{sudo}note alpha one$", out, re.MULTILINE), command
        assert ("sudo" in out) == bool(sudo)


def test_status_follows_a_plugin_through_its_life(machine: Machine) -> None:
    assert "No run" in machine.run("status").out
    machine.plugin("alpha", ONE, {"name": "two", "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]})
    machine.run("run", "--yes")
    failed = machine.run("status")
    assert failed.code == 0
    assert re.search(r"alpha\s+failed\s+1/2 steps", failed.out)
    assert "update-all resume" in failed.out
    (machine.root / "mended").touch()
    assert machine.run("resume").code == 0
    complete = machine.run("status").out
    assert re.search(r"alpha\s+complete\s+2/2 steps", complete)
    assert "resume" not in complete


def test_resume_repeats_nothing_that_is_done(machine: Machine) -> None:
    assert machine.run("resume").out == "nothing to resume: no run was left unfinished\n"
    machine.plugin("alpha", ONE, {"name": "two", "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]})
    machine.plugin("beta", {"name": "one", "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]}, TWO)
    assert machine.run("run", "--yes").code == 1
    assert machine.run("resume").code == 1
    (machine.root / "mended").touch()
    unknown = machine.run("resume", "alhpa")
    assert (unknown.code, unknown.out) == (2, "")
    assert "did you mean alpha?" in unknown.err
    assert machine.run("resume", "alpha").code == 0
    assert machine.ledger == ["alpha one"]
    assert machine.run("resume").code == 0
    assert machine.ledger == ["alpha one", "beta two"]


def test_resume_may_refuse_a_plan_that_has_changed(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {"name": "two", "cmd": ["false"]})
    assert machine.run("run", "--yes").code == 1
    machine.plugin("alpha", ONE, {"name": "two", "cmd": ["note", "changed"]})
    strict = machine.run("resume", "--strict")
    assert (strict.code, strict.out) == (2, "")
    assert "two" in strict.err
    relaxed = machine.run("resume", "--progress", "plain")
    assert relaxed.code == 0
    assert "has changed" in relaxed.out
    assert machine.ledger == ["alpha one", "changed"]


def test_a_plugin_that_is_gone_cannot_be_resumed(machine: Machine) -> None:
    definition = machine.plugin("alpha", ONE, {"name": "two", "cmd": ["false"]})
    assert machine.run("run", "--yes").code == 1
    definition.unlink()
    ended = machine.run("resume")
    assert ended.code == 1
    assert "alpha cannot be resumed" in ended.err


def test_history_of_runs_a_run_and_a_plugin(machine: Machine) -> None:
    assert machine.run("history").out == "No run has been recorded yet.\n"
    machine.plugin("alpha", ONE)
    machine.run("run", "--yes")
    machine.plugin("alpha", ONE, {"name": "two", "cmd": ["false"]})
    machine.run("run", "--yes")
    runs = machine.run("history").out.splitlines()
    assert len(runs) == 2
    assert "1 failed" in runs[0]
    assert "done" in runs[1]
    assert len(machine.run("history", "--limit", "1").out.splitlines()) == 1
    details = machine.run("history", runs[0].split()[0]).out
    assert "alpha:two  failed" in details
    plugin = machine.run("history", "alpha").out
    assert "failed in 50% of its runs" in plugin
    unknown = machine.run("history", "alhpa")
    assert (unknown.code, unknown.out) == (2, "")
    assert "did you mean alpha?" in unknown.err


def test_plugins_list_says_why(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    machine.plugin("ghost", ONE, detect="no-such-tool")
    machine.plugin("broken", text="schema = 1\n")
    rows = {line.split()[0]: line for line in machine.run("plugins", "list").out.splitlines()}
    assert "present" in rows["alpha"]
    assert "no-such-tool is not on PATH" in rows["ghost"]
    assert "broken" in rows["broken"].split()[1]
    assert "disabled" in rows["apt"]
    assert machine.run("plugins").out == machine.run("plugins", "list").out


def test_a_plugin_of_the_user_overrides_a_built_in_one(machine: Machine) -> None:
    machine.plugin("apt", ONE)
    rows = {line.split()[0]: line for line in machine.run("plugins", "list").out.splitlines()}
    assert "user toml" in rows["apt"]
    assert "overrides built-in" in rows["apt"]
    assert machine.run("run", "--yes").code == 0
    assert machine.ledger == ["apt one"]


def test_plugins_show(machine: Machine) -> None:
    machine.plugin("alpha", {**ONE, "mutexes": ["lock"]}, tags=["lang"])
    shown = machine.run("plugins", "show", "alpha").out
    for told in ("The alpha", "lang", "Do one", "holds lock", "note alpha one"):
        assert told in shown
    unknown = machine.run("plugins", "show", "alhpa")
    assert (unknown.code, unknown.out) == (2, "")
    assert "did you mean alpha?" in unknown.err


def test_plugins_are_disabled_and_enabled(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    machine.plugin("beta", ONE)
    assert machine.run("plugins", "disable", "alpha").code == 0
    assert machine.run("run", "--yes").code == 0
    assert machine.ledger == ["beta one"]
    assert machine.run("run", "alpha", "--yes").code == 0, "who names it wants it"
    assert machine.run("plugins", "enable", "alpha").code == 0
    assert machine.run("run", "--yes").code == 0
    assert sorted(machine.ledger[2:]) == ["alpha one", "beta one"]
    for action in ("disable", "enable"):
        unknown = machine.run("plugins", action, "alhpa")
        assert (unknown.code, unknown.out) == (2, "")
        assert "did you mean alpha?" in unknown.err


def test_the_configuration_is_set_and_shown(machine: Machine) -> None:
    assert machine.run("config", "path").out == f"{machine.config_file}\n"
    machine.config("# mine\njobs = 2\n")
    assert machine.run("config", "set", "network.downloads", "7").code == 0
    assert machine.config_file.read_text().startswith("# mine\njobs = 2\n")
    shown = machine.run("config", "show").out
    assert f"jobs = 2  # {machine.config_file}:2" in shown
    assert f"network.downloads = 7  # {machine.config_file}:" in shown
    assert "fail_fast = false  # default" in shown
    assert (
        "jobs = 9  # environment UPDATE_ALL_JOBS" in machine.run("config", env={"UPDATE_ALL_JOBS": "9"}).out
    )


@pytest.mark.parametrize(
    ("key", "value", "told"), [("josb", "2", "jobs"), ("jobs", "0", "jobs"), ("jobs", "x", "jobs")]
)
def test_a_wrong_setting_changes_nothing(machine: Machine, key: str, value: str, told: str) -> None:
    machine.config("jobs = 2\n")
    ended = machine.run("config", "set", key, value)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert machine.config_file.read_text() == "jobs = 2\n"


def test_the_configuration_is_edited_and_checked(machine: Machine) -> None:
    machine.config("jobs = 2\n")
    machine.tool("ed-good", 'echo "jobs = 3" > "$2"')
    machine.tool("ed-bad", 'echo "josb = 3" > "$1"')
    assert machine.run("config", "edit", env={"EDITOR": "ed-good --wait"}).code == 0
    assert "jobs = 3" in machine.run("config", "show").out
    bad = machine.run("config", "edit", env={"VISUAL": "ed-bad", "EDITOR": "ed-good"})
    assert bad.code == 2
    assert f"{machine.config_file}:1" in bad.err
    missing = machine.run("config", "edit", env={"EDITOR": "no-such-editor"})
    assert missing.code == 2
    assert "no-such-editor" in missing.err
