"""A step that a person has skipped with `s` has not failed, wherever its run is told of; nor is it done."""

from __future__ import annotations

import json
import re
from typing import TypedDict, cast

import pytest
from cli_machine import Machine, finish
from test_documents import fits

from update_all.core.models import JsonValue


class Plugin(TypedDict):
    """What is asked of a plugin of the document."""

    status: str
    error: str | None
    steps: list[dict[str, JsonValue]]


@pytest.fixture
def hooked(machine: Machine) -> Machine:
    """A machine with `alpha`, whose first step runs until it is skipped, and a tool for a hook."""
    machine.tool("endless", "echo no end; sleep 600")
    machine.plugin("alpha", {"name": "one", "cmd": ["endless"], "mutexes": ["lock"]}, {"name": "two"})
    machine.tool("keep", f"cat > {machine.root}/after.json")
    return machine


def skipping(machine: Machine, *keys: str) -> dict[str, Plugin]:
    """The plugins of the document of a run in which `endless` is skipped at last, after these keys."""
    with machine.config_file.open("a") as file:
        file.write(f'[hooks]\nafter = ["{machine.root}/bin/keep"]\n')
    child = machine.terminal("run", "--yes")
    child.setwinsize(40, 100)
    child.expect_exact("no end")
    for number, key in enumerate(keys):
        if number:
            child.expect_exact("is skipped")
        child.expect_exact("q stop after running steps")
        child.send("s")
        child.expect_exact("alpha:one")
        child.send(key)
    assert finish(child) == 1
    document = json.loads((machine.root / "after.json").read_text())
    assert fits(document) == []
    assert (document["status"], document["exit_code"]) == ("partial", 1)
    return {plugin["name"]: cast("Plugin", plugin) for plugin in document["plugins"]}


def test_the_document_says_skipped_with_the_reason(hooked: Machine) -> None:
    alpha = skipping(hooked, "y")["alpha"]
    assert (alpha["status"], alpha["error"]) == ("skipped", None)
    (step,) = alpha["steps"]
    assert (step["name"], step["status"], step["error"]) == ("one", "skipped", None)
    assert (step["reason"], step["error_code"]) == ("it was ended because somebody skipped it", "skipped")


def test_what_is_skipped_before_it_runs_is_in_the_document_too(hooked: Machine) -> None:
    hooked.plugin("beta", {"name": "other", "mutexes": ["lock"]})
    plugins = skipping(hooked, "2", "y")
    assert {plugin["status"] for plugin in plugins.values()} == {"skipped"}
    (step,) = plugins["beta"]["steps"]
    assert (step["name"], step["status"], step["attempts"]) == ("other", "skipped", 0)
    assert step["reason"] == "somebody skipped it before it ran"
    assert hooked.ledger == []


def test_a_real_failure_beside_it_is_a_failure(hooked: Machine) -> None:
    hooked.plugin("beta", {"name": "other", "cmd": ["false"]})
    plugins = skipping(hooked, "y")
    assert (plugins["alpha"]["status"], plugins["beta"]["status"]) == ("skipped", "failed")
    assert plugins["beta"]["steps"][0]["status"] == "failed"
    assert plugins["beta"]["error"]


def test_those_who_look_back_are_told_the_same(hooked: Machine) -> None:
    skipping(hooked, "y")
    (run,) = hooked.run("history").out.splitlines()
    assert run.endswith("unfinished")
    details = hooked.run("history", run.split()[0]).out
    assert re.search(r"alpha:one  skipped .*somebody skipped it", details)
    told = hooked.run("history", run.split()[0], "--json").json["steps"]
    assert [step["outcome"] for step in cast("list[dict[str, JsonValue]]", told)] == ["skipped"]
    status = hooked.run("status").out
    assert re.search(r"alpha +skipped +0/2 steps", status)
    assert "update-all resume" in status
    listed = next(
        line for line in hooked.run("plugins", "list").out.splitlines() if line.startswith("alpha ")
    )
    assert re.search(r"  skipped \d{4}-\d\d-\d\d", listed)
    assert "failed" not in hooked.run("explain", "alpha").out
