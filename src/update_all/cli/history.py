"""Past runs, or one plugin's past: durations, failures, versions."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from update_all.cli.envelope import Document, change_to
from update_all.cli.json_output import write_json
from update_all.cli.options import positive
from update_all.cli.workspace import Workspace
from update_all.core.errors import unknown_name
from update_all.core.history import History, RunDetails, RunRecord, VersionRecord
from update_all.ui.terminal import Sink, is_terminal, style_of
from update_all.ui.text import Style, columns, duration, plural, sparkline

WIDTH = 120
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

_WHERE_TO_LOOK = (
    "What a run did: update-all history RUN; as a page for a browser: update-all report RUN",
    "What a plugin did: update-all history PLUGIN; back to the version before: update-all rollback PLUGIN",
)


@dataclass(frozen=True, slots=True)
class PluginPast:
    """One plugin over its last runs: seconds by step, the share that failed, what became of its items."""

    plugin: str
    durations: Mapping[str, Sequence[float]]
    failure_rate: float | None
    versions: Sequence[VersionRecord]

    @classmethod
    def read(cls, history: History, plugin: str, limit: int, since: datetime | None) -> PluginPast:
        """Its last runs, at most `limit`. Raises UsageError for a name that no run knows."""
        known = history.last_results()
        if plugin not in known:
            raise unknown_name("run or plugin", plugin, [*known, *(run.id for run in history.runs())])
        durations = history.durations(limit, since=since)
        return cls(
            plugin,
            {step: values for (name, step), values in durations.items() if name == plugin},
            history.failure_rate(plugin, limit, since=since),
            history.versions(plugin, limit, since=since),
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", metavar="RUN|PLUGIN", help="one run, or one plugin over time")
    parser.add_argument("--limit", type=positive, default=20, metavar="N", help="how many runs (default: 20)")
    parser.add_argument(
        "--since", type=moment, metavar="WHEN", help="only runs since then: 7d, 12h, 2w, or 2026-11-16"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")


def run(options: argparse.Namespace) -> int:
    style = style_of(sys.stdout, os.environ, options.color)
    with Workspace.open().history(read_only=True) as history:
        document, lines = _shown(history, options, style)
    if options.json:
        write_json(document)
    else:
        Sink(sys.stdout).write("\n".join(style.text(line) for line in lines) + "\n")
    return 0


def _shown(history: History, options: argparse.Namespace, style: Style) -> tuple[Document, list[str]]:
    """What was asked for, for programs and for people."""
    if options.what is None:
        runs = history.runs(options.limit, since=options.since)
        lines = runs_lines(runs, options.since)
        if runs and is_terminal(sys.stdout, os.environ):
            lines += ["", *_WHERE_TO_LOOK]
        return {"schema": "update-all.history/1", "runs": [_run_to(item) for item in runs]}, lines
    details = history.run(options.what)
    if details is not None:
        return _details_to(details), details_lines(details)
    past = PluginPast.read(history, options.what, options.limit, options.since)
    return _past_to(past), past_lines(past, style, options.since)


def moment(text: str) -> datetime:
    """So long ago (`12h`, `7d`, `2w`), or the beginning of a day or moment in ISO 8601; for argparse."""
    now = datetime.now().astimezone()
    if ago := re.fullmatch(r"(\d{1,4})([hdw])", text, re.ASCII):
        return now - int(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"must be so long ago, as 12h, 7d or 2w, or a date, as {now:%Y-%m-%d}, not {text!r}"
        ) from None


def _outcome(record: RunRecord) -> str:
    if record.exit_code is None:
        return "unfinished"
    if record.interrupted:
        return "interrupted"
    if record.failed:
        return f"{record.failed} failed"
    return "unfinished" if record.exit_code else "done"


def runs_lines(runs: list[RunRecord], since: datetime | None = None) -> list[str]:
    """One line a run, newest first. Pure."""
    if not runs and since is not None:
        return [f"No run has been recorded since {since.astimezone():%Y-%m-%d %H:%M}."]
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
    return columns(rows, WIDTH, indent="")


def details_lines(details: RunDetails) -> list[str]:
    """One run: its steps and changes. Pure."""
    lines = [f"Run {details.run.id}: {_outcome(details.run)}"]
    rows = [
        [
            f"{step.plugin}:{step.step}",
            step.outcome.value,
            duration(step.seconds, precise=True),
            step.error_message or "",
        ]
        for step in details.steps
    ]
    lines += columns(rows, WIDTH)
    for plugin, changes in details.changes.items():
        lines.append(f"  {plugin}")
        for change in changes:
            old, new = change.old or "not installed", change.new or "removed"
            lines.append(f"    {change.item}  {old} → {new}")
    return lines


def past_lines(past: PluginPast, style: Style, since: datetime | None = None) -> list[str]:
    """One plugin over time. Pure."""
    if past.failure_rate is None and not past.versions and since is not None:
        return [f"{past.plugin}: nothing since {since.astimezone():%Y-%m-%d %H:%M}"]
    rate = past.failure_rate
    lines = [f"{past.plugin}: failed in {rate:.0%} of its runs" if rate is not None else past.plugin]
    for step, values in past.durations.items():
        graph = sparkline(list(reversed(values)), style.marks)
        lines.append(f"  {step}  {graph}  last {duration(values[0], precise=True)}")
    return [*lines, *_changes_over_time(past.versions)]


def _changes_over_time(versions: Sequence[VersionRecord]) -> Iterator[str]:
    """What the last runs made of the plugin's items, newest first."""
    for run_id, records in groupby(versions, key=lambda record: record.run_id):
        for number, record in enumerate(records):
            begin = f"{record.started.astimezone():%Y-%m-%d %H:%M}  {run_id}"
            begin = begin if number == 0 else " " * len(begin)
            yield f"  {begin}  {record.item}  {record.old or 'not installed'} → {record.new or 'removed'}"


def _past_to(past: PluginPast) -> Document:
    return {
        "schema": "update-all.history-plugin/1",
        "plugin": past.plugin,
        "steps": [{"step": step, "seconds": list(values)} for step, values in past.durations.items()],
        "failure_rate": past.failure_rate,
        "changes": [
            {
                "run": record.run_id,
                "started": record.started.isoformat(),
                "item": record.item,
                "old": record.old,
                "new": record.new,
            }
            for record in past.versions
        ],
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
