"""A package-manager transaction only ever gets INT, and Ctrl-C goes up the ladder (system.md section 5).

The transaction is worker.py, which writes down every signal that it gets: a real dpkg cannot be interrupted
in every place without harm to this machine. A KILL leaves no line, but no `end` either.

UPDATE_ALL_FAULT_SIGNALS sets how many random sequences of signals are sent (default 8; full tier: 200).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import Ledger, Plugin, Scenario, Step, cleaning_up, find, finished, wait_for

from update_all.core.streaming import StepNotRunEvent, StepStartEvent

INTERRUPTED = 130
SEQUENCES = int(os.environ.get("UPDATE_ALL_FAULT_SIGNALS", "8"))


def transaction(
    directory: Path, seconds: float, *ignore: str, uninterruptible: bool = True, timeout: int | None = None
) -> tuple[Scenario, Ledger]:
    """Two plugins: a transaction with a step behind it, and something that may be ended."""
    ledger = Ledger(directory / "ledger")
    upgrade = Step(
        "upgrade",
        [ledger.worker("upgrade", seconds, *ignore)],
        idempotent=False,
        uninterruptible=uninterruptible,
        timeout=timeout,
    )
    behind = Step("behind", [ledger.worker("behind", 0.0)])
    other = Step("other", [ledger.worker("other", 20.0)])
    return Scenario(directory, Plugin("apt", [upgrade, behind]), Plugin("npm", [other])), ledger


def signal_when_both_run(process: subprocess.Popen[str], ledger: Ledger, number: int) -> None:
    wait_for("both steps", lambda: ledger.count("start") == 2)
    process.send_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_lets_the_transaction_finish_and_ends_the_rest(tmp_path: Path, number: int) -> None:
    scenario, ledger = transaction(tmp_path / "run", 1.0)
    with cleaning_up(scenario), scenario.started() as process:
        signal_when_both_run(process, ledger, number)
        report = finished(process)

        assert report.exit == INTERRUPTED
        assert ledger.details("signal", "upgrade") == []
        assert ledger.count("end", "upgrade") == 1
        assert ledger.count("end", "other") == 0
        assert scenario.ends()["other"].error_code == "interrupted"
        assert scenario.completed() == {"upgrade"}
        not_run = [event.step_name for event in scenario.events() if isinstance(event, StepNotRunEvent)]
        assert not_run == ["behind"]
        wait_for("the end of every process", lambda: not scenario.living(), 2.0)


def test_second_signal_gives_the_transaction_one_int(tmp_path: Path) -> None:
    scenario, ledger = transaction(tmp_path / "run", 20.0)
    with cleaning_up(scenario), scenario.started() as process:
        signal_when_both_run(process, ledger, signal.SIGINT)
        wait_for("the end of the rest", lambda: not find(scenario.living(), " other "))
        assert ledger.details("signal", "upgrade") == []
        process.send_signal(signal.SIGINT)
        report = finished(process)

    assert report.exit == INTERRUPTED
    assert ledger.details("signal", "upgrade") == ["SIGINT"]
    assert scenario.ends()["upgrade"].error_code == "interrupted"


def test_transaction_that_finishes_in_spite_of_int_is_done(tmp_path: Path) -> None:
    scenario, ledger = transaction(tmp_path / "run", 1.5, "SIGINT")
    with cleaning_up(scenario), scenario.started() as process:
        signal_when_both_run(process, ledger, signal.SIGINT)
        wait_for("the end of the rest", lambda: not find(scenario.living(), " other "))
        process.send_signal(signal.SIGINT)
        finished(process)

    assert ledger.details("signal", "upgrade") == ["SIGINT"]
    assert scenario.completed() == {"upgrade"}


def test_third_signal_leaves_the_transaction_to_itself_and_a_resume_re_attaches(tmp_path: Path) -> None:
    scenario, ledger = transaction(tmp_path / "run", 3.0, "SIGINT")
    with cleaning_up(scenario), scenario.started() as process:
        wait_for("the transaction", lambda: ledger.count("start", "upgrade"))
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.15)
        report = finished(process)
        assert report.exit == INTERRUPTED
        assert scenario.ends()["upgrade"].error_code == "detached"
        assert ledger.count("end", "upgrade") == 0
        assert find(scenario.living(), " upgrade ")

        with scenario.started("--resume") as resumed:
            wait_for("the resume's other step", lambda: ledger.count("start", "other") >= 2)
            wait_for("the transaction's end", lambda: scenario.completed() >= {"upgrade", "behind"})
            resumed.send_signal(signal.SIGINT)
            finished(resumed)

    assert ledger.count("start", "upgrade") == 1
    assert ledger.count("end", "upgrade") == 1
    assert ledger.details("signal", "upgrade") == ["SIGINT"]
    starts = [event for event in scenario.events() if isinstance(event, StepStartEvent)]
    assert [event.reattached for event in starts if event.step_name == "upgrade"] == [False, True]


def test_time_limit_of_a_transaction_is_an_int(tmp_path: Path) -> None:
    scenario, ledger = transaction(tmp_path / "run", 20.0, timeout=1)
    with cleaning_up(scenario), scenario.started() as process:
        wait_for("its begin", lambda: ledger.count("start", "upgrade"))
        wait_for("its end", lambda: "upgrade" in scenario.ends())
        process.send_signal(signal.SIGINT)
        finished(process)

    assert ledger.details("signal", "upgrade") == ["SIGINT"]
    assert scenario.ends()["upgrade"].error_code == "timed-out"


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_no_sequence_of_signals_reaches_a_transaction_but_int(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - instants and kinds of signals
    scenario, ledger = transaction(tmp_path / "run", 1.0, "SIGINT")
    with cleaning_up(scenario), scenario.started() as process:
        wait_for("the transaction", lambda: ledger.count("start", "upgrade"))
        for _ in range(chance.randint(1, 6)):
            process.send_signal(chance.choice([signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
            time.sleep(chance.uniform(0.0, 0.2))
        finished(process)
        wait_for("the transaction's end", lambda: ledger.count("end", "upgrade"))

    assert set(ledger.details("signal", "upgrade")) <= {"SIGINT"}


def test_a_step_that_is_no_transaction_would_get_term(tmp_path: Path) -> None:
    scenario, ledger = transaction(tmp_path / "run", 20.0, uninterruptible=False)
    with cleaning_up(scenario), scenario.started() as process:
        signal_when_both_run(process, ledger, signal.SIGINT)
        finished(process)

    assert ledger.details("signal", "upgrade") == ["SIGTERM"]
