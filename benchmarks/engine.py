"""A plan through the engine in a process of its own: `python -m benchmarks.engine PLAN STATE_DIRECTORY …`.

Uses the engine as the command line does, with a sink that only counts. The plan is JSON (benchmarks.graphs).
The last line of the output is JSON: exit code, seconds of the run, peak memory in bytes, CPU seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.observed import peak_bytes
from update_all.core.models import Phase, UpdateCommand, UpdateStep
from update_all.core.orchestration import RunResult, RunSettings
from update_all.core.planning import PluginPlan, build_graph, plan_plugin
from update_all.core.rights import Rights
from update_all.core.session import ResumeOptions, Session, new_run_id
from update_all.core.state import StateStore
from update_all.core.streaming import OutputEvent, RunEndEvent, StepEndEvent, StreamEvent
from update_all.plugins.base import BasePlugin

if TYPE_CHECKING:
    from update_all.ui.view import RunView


class PlannedPlugin(BasePlugin):
    """A plugin as the plan describes it."""

    command = "true"

    def __init__(self, data: Mapping[str, object]) -> None:
        super().__init__()
        self._data = data
        self.parallel_steps = bool(data["parallel"])

    @property
    def name(self) -> str:
        return str(self._data["name"])

    def get_update_steps(self) -> list[UpdateStep]:
        steps = self._data["steps"]
        assert isinstance(steps, list)
        return [
            UpdateStep(
                name=step["name"],
                description=step["name"],
                commands=[UpdateCommand(cmd=step["argv"])],
                depends_on=step["after"],
                mutexes=step["mutexes"],
                phase=Phase(step["phase"]),
            )
            for step in steps
        ]


class Counter:
    """Counts what a view would be shown, and keeps the durations of steps."""

    def __init__(self, view: RunView | None) -> None:
        self._view = view
        self.characters = 0
        self.durations: dict[str, float] = {}
        self.run_seconds = 0.0

    def handle(self, event: StreamEvent) -> None:
        if self._view is not None:
            self._view.apply(event)
        if isinstance(event, OutputEvent):
            self.characters += len(event.line)
        elif isinstance(event, StepEndEvent):
            self.durations[f"{event.plugin_name}:{event.step_name}"] = event.duration_seconds
        elif isinstance(event, RunEndEvent):
            self.run_seconds = event.duration_seconds


def _settings(plans: list[PluginPlan], jobs: int, seconds: Mapping[str, float]) -> RunSettings:
    """With the durations of the past, the order that the command line would plan."""
    if not seconds:
        return RunSettings(jobs=jobs)
    from update_all.core.forecast import plan_priorities

    known: dict[tuple[str, str], float] = {}
    for name, value in seconds.items():
        plugin, _, step = name.partition(":")
        known[plugin, step] = value
    priority = plan_priorities(build_graph(plans, seconds=known), jobs).priority
    return RunSettings(jobs=jobs, seconds=known, priority=priority)


def _carry_out(options: argparse.Namespace, counter: Counter) -> RunResult:
    data = json.loads(options.plan.read_bytes())
    plugins = [PlannedPlugin(item) for item in data["plugins"]]
    plans = [plan_plugin(plugin, plugin.get_update_steps()) for plugin in plugins]
    store = StateStore(options.state)
    states = {plan.name: store.load(plan.name).state for plan in plans} if options.resume else {}
    known = [state.run_id for state in states.values() if state is not None]
    with Session(options.state, max(known, default=new_run_id()), resumed=options.resume) as session:
        recoveries = {}
        for plan in plans:
            state = states.get(plan.name)
            recoveries[plan.name] = (
                session.start_afresh(plan) if state is None else session.go_on(plan, state, ResumeOptions())
            )
        return asyncio.run(
            session.run(
                plans,
                recoveries,
                privileges=Rights.find(),
                settings=_settings(plans, options.jobs, data.get("seconds", {})),
                sink=counter.handle,
            )
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--durations", action="store_true", help="print those of all steps")
    parser.add_argument("--view", action="store_true", help="keep what a live view shows")
    options = parser.parse_args()
    view = None
    if options.view:
        from update_all.ui.view import RunView

        view = RunView()
    counter = Counter(view)
    began = time.perf_counter()
    result = _carry_out(options, counter)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    answer: dict[str, object] = {
        "exit": result.exit_code,
        "seconds": time.perf_counter() - began,
        "run_seconds": counter.run_seconds,
        "peak": peak_bytes(),
        "cpu": usage.ru_utime + usage.ru_stime,
        "characters": counter.characters,
    }
    if options.durations:
        answer["durations"] = counter.durations
    print(json.dumps(answer))
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
