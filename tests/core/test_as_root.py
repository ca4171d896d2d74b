"""The keeper of a privileged command: it ends as its program does, and keeps what leaves its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from update_all.core import process_tree

TOOL = (sys.executable, "-I", "-S", str(process_tree.KEEPER))


def keep(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*TOOL, *argv], process_group=0, stdout=subprocess.PIPE)


def until(path: Path) -> int:
    """The pid that a script wrote down."""
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text())


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_its_code_is_that_of_the_program(code: int) -> None:
    assert subprocess.run([*TOOL, "/bin/sh", "-c", f"exit {code}"], check=False).returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE])
def test_it_dies_of_the_signal_of_which_the_program_died(number: signal.Signals) -> None:
    done = subprocess.run([*TOOL, "/bin/sh", "-c", f"kill -{number.name[3:]} $$"], check=False)
    assert done.returncode == -number


def test_the_program_gets_no_signal_ignored() -> None:
    """A program of which SIGPIPE is ignored never ends when its reader goes."""
    done = subprocess.run(
        [*TOOL, "/bin/sh", "-c", "grep SigIgn /proc/self/status"], stdout=subprocess.PIPE, check=True
    )
    assert not int(done.stdout.split()[1], 16) & (1 << (signal.SIGPIPE - 1))


def test_a_daemon_that_the_program_leaves_is_not_waited_for(tmp_path: Path) -> None:
    script = f"setsid sleep 60 >/dev/null & echo $! > {tmp_path}/pid"
    with keep("/bin/sh", "-c", script) as process:
        assert process.wait(timeout=20) == 0
    os.kill(until(tmp_path / "pid"), signal.SIGKILL)


def test_told_to_end_it_keeps_what_left_its_parent_until_the_last_is_gone(tmp_path: Path) -> None:
    """The sleeper is in a session of its own, and its parents are gone."""
    leave = f"setsid sh -c 'sleep 60 & echo $! > {tmp_path}/pid' & wait; echo left; exec sleep 60"
    with keep("/bin/sh", "-c", leave) as process:
        sleeper = until(tmp_path / "pid")
        assert process.stdout is not None
        process.stdout.readline()
        program = process_tree.program_of(process.pid)
        assert program != process.pid
        assert process_tree.is_keeper(process.pid)
        assert sleeper in process_tree.descendants([process.pid])

        process.terminate()
        os.kill(program, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while process_tree.alive(program):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert sleeper in process_tree.descendants([process.pid])
        os.kill(sleeper, signal.SIGKILL)
        process.stdout.read()
        assert process.wait(timeout=20) == -signal.SIGKILL


def test_to_ask_it_stops_before_the_program_begins(tmp_path: Path) -> None:
    argv = [*TOOL, "--ask", "/bin/sh", "-c", f"echo $$ > {tmp_path}/pid"]
    with subprocess.Popen(argv, process_group=0) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert os.WSTOPSIG(status) == signal.SIGTTIN
        assert not (tmp_path / "pid").exists()
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=20) == 0
    assert (tmp_path / "pid").exists()
