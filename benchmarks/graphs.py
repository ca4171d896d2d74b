"""The same work for everybody: graphs of steps, as a plan of ours and as files of the peers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

LAYER = 10


@dataclass(frozen=True, slots=True)
class Task:
    """One step: `after` are names of other tasks."""

    name: str
    argv: Sequence[str] = ("/bin/true",)
    after: Sequence[str] = ()
    mutexes: Sequence[str] = ()
    plugin: str = "work"
    seconds: float = 0.0
    phase: str = "execute"


@dataclass(frozen=True, slots=True)
class Work:
    """Tasks in an order in which they can run."""

    tasks: Sequence[Task]
    parallel: bool = True
    seconds: dict[str, float] = field(default_factory=dict)
    """Durations of the past, by "plugin:step"."""


def shaped(shape: str, count: int, argv: Sequence[str] = ("/bin/true",)) -> Work:
    """`chain`: each after the one before; `independent`; `layered`: ten wide, each after all ten before."""
    tasks: list[Task] = []
    for number in range(count):
        match shape:
            case "chain":
                before = [number - 1] if number else []
            case "layered":
                first = (number // LAYER - 1) * LAYER
                before = list(range(first, first + LAYER)) if number >= LAYER else []
            case _:
                before = []
        tasks.append(Task(f"s{number}", argv, [f"s{other}" for other in before]))
    return Work(tasks)


def write_plan(path: Path, work: Work) -> Path:
    """For benchmarks.engine: `{"plugins": [{"name", "parallel", "steps": [{"name", "argv", …}]}]}`."""
    plugins: dict[str, list[dict[str, object]]] = {}
    for task in work.tasks:
        plugins.setdefault(task.plugin, []).append(
            {
                "name": task.name,
                "argv": list(task.argv),
                "after": list(task.after),
                "mutexes": list(task.mutexes),
                "phase": task.phase,
            }
        )
    data = {
        "plugins": [
            {"name": name, "parallel": work.parallel, "steps": steps} for name, steps in plugins.items()
        ],
        "seconds": work.seconds,
    }
    path.write_text(json.dumps(data))
    return path


def _key(task: Task) -> str:
    return f"{task.plugin}-{task.name}" if task.plugin != "work" else task.name


def _keys(task: Task) -> list[str]:
    prefix = f"{task.plugin}-" if task.plugin != "work" else ""
    return [prefix + name for name in task.after]


def write_ninja(path: Path, work: Work) -> Path:
    """A pool of depth 1 is a mutex (one for each step at most); ninja runs every command in a shell."""
    pools = sorted({task.mutexes[0] for task in work.tasks if task.mutexes})
    lines = [f"pool {name}\n  depth = 1" for name in pools]
    lines.append("rule run\n  command = $argv")
    for task in work.tasks:
        needs = f" {' '.join(_keys(task))}" if task.after else ""
        lines.append(f"build {_key(task)}: run{needs}\n  argv = {' '.join(task.argv)}")
        if task.mutexes:
            lines.append(f"  pool = {task.mutexes[0]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_make(path: Path, work: Work, *, phony: bool = True) -> Path:
    """make runs a plain command without a shell."""
    names = [_key(task) for task in work.tasks]
    lines = [f"all: {' '.join(names)}"]
    if phony:
        lines.append(f".PHONY: all {' '.join(names)}")
    lines += [f"{_key(task)}: {' '.join(_keys(task))}\n\t@{' '.join(task.argv)}" for task in work.tasks]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_doit(path: Path, work: Work) -> Path:
    """Argument lists, so no shell; each task remembers that it was done."""
    tasks = [(_key(task), list(task.argv), _keys(task)) for task in work.tasks]
    path.write_text(
        "import json\nfrom doit.tools import run_once\n"
        "DOIT_CONFIG = {'verbosity': 0}\n"
        f"TASKS = json.loads({json.dumps(json.dumps(tasks))})\n"
        "def task_all():\n"
        "    for name, argv, after in TASKS:\n"
        "        yield {'name': name, 'actions': [argv], 'uptodate': [run_once],\n"
        "               'task_dep': ['all:' + other for other in after]}\n"
    )
    return path


def write_shell(path: Path, work: Work) -> Path:
    """One after the other."""
    path.write_text("set -e\n" + "".join(f"{' '.join(task.argv)}\n" for task in work.tasks))
    return path
