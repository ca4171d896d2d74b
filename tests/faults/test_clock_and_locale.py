"""The wall clock jumps between a kill and its resume, and the user's locale is not ours.

The clock is that of the driver's process (run_driver --clock): nothing here may set that of the machine. With
libfaketime the same jumps reach the shim and the commands as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_machine import Machine, machine_at
from harness import Ledger, Plugin, Scenario, Step, cleaning_up, finished, kill, wait_for

from update_all.core.session import new_run_id, next_run_id, prune_runs, run_ids

DAY = 86400.0
JUMPS = [DAY, -DAY, 3650 * DAY, -3650 * DAY, 0.5, -3600.0]
LIBRARIES = [
    Path(os.environ.get("UPDATE_ALL_TEST_FAKETIME", "/nonexistent")),
    *Path("/usr/lib").glob("*/faketime/libfaketime.so.1"),
]
LIBRARY = next((path for path in LIBRARIES if path.exists()), None)


def three_steps(directory: Path) -> tuple[Scenario, Ledger]:
    ledger = Ledger(directory / "ledger")
    # The last does not sleep: under libfaketime 0.9.10 a sleep may fail with EINVAL.
    lengths = {"one": 0.3, "two": 0.3, "three": 0.0}
    steps = [Step(name, [ledger.worker(name, length)], idempotent=False) for name, length in lengths.items()]
    return Scenario(directory, Plugin("plugin", steps)), ledger


def killed_and_resumed(scenario: Scenario, ledger: Ledger, *options: str) -> None:
    with cleaning_up(scenario):
        with scenario.started() as process:
            wait_for("the second step", lambda: ledger.count("start", "two"))
            kill([process.pid])
            finished(process)
        report = scenario.run("--resume", *options)
        assert report.exit == 0, report
    assert [entry.name for entry in ledger.entries() if entry.what == "start"] == ["one", "two", "three"]
    assert scenario.completed() == {"one", "two", "three"}


@pytest.mark.parametrize("jump", JUMPS)
def test_clock_that_jumped_between_kill_and_resume(tmp_path: Path, jump: float) -> None:
    scenario, ledger = three_steps(tmp_path / "run")
    killed_and_resumed(scenario, ledger, f"--clock={jump}")
    events = scenario.events()
    shift = events[-1].timestamp - events[0].timestamp
    assert abs(shift.total_seconds() - jump) < 60, "the clock has jumped indeed"


@pytest.mark.parametrize("jump", ["-1d", "+1d", "-10y", "+10y"])
@pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime for the clocks of shim and commands")
def test_clock_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: str) -> None:
    scenario, ledger = three_steps(tmp_path / "run")
    normal = scenario.environment()
    shifted = {**normal, "LD_PRELOAD": str(LIBRARY), "FAKETIME": jump, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    environments = iter([normal, shifted])
    monkeypatch.setattr(scenario, "environment", lambda: next(environments))
    killed_and_resumed(scenario, ledger)


def test_run_after_the_clock_was_set_back_is_the_newest_and_is_kept(tmp_path: Path) -> None:
    future = datetime.now(UTC) + timedelta(days=3650)
    for number in range(3):
        (tmp_path / "runs" / new_run_id(future + timedelta(minutes=number))).mkdir(parents=True)
    newest = next_run_id(tmp_path)
    (tmp_path / "runs" / newest).mkdir()

    assert run_ids(tmp_path)[0] == newest
    prune_runs(tmp_path, keep=2)
    assert newest in run_ids(tmp_path)
    assert len(run_ids(tmp_path)) == 2


def test_run_ids_without_a_jump_are_the_time(tmp_path: Path) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    (tmp_path / "runs" / "20260101-000000-abcdef").mkdir(parents=True)
    (tmp_path / "runs" / "something else").mkdir()

    assert next_run_id(tmp_path, now).startswith("20260102-030405-")


LOCALES = ["C", "POSIX", "C.UTF-8", "de_DE.UTF-8", "tr_TR.UTF-8", "ja_JP.eucJP"]
SPEAKS = """
case "${LC_ALL:-${LC_MESSAGES:-$LANG}}" in
C.UTF-8) echo "tool 1.0 -> 2.0 (1.5 MB)";;
*) echo "Werkzeug 1,0 -> 2,0 (1,5 MB)";;
esac
"""
QUERY = {
    "cmd": ["speaks"],
    "regex": r"^(?P<item>tool) (?P<old>[0-9.]+) -> (?P<new>[0-9.]+) \((?P<size>[0-9.]+ MB)\)$",
    "ignore-patterns": [],
}


@pytest.fixture
def speaking(tmp_path: Path) -> Machine:
    """A tool that speaks the language of the user, unless it is told to be plain."""
    (tmp_path / "machine").mkdir()
    with machine_at(tmp_path / "machine") as machine:
        machine.tool("speaks", SPEAKS)
        machine.plugin("tool", {"name": "one"}, detect="speaks", outdated=QUERY)
        return machine


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("variable", ["LANG", "LC_ALL"])
def test_output_is_read_alike_in_every_locale(speaking: Machine, locale: str, variable: str) -> None:
    del speaking.env["LC_ALL"]
    ended = speaking.run("check", "--json", env={variable: locale, "LANGUAGE": "de:tr"})

    assert ended.code == 100, ended
    updates = [
        (item["item"], item["old"], item["new"], item["size_bytes"]) for item in found_updates(ended.json)
    ]
    assert updates == [("tool", "1.0", "2.0", 1_500_000)]


def found_updates(document: Mapping[str, object]) -> list[dict[str, object]]:
    plugins = document["plugins"]
    assert isinstance(plugins, list)
    return [update for plugin in plugins for update in plugin["updates"]]


@pytest.mark.parametrize("locale", LOCALES)
def test_samples_of_the_catalogue_are_read_alike_in_every_locale(locale: str) -> None:
    """In a process of that locale: numbers, case, encodings change nothing (in Turkish I is ı)."""
    code = (
        "from update_all.plugins.builtin import CATALOGUE\n"
        "from update_all.plugins.decoding import parse_definition\n"
        "from update_all.plugins.lint import sample_problem\n"
        "import locale, contextlib\n"
        "with contextlib.suppress(locale.Error): locale.setlocale(locale.LC_ALL, '')\n"
        "found = [parse_definition(p.read_text('utf-8'), p.name) for p in sorted(CATALOGUE.glob('*.toml'))]\n"
        "print([(d.name, s.of) for d in found for s in d.sample if sample_problem(d, s)], len(found))"
    )
    environment = {**os.environ, "LC_ALL": locale, "LANG": locale}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("[] "), done
