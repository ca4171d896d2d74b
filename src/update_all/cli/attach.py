"""Follow a run that goes on in another terminal, or show the last one again."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

from update_all.core.errors import UsageError, unknown_name
from update_all.core.evidence import is_locked
from update_all.core.journal import JOURNAL, read_events
from update_all.core.paths import directories
from update_all.core.session import run_ids
from update_all.core.streaming import RunEndEvent
from update_all.ui.printers import Printer, make_printer

POLL_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run; default: the newest")
    parser.add_argument("--progress", choices=("auto", "live", "plain", "jsonl"), default="auto")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")


def run(options: argparse.Namespace) -> int:
    state = directories().state
    known = run_ids(state)
    if not known:
        raise UsageError("there is no run to follow", hint="start one: update-all run")
    chosen = options.run or known[0]
    if chosen not in known:
        raise unknown_name("run", chosen, known)
    printer = make_printer(options.progress, sys.stdout, color=options.color)
    with contextlib.closing(printer):
        return follow(state / "runs" / chosen / JOURNAL, state / "lock", printer)


def follow(journal: Path, lock: Path, printer: Printer) -> int:
    """Show events until the run ends; its exit code, or 1 when it ended without saying so."""
    offset, code = 0, None
    while True:
        # Asked before the journal is read: what is written in between is then still seen.
        alive = is_locked(lock)
        with contextlib.suppress(FileNotFoundError):
            for event, end in read_events(journal, offset):
                offset = end
                printer.handle(event)
                code = event.exit_code if isinstance(event, RunEndEvent) else None
        printer.tick(time.time())
        if code is not None:
            return code
        if not alive:
            sys.stderr.write("update-all: the run ended without finishing; go on with: update-all resume\n")
            return 1
        time.sleep(POLL_SECONDS)
