"""A first run of a freshly unpacked program."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from update_all.core.errors import InstallError

SMOKE_SECONDS = 60.0
_SHOWN_BYTES = 2000


def require_runs(tree: Path, smoke: Sequence[str]) -> None:
    """Run `smoke`, whose first word is a program's path inside `tree`; nothing to run is a pass.

    Raises InstallError unless it ends with exit code 0 within a minute. Its process group is ended with it.
    """
    if not smoke:
        return
    program = tree / smoke[0]
    environment = {key: os.environ[key] for key in ("HOME", "PATH", "TMPDIR") if key in os.environ}
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [str(program), *smoke[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={**environment, "LC_ALL": "C.UTF-8"},
                process_group=0,
            )
        except OSError as error:
            raise InstallError(f"{program} cannot be run: {error.strerror}") from None
        try:
            code = process.wait(SMOKE_SECONDS)
        except subprocess.TimeoutExpired:
            raise InstallError(f"{program} did not answer within {SMOKE_SECONDS:g} s") from None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code != 0:
            output.seek(max(0, output.seek(0, os.SEEK_END) - _SHOWN_BYTES))
            last = output.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise InstallError(f"{program} does not run: exit code {code}{f': {last}' if last else ''}")
