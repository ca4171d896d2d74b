"""A command with a terminal of its own: what it asks, and what is typed; with real pseudo-terminals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from update_all.core.command import Command
from update_all.core.console import Console, input_path
from update_all.core.evidence import Evidence, is_locked
from update_all.core.processes import ShimClient

SIZE = (90, 30)
SECONDS = 20.0


def with_command(
    directory: Path, script: str, talk: Callable[[Command, Console], Coroutine[None, None, None]]
) -> tuple[int, str]:
    """Start a shell script on a terminal, talk with it, and wait for its end: its exit code and output."""

    async def work() -> int:
        evidence = Evidence(directory)
        client = ShimClient(evidence, {"PATH": os.environ["PATH"], "TERM": "xterm"})
        try:
            command = await client.start("k", ["bash", "-c", script], terminal=SIZE)
            assert command.console is not None
            await talk(command, command.console)
            async with asyncio.timeout(SECONDS):
                return (await command.exited).code
        finally:
            client.close()

    code = asyncio.run(work())
    return code, (directory / "k.out").read_text()


async def until(question: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not question():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)


async def shown(command: Command, text: str) -> None:
    await until(lambda: text in command.spool.read_text())


@pytest.mark.parametrize("source", ["", " < /dev/tty"], ids=["stdin", "the terminal"])
def test_what_is_typed_reaches_the_question(tmp_path: Path, source: str) -> None:
    async def talk(command: Command, console: Console) -> None:
        await shown(command, "name? ")
        assert console.send(b"Ada\r") == ""

    code, output = with_command(tmp_path, f'read -rp "name? " name{source}; echo "hello $name"; exit 3', talk)
    assert code == 3
    assert output.replace("\r", "") == "name? Ada\nhello Ada\n"


def test_what_is_typed_unseen_is_not_in_the_output(tmp_path: Path) -> None:
    async def talk(command: Command, console: Console) -> None:
        await shown(command, "secret: ")
        await until(console.hides_input)
        console.send(b"correct horse\r")
        await shown(command, "13")
        assert not console.hides_input()
        console.send(b"seen\r")

    script = 'read -rsp "secret: " it; echo "${#it}"; read -r seen'
    code, output = with_command(tmp_path, script, talk)
    assert code == 0
    assert "correct horse" not in output
    assert "13" in output
    assert "seen" in output


def test_ctrl_c_is_typed_like_any_key(tmp_path: Path) -> None:
    async def talk(command: Command, console: Console) -> None:
        await shown(command, "there")
        console.send(b"\x03")

    code, _ = with_command(tmp_path, "echo there; exec sleep 60", talk)
    assert code == -signal.SIGINT


def test_it_is_as_large_as_the_persons_and_follows_it(tmp_path: Path) -> None:
    async def talk(command: Command, console: Console) -> None:
        await shown(command, "30 90")
        console.resize(120, 40)
        console.send(b"\r")

    code, output = with_command(tmp_path, "stty size; read -r; stty size", talk)
    assert code == 0
    assert "40 120" in output


def test_all_that_it_shows_is_there_when_its_end_is_told(tmp_path: Path) -> None:
    async def talk(_command: Command, _console: Console) -> None:
        pass

    code, output = with_command(tmp_path, "seq 1 50000", talk)
    assert code == 0
    assert output.replace("\r", "").split() == [str(number) for number in range(1, 50001)]


def test_nothing_is_left_of_a_terminal_and_nobody_can_type(tmp_path: Path) -> None:
    consoles: list[Console] = []

    async def talk(_command: Command, console: Console) -> None:
        consoles.append(console)

    with_command(tmp_path, "exit 0", talk)
    assert not input_path(tmp_path / "k.out").exists()
    assert consoles[0].send(b"x") == "it takes no input any more"


def test_a_command_that_cannot_be_started_leaves_no_terminal(tmp_path: Path) -> None:
    async def work() -> None:
        client = ShimClient(Evidence(tmp_path), {})
        try:
            with pytest.raises(Exception, match="cannot run"):
                await client.start("k", ["/nowhere/program"], terminal=SIZE)
        finally:
            client.close()

    asyncio.run(work())
    assert not input_path(tmp_path / "k.out").exists()


ORCHESTRATOR = """
import asyncio, os, sys
from pathlib import Path
from update_all.core.evidence import Evidence
from update_all.core.processes import ShimClient

async def work():
    client = ShimClient(Evidence(Path(sys.argv[1])), dict(os.environ))
    await client.start("k", ["bash", "-c", 'read -rp "name? " name; echo "hello $name"'], terminal=(80, 24))
    print("started", flush=True)
    os.kill(os.getpid(), 9)

asyncio.run(work())
"""


def test_a_dead_orchestrator_neither_ends_the_question_nor_keeps_the_answer(tmp_path: Path) -> None:
    """Another process finds the command, and the way to its terminal."""

    async def after() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ORCHESTRATOR, str(tmp_path), start_new_session=True
        )
        assert await process.wait() == -signal.SIGKILL
        evidence = Evidence(tmp_path)
        command = evidence.attach("k")
        assert command.console is not None
        await shown(command, "name? ")
        assert command.console.send(b"Grace\r") == ""
        async with asyncio.timeout(SECONDS):
            return (await command.exited).code

    assert asyncio.run(after()) == 0
    assert "hello Grace" in (tmp_path / "k.out").read_text()
    deadline = time.monotonic() + SECONDS
    while any(map(is_locked, tmp_path.glob("exits-*.jsonl"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
