"""What plugins and steps may be called, and the files of a run that are called after them."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,99}")
"""Plugin and step names: they become file names and command-line arguments."""


def log_name(plugin: str, step: str, attempt: int) -> str:
    """The log of an attempt in the directory of its run; the first one carries no number."""
    return f"{plugin}:{step}.log" if attempt == 1 else f"{plugin}:{step}:{attempt}.log"
