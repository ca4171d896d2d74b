"""Past runs, or one plugin's past: durations, failures, versions."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from update_all.cli.envelope import Document, change_to
from update_all.cli.json_output import write_json
from update_all.cli.options import positive
from update_all.cli.workspace import Workspace
from update_all.core.errors import unknown_name
from update_all.core.history import History, RunDetails, RunRecord
from update_all.ui.terminal import Sink, style_of
from update_all.ui.text import Style, columns, duration, plural, sparkline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="RUN|PLUGIN", help="one run, or one plugin over time")
    parser.add_argument("--limit", type=positive, default=20, metavar="N", help="how many runs (default: 20)")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")


def run(options: argparse.Namespace) -> int:
    workspace = Workspace.open()
    style = style_of(sys.stdout, os.environ, options.color)
    with workspace.history(read_only=True) as history:
        if options.what is None:
            runs = history.runs(options.limit)
            if options.json:
                write_json({"schema": "update-all.history/1", "runs": [_run_to(item) for item in runs]})
                return 0
            lines = runs_lines(runs)
        else:
            details = history.run(options.what)
            if details is None and options.json:
                write_json(_plugin_to(history, options.what))
                return 0
            if details is None:
                lines = plugin_lines(history, options.what, style)
            elif options.json:
                write_json(_details_to(details))
                return 0
            else:
                lines = details_lines(details)
    Sink(sys.stdout).write("\n".join(style.text(line) for line in lines) + "\n")
    return 0


def _outcome(record: RunRecord) -> str:
    if record.exit_code is None:
        return "unfinished"
    if record.interrupted:
        return "interrupted"
    return f"{record.failed} failed" if record.failed else "done"


def runs_lines(runs: list[RunRecord]) -> list[str]:
    """One line a run, newest first. Pure."""
    if not runs:
        return ["No run has been recorded yet."]
    rows = [
        [
            record.id,
            record.started.astimezone().strftime("%Y-%m-%d %H:%M"),
            duration((record.ended - record.started).total_seconds()) if record.ended else "",
            plural(record.plugins, "plugin"),
            plural(record.changes, "change"),
            _outcome(record),
        ]
        for record in runs
    ]
    return columns(rows, 120, indent="")


def details_lines(details: RunDetails) -> list[str]:
    """One run: its steps and changes. Pure."""
    lines = [f"Run {details.run.id}: {_outcome(details.run)}"]
    for step in details.steps:
        failed = f"  {step.error_message}" if step.error_message else ""
        lines.append(f"  {step.plugin}:{step.step}  {step.outcome.value}  {duration(step.seconds)}{failed}")
    for plugin, changes in details.changes.items():
        lines.append(f"  {plugin}")
        for change in changes:
            old, new = change.old or "not installed", change.new or "removed"
            lines.append(f"    {change.item}  {old} → {new}")
    return lines


def plugin_lines(history: History, plugin: str, style: Style) -> list[str]:
    """One plugin over time. Raises UsageError for a name that no run knows."""
    durations = _durations(history, plugin)
    rate = history.failure_rate(plugin)
    lines = [f"{plugin}: failed in {rate:.0%} of its runs" if rate is not None else plugin]
    for step, values in durations.items():
        graph = sparkline(list(reversed(values)), style.marks)
        lines.append(f"  {step}  {graph}  last {duration(values[0])}")
    return lines


def _durations(history: History, plugin: str) -> dict[str, Sequence[float]]:
    last = history.last_results()
    if plugin not in last:
        raise unknown_name("run or plugin", plugin, [*last, *(record.id for record in history.runs(50))])
    return {step: values for (name, step), values in history.durations(50).items() if name == plugin}


def _plugin_to(history: History, plugin: str) -> Document:
    return {
        "schema": "update-all.history-plugin/1",
        "plugin": plugin,
        "steps": [
            {"step": step, "seconds": list(values)} for step, values in _durations(history, plugin).items()
        ],
        "failure_rate": history.failure_rate(plugin),
    }


def _run_to(record: RunRecord) -> Document:
    return {
        "run": record.id,
        "started": record.started.isoformat(),
        "ended": record.ended.isoformat() if record.ended else None,
        "exit_code": record.exit_code,
        "plugins": record.plugins,
        "failed": record.failed,
        "changes": record.changes,
    }


def _details_to(details: RunDetails) -> Document:
    return {
        "schema": "update-all.history-run/1",
        **_run_to(details.run),
        "steps": [
            {
                "plugin": step.plugin,
                "step": step.step,
                "outcome": step.outcome.value,
                "seconds": step.seconds,
                "error": step.error_message,
            }
            for step in details.steps
        ],
        "changed": {
            plugin: [change_to(change) for change in changes] for plugin, changes in details.changes.items()
        },
    }
