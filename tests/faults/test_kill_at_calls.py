"""SIGKILL at the n-th real system call that touches the state (strace), for every n; then a resume.

The slow sibling of tests/core/test_crash_points.py: real processes, real kills, of first runs and of resumes.
UPDATE_ALL_FAULT_CALLS sets at how many calls it kills (default 0: left out; the full tier uses 1,000).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import PATIENCE, TAG, Ledger, Plugin, Scenario, Step, cleaning_up, wait_for
from test_kill_resume import Oracle, mixed, resume_until_done

CALLS = int(os.environ.get("UPDATE_ALL_FAULT_CALLS", "0"))
KINDS = ("openat", "write", "fsync", "rename", "renameat", "link", "linkat", "unlink", "unlinkat", "mkdir",
         "flock", "sendto", "pwrite64", "ftruncate", "close")  # fmt: skip
KILLED = (-9, 137)
PARTS = 4

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


@dataclass(frozen=True)
class Setting:
    """What is run. `earlier` is the flush at which a run before it was killed: this one resumes it."""

    make: Callable[[Path], tuple[Scenario, Ledger]]
    earlier: int = 0

    @property
    def options(self) -> list[str]:
        return ["--resume"] if self.earlier else []

    def prepared(self, directory: Path) -> tuple[Scenario, Ledger]:
        scenario, ledger = self.make(directory)
        if self.earlier:
            assert traced(scenario, *dying("fsync", self.earlier)) in KILLED
            wait_for("the end of every process", lambda: not scenario.living())
        return scenario, ledger


SETTINGS = (Setting(two_plugins), Setting(mixed), Setting(two_plugins, 8), Setting(mixed, 14))


def dying(kind: str, number: int) -> list[str]:
    """Options of strace: killed at the entry of that call."""
    return ["-e", f"trace={kind}", "-e", f"inject={kind}:signal=KILL:when={number}", "-o", "/dev/null"]


def traced(scenario: Scenario, *options: str, run: list[str] | None = None) -> int:
    """Run under strace; the exit code of the run. `run` holds the options of the run itself."""
    argv = ["strace", "-qqq", "-e", "signal=none", *options, "--", *scenario.argv(*(run or []))]
    environment = {**scenario.environment(), TAG: scenario.tag}
    done = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE * 2
    )
    return done.returncode


def relevant(directory: Path, setting: Setting) -> Iterator[tuple[Setting, str, int]]:
    """Each call from the first that names the state on: its kind, and which of its kind it is."""
    scenario, _ = setting.prepared(directory)
    record = directory / "trace"
    with cleaning_up(scenario):
        traced(scenario, "-e", f"trace={','.join(KINDS)}", "-o", str(record), run=setting.options)
    counts = dict.fromkeys(KINDS, 0)
    begun = False
    for line in record.read_text("utf-8", "replace").splitlines():
        kind = line.partition("(")[0]
        if kind in counts:
            counts[kind] += 1
            begun = begun or str(scenario.state) in line
            if begun:
                yield setting, kind, counts[kind]


def killed_at(directory: Path, setting: Setting, kind: str, number: int) -> tuple[bool, list[str]]:
    """Whether the kill hit, and what the oracle finds after the resume."""
    scenario, ledger = setting.prepared(directory)
    oracle = Oracle(scenario, ledger)
    with cleaning_up(scenario):
        oracle.note_completed()
        if traced(scenario, *dying(kind, number), run=setting.options) not in KILLED:
            return False, []
        resume_until_done(scenario, oracle)
        wait_for("the end of every process", lambda: not scenario.living())
        return True, oracle.judge()


@pytest.mark.timeout(240 + 8 * CALLS)
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_real_calls(
    tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    points = [
        point
        for number, setting in enumerate(SETTINGS)
        for point in relevant(tmp_path / f"s{number}", setting)
    ]
    random.Random(1).shuffle(points)  # noqa: S311 - the order of the kills
    wanted = -(-CALLS // PARTS)
    assert len(points) > 500
    hits = 0
    for turn, (setting, kind, number) in enumerate(cycle(points[part::PARTS])):
        hit, found = killed_at(tmp_path / str(turn), setting, kind, number)
        assert found == [], (setting, kind, number)
        shutil.rmtree(tmp_path / str(turn))
        hits += hit
        if hits == wanted or turn > 4 * wanted:
            break
    assert hits == wanted
    record_property("kills", hits)
