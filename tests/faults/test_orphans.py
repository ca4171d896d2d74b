"""Time limits and interrupts end whole trees, whatever their processes do to escape.

UPDATE_ALL_FAULT_CANCELS sets how often the zoo is cancelled (default 1: 48 cancelled trees; full tier: 11).
"""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import Ledger, Plugin, Report, Scenario, Step, cleaning_up, finished, wait_for

ROUNDS = int(os.environ.get("UPDATE_ALL_FAULT_CANCELS", "1"))
PYTHON = shlex.quote(sys.executable) + " -I -S -c "

ZOO = {
    "plain": "sleep 60",
    "children": "sleep 60 & sleep 61 & wait",
    "setsid": "setsid sleep 60 & wait",
    "double-fork": "(setsid sh -c 'sleep 60 & sleep 61 & exit' &) ; sleep 62",
    "orphaned": "(sleep 60 &) ; (nohup sleep 61 &) ; sleep 62",
    "ignores-term": "trap '' TERM HUP INT; sleep 60; sleep 61",
    "child-ignores-term": "(trap '' TERM HUP INT; setsid sleep 60; setsid sleep 61) & sleep 62",
    "forks-on-term": "trap 'setsid sleep 60 & exit 0' TERM; sleep 61 & wait; wait",
    "clears-environment": "(env -i setsid sleep 60 &) ; sleep 61",
    "redirects": "(setsid sleep 60 </dev/null >/dev/null 2>&1 &) ; sleep 61",
    "closes-descriptors": PYTHON
    + shlex.quote(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.closerange(0, 1024)\n"
        "time.sleep(60)"
    ),
    "stopped": "sleep 60 & kill -STOP $!; setsid sleep 61 & kill -STOP $$; wait",
}


def zoo(directory: Path, *, timeout: int | None = None) -> tuple[Scenario, Ledger]:
    """One plugin for each kind of tree; each notes when all its processes are up."""
    ledger = Ledger(directory / "ledger")
    token = str(random.getrandbits(40))
    plugins = []
    for name, kind in ZOO.items():
        script = re.sub(r"sleep (\d+)", rf"sleep \1.{token}", kind)
        # The note is written by a sibling, a moment later: the tree is up, and may be stopped, by then.
        note = f"(sleep 0.3; echo start {name} 0 >> {shlex.quote(str(ledger.path))}) & "
        plugins.append(Plugin(name, [Step("step", [["sh", "-c", note + script]], timeout=timeout)]))
    return Scenario(directory, *plugins, grace=0.5, token=token), ledger


def interrupt(scenario: Scenario, ledger: Ledger, presses: int, *options: str) -> Report:
    with scenario.started(*options) as process:
        wait_for("the zoo", lambda: ledger.count("start") == len(ZOO))
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        return finished(process)


def codes(scenario: Scenario) -> dict[str, str | None]:
    from update_all.core.streaming import StepEndEvent

    ends = [event for event in scenario.events() if isinstance(event, StepEndEvent)]
    return {event.plugin_name: event.error_code for event in ends}


@pytest.mark.parametrize("presses", [1, 2, 3])
@pytest.mark.parametrize("number", range(ROUNDS))
def test_interrupts_leave_no_process(
    tmp_path: Path, presses: int, number: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", len(ZOO))
    scenario, ledger = zoo(tmp_path / "run")
    with cleaning_up(scenario):
        report = interrupt(scenario, ledger, presses)

        assert scenario.living() == {}
        assert report.exit == 130
        assert codes(scenario) == dict.fromkeys(ZOO, "interrupted")


@pytest.mark.parametrize("number", range(ROUNDS))
def test_time_limits_leave_no_process(
    tmp_path: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", len(ZOO))
    scenario, _ = zoo(tmp_path / "run", timeout=2)
    with cleaning_up(scenario):
        scenario.run()

        assert scenario.living() == {}
        assert codes(scenario) == dict.fromkeys(ZOO, "timed-out")


def test_without_the_sweep_processes_would_be_left(tmp_path: Path) -> None:
    scenario, ledger = zoo(tmp_path / "run")
    with cleaning_up(scenario):
        interrupt(scenario, ledger, 1, "--off", "sweep")

        assert scenario.living() != {}


def test_tree_of_a_re_attached_command_is_ended_too(tmp_path: Path) -> None:
    scenario, ledger = zoo(tmp_path / "run")
    with cleaning_up(scenario):
        with scenario.started() as process:
            wait_for("the zoo", lambda: ledger.count("start") == len(ZOO))
            process.kill()
            finished(process)
        with scenario.started("--resume") as process:
            wait_for("the resume", lambda: sum("step_start" in line for line in journal(scenario)) > len(ZOO))
            process.send_signal(signal.SIGINT)
            finished(process)

        wait_for("the end of the old shim", lambda: not scenario.living(), 2.0)
    assert codes(scenario) == dict.fromkeys(ZOO, "interrupted")


def journal(scenario: Scenario) -> list[str]:
    return (scenario.directory_of_run() / "events.jsonl").read_text().splitlines()


def test_tree_of_a_command_whose_shim_died_is_ended_too(tmp_path: Path) -> None:
    scenario, ledger = zoo(tmp_path / "run")
    with cleaning_up(scenario), scenario.started() as process:
        wait_for("the zoo", lambda: ledger.count("start") == len(ZOO))
        for pid, line in scenario.living().items():
            if "shim.py" in line:
                os.kill(pid, signal.SIGKILL)
        process.send_signal(signal.SIGINT)
        finished(process)

        assert scenario.living() == {}


@pytest.mark.parametrize("daemon", ["sleep 30 &", "setsid sleep 30 &", "yes 'still here' &"])
def test_step_ends_with_its_child_and_not_with_a_daemon_that_keeps_its_output(
    tmp_path: Path, daemon: str
) -> None:
    command = ["sh", "-c", f"{daemon} echo done"]
    scenario = Scenario(tmp_path / "run", Plugin("plugin", [Step("step", [command])]))
    with cleaning_up(scenario):
        report = scenario.run()

        assert report.exit == 0
        assert scenario.ends()["step"].success
        assert len(scenario.living()) == 1
        assert "done\n" in Path(scenario.ends()["step"].log).read_text()
