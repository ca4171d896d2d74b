"""What the npm plugin reads, and what it would run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import Change, CheckResult, StepError
from update_all.plugins.npm import NpmPlugin, Outdated, abandoned, parse_installed, parse_outdated, updates

# npm 11.19.1, `npm outdated --global --json`.
OUTDATED = """\
{
  "@ua-lab/two": {
    "current": "1.0.0",
    "wanted": "1.1.0",
    "latest": "1.1.0",
    "dependent": "global",
    "location": "/home/lab/p/lib/node_modules/@ua-lab/two"
  },
  "ua-lab-kill": {
    "wanted": "2.0.0",
    "latest": "2.0.0",
    "dependent": "global",
    "location": "/home/lab/p/lib/node_modules/ua-lab-kill"
  },
  "ua-lab-pre": {
    "current": "2.0.0-beta.1",
    "wanted": "1.9.0",
    "latest": "1.9.0",
    "dependent": "global",
    "location": "/home/lab/p/lib/node_modules/ua-lab-pre"
  }
}
"""

# The same with a closed port for a registry.
UNREACHABLE = """\
{
  "error": {
    "code": "ECONNREFUSED",
    "summary": "FetchError: request to http://127.0.0.1:8124/ua-lab-pre failed, reason: connect ECONNREFUSED",
    "detail": "If you are behind a proxy, please make sure that the 'proxy' config is set properly."
  }
}
"""

# npm 11.19.1, `npm ls --global --json`: a package, an emptied folder, a linked folder.
INSTALLED = """\
{
  "name": "lib",
  "dependencies": {
    "ua-lab-big": {
      "version": "0.1.0",
      "overridden": false
    },
    "ua-lab-kill": {
      "overridden": false
    },
    "ua-lab-one": {
      "version": "0.5.0",
      "resolved": "file:../../../link",
      "overridden": false
    }
  }
}
"""


def test_outdated_packages() -> None:
    assert parse_outdated(OUTDATED) == [
        Outdated("@ua-lab/two", "1.0.0", "1.1.0"),
        Outdated("ua-lab-kill", None, "2.0.0"),
        Outdated("ua-lab-pre", "2.0.0-beta.1", "1.9.0"),
    ]
    assert parse_outdated("{}") == []


def test_error_of_npm_is_no_answer() -> None:
    with pytest.raises(StepError, match="ECONNREFUSED"):
        parse_outdated(UNREACHABLE)


def test_package_named_error_is_a_package() -> None:
    text = json.dumps({"error": {"current": "7.0.0", "wanted": "7.2.0", "latest": "7.2.0"}})
    assert parse_outdated(text) == [Outdated("error", "7.0.0", "7.2.0")]


def test_package_in_several_places_counts_once() -> None:
    entry = {"current": "1.0.0", "latest": "2.0.0"}
    assert parse_outdated(json.dumps({"twice": [entry, entry]})) == [Outdated("twice", "1.0.0", "2.0.0")]


@pytest.mark.parametrize("text", ["<html>sign in</html>", "[]", '{"x": 1}', '{"x": {}}', '{"x": []}', '"x"'])
def test_garbage_is_no_answer(text: str) -> None:
    with pytest.raises(StepError):
        parse_outdated(text)


@given(st.text(max_size=200))
def test_any_text_is_an_answer_or_a_step_error(text: str) -> None:
    for parse in (parse_outdated, parse_installed):
        with contextlib.suppress(StepError):
            assert not parse(text)


def test_installed_packages_without_links_and_emptied_folders() -> None:
    assert parse_installed(INSTALLED) == {"ua-lab-big": "0.1.0"}


def test_updates_go_upwards_only_and_only_to_what_is_ours() -> None:
    ours = {"@ua-lab/two": "1.0.0", "ua-lab-pre": "2.0.0-beta.1"}
    assert updates(parse_outdated(OUTDATED), ours) == [
        Change("@ua-lab/two", "1.0.0", "1.1.0"),
        Change("ua-lab-kill", None, "2.0.0"),
    ]
    assert [change.item for change in updates(parse_outdated(OUTDATED), {})] == ["ua-lab-kill"]


def make_package(root: Path, name: str, programs: dict[str, str], *, linked: bool) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "package.json").write_text(json.dumps({"name": name, "bin": programs}))
    for program in programs if linked else ():
        (root.parent.parent / "bin").mkdir(exist_ok=True)
        (root.parent.parent / "bin" / program).symlink_to("nowhere")


def test_abandoned_packages_are_those_that_are_gone_or_lost_their_programs(tmp_path: Path) -> None:
    root = tmp_path / "lib" / "node_modules"
    make_package(root, "whole", {"whole": "cli.js"}, linked=True)
    make_package(root, "unlinked", {"unlinked": "cli.js"}, linked=False)
    make_package(root, "untouched", {"untouched": "cli.js"}, linked=False)
    for name in ("whole", "unlinked", "gone"):
        (root / f".{name}-a1B2c3D4").mkdir()
    (root / "@scope" / ".inner-part-a1B2c3D4").mkdir(parents=True)
    (root / ".package-lock.json").touch()
    assert abandoned(root) == {"unlinked", "gone", "@scope/inner-part"}


def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *changes: Change) -> list[list[str]]:
    """The commands for these changes, where a stand-in for npm names the global folder."""
    (tmp_path / "npm").write_text(f"#!/bin/sh\necho {tmp_path}/prefix/lib/node_modules\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    steps = asyncio.run(NpmPlugin().plan_steps(CheckResult.of(changes)))
    assert all(not step.needs_root for step in steps)
    return [command.cmd for step in steps for command in step.commands or ()]


def test_each_package_has_its_command_and_npm_itself_is_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = (Change("npm", "10.0.0", "11.0.0"), Change("@ua-lab/two", "1.0.0", "1.1.0"))
    commands = planned(tmp_path, monkeypatch, *changes)
    assert [command[-1] for command in commands] == ["@ua-lab/two@1.1.0", "npm@11.0.0"]
    assert all(command[:3] == ["npm", "install", "--global"] for command in commands)


def test_nothing_outdated_plans_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(tmp_path, monkeypatch) == []


def test_folder_of_root_needs_root_and_names_the_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the answer of access(2) for another user is put in its place."""

    def denied(path: object, mode: int) -> bool:
        return False

    monkeypatch.setattr("update_all.plugins.npm.os.access", denied)
    (tmp_path / "npm").write_text("#!/bin/sh\necho /usr/lib/node_modules\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    steps = asyncio.run(NpmPlugin().plan_steps(CheckResult.of([Change("x", "1.0.0", "2.0.0")])))
    (command,) = steps[0].commands or []
    assert steps[0].sudo
    assert command.sudo
    assert command.cmd[:5] == ["npm", "install", "--global", "--prefix", "/usr"]
