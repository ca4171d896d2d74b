"""One real command from start to end: limits, silence, back-pressure, daemons, transactions."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from update_all.core import supervision
from update_all.core.command import Command, Exit, ShimLostError
from update_all.core.evidence import Evidence
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.output import Follower, StepLog
from update_all.core.processes import ShimClient
from update_all.core.supervision import (
    DetachedError,
    InterruptedStepError,
    Supervision,
    TimedOutError,
    supervise,
)

HUP_SAFE = "trap 'echo got INT; exit 3' INT; trap 'echo got TERM' TERM; "


class Case:
    """A shell script under supervision, and what came of it."""

    def __init__(self, directory: Path, shim: ShimClient) -> None:
        self.directory = directory
        self.shim = shim
        self.interrupts = Interrupts()
        self.as_root: list[tuple[list[int], int]] = []
        self.silences: list[float] = []
        self.texts: list[str] = []
        self.open = True
        self.started = asyncio.Event()
        self.log = StepLog(directory / "log")

    async def supervise(
        self, script: str, *, limit: float | None = None, uninterruptible: bool = False
    ) -> Exit:
        self.command: Command = await self.shim.start("k", ["sh", "-c", script])
        self.started.set()
        deadline = None if limit is None else asyncio.get_running_loop().time() + limit
        follower = Follower(self.command.spool, self.log, self.texts.append)
        how = Supervision(
            interrupts=self.interrupts,
            deadline=deadline,
            uninterruptible=uninterruptible,
            signal_as_root=self.signal_as_root,
            on_silence=self.silences.append,
            may_continue=lambda: self.open,
        )
        return await supervise(self.command, follower, how)

    async def signal_as_root(self, pids: list[int], number: int) -> None:
        self.as_root.append((pids, number))

    async def printed(self, text: str) -> None:
        """Wait until the command has printed this."""
        spool = self.directory / "k.out"
        async with asyncio.timeout(10):
            while not spool.exists() or text not in spool.read_text():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)

    async def kill_shim(self) -> None:
        """Kill the shim, whose pid the command prints, once it has told of the start."""
        await self.printed(".")
        await self.started.wait()
        os.kill(int((self.directory / "k.out").read_text().strip(".\n")), signal.SIGKILL)

    @property
    def output(self) -> str:
        return "".join(self.texts)


def supervised(directory: Path, scenario: Callable[[Case], Awaitable[None]]) -> Case:
    """Run a scenario; afterwards nothing of its command may be left."""

    async def run() -> Case:
        shim = ShimClient(Evidence(directory), os.environ)
        case = Case(directory, shim)
        try:
            async with asyncio.timeout(30):
                await scenario(case)
        finally:
            shim.close()
            case.log.close()
        return case

    return asyncio.run(run())


def test_end_and_whole_output(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        assert (await case.supervise("echo one; echo two >&2; exit 4")).code == 4

    assert supervised(tmp_path, scenario).output == "one\ntwo\n"


def test_output_is_followed_while_the_command_runs(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        running = asyncio.ensure_future(case.supervise("echo early; sleep 60"))
        async with asyncio.timeout(10):
            while case.output != "early\n":  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        case.interrupts.escalate()
        with pytest.raises(InterruptedStepError):
            await running

    supervised(tmp_path, scenario)


@pytest.mark.parametrize(
    "script",
    [
        "sleep 60",
        "trap 'exit 0' TERM; setsid sh -c \"trap '' TERM; sleep 60; sleep 61\" & wait",
        "(setsid sh -c \"trap '' TERM; sleep 60; sleep 61\" &); sleep 60",
    ],
)
def test_time_limit_ends_the_tree_also_when_its_main_process_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(supervision, "TERM_GRACE_SECONDS", 0.3)

    async def scenario(case: Case) -> None:
        with pytest.raises(TimedOutError, match=r"longer than its time limit and was ended$"):
            await case.supervise(script, limit=0.3)
        assert case.command.remaining() == []
        assert case.command.exited.done()

    supervised(tmp_path, scenario)


def test_no_time_limit_is_ever_assumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "SILENCE_SECONDS", 0.2)

    async def scenario(case: Case) -> None:
        await case.supervise("echo; sleep 0.7; echo; sleep 0.7")
        assert 2 <= len(case.silences) <= 8
        assert all(0.2 <= silence < 1.0 for silence in case.silences)

    supervised(tmp_path, scenario)


def test_grace_is_given_and_cut_short_by_more_urgency(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        running = asyncio.ensure_future(
            case.supervise("trap 'echo polite' TERM; echo up; while :; do sleep 0.1; done")
        )
        await case.printed("up")
        case.interrupts.escalate(Urgency.FINISH)
        await case.printed("polite")
        began = time.monotonic()
        case.interrupts.escalate(Urgency.KILL)
        with pytest.raises(InterruptedStepError):
            await running
        assert time.monotonic() - began < supervision.TERM_GRACE_SECONDS
        assert "polite\n" in case.output

    supervised(tmp_path, scenario)


def test_transaction_gets_nothing_before_stop_and_then_int(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        script = HUP_SAFE + "echo up; while :; do sleep 0.1; done"
        running = asyncio.ensure_future(case.supervise(script, uninterruptible=True))
        await case.printed("up")
        case.interrupts.escalate(Urgency.FINISH)
        await asyncio.wait([running], timeout=0.3)
        assert not running.done()
        case.interrupts.escalate(Urgency.STOP)
        with pytest.raises(InterruptedStepError):
            await running
        assert case.output == "up\ngot INT\n"

    supervised(tmp_path, scenario)


def test_transaction_that_stays_is_detached_from(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        script = "trap 'echo got INT' INT; echo up; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo whole"
        running = asyncio.ensure_future(case.supervise(script, uninterruptible=True))
        await case.printed("up")
        case.interrupts.escalate(Urgency.STOP)
        await case.printed("got INT")
        case.interrupts.escalate(Urgency.KILL)
        with pytest.raises(DetachedError):
            await running
        assert (await case.command.exited).code == 0
        await case.printed("whole")

    supervised(tmp_path, scenario)


def test_daemon_that_writes_for_ever_ends_no_step_late(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        assert (await case.supervise("yes & echo $! > pid; echo done")).code == 0
        assert "done\n" in case.output
        assert case.command.remaining() != []
        case.command.signal(9, tree=True)

    supervised(tmp_path, scenario)


def test_back_pressure_leaves_the_output_in_its_file(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.open = False
        running = asyncio.ensure_future(case.supervise("echo kept; sleep 0.2"))
        await case.printed("kept")
        await asyncio.wait([running], timeout=0.5)
        assert case.texts == []
        assert not running.done()
        case.open = True
        await running
        assert case.output == "kept\n"

    supervised(tmp_path, scenario)


def test_reader_that_is_gone_cannot_hold_up_the_end(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.open = False
        running = asyncio.ensure_future(case.supervise("echo kept"))
        await case.printed("kept")
        case.interrupts.escalate(Urgency.KILL)
        await asyncio.wait([running], timeout=5)
        assert running.done()
        running.exception()
        assert case.output == "kept\n"

    supervised(tmp_path, scenario)


def test_lost_shim_is_told_when_the_command_has_ended(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        running = asyncio.ensure_future(case.supervise("echo $PPID.; sleep 0.5; echo end"))
        await case.kill_shim()
        with pytest.raises(ShimLostError):
            await running
        assert case.output.endswith(".\nend\n")

    supervised(tmp_path, scenario)


def test_limits_hold_for_the_command_of_a_lost_shim(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        running = asyncio.ensure_future(case.supervise("echo $PPID.; sleep 60", limit=0.5))
        await case.kill_shim()
        with pytest.raises(TimedOutError):
            await running
        assert case.command.remaining() == []

    supervised(tmp_path, scenario)


def test_interrupt_before_the_start_is_seen(tmp_path: Path) -> None:
    async def scenario(case: Case) -> None:
        case.interrupts.escalate()
        with pytest.raises(InterruptedStepError):
            await case.supervise("sleep 60")

    supervised(tmp_path, scenario)


def test_processes_that_may_not_be_signalled_are_given_to_root_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals of the kernel cannot be had as root: the signal function refuses in its place."""
    from update_all.core import command, process_tree

    monkeypatch.setattr(supervision, "TERM_GRACE_SECONDS", 0.1)
    real = process_tree.send_signal
    monkeypatch.setattr(process_tree, "send_signal", lambda pid, number: False)

    async def scenario(case: Case) -> None:
        with pytest.raises(TimedOutError, match=r"still running: \d+"):
            await case.supervise("exec sleep 60", limit=0.2)
        pid = case.command.pid
        assert pid is not None
        real(pid, 9)
        assert [number for _, number in case.as_root] == [15, *[9] * command.VAIN_SWEEPS]
        assert all(pids == [pid] for pids, _ in case.as_root)

    supervised(tmp_path, scenario)
