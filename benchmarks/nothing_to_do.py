"""Nothing to do: a resume that finds a thousand steps done, and the command line with nothing to resume."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.context import Context, drive, program
from benchmarks.graphs import shaped, write_doit, write_plan
from benchmarks.measuring import Argv, Contestant, Sample, interleave, run, timed
from benchmarks.rows import Row, at_most
from update_all.core.state import StateStore
from update_all.core.transitions import Outcome

TOPIC = "Nothing to do"
PASS = "python3 -c pass"


def bench(context: Context) -> Iterator[Row]:
    count = 30 if context.quick else 1_000
    folder = context.directory("nothing")
    env = context.environment(folder)
    work = shaped("independent", count)
    plan = write_plan(folder / "plan.json", work)
    done = _done(context, folder, plan)

    def resume() -> Sample:
        state = folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(done, state)
        return drive(context, plan, state, "--resume").sample

    contestants: dict[str, Contestant] = {
        "ours": resume,
        "resume": timed([*program(), "resume"], env=env),
        PASS: timed([sys.executable, "-c", "pass"], env=env),
    }
    if context.has("doit"):
        write_doit(folder / "dodo.py", work)
        argv: Argv = [context.tools["doit"], "-n", "2", "-P", "thread"]
        run(argv, env=env, cwd=folder)
        contestants["doit -n2"] = timed([context.tools["doit"]], env=env, cwd=folder)
    results = interleave(contestants, context.rounds(9))
    title = f"{count:,} steps done"
    if "doit -n2" in results:
        yield Row(TOPIC, title, "doit", results["ours"], results["doit -n2"], at_most(0.6))
    yield Row(TOPIC, title, PASS, results["ours"], results[PASS], at_most(8))
    yield Row(TOPIC, "update-all resume, nothing left", PASS, results["resume"], results[PASS], at_most(8))


def _done(context: Context, folder: Path, plan: Path) -> Path:
    """A state as a crash leaves it between the last step and the end of the plugin."""
    state = folder / "done"
    drive(context, plan, state)
    store = StateStore(state)
    for name in store.plugins():
        found = store.load(name).state
        assert found is not None
        found.outcome = Outcome.UNFINISHED
        store.open(found)
    return state
