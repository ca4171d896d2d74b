"""`update-all explain`, and that every code of an error or warning has its page."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
from pathlib import Path

import pytest
from cli_machine import Machine
from hypothesis import given
from hypothesis import strategies as st

import update_all
from update_all.cli.explain import codes, page, page_lines
from update_all.core.errors import UpdateAllError
from update_all.ui.text import Style

SOURCE = Path(update_all.__file__).parent


def error_codes() -> set[str]:
    for module in pkgutil.walk_packages([str(SOURCE)], "update_all."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: set[str] = set()
    left: list[type[UpdateAllError]] = [UpdateAllError]
    while left:
        kind = left.pop()
        if kind.__module__.startswith("update_all"):
            found.add(kind.code)
        left += kind.__subclasses__()
    return found


def warning_codes() -> set[str]:
    """What WarningEvent is given as `code`, and what `_warn` functions are given in that place."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            values: list[ast.expr] = []
            if name == "WarningEvent":
                values = [word.value for word in node.keywords if word.arg == "code"]
            elif name == "_warn":
                values = node.args[:3]
            constants = [value.value for value in values if isinstance(value, ast.Constant)]
            found |= {str(value) for value in constants if re.fullmatch(r"[a-z]+(-[a-z]+)*", str(value))}
    return found


def test_codes_and_pages_are_in_step() -> None:
    assert set(codes()) == error_codes() | warning_codes() | {"bug"}


def test_the_documentation_holds_the_same_pages() -> None:
    folder = SOURCE.parents[1] / "docs/errors"
    if not folder.parent.is_dir():
        pytest.skip("needs the repository")
    assert sorted(path.stem for path in folder.glob("*.md")) == codes()
    assert (folder / "lock-held.md").read_text("utf-8") == page("lock-held")


@pytest.mark.parametrize("code", codes())
def test_a_page_says_what_why_and_what_to_do(code: str) -> None:
    text = page(code)
    lines = text.split("\n")
    assert lines[0] == f"# {code}"
    assert [line for line in lines if line.startswith("## ")] == ["## Why", "## What to do"]
    parts = re.split(r"^#.*$", text, flags=re.MULTILINE)[1:]
    assert all(part.strip() for part in parts)
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("code", codes())
def test_commands_on_a_page_exist(code: str) -> None:
    from update_all.cli.main import COMMANDS

    for command in re.findall(r"`update-all ([a-z-]+)", page(code)):
        assert command in COMMANDS


@given(st.text())
def test_any_page_is_shown_without_control_characters(text: str) -> None:
    shown = "\n".join(page_lines(text, Style(unicode=False)))
    assert shown.isascii()
    assert "\x1b" not in shown


def test_a_code_is_explained_with_and_without_brackets(machine: Machine) -> None:
    plain = machine.run("explain", "lock-held")
    assert (plain.code, plain.out.split("\n")[0]) == (0, "lock-held")
    assert "update-all attach" in plain.out
    assert machine.run("explain", "[lock-held]").out == plain.out


def test_a_plugin_in_a_run_is_explained(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"}, {"name": "two", "mutexes": ["dpkg"], "cmd": ["false"]})
    machine.run("run", "--yes")
    out = machine.run("explain", "alpha").out
    for part in (
        "alpha: The alpha", "user toml", "in a run: yes", "one: Do one", "$ note alpha one", "holds dpkg: ",
        "unfinished: run ", "update-all resume alpha", "failed: ",
    ):  # fmt: skip
        assert part in out, part


def test_why_a_plugin_is_not_in_a_run(machine: Machine) -> None:
    machine.plugin("here", {"name": "one"})
    machine.plugin("away", {"name": "one"}, detect="no-such-tool")
    machine.plugin("off", {"name": "one"})
    machine.config('[plugins]\nenabled = ["here", "away", "off"]\n[plugin.off]\nenabled = false\n')
    assert "no, because it is not here" in machine.run("explain", "away").out
    assert "update-all plugins enable off" in machine.run("explain", "off").out
    machine.config('exclude = ["here"]\n')
    assert "key exclude" in machine.run("explain", "here").out
    machine.config('[plugins]\nenabled = ["off"]\n')
    assert "key plugins.enabled" in machine.run("explain", "here").out


def test_a_step_is_explained(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"}, {"name": "two", "idempotent": False, "reason": "it sends mail"})
    machine.run("run", "--yes")
    ended = machine.run("explain", "alpha:two")
    assert ended.code == 0
    for part in ("alpha:two: Do two", "step 2 of 2", "runs: $ note alpha two", "done"):
        assert part in ended.out, part
    assert machine.run("explain", "alpha:three").code == 2


def test_a_broken_plugin_says_why(machine: Machine) -> None:
    machine.plugin("alpha", text="schema = 1\nname = 7\n")
    ended = machine.run("explain", "alpha")
    assert ended.code == 0
    assert "broken" in ended.out
    machine.python_plugin("wrong", "raise RuntimeError('no way')\n")
    assert "no way" in machine.run("explain", "wrong").out


def test_an_unknown_word_gets_the_nearest_one(machine: Machine) -> None:
    ended = machine.run("explain", "lock-hold")
    assert ended.code == 2
    assert "lock-held" in ended.err


def test_a_command_of_root_is_told_as_a_run_would_start_it(machine: Machine) -> None:
    """With the words of this machine: "sudo" or another, and nothing where the user is root already."""
    machine.plugin("alpha", {"name": "one", "sudo": True})
    (planned,) = json.loads(machine.run("plan", "--json").out)["plugins"][0]["steps"][0]["commands"]
    assert f"$ {planned}\n" in machine.run("explain", "alpha").out
    assert f"$ {planned}\n" in machine.run("explain", "alpha:one").out
