"""The last state of each plugin, and whether there is something to resume."""

from __future__ import annotations

import os
import sys

from update_all.core.errors import StateError
from update_all.core.paths import directories
from update_all.core.state_summary import Summary, plugins_in, summary

TYPE_CHECKING = False  # What `typing` says: importing it would cost more than reading the states.
if TYPE_CHECKING:
    import argparse

NO_FAILURES = ("interrupted", "skipped")
"""The error codes of a step that was ended with its run or by a person (core.supervision)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def run(options: argparse.Namespace) -> int:
    states = directories(os.environ).state / "steps"
    rows: list[dict[str, str | int | None]] = []
    code = 0
    for name in plugins_in(states):
        try:
            rows.append(_row(summary(states, name)))
        except (StateError, ValueError) as error:
            rows.append({"plugin": name, "status": "unreadable", "detail": str(error)})
            code = 1
    if options.json:
        import json

        sys.stdout.write(json.dumps({"schema": "update-all.status/1", "plugins": rows}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(rows)) + "\n")
    return code


def _row(state: Summary) -> dict[str, str | int | None]:
    status, detail = state.outcome, ""
    if state.outcome == "unfinished":
        current = state.current_step or (state.failure.step if state.failure else "")
        detail = f"at {current}" if current else ""
        if state.failure and not state.current_step:
            status = state.failure.code if state.failure.code in NO_FAILURES else "failed"
            detail = f"{state.failure.step}: {state.failure.message}"
    updated = None if state.updated is None else state.updated.astimezone().isoformat(timespec="seconds")
    return {
        "plugin": state.plugin,
        "status": status,
        "detail": detail,
        "done": state.done,
        "steps": state.steps,
        "run": state.run_id,
        "updated": updated,
    }


def _lines(rows: list[dict[str, str | int | None]]) -> list[str]:
    if not rows:
        return ["No run has been made yet. Start one: update-all run"]
    from update_all.core.cleaning import clean_line

    width = max(len(str(row["plugin"])) for row in rows)
    lines = []
    for row in rows:
        steps = f"{row['done']}/{row['steps']} steps" if "steps" in row else ""
        text = f"{row['plugin']:<{width}}  {row['status']:<11}  {steps:<12}  {row.get('updated') or ''}"
        lines.append(clean_line(f"{text}  {row['detail'] or ''}".rstrip()))
    if any(row["status"] in ("unfinished", "failed", *NO_FAILURES) for row in rows):
        lines.append("Go on with: update-all resume")
    return lines
