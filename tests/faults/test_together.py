"""Several update-all started together: one runs, the others say who does, and a killed one leaves no lock.

UPDATE_ALL_FAULT_ROUNDS sets the rounds (default 8; the full tier uses 200).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_machine import SECONDS, Machine, machine_at, until

from update_all.core.errors import BusyError
from update_all.core.evidence import is_locked
from update_all.core.locks import exclusive

ROUNDS = int(os.environ.get("UPDATE_ALL_FAULT_ROUNDS", "8"))
PARTS = 4
BUSY = 75


def one_round(machine: Machine, number: int, kill: bool) -> None:
    """Start `number` of them; the one that got through is let go, or killed."""
    gate = machine.gate("slow")
    (machine.root / "slow.pid").unlink(missing_ok=True)
    processes = [machine.start("run", "--yes") for _ in range(number)]
    until(lambda: sum(process.poll() is None for process in processes) == 1)
    [winner] = [process for process in processes if process.poll() is None]
    until((machine.root / "slow.pid").exists)
    for process in processes:
        if process is not winner:
            _, err = process.communicate()
            assert process.returncode == BUSY, err
            assert f"pid {winner.pid} " in err
    if kill:
        winner.kill()
    gate.unlink()
    winner.communicate(timeout=SECONDS)
    assert winner.returncode == (-9 if kill else 0)
    until(lambda: not any(map(is_locked, (machine.state / "runs").rglob("*.out"))))


@pytest.mark.timeout(60 + 15 * ROUNDS)
@pytest.mark.parametrize("part", range(PARTS))
def test_one_runs_and_the_others_say_which(
    tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(part)  # noqa: S311 - how many, and which are killed
    rounds = -(-ROUNDS // PARTS)
    with machine_at(tmp_path) as machine:
        machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]})
        for done in range(rounds):
            one_round(machine, chance.randint(2, 8), chance.random() < 0.5)
            assert machine.ledger == ["through"] * (done + 1)
    record_property("cases", rounds)


def test_a_lock_that_names_the_one_before_is_not_believed(tmp_path: Path) -> None:
    """As for the instant between taking the lock and writing who took it."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    path = tmp_path / "lock"
    with exclusive(path, "update-all"):
        path.write_text(json.dumps({"pid": gone.pid, "started": "2026-01-01", "command": "x"}))
        with pytest.raises(BusyError, match="another process"), exclusive(path, "update-all"):
            pass
        writer = subprocess.Popen(
            ["sh", "-c", 'sleep 0.05; printf \'{"pid": %s, "started": "", "command": ""}\' "$1" > "$2"',
             "sh", str(os.getpid()), str(path)]
        )  # fmt: skip
        with pytest.raises(BusyError, match=f"pid {os.getpid()}"), exclusive(path, "update-all"):
            pass
        writer.wait()


def test_without_the_lock_two_would_run(tmp_path: Path) -> None:
    with machine_at(tmp_path) as machine:
        switch = "import fcntl\nfcntl.flock = lambda descriptor, operation: None\n"
        (machine.root / "site/sitecustomize.py").write_text(switch)
        machine.plugin("alpha", {"name": "one", "cmd": ["sh", "-c", f"echo $$ >> {tmp_path}/begun; sleep 1"]})
        processes: list[subprocess.Popen[str]] = [machine.start("run", "--yes") for _ in range(2)]
        codes = [process.wait(SECONDS) for process in processes]

        assert BUSY not in codes
        assert len((tmp_path / "begun").read_text().split()) == 2
