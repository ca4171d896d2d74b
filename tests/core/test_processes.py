"""The orchestrator's side: commands started by a real shim, followed, lost, found again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from update_all.core import processes
from update_all.core.command import Command, ShimLostError
from update_all.core.errors import CommandNotFoundError, StepError
from update_all.core.evidence import Evidence, is_locked, records_path
from update_all.core.processes import AlreadyStartedError, ShimClient


def with_shim(directory: Path, scenario: Callable[[ShimClient], Awaitable[None]]) -> None:
    """Run a scenario with a shim that serves `directory`."""

    async def run() -> None:
        client = ShimClient(Evidence(directory), os.environ)
        try:
            async with asyncio.timeout(30):
                await scenario(client)
        finally:
            client.close()

    asyncio.run(run())


def shims(directory: Path) -> list[int]:
    """Pids of the shims that serve `directory`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(directory).encode() in line and any(word.endswith(b"shim.py") for word in line):
            found.append(int(process.name))
    return found


def kill_shims(directory: Path) -> None:
    for pid in shims(directory):
        os.kill(pid, signal.SIGKILL)


def test_ends_of_many_commands_come_to_the_right_ones(tmp_path: Path) -> None:
    async def scenario(shim: ShimClient) -> None:
        async def one(number: int) -> tuple[int, str]:
            command = await shim.start(f"k{number}", ["sh", "-c", f"echo {number}; exit {number}"])
            end = await command.exited
            return end.code, command.spool.read_text()

        answers = await asyncio.gather(*(one(number) for number in range(40)))
        assert answers == [(number, f"{number}\n") for number in range(40)]

    with_shim(tmp_path, scenario)
    assert shims(tmp_path) == []


def test_one_shim_serves_all_and_none_is_started_for_nothing(tmp_path: Path) -> None:
    async def scenario(shim: ShimClient) -> None:
        assert os.listdir(tmp_path) == []  # noqa: PTH208 - names only
        for number in range(3):
            await (await shim.start(f"k{number}", ["true"])).exited
        assert len(shims(tmp_path)) == 1

    with_shim(tmp_path, scenario)


def test_long_arguments_pass_in_both_directions(tmp_path: Path) -> None:
    async def scenario(shim: ShimClient) -> None:
        words = [f"{number:0100}" for number in range(10_000)]
        command = await shim.start("k", ["printf", "%s\n", *words])
        assert (await command.exited).code == 0
        assert command.spool.read_text().split() == words

    with_shim(tmp_path, scenario)


@pytest.mark.parametrize(
    ("argv", "cwd", "error", "message"),
    [
        (["no-such-program"], None, CommandNotFoundError, r"cannot run 'no-such-program': .*127"),
        (["/etc/passwd"], None, CommandNotFoundError, "cannot run '/etc/passwd': Permission denied"),
        (["true"], "/no/such", StepError, r"cannot enter the directory '/no/such' of 'true'"),
        (["true", "a\0b"], None, StepError, "cannot start 'true': Invalid argument"),
    ],
)
def test_refusals_name_program_and_reason(
    tmp_path: Path, argv: list[str], cwd: str | None, error: type[StepError], message: str
) -> None:
    async def scenario(shim: ShimClient) -> None:
        with pytest.raises(error, match=message):
            await shim.start("k", argv, cwd=cwd)
        assert (await (await shim.start("next", ["true"])).exited).code == 0

    with_shim(tmp_path, scenario)


def test_second_start_of_a_key_is_refused(tmp_path: Path) -> None:
    async def scenario(shim: ShimClient) -> None:
        await (await shim.start("k", ["true"])).exited
        with pytest.raises(AlreadyStartedError):
            await shim.start("k", ["true"])

    with_shim(tmp_path, scenario)


def test_command_of_a_dead_shim_is_lost_when_it_ends_and_not_before(tmp_path: Path) -> None:
    async def scenario(shim: ShimClient) -> None:
        command = await shim.start("k", ["sleep", "0.5"])
        kill_shims(tmp_path)
        with pytest.raises(ShimLostError):
            await command.exited
        assert command.remaining() == []

    with_shim(tmp_path, scenario)


def test_after_a_dead_shim_the_next_command_gets_a_new_one(tmp_path: Path) -> None:
    async def scenario(shim: ShimClient) -> None:
        await (await shim.start("one", ["true"])).exited
        kill_shims(tmp_path)
        assert (await (await shim.start("two", ["true"])).exited).code == 0
        assert records_path(tmp_path, 2).exists()

    with_shim(tmp_path, scenario)


def test_shim_that_cannot_run_is_an_error_and_no_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SHIM", Path("/no/such/shim.py"))

    async def scenario(shim: ShimClient) -> None:
        with pytest.raises(ShimLostError, match="died"):
            await shim.start("k", ["true"])

    with_shim(tmp_path, scenario)


def test_shim_that_dies_over_a_start_may_have_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = processes.SHIM.read_text()
    killed = tmp_path / "killed.py"
    killed.write_text(source.replace("self.running[pid] = key", "os.kill(os.getpid(), 9)"))
    monkeypatch.setattr(processes, "SHIM", killed)

    async def scenario(shim: ShimClient) -> None:
        with pytest.raises(AlreadyStartedError):
            await shim.start("k", ["sleep", "0.5"])
        evidence = Evidence(tmp_path)
        assert evidence.running("k")
        with pytest.raises(ShimLostError):
            await evidence.attach("k").exited

    with_shim(tmp_path, scenario)


def test_close_lets_go_of_what_runs_and_another_attaches(tmp_path: Path) -> None:
    async def leave(shim: ShimClient) -> None:
        await shim.start("k", ["sh", "-c", "sleep 0.5; exit 5"])

    with_shim(tmp_path, leave)
    assert len(shims(tmp_path)) == 1

    async def attach() -> None:
        evidence = Evidence(tmp_path)
        assert evidence.running("k")
        command = evidence.attach("k")
        assert command.pid is not None
        assert (await command.exited).code == 5
        assert not evidence.running("k")

    asyncio.run(attach())


def test_attached_command_is_signalled_like_our_own(tmp_path: Path) -> None:
    async def leave(shim: ShimClient) -> None:
        await shim.start("k", ["sh", "-c", "sleep 60 & wait"])

    with_shim(tmp_path, leave)

    async def attach() -> Command:
        command = Evidence(tmp_path).attach("k")
        while len(command.remaining()) < 2:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        assert command.signal(signal.SIGKILL, tree=True) == []
        assert (await command.exited).code == -9
        return command

    command = asyncio.run(attach())
    deadline = time.monotonic() + 10
    while command.remaining():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_pid_of_another_process_is_never_taken_for_the_command(tmp_path: Path) -> None:
    records_path(tmp_path, 1).write_text(f'{{"key": "k", "pid": {os.getpid()}, "ticks": 1}}\n')

    async def attach() -> None:
        command = Evidence(tmp_path).attach("k")
        assert command.pid is None
        with pytest.raises(ShimLostError):
            await command.exited

    asyncio.run(attach())


def test_records_torn_or_foreign_are_passed_over(tmp_path: Path) -> None:
    lines = ['{"key": "a", "code": 3}', "garbage", "[1]", '{"key": 7, "code": 1}', '{"key": "b", "code": 0']
    records_path(tmp_path, 1).write_text("\n".join(lines))
    evidence = Evidence(tmp_path)

    assert {key: end.code for key, end in evidence.exits.items()} == {"a": 3}
    assert evidence.started("a")
    assert not evidence.started("b")


def test_locks_of_files_that_are_missing_or_links_are_not_held(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")

    assert not is_locked(tmp_path / "missing")
    assert not is_locked(tmp_path / "link")
