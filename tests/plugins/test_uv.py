"""What the uv plugins read, and what they would run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import BasePlugin, Change, CheckResult, CheckStatus, StepError
from update_all.plugins.uv import (
    Interpreter,
    Tool,
    UvPythonPlugin,
    UvToolsPlugin,
    newest_by_minor,
    parse_interpreters,
    parse_tools,
)

# uv 0.13.9, `uv tool list --outdated --show-version-specifiers`.
TOOLS = """\
ua-lab-below v1.0 [required: <1.1] [latest: 2.0]
- ua-lab-below
ua-lab-extra v1.0 [required: >=0.5] [latest: 2.0]
- ua-lab-extra
ua-lab-free v1.0 [latest: 2.0]
- ua-lab-free
ua-lab-pin v1.0 [required: ==1.0] [latest: 2.0]
- ua-lab-pin
"""

# uv 0.13.9, `uv python list --only-installed --managed-python --output-format json`, shortened.
PYTHON = (
    '{"key":"cpython-3.11.7-linux-x86_64-gnu","version":"3.11.7","version_parts":{"major":3,"minor":11,"patch":7},'
    '"path":"python/cpython-3.11.7-linux-x86_64-gnu/bin/python3.11","symlink":null,"url":null,"os":"linux",'
    '"variant":"default","implementation":"cpython","arch":"x86_64","libc":"gnu"}'
)


def python(version: str, **other: str) -> dict[str, object]:
    return {**json.loads(PYTHON), "version": version, **other}


def test_tools_with_their_specifiers() -> None:
    assert parse_tools(TOOLS) == [
        Tool("ua-lab-below", "1.0", "<1.1", "2.0"),
        Tool("ua-lab-extra", "1.0", ">=0.5", "2.0"),
        Tool("ua-lab-free", "1.0", "", "2.0"),
        Tool("ua-lab-pin", "1.0", "==1.0", "2.0"),
    ]
    assert parse_tools("ua-lab-free v1.0\n- ua-lab-free\n") == [Tool("ua-lab-free", "1.0", "", None)]


def test_other_wording_is_not_taken_for_nothing_outdated() -> None:
    with pytest.raises(StepError, match=r"1\.0 -> 2\.0"):
        parse_tools("ua-lab-free 1.0 -> 2.0\n")


@pytest.mark.parametrize(
    ("required", "pinned", "bounded"),
    [
        ("", False, False),
        (">=0.5", False, False),
        ("!=1.1", False, False),
        ("<1.1", False, True),
        (">=1, <2", False, True),
        ("~=1.0", False, True),
        ("==1.*", False, True),
        ("==1.0", True, True),
        ("===1.0", True, True),
        ("== 1.0", True, True),
    ],
)
def test_pins_and_bounds(required: str, pinned: bool, bounded: bool) -> None:
    tool = Tool("x", "1.0", required, "2.0")
    assert (tool.pinned, tool.bounded) == (pinned, bounded)


@given(st.text(max_size=200))
def test_any_text_is_an_answer_or_a_step_error(text: str) -> None:
    with contextlib.suppress(StepError):
        assert all(tool.name for tool in parse_tools(text))
    with contextlib.suppress(StepError):
        assert not parse_interpreters(text)


def test_interpreters_that_uv_can_upgrade() -> None:
    entries = [
        python("3.11.7"),
        python("3.13.0rc2"),
        python("3.13.1", variant="freethreaded"),
        python("3.10.14", implementation="pypy"),
    ]
    assert parse_interpreters(json.dumps(entries)) == [
        Interpreter("3.11", "3.11.7"),
        Interpreter("3.13", "3.13.0rc2"),
    ]


@pytest.mark.parametrize("text", ["", "{}", "null", "error: no"])
def test_garbage_is_no_answer(text: str) -> None:
    with pytest.raises(StepError):
        parse_interpreters(text)


def test_newest_patch_of_each_minor_version() -> None:
    versions = ["3.11.10", "3.11.9", "3.13.0", "3.13.0rc2", "3.13.0b3", "3.12.1"]
    installed = [Interpreter(version.rpartition(".")[0], version) for version in versions]
    assert newest_by_minor(installed) == {"3.11": "3.11.10", "3.12": "3.12.1", "3.13": "3.13.0"}


def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: object, available: object) -> None:
    """A stand-in that answers `uv python list` with recorded entries: real interpreters come from afar."""
    (tmp_path / "installed").write_text(json.dumps(installed))
    (tmp_path / "available").write_text(json.dumps(available))
    (tmp_path / "uv").write_text(
        '#!/bin/sh\ncase "$*" in *--only-installed*) exec cat "${0%/*}/installed";; '
        '*--only-downloads*) exec cat "${0%/*}/available";; esac\nexit 2\n'
    )
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_newer_patches_are_updates_and_other_minor_versions_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = [python("3.11.7"), python("3.12.9"), python("3.13.1")]
    available = [python("3.11.10"), python("3.12.9"), python("3.14.0")]
    fake_uv(tmp_path, monkeypatch, installed, available)
    result = asyncio.run(UvPythonPlugin().check())
    assert result.updates == (Change("3.11", "3.11.7", "3.11.10"),)


def test_uv_that_answers_garbage_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_uv(tmp_path, monkeypatch, {"not": "a list"}, [])
    assert asyncio.run(UvPythonPlugin().check()).status is CheckStatus.CANNOT_KNOW


def commands(plugin: BasePlugin, check: CheckResult) -> list[list[str]]:
    steps = asyncio.run(plugin.plan_steps(check))
    return [command.cmd for step in steps for command in step.commands or ()]


def test_commands_name_what_is_outdated() -> None:
    check = CheckResult.of([Change("one", "1", "2"), Change("two", "1", "2")])
    assert commands(UvToolsPlugin(), check) == [["uv", "tool", "upgrade", name] for name in ("one", "two")]
    assert commands(UvPythonPlugin(), check) == [["uv", "python", "upgrade", "one", "two"]]


def test_old_uv_upgrades_all_tools_because_it_cannot_say_which() -> None:
    unknown = CheckResult.cannot_know("this uv cannot list outdated tools", runnable=True)
    assert commands(UvToolsPlugin(), unknown) == [["uv", "tool", "upgrade", "--all"]]


def test_nothing_outdated_plans_nothing() -> None:
    assert commands(UvToolsPlugin(), CheckResult.of([])) == []
    assert commands(UvPythonPlugin(), CheckResult.of([])) == []


def test_uv_without_the_option_cannot_know_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv").write_text(
        "#!/bin/sh\necho \"error: unexpected argument '--outdated' found\" >&2\nexit 2\n"
    )
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    result = asyncio.run(UvToolsPlugin().check())
    assert result.status is CheckStatus.CANNOT_KNOW
    assert result.runnable
