"""What every shipped plugin holds to, whichever way it is written."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from update_all.core.errors import StepError
from update_all.core.models import Change, CheckResult, CheckStatus, UpdateStep
from update_all.plugins.base import BasePlugin
from update_all.plugins.builtin import BUILT_IN, CATALOGUE
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.lint import Finding, check_definition, check_steps
from update_all.plugins.mutexes import known_reasons
from update_all.plugins.registry import Registry, discover
from update_all.plugins.sources import Origin, SearchPaths

STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system"}
CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.sendto"}
CHANGES = {
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_seen: list[tuple[str, str]] = []
_watching = [False]


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook (sys.addaudithook) stays for the life of the process: it is told when to look."""
    if not _watching[0]:
        return
    written = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
    if written or event in STARTS | CONNECTS | CHANGES:
        _seen.append((event, str(arguments[:1])))


sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[list[tuple[str, str]]]:
    """What the block starts, connects to or writes."""
    _seen.clear()
    _watching[0] = True
    try:
        yield _seen
    finally:
        _watching[0] = False


def test_the_watch_sees_what_is_started_and_written(tmp_path: Path) -> None:
    with watched() as seen:
        (tmp_path / "file").write_text("x")
        subprocess.run(["true"], check=True)
    (tmp_path / "other").write_text("x")
    assert {event for event, _ in seen} >= {"open", "subprocess.Popen"}
    assert not any("other" in what for _, what in seen)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover(SearchPaths())


@pytest.fixture(params=sorted(BUILT_IN))
def plugin(
    request: pytest.FixtureRequest,
    registry: Registry,
    private_environment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> BasePlugin:
    """Each shipped plugin, on a machine with an empty home and nothing on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return registry.load(str(request.param))


class TwoThings(DeclarativePlugin):
    """The plugin of a tool that is not here; two things are installed."""

    async def installed_versions(self) -> dict[str, str]:
        return {"one": "1", "two": "1"}

    async def unfinished(self) -> list[Change]:
        return [Change("one"), Change("two")] if self.definition.unfinished else []


def planned(plugin: BasePlugin, check: CheckResult) -> list[UpdateStep]:
    """The steps of a run after `check`; the test is skipped where the tool must be asked for them."""
    if isinstance(plugin, DeclarativePlugin):
        plugin = TwoThings(plugin.definition)
    try:
        return asyncio.run(plugin.plan_steps(check))
    except StepError as error:
        pytest.skip(f"the steps of {plugin.name} cannot be known without its tool: {error.message}")


def updates() -> CheckResult:
    return CheckResult.of([Change("one", "1", "2"), Change("two", "1", "2")])


def findings(plugin: BasePlugin, steps: list[UpdateStep]) -> list[Finding]:
    """What the lint says of the steps, without what the definition allows or gives a reason for."""
    found = check_steps(plugin.name, steps)
    if not isinstance(plugin, DeclarativePlugin):
        return found
    allowed = {allow.rule for allow in plugin.definition.allow if allow.reason.strip()}
    return [one for one in found if one.rule not in {*allowed, "mutex-reason"}]


def test_it_says_what_it_is(plugin: BasePlugin, request: pytest.FixtureRequest) -> None:
    assert plugin.name == request.node.callspec.params["plugin"]
    assert plugin.description.strip()
    assert plugin.command.strip()


def test_looking_for_a_tool_that_is_not_here_touches_nothing(plugin: BasePlugin) -> None:
    with watched() as seen:
        found = plugin.detect()
    assert not found.present
    assert found.reason.strip()
    assert seen == []


def test_a_check_without_the_tool_claims_nothing(plugin: BasePlugin, private_environment: Path) -> None:
    before = sorted(private_environment.rglob("*"))
    with watched() as seen:
        try:
            answer = asyncio.run(plugin.check())
        except StepError as error:
            answer = CheckResult.cannot_know(error.message)
    assert not [event for event in seen if event[0] in CONNECTS]
    assert sorted(private_environment.rglob("*")) == before
    if answer.status is CheckStatus.UP_TO_DATE:
        assert asyncio.run(plugin.installed_versions()) == {}
    else:
        assert answer.status is CheckStatus.CANNOT_KNOW
        assert answer.reason.strip()


def test_its_commands_ask_nothing_weaken_nothing_and_hold_the_right_locks(plugin: BasePlugin) -> None:
    steps = planned(plugin, updates())
    assert findings(plugin, steps) == []
    for step in steps:
        for command in step.commands or ():
            assert command.cmd
            assert all(isinstance(part, str) for part in command.cmd)
            assert command.cmd[0].strip()


def test_its_mutexes_have_reasons(plugin: BasePlugin) -> None:
    reasons = dict(known_reasons())
    if isinstance(plugin, DeclarativePlugin):
        reasons |= {mutex.name: mutex.reason for mutex in plugin.definition.mutex}
    held = {name for step in planned(plugin, updates()) for name in step.mutexes}
    assert [name for name in sorted(held) if not reasons.get(name, "").strip()] == []


def test_it_declares_what_runs_as_root(plugin: BasePlugin) -> None:
    declared = {Path(program).name for program in plugin.sudo_commands}
    as_root = {
        Path(command.cmd[0]).name
        for step in planned(plugin, updates())
        for command in step.commands or ()
        if step.sudo or command.sudo
    }
    assert as_root <= declared


def test_where_all_is_up_to_date_nothing_is_done_that_cannot_be_repeated(plugin: BasePlugin) -> None:
    steps = planned(plugin, CheckResult.of([]))
    if isinstance(plugin, DeclarativePlugin):
        one_by_one = {step.name for step in plugin.definition.step if step.for_each == "outdated"}
        assert not one_by_one & {step.name for step in steps}
    for step in steps:
        assert step.idempotent or step.check_fn is not None or step.reason.strip(), step.name


@pytest.mark.parametrize("path", sorted(CATALOGUE.glob("*.toml")), ids=lambda path: path.stem)
def test_its_definition_and_its_samples_are_sound(path: Path) -> None:
    assert check_definition(path, Origin.BUILT_IN) == []
