"""Killed and run again: twenty steps, the runner killed with -9 while two of them run, then run once more.

A ledger written by the steps themselves tells what happened: steps that had ended and ran again (forgotten),
steps that were started twice, steps of the dead run that still ran and were started again (unseen), and
steps that ran beside themselves (overlaps). After engine-limits.md section 5.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.context import Context
from benchmarks.graphs import Task, Work, write_doit, write_make, write_ninja, write_plan
from benchmarks.measuring import BenchmarkError, Sample, constant
from benchmarks.rows import Row, at_most

TOPIC = "Killed and run again"
STEPS = 20
PATIENCE_SECONDS = 60.0

_STEP = """#!/bin/sh
echo "start $2 $(date +%s%N)" >> "$1"
sleep "$3"
: > "$4"
echo "end $2 $(date +%s%N)" >> "$1"
"""


@dataclass(slots=True)
class Damage:
    """What kills have done, added up."""

    forgotten: int = 0
    twice: int = 0
    unseen: int = 0
    overlaps: int = 0

    @property
    def total(self) -> int:
        return self.forgotten + self.twice + self.unseen + self.overlaps

    def __str__(self) -> str:
        return (
            f"forgotten {self.forgotten}, twice {self.twice}, unseen {self.unseen}, overlaps {self.overlaps}"
        )


Events = list[tuple[str, str, int]]


def read_ledger(ledger: Path) -> Events:
    """(what, step, time in ns) in the order of the ledger."""
    if not ledger.exists():
        return []
    lines = [line.split() for line in ledger.read_text().splitlines()]
    return [(what, step, int(when)) for what, step, when in lines]


def judge(events: Events, killed_at: int) -> Damage:
    """What the ledger of a killed and repeated run shows; times in ns."""
    damage = Damage()
    for step in sorted({step for _, step, _ in events}):
        starts = sorted(when for what, name, when in events if (what, name) == ("start", step))
        ends = sorted(when for what, name, when in events if (what, name) == ("end", step))
        again = [when for when in starts if when > killed_at]
        before = [when for when in starts if when <= killed_at]
        ended_before = any(when <= killed_at for when in ends)
        damage.twice += len(starts) > 1
        damage.forgotten += ended_before and bool(again)
        damage.unseen += bool(before) and not ended_before and bool(again)
        damage.overlaps += any(
            start < min((end for end in ends if end > earlier), default=start)
            for earlier, start in itertools.pairwise(starts)
        )
    return damage


Recipe = Callable[[Path], Sequence[str | Path]]


def bench(context: Context) -> Iterator[Row]:
    trials, seconds = (1, 0.1) if context.quick else (8, 0.2)
    recipes = _recipes(context)
    samples: dict[str, list[Sample]] = {name: [] for name in recipes}
    damages = {name: Damage() for name in recipes}
    for trial in range(trials):
        for name, recipe in recipes.items():
            load = os.getloadavg()[0]
            folder = context.directory("killed")
            damage = _trial(context, folder, recipe, seconds, random.Random(trial).random())
            for field in ("forgotten", "twice", "unseen", "overlaps"):
                setattr(damages[name], field, getattr(damages[name], field) + getattr(damage, field))
            samples[name].append(Sample(float(damage.total), load=load))
    mine = [Sample(float(damages["ours"].total), load=sample.load) for sample in samples["ours"]]
    work = f"{STEPS} steps, {trials} kills"
    yield Row(TOPIC, work, "what is promised", mine, constant(0), at_most(0), unit="wrong")
    for name, damage in damages.items():
        if name != "ours":
            note = f"ours: {damages['ours']}; {name}: {damage}"
            theirs = [Sample(float(damage.total), load=sample.load) for sample in samples[name]]
            yield Row(TOPIC, work, name, mine, theirs, at_most(0), unit="wrong", note=note)


def _recipes(context: Context) -> dict[str, Recipe]:
    tools = context.tools
    recipes: dict[str, Recipe] = {
        "ours": lambda folder: [
            sys.executable,
            "-m",
            "benchmarks.engine",
            folder / "plan.json",
            folder / "state",
            "--resume",
        ]
    }
    if context.has("ninja"):
        recipes["ninja -j2"] = lambda folder: [tools["ninja"], "-j2", "-f", folder / "build.ninja"]
    if context.has("make"):
        recipes["make -j2"] = lambda folder: [tools["make"], "-s", "-j2", "-f", folder / "Makefile"]
    if context.has("doit"):
        recipes["doit -n2"] = lambda _: [tools["doit"], "-n2", "-P", "thread"]
    if context.has("parallel"):
        recipes["GNU parallel --resume"] = lambda folder: [
            tools["parallel"],
            "-j2",
            "--joblog",
            "jobs.log",
            "--resume",
            "-a",
            folder / "commands",
        ]
    return recipes


def _trial(context: Context, folder: Path, recipe: Recipe, seconds: float, moment: float) -> Damage:
    ledger, script = folder / "ledger", folder / "step.sh"
    script.write_text(_STEP)
    script.chmod(0o755)
    (folder / "home").mkdir()
    tasks = [
        Task(name, (str(script), str(ledger), name, str(seconds), str(folder / name)))
        for name in (f"s{number}" for number in range(STEPS))
    ]
    work = Work(tasks)
    write_plan(folder / "plan.json", work)
    write_ninja(folder / "build.ninja", work)
    write_make(folder / "Makefile", work, phony=False)
    write_doit(folder / "dodo.py", work)
    (folder / "commands").write_text("\n".join(" ".join(task.argv) for task in tasks))
    env = context.environment(folder / "home")
    runner = _start(recipe(folder), env, folder)
    _wait_for(ledger, lambda events: sum(what == "end" for what, _, _ in events) >= STEPS // 4)
    time.sleep(moment * seconds)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    killed_at = time.time_ns()
    again = _start(recipe(folder), env, folder)
    again.wait(PATIENCE_SECONDS)
    if again.returncode:
        raise BenchmarkError(f"{again.args!r} ended with {again.returncode} when it was run again")
    _wait_for(
        ledger,
        lambda events: (
            {step for what, step, _ in events if what == "end"} == {task.name for task in tasks}
            and sum(what == "start" for what, _, _ in events) == sum(what == "end" for what, _, _ in events)
        ),
    )
    return judge(read_ledger(ledger), killed_at)


def _start(argv: Sequence[str | Path], env: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(part) for part in argv],
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for(ledger: Path, seen: Callable[[Events], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not seen(read_ledger(ledger)):
        if time.monotonic() > until:
            raise BenchmarkError(f"the steps did not come to an end: {ledger.read_text()[-300:]}")
        time.sleep(0.01)
