"""Finding the processes of a command among real ones."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from update_all.core import process_tree
from update_all.core.shim import LOCK_FD

NOWHERE = Path("/nowhere/spool")


@contextlib.contextmanager
def running(script: str, key: str = "", stdout: int | None = None) -> Iterator[int]:
    """A shell in a session of its own; everything in it is killed at the end."""
    env = {"PATH": os.environ["PATH"]}
    if key:
        env[process_tree.MARKER] = key
    process = subprocess.Popen(["sh", "-c", script], env=env, start_new_session=True, stdout=stdout)
    try:
        yield process.pid
    finally:
        for pid in [
            process.pid,
            *process_tree.descendants([process.pid]),
            *process_tree.marked(key, NOWHERE),
        ]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def eventually(question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_descendants_are_found_at_any_depth() -> None:
    with running("sh -c 'sleep 60 & wait' & sleep 60 & wait") as pid:
        eventually(lambda: len(process_tree.descendants([pid])) == 3)

        assert pid not in process_tree.descendants([pid])


def test_marked_processes_are_found_after_their_parents_died() -> None:
    key = f"test-{os.getpid()}/escaped"
    with running("(setsid sleep 60 &) ; sleep 60", key) as pid:

        def escaped() -> set[int]:
            return set(process_tree.marked(key, NOWHERE)) - {pid, *process_tree.descendants([pid])}

        eventually(lambda: len(escaped()) == 1)

        assert set(process_tree.tree_of(key, NOWHERE, pid)) >= escaped() | {pid}


def test_a_marker_is_compared_whole() -> None:
    with running("sleep 60", "run/plugin:step:1:1") as pid:
        eventually(lambda: pid in process_tree.marked("run/plugin:step:1:1", NOWHERE))

        assert process_tree.marked("run/plugin:step:1", NOWHERE) == []
        assert process_tree.marked("un/plugin:step:1:1", NOWHERE) == []


@pytest.mark.parametrize("descriptor", [1, 2, LOCK_FD])
def test_who_clears_its_environment_is_known_by_its_spool(tmp_path: Path, descriptor: int) -> None:
    spool = tmp_path / "spool"
    spool.touch()
    with running(
        f"exec python3 -c \"import os, time; os.dup2(os.open('{spool}', 1), {descriptor}); time.sleep(60)\""
    ):
        eventually(lambda: len(process_tree.marked("no-such-key", spool)) == 1)
        spool.unlink()

        assert len(process_tree.marked("no-such-key", spool)) == 1


def test_who_only_reads_the_spool_does_not_belong(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.touch()
    with running(f"exec 5< {spool}; sleep 60") as pid, spool.open("rb"):
        eventually(lambda: len(process_tree.descendants([pid])) == 1)

        assert process_tree.marked("no-such-key", spool) == []


def test_dead_and_zombie_processes_are_not_alive() -> None:
    process = subprocess.Popen(["true"])
    eventually(lambda: not process_tree.alive(process.pid))
    assert process_tree.start_ticks(process.pid) > 0
    process.wait()

    assert not process_tree.alive(process.pid)
    assert process_tree.start_ticks(process.pid) == 0
    assert process_tree.tree_of("no-such-key", NOWHERE, process.pid) == []


def test_we_are_alive_and_never_part_of_a_tree() -> None:
    assert process_tree.alive(os.getpid())
    assert os.getpid() not in process_tree.tree_of("no-such-key", NOWHERE, os.getpid())


def test_name_with_blanks_and_parentheses_is_no_trap(tmp_path: Path) -> None:
    program = tmp_path / "a ) (b 1 2"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "60"])
    try:
        eventually(lambda: process_tree.alive(process.pid))
        assert process_tree.start_ticks(process.pid) >= process_tree.start_ticks(os.getpid()) > 0
        assert process.pid in process_tree.descendants([os.getpid()])
    finally:
        process.kill()
        process.wait()


def test_signal_to_one_that_is_gone_counts_as_sent() -> None:
    process = subprocess.Popen(["sleep", "60"])
    assert process_tree.send_signal(process.pid, signal.SIGKILL)
    process.wait()

    assert process_tree.send_signal(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
