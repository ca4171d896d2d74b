"""Nothing to do: a resume where a thousand steps are done.

Twice: as the command line meets it, with everything at its end; and with the engine killed between the last
step and the end of the plugin, so that a resume must load all, find out where each step stands, and end it.
"""

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
    home = context.directory("home")
    env = context.environment(home)
    work = shaped("independent", count)
    plan = write_plan(folder / "plan.json", work)
    killed = _killed(context, folder, plan)
    _finished(killed, home / "state/update-all")

    def resume() -> Sample:
        state = folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(killed, state)
        return drive(context, plan, state, "--resume").sample

    contestants: dict[str, Contestant] = {
        "ours": timed([*program(), "resume"], env=env),
        "killed": resume,
        PASS: timed([sys.executable, "-c", "pass"], env=env),
    }
    if context.has("doit"):
        write_doit(folder / "dodo.py", work)
        argv: Argv = [context.tools["doit"], "-n", "2", "-P", "thread"]
        run(argv, env=env, cwd=folder)
        contestants["doit -n2"] = timed([context.tools["doit"]], env=env, cwd=folder)
    contestants["ours"]()  # The first one makes the lock file.
    results = interleave(contestants, context.rounds(15))
    for title, ours in (
        (f"{count:,} steps done", "ours"),
        (f"{count:,} steps done, killed before the end", "killed"),
    ):
        if "doit -n2" in results:
            yield Row(TOPIC, title, "doit", results[ours], results["doit -n2"], at_most(0.6))
        yield Row(TOPIC, title, PASS, results[ours], results[PASS], at_most(8))


def _finished(killed: Path, state: Path) -> None:
    """The same state with the end of the plugin in it."""
    shutil.copytree(killed, state)
    store = StateStore(state)
    for name in store.plugins():
        found = store.load(name).state
        assert found is not None
        found.outcome = Outcome.COMPLETE
        store.open(found)


def _killed(context: Context, folder: Path, plan: Path) -> Path:
    """A state as a crash leaves it between the last step and the end of the plugin."""
    state = folder / "killed"
    drive(context, plan, state)
    store = StateStore(state)
    for name in store.plugins():
        found = store.load(name).state
        assert found is not None
        found.outcome = Outcome.UNFINISHED
        store.open(found)
    return state
