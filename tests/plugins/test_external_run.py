"""An executable that hangs in its step, through the real program: what ends it, and what a person reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

ANSWERS = {
    "describe": '{"type": "plugin", "name": "hang", "description": "d", "steps": '
    '[{"name": "go", "description": "Go", "timeout": "LIMIT"}]}\n{"type": "end"}',
    "check": '{"type": "update", "item": "a", "new": "2"}\n{"type": "end", "status": "updates"}',
}


PROGRAM = ("-m", "update_all")
IMPATIENT = """
import sys
from update_all.cli.main import main
from update_all.core import supervision
supervision.SILENCE_SECONDS = 0.3
sys.exit(main())
"""


@pytest.fixture
def child(private_environment: Path) -> Path:
    """Where the step tells the process that it started and waits for."""
    return private_environment / "child"


def start(child: Path, limit: str, program: Sequence[str] = PROGRAM) -> subprocess.Popen[str]:
    """Run the plugin, whose step starts a child and waits for it."""
    folder = Path(os.environ["XDG_CONFIG_HOME"], "update-all", "plugins.d")
    folder.mkdir(parents=True, mode=0o700)
    cases = "".join(f"{name}) cat <<'X'\n{text}\nX\n;;\n" for name, text in ANSWERS.items())
    script = f"""#!/bin/sh
echo '{{"type": "hello", "protocol": 1}}'
case $1 in
{cases.replace("LIMIT", limit)}
run) trap '' INT; sleep 600 & echo $! > {child}.new; mv {child}.new {child}; wait; sleep 600 ;;
esac
"""
    (folder / "hang").write_text(script)
    (folder / "hang").chmod(0o700)
    return subprocess.Popen(
        [sys.executable, *program, "run", "hang", "--yes", "--progress", "plain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def gone(child: Path) -> bool:
    """Whether the child does not run; it may have been ended before it started."""
    if not child.exists():
        return True
    stat = Path(f"/proc/{child.read_text().strip()}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_its_time_limit_ends_it_with_its_children(child: Path) -> None:
    process = start(child, "2s")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "it took longer than its time limit and was ended" in " ".join(output.split())
    assert gone(child)


def test_its_silence_is_told(child: Path) -> None:
    output, _ = start(child, "3s", ("-c", IMPATIENT)).communicate(timeout=60)
    assert "it may be waiting for an answer" in " ".join(output.split())


def test_an_interrupt_ends_it_with_its_children(child: Path) -> None:
    process = start(child, "10m")
    deadline = time.monotonic() + 60
    while not child.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Go on with: update-all resume" in output
    assert gone(child)
