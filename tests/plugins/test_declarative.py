"""A definition becomes a plugin: detection, truthful checks, steps, facts. The tools are small scripts."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from update_all.core.errors import StepError
from update_all.core.models import Change, CheckResult, CheckStatus, Phase, UpdateStep
from update_all.core.streaming import StreamEvent
from update_all.plugins import detection
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.decoding import parse_definition
from update_all.plugins.definition import Detect
from update_all.plugins.detection import detect, expand, os_ids

HEAD = 'schema = 1\nname = "demo"\ndescription = "A demonstration"\n[detect]\ncommand = "demo"\n'
STEP = '[[step]]\nname = "update"\ndescription = "Update"\ncmd = ["demo", "update"]\n'
OUTDATED = """
[outdated]
cmd = ["demo", "outdated"]
regex = '^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$'
offline-patterns = ["no route"]
"""


def tool(directory: Path, script: str, name: str = "demo") -> dict[str, str]:
    """A program in `directory`, and an environment that finds it."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}", "HOME": str(directory)}


Make = Callable[..., DeclarativePlugin]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Builds the plugin of a definition whose tool is a script."""

    def build(text: str, script: str = "exit 0") -> DeclarativePlugin:
        environ = tool(tmp_path / "bin", script)
        monkeypatch.setenv("PATH", environ["PATH"])
        return DeclarativePlugin(parse_definition(HEAD + text, "demo.toml"), environ=environ)

    return build


def checked(plugin: DeclarativePlugin) -> CheckResult:
    return asyncio.run(plugin.check())


def test_three_answers(make: Make) -> None:
    script = 'cat "$HOME_OF_DEMO/answer" 2>/dev/null; exit 0'
    text = OUTDATED + 'env = { HOME_OF_DEMO = "${HOME}" }\n' + STEP
    demo = make(text, script)
    answer = Path(demo.detect().reason).parent / "answer"
    assert checked(demo).status is CheckStatus.UP_TO_DATE
    answer.write_text("zlib 1 2\n")
    assert checked(demo) == CheckResult.of([Change("zlib", "1", "2")])
    answer.write_text("warning: no route to host\n")
    assert checked(demo).status is CheckStatus.CANNOT_KNOW
    assert not checked(demo).runnable


@pytest.mark.parametrize("script", ["exit 3", "kill -9 $$", "echo 'no route' >&2"])
def test_a_failed_query_is_never_up_to_date(make: Make, script: str) -> None:
    result = checked(make(OUTDATED + STEP, script))
    assert result.status is CheckStatus.CANNOT_KNOW
    assert "demo" in result.reason


def test_a_query_that_hangs_ends(make: Make) -> None:
    result = checked(make(OUTDATED + "timeout = 1\n" + STEP, "sleep 600"))
    assert result.status is CheckStatus.CANNOT_KNOW
    assert "within 1 s" in result.reason


def test_without_a_query_the_run_goes_on(make: Make) -> None:
    result = checked(make(STEP))
    assert (result.status, result.runnable) == (CheckStatus.CANNOT_KNOW, True)


def test_another_program_of_the_same_name_is_not_run(make: Make) -> None:
    text = 'identity = { cmd = ["demo", "--version"], regex = "^demo [0-9]" }\n' + OUTDATED + STEP
    assert checked(make(text, "echo demo 1.0")).status is CheckStatus.UP_TO_DATE
    other = checked(make(text, "echo another demo"))
    assert (other.status, other.runnable) == (CheckStatus.CANNOT_KNOW, False)
    assert "another program" in other.reason


def test_a_probe_that_fails_is_cannot_know(make: Make) -> None:
    text = OUTDATED + 'probe = { cmd = ["demo", "ping"] }\n' + STEP
    assert checked(make(text, "exit 0")).status is CheckStatus.UP_TO_DATE
    down = checked(make(text, '[ "$1" != ping ]'))
    assert down.status is CheckStatus.CANNOT_KNOW


def test_of_several_files_the_newest_counts(make: Make, tmp_path: Path) -> None:
    text = OUTDATED + f'fresh = {{ path = "{tmp_path}/*.db", max-age = "1h" }}\n' + STEP
    demo = make(text, "")
    assert "never fetched" in checked(demo).reason
    for name, age in (("old.db", 10_000), ("other", 0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    assert "hours old; the run refreshes them" in checked(demo).reason
    (tmp_path / "new.db").touch()
    assert checked(demo).status is CheckStatus.UP_TO_DATE


def test_an_old_index_is_refreshed_by_the_run(make: Make, tmp_path: Path) -> None:
    index = tmp_path / "index"
    text = OUTDATED + f'fresh = {{ path = "{index}", max-age = "1h" }}\n' + STEP
    demo = make(text)
    assert (checked(demo).status, checked(demo).runnable) == (CheckStatus.CANNOT_KNOW, True)
    index.write_text("")
    assert checked(demo).status is CheckStatus.UP_TO_DATE
    os.utime(index, (0, 0))
    assert "old; the run refreshes them" in checked(demo).reason


def test_old_versions_come_from_what_is_installed(make: Make) -> None:
    text = (
        "[installed]\ncmd = ['demo', 'list']\ncolumns = ['item', 'version']\n"
        "[outdated]\ncmd = ['demo', 'outdated']\ncolumns = ['item', 'new']\n" + STEP
    )
    demo = make(text, 'case $1 in list) printf "a 1\\nb 5\\n";; outdated) echo a 2;; esac')
    assert checked(demo).updates == (Change("a", "1", "2"),)
    assert asyncio.run(demo.installed_versions()) == {"a": "1", "b": "5"}


def test_available_is_compared_with_installed(make: Make) -> None:
    text = (
        "[installed]\ncmd = ['demo', 'here']\nregex = '^(?P<item>a|b|c) (?P<version>\\S+)'\n"
        "[available]\ncmd = ['demo', 'there']\nregex = '^(?P<item>\\S+) (?P<version>\\S+)'\n" + STEP
    )
    script = 'case $1 in here) printf "a 1.9\\nb 5\\nc 2\\n";; there) printf "a 1.10\\nb 5\\nc 1\\n";; esac'
    assert checked(make(text, script)).updates == (Change("a", "1.9", "1.10"),)
    nothing = checked(make(text, "[ $1 = here ] && echo a 1; exit 0"))
    assert nothing.status is CheckStatus.CANNOT_KNOW


def test_a_name_with_control_characters_is_not_understood(make: Make) -> None:
    text = "[outdated]\ncmd = ['demo']\njson = '[*]'\nfields = {item = 'n', new = 'v'}\n" + STEP
    result = checked(make(text, """printf '[{"n": "a\\\\nb", "v": "1"}]'"""))
    assert result.status is CheckStatus.CANNOT_KNOW


def planned(plugin: DeclarativePlugin, *updates: Change) -> list[UpdateStep]:
    return asyncio.run(plugin.plan_steps(CheckResult.of(updates)))


def test_steps_carry_everything(make: Make) -> None:
    text = """
[[step]]
name = "fetch"
description = "Fetch"
cmds = [["demo", "fetch"], ["demo", "verify"]]
phase = "download"
[[step]]
name = "update"
description = "Update"
cmd = ["~/bin/demo", "--prefix=${HOME}", "${UNSET:-plain}"]
depends-on = ["fetch"]
mutexes = ["demo"]
sudo = true
ok-codes = [0, 3]
ok-patterns = ["fine"]
error-patterns = ["^E:"]
timeout = "2h"
interval = "7d"
retries = 2
uninterruptible = true
env = { A = "b" }
cwd = "~/work"
"""
    demo = make(text)
    fetch, update = demo.get_update_steps()
    home = str(Path(demo.detect().reason).parent)
    assert [command.cmd for command in fetch.commands or ()] == [["demo", "fetch"], ["demo", "verify"]]
    assert fetch.effective_phase is Phase.DOWNLOAD
    assert update.commands is not None
    (command,) = update.commands
    assert command.cmd == [f"{home}/bin/demo", f"--prefix={home}", "plain"]
    assert (command.sudo, command.ignore_exit_codes, command.cwd) == (True, (3,), f"{home}/work")
    assert (command.success_patterns, command.error_patterns) == (("fine",), ("^E:",))
    assert (update.timeout_seconds, update.interval_seconds, update.retries) == (7200, 604800, 2)
    assert (update.depends_on, update.mutexes, update.uninterruptible) == (["fetch"], ["demo"], True)
    assert demo.sudo_commands == ("~/bin/demo",)


FOR_EACH = (
    OUTDATED
    + """
[[step]]
name = "each"
description = "Update each"
for-each = "outdated"
cmd = ["demo", "install", "{item}=={new}"]
[[step]]
name = "clean"
description = "Clean up"
cmd = ["demo", "clean"]
depends-on = ["each"]
"""
)


def test_for_each_has_a_command_for_each_update(make: Make) -> None:
    demo = make(FOR_EACH)
    each, _ = planned(demo, Change("a", "1", "2"), Change("b{x}", "1", "3"))
    assert [command.cmd[2] for command in each.commands or ()] == ["a==2", "b{{x}}==3"]
    assert each.independent_commands
    assert [(step.name, step.depends_on) for step in planned(demo)] == [("clean", [])]


def test_an_item_is_never_taken_for_an_option(make: Make) -> None:
    text = FOR_EACH.replace('"{item}=={new}"', '"{item}"')
    with pytest.raises(StepError, match="would be taken for an option"):
        planned(make(text), Change("--config=/tmp/x", "1", "2"))
    safe = make(text.replace('"{item}"', '"--", "{item}"'))
    assert planned(safe, Change("-x", "1", "2"))[0].commands is not None
    with pytest.raises(StepError, match="not known"):
        planned(make(FOR_EACH), Change("a", "1", None))


def test_a_step_check_asks_the_tool(make: Make) -> None:
    text = STEP + 'check = { cmd = ["demo", "pending"], ok-codes = [4], regex = "^none" }\n'
    for script, done in (("echo none; exit 4", True), ("echo none", False), ("echo some; exit 4", False)):
        (step,) = make(text, script).get_update_steps()
        assert step.check_fn is not None
        answer = step.check_fn()
        assert not isinstance(answer, bool)
        assert asyncio.run(_awaited(answer)) is done


async def _awaited(answer: object) -> bool:
    assert hasattr(answer, "__await__")
    return bool(await answer)


async def _events(stream: AsyncIterator[StreamEvent]) -> list[StreamEvent]:
    return [event async for event in stream]


FACT = """
[[fact]]
name = "channel"
cmd = ["demo", "channel"]
regex = '^channel: (?P<value>\\w+)$'
[[step]]
name = "update"
description = "Update"
cmd = ["demo", "update", "{channel}"]
"""


def test_a_fact_is_found_before_the_step_that_needs_it(make: Make) -> None:
    demo = make(FACT, "echo noise; echo channel: stable")
    find, update = demo.get_update_steps()
    assert (find.name, update.depends_on) == ("find-channel", ["find-channel"])
    assert find.execute_fn is not None
    assert len(asyncio.run(_events(find.execute_fn()))) == 1
    assert demo.facts == {"channel": "stable"}


@pytest.mark.parametrize("script", ["exit 1", "echo nothing of the kind", "exit 0"])
def test_a_fact_that_is_not_found_fails_its_step_by_name(make: Make, script: str) -> None:
    find = make(FACT, script).get_update_steps()[0]
    assert find.execute_fn is not None
    with pytest.raises(StepError, match="'channel'"):
        asyncio.run(_events(find.execute_fn()))


def test_changes_are_read_from_the_output_of_a_step(make: Make) -> None:
    text = STEP + "[step.changes]\nregex = '^Updated (?P<item>\\S+) to (?P<new>\\S+)'\n"
    demo = make(text)
    assert demo.parse_changes("update", "x\nUpdated a to 2\n") == [Change("a", None, "2")]
    assert demo.parse_changes("other", "Updated a to 2\n") == []


def test_detection_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = tool(tmp_path / "bin", "")
    place = tmp_path / "place"
    release = tmp_path / "os-release"
    release.write_text('NAME="Debian GNU/Linux"\nID=debian\nID_LIKE="linux unix"\n')
    monkeypatch.setattr(detection, "OS_RELEASE", (tmp_path / "none", release))
    conditions = Detect(command="demo", paths=("${PLACE}", "/nowhere/at/all"), os_release=("Debian",))
    assert detect(conditions, environ).reason == "there is no ${PLACE} or /nowhere/at/all"
    place.mkdir()
    assert detect(conditions, environ | {"PLACE": str(place)}).present
    assert "not on PATH" in detect(Detect(command="no-such-program"), environ).reason
    assert detect(Detect(paths=("/",), absent=("/nowhere/at/all",)), environ).present
    assert detect(Detect(paths=("/",), absent=(str(place),)), environ).reason == f"there is {place}"
    assert "is not arch" in detect(Detect(os_release=("arch",)), environ).reason
    assert os_ids("ID_LIKE='ubuntu debian'") == {"ubuntu", "debian"}


def test_what_the_environment_holds_is_no_template() -> None:
    assert expand("${X}/{fact}", {"X": "{evil}"}) == "{{evil}}/{fact}"
    assert expand("${lower} $X ${X:-~/a}", {"HOME": "/h"}) == "${lower} $X ~/a"
    assert expand("${X:-~/a}", {"HOME": "/h"}) == "/h/a"


def test_a_checkout_is_moved_forward(make: Make, tmp_path: Path) -> None:
    def git(place: Path, *arguments: str) -> str:
        named = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
        done = subprocess.run(["git", *named, "-C", str(place), *arguments], check=True, capture_output=True)
        return done.stdout.decode().strip()

    remote, place = tmp_path / "remote", tmp_path / "tool"
    remote.mkdir()
    git(remote, "init", "--quiet", "--initial-branch=main")
    git(remote, "commit", "--quiet", "--allow-empty", "--message", "first")
    git(tmp_path, "clone", "--quiet", str(remote), str(place))
    git(remote, "commit", "--quiet", "--allow-empty", "--message", "second")
    tip = git(remote, "rev-parse", "HEAD")
    text = STEP.replace('cmd = ["demo", "update"]', f'fast-forward = "{place}"')
    (step,) = make(text).get_update_steps()
    assert step.commands is None

    async def run() -> list[StreamEvent]:
        assert step.execute_fn is not None
        return [event async for event in step.execute_fn()]

    assert asyncio.run(run())
    assert git(place, "rev-parse", "HEAD") == tip
