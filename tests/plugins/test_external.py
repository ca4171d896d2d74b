"""Executables in any language: the examples of the documentation work, and a hostile one fails alone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.errors import InvalidDefinitionError, StepError, UpToDate
from update_all.core.facts import fill_command
from update_all.core.models import (
    Change,
    CheckResult,
    CheckStatus,
    JsonValue,
    Phase,
    PluginConfig,
    UpdateStep,
)
from update_all.core.streaming import OutputEvent, ProgressEvent, WarningEvent
from update_all.plugins.adapter import OlderPlugin
from update_all.plugins.base import BasePlugin
from update_all.plugins.external import ExternalPlugin
from update_all.plugins.protocol import Answer, Exchange, ProtocolError
from update_all.plugins.registry import discover
from update_all.plugins.sources import SearchPaths

ROOT = Path(__file__).parents[2]
HELLO = '{"type": "hello", "protocol": 1}'
PLUGIN = (
    '{"type": "plugin", "name": "demo", "description": "d", "steps": [{"name": "go", "description": "Go"}]}'
)
END = '{"type": "end"}'
LONG = "y" * 5000
DESCRIBE = f"printf '%s\\n' '{HELLO}' '{PLUGIN}' '{END}'"

Load = Callable[..., BasePlugin]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Puts an executable into a plugin directory and loads it."""
    directory = tmp_path / "plugins.d"
    directory.mkdir(mode=0o700)

    def build(script: str | Path, options: dict[str, JsonValue] | None = None) -> BasePlugin:
        path = directory / (script.name if isinstance(script, Path) else "demo")
        text = script.read_text("utf-8") if isinstance(script, Path) else f"#!/bin/sh\n{script}\n"
        path.write_text(text, "utf-8")
        path.chmod(0o700)
        name = path.name.partition(".")[0]
        return discover(SearchPaths(user=(directory,))).load(name, PluginConfig(options=options or {}))

    return build


def checked(plugin: BasePlugin) -> CheckResult:
    return asyncio.run(plugin.check())


def performed(plugin: BasePlugin, step: UpdateStep) -> str:
    """Run the command of a step as the engine does, and let the plugin read its output."""
    assert step.commands is not None
    command = fill_command(step.commands[0], {})
    environ = {**os.environ, **(command.env or {})}
    done = subprocess.run(command.cmd, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert isinstance(plugin, ExternalPlugin | OlderPlugin)
    for line in (done.stdout + done.stderr).splitlines():
        plugin.interpret_output(step.name, line)
    if isinstance(plugin, ExternalPlugin):
        plugin.end_of_output(step.name, done.returncode)
    return done.stdout


def test_the_example_in_shell(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORTUNES_HOME", str(tmp_path))
    plugin = load(ROOT / "examples" / "fortunes")
    assert checked(plugin).status is CheckStatus.CANNOT_KNOW
    (tmp_path / "installed").write_text("1.0\n")
    (tmp_path / "available").write_text("1.1\n")
    assert checked(plugin) == CheckResult.of([Change("fortunes", "1.0", "1.1", 2048)])
    fetch, install = plugin.get_update_steps()
    assert (fetch.effective_phase, install.depends_on, install.mutexes) == (
        Phase.DOWNLOAD,
        ["fetch"],
        ["fortunes"],
    )
    performed(plugin, fetch)
    output = performed(plugin, install)
    assert plugin.parse_changes("install", output) == [Change("fortunes", "1.0", "1.1")]
    assert asyncio.run(plugin.installed_versions()) == {"fortunes": "1.1"}
    assert checked(plugin).status is CheckStatus.UP_TO_DATE
    with pytest.raises(UpToDate):
        performed(plugin, install)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_example_in_javascript(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    monkeypatch.setenv("WORDLISTS_HOME", str(lists))
    for name in ("birds", "trees"):
        (lists / f"{name}.json").write_text(json.dumps({"installed": "1", "available": "2"}))
    plugin = load(ROOT / "examples" / "wordlists.mjs", {"skip": ["trees"]})
    assert plugin.dependencies == ("fortunes",)
    assert checked(plugin).updates == (Change("birds", "1", "2"),)
    (update,) = plugin.get_update_steps()
    assert update.timeout_seconds == 600
    assert plugin.parse_changes("update", performed(plugin, update)) == [Change("birds", "1", "2")]
    assert checked(plugin).status is CheckStatus.UP_TO_DATE
    assert json.loads((lists / "trees.json").read_text())["installed"] == "1"


def test_the_answers_in_the_documentation_are_answers() -> None:
    text = (ROOT / "docs" / "executable-plugins.md").read_text("utf-8")
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    for exchange, block in zip(Exchange, blocks, strict=True):
        answer = Answer(exchange)
        messages = [answer.feed(line) for line in block.splitlines()]
        assert None not in messages
        assert answer.finish(0) is answer.end


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("head -c 300000 /dev/urandom", "not a message"),
        (f"echo '{HELLO}'; head -c 3000000 /dev/zero", "1 MiB"),
        (f'echo \'{HELLO}\'; yes \'{{"type": "x", "y": "{"y" * 5000}"}}\'', "64 MiB"),
        ("exit 0", "before its answer was complete"),
        (f"echo '{HELLO}'; printf '{{\"type\": \"pl'", "not a message"),
        (f"echo '{HELLO}'; echo '{END}'", "an end before plugin"),
        (f"echo '{PLUGIN}'; echo '{HELLO}'; echo '{END}'", "before hello"),
        (f"{DESCRIBE}; echo '{END}'", "after the end"),
        (f"{DESCRIBE}; exit 3", "ended with 3"),
        ('echo \'{"type": "hello", "protocol": 9}\'', "protocol 9"),
        (DESCRIBE.replace('"demo"', '"other"'), "calls itself 'other'"),
        (DESCRIBE.replace('"name": "go"', '"name": 7'), "not a message"),
        ("echo usage; exit 2", "speaks no known protocol"),
        ("kill -9 $$", "speaks no known protocol"),
    ],
)
def test_an_executable_that_cannot_be_understood_is_named(load: Load, script: str, reason: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=r"'demo'.*broken") as caught:
        load(script)
    assert reason in caught.value.message


def test_one_that_hangs_is_ended_with_all_its_children(load: Load, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(InvalidDefinitionError, match="did not answer within"):
        load(f"trap '' TERM; sleep 600 & echo $! $$ > {pids}; wait; sleep 600")
    for pid in map(int, pids.read_text().split()):
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_one_that_leaves_a_child_behind_is_not_waited_for(load: Load) -> None:
    assert load(f"sleep 600 & {DESCRIBE}").name == "demo"


CHECKS = [
    ('{"type": "end", "status": "updates"}', "contradicts"),
    ('{"type": "update", "item": "a"}\n{"type": "end", "status": "up-to-date"}', "contradicts"),
    ('{"type": "end", "status": "cannot-know"}', "says why"),
    ('{"type": "end", "status": "perhaps"}', "must be one of"),
    ('{"type": "change", "item": "a"}', "does not belong"),
    ('{"type": "update"}', "not a message"),
    ("no json", "not a message"),
    ("", "before its answer was complete"),
]


@pytest.mark.parametrize(("lines", "reason"), CHECKS)
def test_a_check_that_breaks_the_protocol_is_cannot_know(load: Load, lines: str, reason: str) -> None:
    answer = f"printf '%s\\n' '{HELLO}'; cat <<'X'\n{lines}\nX"
    result = checked(load(f"if [ $1 = describe ]; then {DESCRIBE}; else {answer}\nfi"))
    assert (result.status, result.runnable) == (CheckStatus.CANNOT_KNOW, False)
    assert reason in result.reason


def test_what_is_not_known_is_ignored() -> None:
    answer = Answer(Exchange.RUN)
    assert answer.feed('{"type": "hello", "protocol": 1, "mood": "fine"}') is not None
    assert answer.feed('{"type": "from-the-future", "x": 1}') is None
    assert answer.feed("") is None
    answer.feed(END)
    assert answer.finish(0).status == "done"


def running(load: Load) -> ExternalPlugin:
    plugin = load(DESCRIBE)
    assert isinstance(plugin, ExternalPlugin)
    return plugin


def test_lines_of_a_running_step_become_events(load: Load) -> None:
    plugin = running(load)
    assert plugin.interpret_output("go", "text of a tool") is None
    hello = plugin.interpret_output("go", HELLO)
    assert isinstance(hello, ProgressEvent)
    assert (hello.percent, hello.message) == (None, "")
    progress = plugin.interpret_output("go", '{"type": "progress", "percent": 5, "bytes-total": 9}')
    assert isinstance(progress, ProgressEvent)
    assert (progress.percent, progress.bytes_total, progress.step_name) == (5, 9, "go")
    changed = plugin.interpret_output("go", '{"type": "change", "item": "a", "old": "1", "new": "2"}')
    assert isinstance(changed, OutputEvent)
    assert changed.line == "a 1 → 2"
    warned = plugin.interpret_output("go", '{"type": "warning", "message": "careful"}')
    assert isinstance(warned, WarningEvent)
    older = plugin.interpret_output("go", 'PROGRESS:{"phase": "download", "percent": 7}')
    assert isinstance(older, ProgressEvent)
    assert (older.phase, older.percent) == (Phase.DOWNLOAD, 7)
    plugin.interpret_output("go", END)
    plugin.end_of_output("go", 0)


def test_a_run_without_an_end_fails_and_can_be_tried_again(load: Load) -> None:
    plugin = running(load)
    plugin.interpret_output("go", HELLO)
    with pytest.raises(ProtocolError, match="before its answer was complete"):
        plugin.end_of_output("go", 0)
    with pytest.raises(ProtocolError, match="before hello"):
        plugin.interpret_output("go", END)
    for line in (HELLO, END, HELLO, '{"type": "end", "status": "failed", "message": "disk full"}'):
        plugin.interpret_output("go", line)
    with pytest.raises(StepError, match="disk full"):
        plugin.end_of_output("go", 1)


@given(
    st.lists(st.one_of(st.sampled_from([HELLO, PLUGIN, END, '{"type": "update", "item": "a"}']), st.text()))
)
def test_any_lines_are_an_answer_or_a_protocol_error(lines: list[str]) -> None:
    for exchange in Exchange:
        answer = Answer(exchange)
        try:
            for line in lines:
                answer.feed(line)
            answer.finish(0)
        except ProtocolError:
            continue
        assert answer.end is not None


OLDER = """
case $1 in
is-applicable|can-separate-download) exit 0 ;;
get-mutexes) echo '{"mutexes": ["dpkg"]}' ;;
get-dependency) echo '{"dependencies": ["apt"], "conflicts": ["snap"]}' ;;
estimate-update) echo '{"status": "success", "data": {"total_bytes": 50, "package_count": 1, \
"packages": [{"name": "a", "version": "2", "size_bytes": 50}]}}' ;;
download) echo 'PROGRESS:{"type": "phase_start", "phase": "download"}' >&2; echo fetching ;;
update) echo 'PROGRESS:{"phase": "execute", "percent": 50, "message": "half"}' >&2 ;;
*) echo "Usage: $0 <command>"; exit 1 ;;
esac
"""


def test_an_executable_of_the_older_protocol(load: Load) -> None:
    plugin = load(OLDER)
    assert isinstance(plugin, OlderPlugin)
    assert checked(plugin) == CheckResult.of([Change("a", None, "2", 50)])
    download, update = plugin.get_update_steps()
    assert (download.effective_phase, update.depends_on) == (Phase.DOWNLOAD, ["download"])
    assert (update.mutexes, list(plugin.dependencies), update.needs_root) == (["dpkg"], ["apt"], False)
    assert performed(plugin, download) == "fetching\n"
    performed(plugin, update)
    event = plugin.interpret_output(
        "update", 'PROGRESS:{"phase": "execute", "percent": 50, "message": "half"}'
    )
    assert isinstance(event, ProgressEvent)
    assert (event.percent, event.message) == (50, "half")
    assert plugin.interpret_output("update", "PROGRESS:{not json") is None
    with pytest.raises(StepError, match="mirror gone"):
        plugin.interpret_output(
            "update",
            'PROGRESS:{"type": "phase_end", "phase": "execute", "success": false, "error": "mirror gone"}',
        )


@pytest.mark.parametrize(
    ("estimate", "status", "runnable"),
    [
        ('\'{"status": "success", "data": {"package_count": 0}}\'', CheckStatus.UP_TO_DATE, True),
        ('\'{"status": "success", "data": {"package_count": 4}}\'', CheckStatus.UPDATES, True),
        ('\'{"status": "error"}\'', CheckStatus.CANNOT_KNOW, False),
        ("garbage", CheckStatus.CANNOT_KNOW, False),
        ("''; exit 1", CheckStatus.CANNOT_KNOW, True),
    ],
)
def test_an_older_estimate(load: Load, estimate: str, status: CheckStatus, runnable: bool) -> None:
    script = f"case $1 in is-applicable) ;; estimate-update) echo {estimate} ;; *) exit 1 ;; esac"
    result = checked(load(script))
    assert (result.status, result.runnable) == (status, runnable)


@pytest.mark.parametrize("line", ["x" * 1_000_000, f'{{"type": "output", "text": "{"x" * 1_000_000}"}}'])
def test_a_step_that_floods_is_told_so_whatever_it_prints(load: Load, line: str) -> None:
    def flood(lines: int) -> None:
        for _ in range(lines):
            plugin.interpret_output("go", line)

    plugin = running(load)
    plugin.interpret_output("go", HELLO)
    flood(67)
    with pytest.raises(ProtocolError, match="an answer of more than 64 MiB"):
        flood(1)


def test_only_messages_are_changes(load: Load) -> None:
    changed = '{"type": "change", "item": "a", "new": "2"}'
    output = f"text\n {changed}\n{changed}\n{{not json\n"
    assert running(load).parse_changes("go", output) == [Change("a", None, "2")]
