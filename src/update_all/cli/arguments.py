"""The parser of a command's arguments, as argparse makes it, without what only its help needs."""

from __future__ import annotations

import argparse
import os
import sys


class Formatter(argparse.HelpFormatter):
    """Knows the terminal's width by itself: argparse asks `shutil` for every option that is declared."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


class Parser(argparse.ArgumentParser):
    """Parsers of sub-commands are of this class too."""

    def _get_formatter(self) -> Formatter:
        return Formatter(self.prog)


def _columns() -> int:
    """$COLUMNS, else those of the terminal, else 80, as `shutil.get_terminal_size`."""
    value = os.environ.get("COLUMNS", "")
    if value.isdecimal() and int(value) > 0:
        return int(value)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80 if sys.__stdout__ else 80
    except (OSError, ValueError):
        return 80
