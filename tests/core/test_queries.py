"""Read-only questions to real programs: captured, bounded, silent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from update_all.core import process_tree, queries
from update_all.core.errors import CommandNotFoundError, StepError
from update_all.core.queries import QueryOutput, query


def ask(*argv: str, timeout: float = 20.0, env: dict[str, str] | None = None) -> QueryOutput:
    return asyncio.run(query(argv, timeout=timeout, env=env))


def test_output_error_output_and_code() -> None:
    answer = ask("sh", "-c", "echo out; echo err >&2; exit 3")

    assert answer == QueryOutput(3, "out\n", "err\n")
    assert not answer.ok
    assert ask("true").ok


def test_signal_is_a_negative_code() -> None:
    assert ask("sh", "-c", "kill -TERM $$").code == -15


def test_stdin_is_empty_and_the_locale_parseable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    answer = ask("sh", "-c", 'cat; echo "$LC_ALL $GIT_TERMINAL_PROMPT $EXTRA"', env={"EXTRA": "more"})

    assert answer.stdout == "C.UTF-8 0 more\n"


def test_invalid_utf8_is_kept_going() -> None:
    assert ask("printf", r"caf\351 ok").stdout == "caf\ufffd ok"


def test_directory_is_honoured(tmp_path: Path) -> None:
    assert asyncio.run(query(["pwd"], cwd=tmp_path)).stdout.strip() == str(tmp_path)


@pytest.mark.parametrize("program", ["no-such-program-here", "/etc/passwd", "/nowhere/at/all"])
def test_program_that_cannot_run_is_named(program: str) -> None:
    with pytest.raises(CommandNotFoundError, match=program):
        ask(program)


def test_silent_program_is_ended_with_its_children_in_time(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(StepError, match=r"'sh' did not answer within 0\.3 s"):
        ask("sh", "-c", f"echo $$ > {pids}; sleep 60 & echo $! >> {pids}; wait", timeout=0.3)

    deadline = time.monotonic() + 5
    while any(process_tree.alive(int(pid)) for pid in pids.read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_answer_is_there_when_the_program_ends_although_a_daemon_keeps_its_output() -> None:
    pid = ask("sh", "-c", "setsid sleep 30 & echo $!; echo answer >&2", timeout=10)
    os.kill(int(pid.stdout), signal.SIGKILL)

    assert pid.stderr == "answer\n"


def test_chatterbox_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "QUERY_BYTES", 1 << 20)

    with pytest.raises(StepError, match="printed more than 1 MiB"):
        ask("yes")


def test_output_on_both_streams_at_once_blocks_nobody() -> None:
    code = "import os\nfor _ in range(64): os.write(1, b'o' * 8192); os.write(2, b'e' * 8192)"
    answer = ask(sys.executable, "-I", "-S", "-c", code)

    assert (len(answer.stdout), len(answer.stderr)) == (64 * 8192, 64 * 8192)


def test_cancelled_query_leaves_no_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    async def scenario() -> int:
        asking = asyncio.ensure_future(query(["sh", "-c", f"echo $$ > {pid_file}; exec sleep 60"]))
        while not (pid_file.exists() and pid_file.read_text().strip()):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return int(pid_file.read_text())

    assert not process_tree.alive(asyncio.run(scenario()))
