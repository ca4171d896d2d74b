"""The last state of each plugin, and whether there is something to resume."""

from __future__ import annotations

import argparse
import os
import sys

from update_all.core.errors import StateError
from update_all.core.paths import directories
from update_all.core.state import StateStore
from update_all.core.transitions import Outcome, PluginState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def run(options: argparse.Namespace) -> int:
    store = StateStore(directories(os.environ).state)
    rows: list[dict[str, str | int | None]] = []
    code = 0
    for name in store.plugins():
        try:
            loaded = store.peek(name)
        except (StateError, ValueError) as error:
            rows.append({"plugin": name, "status": "unreadable", "detail": str(error)})
            code = 1
        else:
            rows.append(_row(loaded))
    if options.json:
        import json

        sys.stdout.write(json.dumps({"schema": "update-all.status/1", "plugins": rows}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(rows)) + "\n")
    return code


def _row(state: PluginState) -> dict[str, str | int | None]:
    failed = [step for step, result in state.execution.step_results.items() if not result.success]
    status, detail = state.outcome.value, ""
    if state.outcome is Outcome.UNFINISHED:
        current = state.execution.current_step or (failed[-1] if failed else "")
        detail = f"at {current}" if current else ""
        if failed and not state.execution.current_step:
            result = state.execution.step_results[failed[-1]]
            status = "interrupted" if result.error_code == "interrupted" else "failed"
            detail = f"{failed[-1]}: {state.execution.step_results[failed[-1]].error_message}"
    return {
        "plugin": state.plugin,
        "status": status,
        "detail": detail,
        "done": len(state.completed),
        "steps": len(state.step_fingerprints),
        "run": state.run_id,
        "updated": _time(state),
    }


def _time(state: PluginState) -> str | None:
    updated = state.execution.last_updated
    return None if updated is None else updated.astimezone().isoformat(timespec="seconds")


def _lines(rows: list[dict[str, str | int | None]]) -> list[str]:
    from update_all.core.cleaning import clean_line

    if not rows:
        return ["No run has been made yet. Start one: update-all run"]
    width = max(len(str(row["plugin"])) for row in rows)
    lines = []
    for row in rows:
        steps = f"{row['done']}/{row['steps']} steps" if "steps" in row else ""
        text = f"{row['plugin']:<{width}}  {row['status']:<11}  {steps:<12}  {row.get('updated') or ''}"
        lines.append(clean_line(f"{text}  {row['detail'] or ''}".rstrip()))
    if any(row["status"] in ("unfinished", "failed", "interrupted") for row in rows):
        lines.append("Go on with: update-all resume")
    return lines
