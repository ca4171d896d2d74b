"""Ask a person at the terminal."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator


def somebody_is_there(options: argparse.Namespace) -> bool:
    """Whether a question would reach a person, and its answer us."""
    quiet = options.no_input or options.json or options.progress == "jsonl"
    return not quiet and sys.stdin.isatty() and sys.stdout.isatty()


def ask(question: str, *, default: bool) -> bool:
    """Ask until the answer is yes, no, or empty for the default. The end of the input is a no.

    Raises KeyboardInterrupt for Ctrl-C.
    """
    while True:
        sys.stdout.write(f"{question} [{'Y/n' if default else 'y/N'}] ")
        sys.stdout.flush()
        with _interruptible():
            answer = sys.stdin.readline()
        if not answer:
            sys.stdout.write("\n")
            return False
        word = answer.strip().lower()
        if word in ("", "y", "yes", "n", "no"):
            return default if not word else word.startswith("y")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a read: the handler of asyncio only marks its task, and the read would go on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
