"""Ask a person at the terminal."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from update_all.ui.printers import Progress, progress_for
from update_all.ui.terminal import is_terminal


def somebody_is_there(options: argparse.Namespace) -> bool:
    """Whether a question would reach a person, and its answer us."""
    quiet = options.no_input or options.json or options.progress == "jsonl"
    return not quiet and sys.stdin.isatty() and sys.stdout.isatty()


def takes_keys(progress: str, *, as_json: bool, no_input: bool) -> bool:
    """Whether a person can press keys while a run is shown: a live view, and a terminal to read."""
    if as_json or no_input or not sys.stdin.isatty():
        return False
    return progress_for(progress, sys.stdout) is Progress.LIVE and is_terminal(sys.stdout, os.environ)


def ask(question: str, *, default: bool) -> bool:
    """Ask until the answer is yes, no, or empty for the default. The end of the input is a no.

    Raises KeyboardInterrupt for Ctrl-C.
    """
    while True:
        answer = read_line(f"{question} [{'Y/n' if default else 'y/N'}] ")
        if answer is None:
            return False
        word = answer.strip().lower()
        if word in ("", "y", "yes", "n", "no"):
            return default if not word else word.startswith("y")


def read_line(question: str) -> str | None:
    """What a person answers, None at the end of the input. Raises KeyboardInterrupt for Ctrl-C."""
    with _interruptible():
        sys.stdout.write(question)
        sys.stdout.flush()
        answer = sys.stdin.readline()
    if not answer:
        sys.stdout.write("\n")
        return None
    return answer


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a read: the handler of asyncio only marks its task, and the read would go on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
