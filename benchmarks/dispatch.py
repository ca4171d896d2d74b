"""Steps per second: what the engine itself costs, every promise of system.md section 4 kept.

Of the peers, doit remembers at the end of a run, ninja appends to a log that it never flushes, and none can
re-attach to what survived a crash.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.context import Context, engine
from benchmarks.graphs import Work, shaped, write_doit, write_make, write_ninja, write_plan, write_shell
from benchmarks.measuring import Argv, Contestant, Results, Sample, interleave, run, timed
from benchmarks.rows import Row, at_least, at_most

TOPIC = "Steps per second, durable"
JOBS = 2
NINJA_GOAL = {"chain": 1.0, "independent": 0.7, "layered": 0.7}
DOIT_GOAL = 1.3


def bench(context: Context) -> Iterator[Row]:
    small, large = (30, 100) if context.quick else (1_000, 10_000)
    for shape in NINJA_GOAL:
        few = interleave(_contestants(context, shape, small, everybody=True), context.rounds(3))
        many = interleave(_contestants(context, shape, large, everybody=False), 1)
        yield from _rows(shape, small, few)
        yield from _rows(shape, large, many)
    yield from _linear(context, small, large)


def _rows(shape: str, count: int, results: Results) -> Iterator[Row]:
    goals = {"ninja -j2": NINJA_GOAL[shape], "doit -n2": DOIT_GOAL}
    for peer, samples in results.items():
        if peer != "ours":
            goal = at_least(goals[peer]) if peer in goals else None
            yield Row(
                TOPIC,
                f"{count:,} steps, {shape}",
                peer,
                results["ours"],
                samples,
                goal,
                unit="steps/s",
                amount=count,
                speed=True,
            )


def _contestants(context: Context, shape: str, count: int, *, everybody: bool) -> dict[str, Contestant]:
    work = shaped(shape, count)
    folder = context.directory(f"{shape}-{count}")
    tools, env = context.tools, context.environment(folder)
    contestants = {"ours": engine(context, write_plan(folder / "plan.json", work), "--jobs", str(JOBS))}
    if context.has("ninja"):
        argv: Argv = [tools["ninja"], "-j", str(JOBS), "-f", write_ninja(folder / "build.ninja", work)]
        contestants["ninja -j2"] = timed(argv, env=env, cwd=folder)
    if context.has("doit"):
        contestants["doit -n2"] = _doit(context, work, shape, count)
    if context.has("spawn-limit"):
        jobs = 1 if shape == "chain" else JOBS
        limit: Argv = [tools["spawn-limit"], str(count), str(jobs)]
        contestants["C spawn loop (limit)"] = timed(limit, env=env)
        if everybody:
            contestants["C, a flush for each step (limit)"] = timed([*limit, folder / "flushed"], env=env)
    if everybody and context.has("make"):
        argv = [tools["make"], "-s", "-j", str(JOBS), "-f", write_make(folder / "Makefile", work)]
        contestants["make -j2"] = timed(argv, env=env, cwd=folder)
    if everybody and context.has("parallel") and shape != "layered":
        jobs = 1 if shape == "chain" else JOBS
        numbers = folder / "numbers"
        numbers.write_text("\n".join(map(str, range(count))))
        argv = [tools["parallel"], "-j", str(jobs), "--joblog", "jobs.log", "-a", numbers, "/bin/true"]
        contestants["GNU parallel --joblog"] = timed(argv, env=env, cwd=folder)
    if everybody and shape == "chain":
        contestants["sh loop"] = timed(["sh", write_shell(folder / "loop.sh", work)], env=env)
    return contestants


def _doit(context: Context, work: Work, shape: str, count: int) -> Contestant:
    def contest() -> Sample:
        folder = context.directory(f"doit-{shape}-{count}")
        write_doit(folder / "dodo.py", work)
        argv: Argv = [context.tools["doit"], "-n", str(JOBS), "-P", "thread"]
        return run(argv, env=context.environment(folder), cwd=folder).sample

    return contest


def _linear(context: Context, small: int, large: int) -> Iterator[Row]:
    """The cost of a step must not grow with their number; start-up is not in it."""
    folder = context.directory("linear")
    for shape in NINJA_GOAL:
        contestants: dict[str, Contestant] = {}
        for count in (small, large):
            plan = write_plan(folder / f"{shape}-{count}.json", shaped(shape, count))
            contestants[str(count)] = engine(context, plan, "--jobs", str(JOBS), of="seconds")
        results = interleave(contestants, 1)
        per_step = {
            count: [Sample(s.value / count, s.cpu, s.load, s.others) for s in results[str(count)]]
            for count in (small, large)
        }
        work = f"cost of a step among {large:,}, {shape}"
        yield Row(TOPIC, work, f"the same among {small:,}", per_step[large], per_step[small], at_most(1.2))
