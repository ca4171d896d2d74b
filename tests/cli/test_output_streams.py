"""What goes to which stream: JSON alone on standard output, pipes that close, odd locales, odd output."""

from __future__ import annotations

import json
import subprocess
import unicodedata

import pytest
from cli_machine import Machine

from update_all.core.streaming import (
    CompletionEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepStartEvent,
    StreamEvent,
)

CONTROLS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
ONE, TWO = {"name": "one"}, {"name": "two", "depends-on": ["one"]}
FAILING = {"name": "two", "cmd": ["sh", "-c", "echo it broke >&2; exit 9"]}


@pytest.mark.parametrize(
    ("arguments", "schema", "code"),
    [
        (("run", "--yes"), "update-all.run/1", 1),
        (("run",), "update-all.plan/1", 4),
        (("run", "--dry-run"), "update-all.plan/1", 0),
        (("check",), "update-all.check/1", 0),
        (("plan",), "update-all.plan/1", 0),
        (("resume",), "update-all.resume/1", 0),
        (("status",), "update-all.status/1", 0),
        (("history",), "update-all.history/1", 0),
        (("plugins", "list"), "update-all.plugins/1", 0),
        (("config", "show"), "update-all.config/1", 0),
        (("run", "nosuch"), "update-all.error/1", 2),
        (("history", "nosuch"), "update-all.error/1", 2),
    ],
)
def test_json_is_one_document_and_nothing_else(
    machine: Machine, arguments: tuple[str, ...], schema: str, code: int
) -> None:
    machine.plugin("alpha", ONE, FAILING)
    ended = machine.run(*arguments, "--json")
    assert ended.code == code
    assert ended.json["schema"] == schema
    assert ended.json.get("exit_code", code) == code


def test_the_document_of_a_run_tells_what_failed_and_what_to_type(machine: Machine) -> None:
    machine.plugin("alpha", ONE, FAILING)
    machine.plugin("beta", ONE)
    document = machine.run("run", "--yes", "--json").json
    assert (document["status"], document["next"]) == ("partial", ["update-all resume alpha"])
    plugins = document["plugins"]
    assert isinstance(plugins, list)
    told = {plugin["name"]: plugin["status"] for plugin in plugins if isinstance(plugin, dict)}
    assert told == {"alpha": "failed", "beta": "done"}


def test_json_lines_are_the_events_of_the_run(machine: Machine) -> None:
    machine.plugin("alpha", ONE, TWO)
    machine.plugin("beta", FAILING)
    ended = machine.run("run", "--yes", "--progress", "jsonl")
    assert ended.code == 1
    events = [StreamEvent.from_dict(json.loads(line)) for line in ended.out.splitlines()]
    assert sum(isinstance(event, RunStartEvent) for event in events) == 1
    assert isinstance(events[-1], RunEndEvent)
    assert events[-1].exit_code == 1
    starts = [(event.plugin_name, event.step_name) for event in events if isinstance(event, StepStartEvent)]
    ends = [(event.plugin_name, event.step_name) for event in events if isinstance(event, StepEndEvent)]
    assert sorted(starts) == sorted(ends) == [("alpha", "one"), ("alpha", "two"), ("beta", "two")]
    assert [event.plugin_name for event in events if isinstance(event, CompletionEvent)].count("beta") == 1


def test_json_lines_without_consent_are_no_lines(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    ended = machine.run("run", "--progress", "jsonl")
    assert (ended.code, ended.out) == (4, "")


def test_json_together_with_json_lines_is_one_document(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    assert machine.run("run", "--yes", "--json", "--progress", "jsonl").json["exit_code"] == 0


@pytest.mark.parametrize(
    "arguments", ["run --yes", "run --yes --progress jsonl", "run --yes --json", "--help"]
)
@pytest.mark.parametrize("reader", ["head -n 1", "true"])
def test_a_reader_that_goes_away_disturbs_nothing(machine: Machine, arguments: str, reader: str) -> None:
    machine.tool("slow", "sleep 0.3; " + f"echo done >> {machine.root}/ledger; seq 2000")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow"]}, TWO | {"depends-on": []})
    script = f'"$@" {arguments} | {reader} > /dev/null; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(
        ["bash", "-c", script, "bash", *machine.argv([])],
        env=machine.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert machine.ledger == ([] if arguments == "--help" else ["done", "alpha two"])


def test_a_pipe_gets_plain_lines(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    ended = machine.run("run", "--yes")
    assert "\x1b" not in ended.out
    assert "\r" not in ended.out
    assert "\x1b[" in machine.run("run", "--yes", "--color", "always").out


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
@pytest.mark.parametrize("command", ["run --yes", "check", "plan", "run -n", "plugins show alpha"])
def test_any_locale_will_do(machine: Machine, env: dict[str, str], command: str) -> None:
    machine.tool("outdated", "echo 'größe→😀 1 2'")
    query = {"cmd": ["outdated"], "regex": "^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$"}
    machine.plugin(
        "alpha", {"name": "one", "description": "Größe → 😀", "cmd": ["note", "größe→😀"]}, outdated=query
    )
    ended = machine.run(*command.split(), env=env)
    assert ended.code == (100 if command == "check" else 0), ended
    assert "Traceback" not in ended.err
    if command == "run --yes":
        assert machine.ledger == ["größe→😀"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_any_encoding(machine: Machine, encoding: str) -> None:
    machine.tool("outdated", "echo 'größe→😀 1 2'")
    query = {"cmd": ["outdated"], "regex": "^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$"}
    machine.plugin("alpha", ONE, outdated=query)
    argv = machine.argv(["check", "--json"])
    env = {**machine.env, "PYTHONIOENCODING": encoding}
    ended = subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False)
    document = json.loads(ended.stdout.decode(encoding))
    assert document["plugins"][0]["updates"][0]["item"] == "größe→😀"


def test_garbage_of_a_tool_reaches_no_terminal(machine: Machine) -> None:
    escapes = r"one\033]0;title\007\033[31mred \377\376\000 \342\200\256end\r\n"
    machine.tool("garbage", f"printf '{escapes}'; head -c 200000 /dev/urandom")
    failing = {"name": "two", "cmd": ["sh", "-c", "garbage; exit 1"]}
    machine.plugin("alpha", {"name": "one", "cmd": ["garbage"]}, failing)
    ended = machine.run("run", "--yes", "--progress", "plain")
    assert ended.code == 1
    controls = {character for character in ended.out if unicodedata.category(character) in CONTROLS}
    assert controls == {"\n"}
    lines = machine.run("run", "--yes", "--progress", "jsonl").out.splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_a_garbled_answer_of_a_check_is_no_answer(machine: Machine) -> None:
    machine.tool("outdated", r"printf '\377\376\033[2J garbage'")
    query = {
        "cmd": ["outdated"],
        "regex": "^(?P<item>\\w+) (?P<old>\\S+) (?P<new>\\S+)$",
        "ignore-patterns": ["^Listing"],
    }
    machine.plugin("alpha", ONE, outdated=query)
    machine.plugin("beta", ONE)
    assert machine.run("check").code == 1
    ended = machine.run("run", "--yes")
    assert ended.code == 1
    assert "cannot know" in ended.err
    assert machine.ledger == ["beta one"]
