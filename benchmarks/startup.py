"""Start-up: what a command costs before it does anything, against the bare interpreter."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.context import Context, program
from benchmarks.measuring import Contestant, interleave, timed
from benchmarks.rows import Row, at_most

TOPIC = "Start-up"
GOALS = {"--version": 1.5, "--help": 2.0, "status": 4.0, "plugins list": 6.0}
PASS = "python3 -c pass"


def bench(context: Context) -> Iterator[Row]:
    home = context.directory("home")
    env = context.environment(home)
    del env["PYTHONPATH"]
    contestants: dict[str, Contestant] = {PASS: timed([sys.executable, "-c", "pass"], env=env)}
    for command in GOALS:
        contestants[command] = timed([*program(), *command.split()], env=env)
    for peer in ("mpm", "topgrade", "doit"):
        if context.has(peer):
            contestants[f"{peer} --version"] = timed([context.tools[peer], "--version"], env=env)
    for contestant in contestants.values():
        contestant()  # What is compiled or cached once is not start-up.
    results = interleave(contestants, context.rounds(25))
    for command, limit in GOALS.items():
        yield Row(TOPIC, f"update-all {command}", PASS, results[command], results[PASS], at_most(limit))
    for peer in ("mpm", "topgrade", "doit"):
        name = f"{peer} --version"
        if name in results:
            yield Row(TOPIC, "update-all --version", name, results["--version"], results[name])
