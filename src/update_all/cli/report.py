"""Write one run as a page for a browser, or as a trace for Perfetto."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from update_all import __version__
from update_all.core.errors import UsageError, unknown_name
from update_all.core.journal import JOURNAL, read_events
from update_all.core.paths import Directories, directories, write_atomic
from update_all.core.session import run_ids
from update_all.core.streaming import StreamEvent

PAGE = "report.html"
TRACE = "trace.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run; default: the newest")
    parser.add_argument("--trace", action="store_true", help="write a trace that Perfetto opens, not a page")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to write it, - for standard output (default: beside the run)",
    )


def run(options: argparse.Namespace) -> int:
    found = directories()
    directory = found.state / "runs" / _chosen(found, options.run)
    events = _events(directory)
    text = _trace(events) if options.trace else _page(events, directory)
    if options.output == "-":
        sys.stdout.write(text)
        return 0
    path = Path(options.output or directory / (TRACE if options.trace else PAGE)).expanduser().absolute()
    # Logs may hold what others must not read.
    write_atomic(path, text.encode("utf-8", "replace"), keep_previous=False, mode=0o600)
    sys.stdout.write(f"{path}\n")
    return 0


def _chosen(found: Directories, wanted: str | None) -> str:
    runs = found.state / "runs"
    known = [name for name in run_ids(found.state) if (runs / name / JOURNAL).is_file()]
    if wanted is not None:
        if wanted not in known:
            raise _not_kept(found, wanted) or unknown_name("run", wanted, known)
        return wanted
    if not known:
        raise UsageError("there is no run to report on", hint="start one: update-all run")
    return known[0]


def _not_kept(found: Directories, wanted: str) -> UsageError | None:
    """Of a rollback, and of all but the last runs, the history is all that is kept."""
    from update_all.core.history import History

    with History(found.history, read_only=True) as history:
        if history.run(wanted) is None:
            return None
    return UsageError(
        f"nothing but the history is kept of {wanted}", hint=f"see it: update-all history {wanted}"
    )


def _events(directory: Path) -> list[StreamEvent]:
    try:
        return [event for event, _ in read_events(directory / JOURNAL)]
    except OSError as error:
        raise UsageError(
            f"{directory / JOURNAL} cannot be read: {error.strerror}", hint=f"ls -l {directory}"
        ) from error


def _trace(events: list[StreamEvent]) -> str:
    from update_all.ui.trace import trace

    return json.dumps(trace(events), separators=(",", ":")) + "\n"


def _page(events: list[StreamEvent], directory: Path) -> str:
    from update_all.ui.report import Record, page

    return page(Record(events), environment(directory))


def environment(directory: Path) -> Mapping[str, str]:
    """What the page tells of the machine. No variables: they hold secrets."""
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        system = "Linux"
    return {
        "update-all": __version__,
        "System": system,
        "Kernel": platform.release(),
        "Machine": f"{platform.machine()}, {os.cpu_count() or 1} processors",
        "Python": platform.python_version(),
        "Logs": str(directory),
        "Written": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
