"""Kills during install, switch, rollback, clean-up and adoption of versions, and again while that is mended.

UPDATE_ALL_FAULT_INSTALLS sets the number of kills (default 48; the full tier uses 1,000).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

KILLS = int(os.environ.get("UPDATE_ALL_FAULT_INSTALLS", "48"))
PARTS = 4


def driven(folder: Path, kills: int, seed: int, *options: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(__file__).with_name("install_driver.py"))
    argv = [sys.executable, program, str(folder), str(kills), str(seed), *options]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60 + 2 * kills)


@pytest.mark.timeout(120 + 2 * KILLS)
@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_current_runs_whenever_it_is_killed(
    tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    done = driven(tmp_path, -(-KILLS // PARTS), part)
    assert done.returncode == 0, (done.stderr, sorted(tmp_path.rglob("*")))
    record_property("kills", int(done.stdout))


def test_a_switch_in_two_calls_would_leave_nothing_current(tmp_path: Path) -> None:
    done = driven(tmp_path, 400, 0, "--careless")
    assert done.returncode != 0
    lost = r"FileNotFoundError: .*/bin/tool'|AssertionError: None is current"
    assert re.search(lost, done.stderr), done.stderr
