"""What plugins and steps may be called."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,99}")
"""Plugin and step names: they become file names and command-line arguments."""
