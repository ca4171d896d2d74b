"""A bug of ours: a report file that can be sent, a message that names it, exit code 3."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path

from update_all import __version__
from update_all.core.cleaning import clean, secrets_of
from update_all.core.errors import UpdateAllError
from update_all.core.paths import directories, secure_directory

EXIT_BUG = 3


def write_bug_report(error: BaseException | None) -> int:
    """Write the report, say where it is, and return the exit code. Never raises."""
    secrets = secrets_of(os.environ)
    text = clean(
        f"update-all {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"arguments: {sys.argv[1:]}\n\n{''.join(traceback.format_exception(error))}",
        secrets,
    )
    message = clean(f"{type(error).__name__}: {error}", secrets)
    sys.stderr.write(f"update-all: a bug of update-all: {message} [bug]\n")
    try:
        path = _report_path()
        path.write_text(text, "utf-8")
    except (OSError, UpdateAllError):
        sys.stderr.write(text)
    else:
        sys.stderr.write(f"  the report is in {path}; please send it to the maintainers\n")
    return EXIT_BUG


def _report_path() -> Path:
    try:
        directory = secure_directory(directories().state)
    except UpdateAllError:
        directory = Path(tempfile.mkdtemp(prefix="update-all-"))
    handle, name = tempfile.mkstemp(prefix="bug-", suffix=".txt", dir=directory)
    os.close(handle)
    return Path(name)
