"""State: one durable transition against flush, rename and directory flush in a bare loop of the same size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.context import Context
from benchmarks.measuring import Contestant, Sample, Stopwatch, interleave
from benchmarks.rows import Row, at_most
from update_all.core.models import StepExecutionState, StepResult, Usage
from update_all.core.state import StateStore
from update_all.core.transitions import PluginState, end_record, start_record

TOPIC = "State"
RUNS = 50


def bench(context: Context) -> Iterator[Row]:
    for count in (20, 100) if context.quick else (20, 100, 1_000):
        folder = context.directory("state")
        store = _filled(folder, count)
        data = b"x" * (folder / "steps/work.json").stat().st_size
        contestants: dict[str, Contestant] = {
            "ours": lambda store=store: _ours(store),  # type: ignore[misc]
            "bare": lambda folder=folder, data=data: _bare(folder, data),  # type: ignore[misc]
        }
        results = interleave(contestants, context.rounds(9))
        work = f"a transition, {count:,} steps in the state"
        peer = "flush, rename, directory flush"
        yield Row(TOPIC, work, peer, results["ours"], results["bare"], at_most(1.5))


def _result(name: str) -> StepResult:
    return StepResult(
        name, success=True, duration_seconds=1.0, exit_code=0, usage=Usage(0.1, 1 << 20, 4096, 4096)
    )


def _filled(folder: Path, count: int) -> StateStore:
    store = StateStore(folder)
    state = PluginState(run_id="20260101-000000-abcdef", execution=StepExecutionState("work"))
    store.open(state, [end_record(_result(f"s{number}")) for number in range(count)])
    return store


def _ours(store: StateStore) -> Sample:
    with Stopwatch() as watch:
        for number in range(RUNS):
            if number % 2:
                store.record("work", end_record(_result("s1")))
            else:
                store.record("work", start_record("s1", 1, 1))
            store.commit()
    return watch.sample(0.0, watch.seconds / RUNS)


def _bare(folder: Path, data: bytes) -> Sample:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with Stopwatch() as watch:
        for _ in range(RUNS):
            file = os.open(folder / "bare.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(file, data)
            os.fsync(file)
            os.close(file)
            (folder / "bare.tmp").rename(folder / "bare")
            os.fsync(directory)
    os.close(directory)
    return watch.sample(0.0, watch.seconds / RUNS)
