"""`resume` where nothing is left to do, said without the engine: to import that would take most of the time.

Only what is plain is answered here: nobody holds the lock, every state reads well, none is unfinished.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from update_all.cli.configured import is_configured
from update_all.core.errors import UpdateAllError
from update_all.core.paths import directories, secure_directory
from update_all.core.state_summary import plugins_in, summary

NOTHING = "nothing to resume: no run was left unfinished"


def answer() -> bool:
    """Whether it was said. False: the command itself must look, or has an error to tell."""
    try:
        found = directories()
        if is_configured(found, os.environ):
            from update_all.core.config import load_config

            load_config(found)
        lock = _locked(secure_directory(found.state) / "lock")
        if lock is None:
            return False
        try:
            done = _all_done(found.state / "steps")
        finally:
            os.close(lock)
    except (UpdateAllError, ValueError, OSError):
        return False
    if done:
        sys.stdout.write(NOTHING + "\n")
    return done


def _locked(path: Path) -> int | None:
    """The lock of a run, held until it is closed; None where another holds it, or there is none yet."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _all_done(states: Path) -> bool:
    return all(summary(states, name).outcome != "unfinished" for name in plugins_in(states))
