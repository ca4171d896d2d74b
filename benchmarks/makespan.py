"""The whole run: thirty plugins, ninety steps with mutexes, against the bound that no schedule can beat.

The graphs are drawn as engine-limits.md section 7 describes: log-normal durations, a download outside and an
install inside a contended mutex, some plugins behind others; steps are `sleep`. How long a run takes is
measured from its first to its last event: start-up has a topic of its own. Without history a run is
lucky or not (1.04 to 1.33 of the bound in forty simulated graphs), so that a few graphs would say little.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.context import Context, drive, engine, figure
from benchmarks.graphs import Task, Work, write_ninja, write_plan, write_shell
from benchmarks.measuring import Argv, BenchmarkError, Contestant, Sample, constant, interleave, timed
from benchmarks.peers import topgrade
from benchmarks.rows import Row, at_least, at_most
from update_all.core.forecast import expected_range, lower_bound, plan_priorities
from update_all.core.scheduling import Graph, Node

TOPIC = "Whole run"
ESTIMATE = "Estimate"
MUTEXES = ("dpkg", "python", "node", "flatpak")
GOALS = {4: 1.03, 8: 1.05}
UNINFORMED = 1.15


def drawn(seed: int, plugins: int) -> Work:
    """A check, a download and an install for each plugin, with sleeps of seconds."""
    chance = random.Random(seed)
    tasks: list[Task] = []
    for number in range(plugins):
        name = f"plugin{number:02}"
        contended = chance.random() < 0.5
        mutex = (chance.choice(MUTEXES),) if contended else ()
        for step, phase, typical in (
            ("check", "check", 1.0),
            ("fetch", "download", 4.0),
            ("install", "execute", 3.0 if contended else 5.0),
        ):
            seconds = chance.lognormvariate(0.0, 0.6) * typical
            tasks.append(Task(step, (), (), mutex if step == "install" else (), name, seconds, phase))
    return Work(tasks, parallel=False)


def graph_of(work: Work) -> Graph:
    """The graph of the scheduler, for the bound and the forecast."""
    nodes: list[Node] = []
    for place, task in enumerate(work.tasks):
        before = [node.id for node in nodes if node.group == task.plugin][-1:]
        id = f"{task.plugin}:{task.name}"
        nodes.append(Node(id, task.plugin, tuple(before), tuple(task.mutexes), task.seconds, place))
    return Graph(nodes)


def scaled(work: Work, jobs: int, bound: float) -> Work:
    """The same graph with a lower bound of so many seconds; the steps sleep, and their past is known."""
    factor = bound / lower_bound(graph_of(work), jobs)
    tasks = []
    for place, task in enumerate(work.tasks):
        seconds = round(task.seconds * factor, 4)
        same = work.tasks[place - 1].name if place and work.tasks[place - 1].plugin == task.plugin else ""
        tasks.append(
            replace(task, argv=("sleep", str(seconds)), seconds=seconds, after=(same,) if same else ())
        )
    return Work(tasks, work.parallel, {f"{t.plugin}:{t.name}": t.seconds for t in tasks})


def bench(context: Context) -> Iterator[Row]:
    seeds = range(1, 2 if context.quick else 5)
    plugins, bound = (6, 0.5) if context.quick else (30, 8.0)
    for jobs, limit in GOALS.items():
        rows = [_measured(context, seed, plugins, jobs, bound) for seed in seeds]
        samples = {name: [s for row in rows for s in row.get(name, ())] for name in rows[0]}
        work = f"{plugins} plugins, {3 * plugins} steps, {jobs} at a time"
        floor = samples["bound"]
        yield Row(TOPIC, f"{work}, with history", "lower bound", samples["known"], floor, at_most(limit))
        yield Row(TOPIC, f"{work}, no history", "lower bound", samples["unknown"], floor, at_most(UNINFORMED))
        for peer in ("sh, one after the other", "topgrade, as custom commands"):
            if peer in samples:
                yield Row(TOPIC, work, peer, samples["known"][:1], samples[peer], at_least(3), speed=True)
        if "ninja" in samples:
            work = f"{work}, with history"
            yield Row(TOPIC, work, "ninja, a pool per mutex", samples["known"], samples["ninja"], speed=True)
    yield _estimate(context)


def _measured(context: Context, seed: int, plugins: int, jobs: int, bound: float) -> dict[str, list[Sample]]:
    work = scaled(drawn(seed, plugins), jobs, bound)
    folder = context.directory(f"makespan-{jobs}-{seed}")
    unknown = write_plan(folder / "unknown.json", replace(work, seconds={}))
    contestants: dict[str, Contestant] = {
        "known": engine(
            context, write_plan(folder / "known.json", work), "--jobs", str(jobs), of="run_seconds"
        ),
        "unknown": engine(context, unknown, "--jobs", str(jobs), of="run_seconds"),
    }
    if context.has("ninja") and jobs == min(GOALS):
        argv: Argv = [
            context.tools["ninja"],
            "-j",
            str(jobs),
            "-f",
            write_ninja(folder / "build.ninja", work),
        ]
        contestants["ninja"] = timed(argv, env=context.environment(folder), cwd=folder)
    results = interleave(contestants, 1)
    if seed == 1 and jobs == min(GOALS):  # One after the other they do not depend on the jobs.
        results |= interleave(_sequential(context, work), 1)
    results["bound"] = constant(lower_bound(graph_of(work), jobs)) * len(results["known"])
    return results


def _sequential(context: Context, work: Work) -> dict[str, Contestant]:
    folder = context.directory("sequential")
    env = context.environment(folder)
    contestants = {"sh, one after the other": timed(["sh", write_shell(folder / "loop.sh", work)], env=env)}
    if context.has("topgrade"):
        commands = {f"{task.plugin}-{task.name}": " ".join(task.argv) for task in work.tasks}
        argv = topgrade(context.tools["topgrade"], folder, commands)
        contestants["topgrade, as custom commands"] = timed(argv, env={**env, "SHELL": "/bin/sh"})
    return contestants


def _estimate(context: Context) -> Row:
    """Runs whose steps take what they like; before each, the range in which it will end is told."""
    learning, told, jobs = (2, 3, 4) if context.quick else (5, 20, 4)
    usual = scaled(drawn(7, 8), jobs, 0.4 if context.quick else 1.0)
    graph = graph_of(usual)
    chance = random.Random(7)
    past: dict[str, list[float]] = {}
    inside: list[Sample] = []
    for number in range(learning + told):
        shared = chance.gauss(0.0, 0.15)
        tasks = [
            replace(task, argv=("sleep", f"{task.seconds * 2.718 ** (shared + chance.gauss(0.0, 0.25)):.4f}"))
            for task in usual.tasks
        ]
        priority = plan_priorities(graph, jobs).priority
        low, high = expected_range(graph, jobs, None, priority, past)
        plan = write_plan(context.directory("estimate") / "plan.json", replace(usual, tasks=tasks))
        state = context.directory("state")
        finished = drive(context, plan, state, "--jobs", str(jobs), "--durations")
        actual = figure(finished, "run_seconds")
        if number >= learning:
            found = replace(finished.sample, value=float(low <= actual <= high))
            inside.append(found)
        _remember(past, finished.output)
    share = sum(sample.value for sample in inside) / len(inside)
    mine = [replace(sample, value=share) for sample in inside]
    work = f"{told} runs after {learning} of history: the time was in the range told"
    return Row(ESTIMATE, work, "all of them", mine, constant(1.0), at_least(0.9), unit="%")


def _remember(past: dict[str, list[float]], output: bytes) -> None:
    import json

    durations = json.loads(output)["durations"]
    if not durations:
        raise BenchmarkError("the engine has told no durations")
    for name, seconds in durations.items():
        past.setdefault(name, []).insert(0, seconds)
        del past[name][10:]
