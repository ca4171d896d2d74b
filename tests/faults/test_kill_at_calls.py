"""SIGKILL at the n-th real system call that touches the state (strace), for every n; then a resume.

The slow sibling of tests/core/test_crash_points.py: real processes, real kills. UPDATE_ALL_FAULT_CALLS sets
at how many calls it kills (default 0: left out).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import PATIENCE, TAG, Ledger, Plugin, Scenario, Step, cleaning_up, wait_for
from test_kill_resume import Oracle, resume_until_done

CALLS = int(os.environ.get("UPDATE_ALL_FAULT_CALLS", "0"))
KINDS = ("openat", "write", "fsync", "rename", "renameat", "link", "linkat", "unlink", "unlinkat", "mkdir",
         "flock", "sendto", "pwrite64", "ftruncate", "close")  # fmt: skip
KILLED = (-9, 137)

pytestmark = [
    pytest.mark.skipif(CALLS == 0, reason="only in the full tier: UPDATE_ALL_FAULT_CALLS"),
    pytest.mark.skipif(not shutil.which("strace"), reason="needs strace"),
]


def two_plugins(directory: Path) -> tuple[Scenario, Ledger]:
    ledger = Ledger(directory / "ledger")

    def step(name: str, idempotent: bool) -> Step:
        return Step(name, [ledger.worker(name, 0.0)], idempotent=idempotent)

    plugins = (
        Plugin("first", [step("a1", True), step("a2", False)]),
        Plugin("second", [step("b1", False), step("b2", True)], parallel=True),
    )
    return Scenario(directory, *plugins), ledger


def traced(scenario: Scenario, *options: str) -> int:
    """Run under strace; the exit code of the run."""
    argv = ["strace", "-qqq", "-e", "signal=none", *options, "--", *scenario.argv()]
    environment = {**scenario.environment(), TAG: scenario.tag}
    done = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE * 2
    )
    return done.returncode


def relevant(directory: Path) -> list[tuple[str, int]]:
    """Each call from the first that names the state on: its kind, and which of its kind it is."""
    scenario, _ = two_plugins(directory)
    record = directory / "trace"
    with cleaning_up(scenario):
        assert traced(scenario, "-e", f"trace={','.join(KINDS)}", "-o", str(record)) == 0
    counts = dict.fromkeys(KINDS, 0)
    found: list[tuple[str, int]] = []
    begun = False
    for line in record.read_text("utf-8", "replace").splitlines():
        kind = line.partition("(")[0]
        if kind in counts:
            counts[kind] += 1
            begun = begun or str(scenario.state) in line
            if begun:
                found.append((kind, counts[kind]))
    return found


def killed_at(directory: Path, kind: str, number: int) -> tuple[bool, list[str]]:
    """Whether the kill hit, and what the oracle finds after the resume."""
    scenario, ledger = two_plugins(directory)
    oracle = Oracle(scenario, ledger)
    with cleaning_up(scenario):
        code = traced(scenario, "-e", f"trace={kind}", "-e", f"inject={kind}:signal=KILL:when={number}",
                      "-o", "/dev/null")  # fmt: skip
        if code not in KILLED:
            return False, []
        resume_until_done(scenario, oracle)
        wait_for("the end of every process", lambda: not scenario.living())
        return True, oracle.judge()


@pytest.mark.timeout(120 + 8 * CALLS)
@pytest.mark.parametrize("part", range(4))
def test_killed_at_real_calls(
    tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    hits = 0
    points = relevant(tmp_path / "recorded")
    for turn in range(-(-CALLS // len(points))):
        for index, (kind, number) in enumerate(points):
            if index % 4 != part or hits >= CALLS // 4:
                continue
            hit, found = killed_at(tmp_path / f"{turn}-{index}", kind, number)
            assert found == [], (kind, number)
            hits += hit
    assert hits > 0
    record_property("kills", hits)
