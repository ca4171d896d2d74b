"""Starts walled_driver.py and reads what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from refusing_kernel import NOT_POSSIBLE

from update_all.downloads import confine

DRIVER = Path(__file__).with_name("walled_driver.py")
SECONDS = 60


def ended(case: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The driver after its case, and after every process that it left behind."""
    argv = [sys.executable, str(DRIVER), case, *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(confine.__file__).parents[2])}
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(argv, process.returncode, output, errors)


def answer(case: str, *arguments: object) -> dict[str, Any]:
    """What the driver says; skips the test where this system cannot make the case."""
    done = ended(case, *arguments)
    if done.returncode == NOT_POSSIBLE:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said
