"""Locks between processes: real processes, real locks."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from update_all.core.errors import BusyError, StateError
from update_all.core.locks import SharedHold, exclusive, exclusive_when_free, holder

HOLD = """
import sys
from pathlib import Path
from update_all.core.locks import exclusive
with exclusive(Path(sys.argv[1]), "demo"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with other_process(path) as process:
        with pytest.raises(BusyError, match=f"demo is running already: pid {process.pid} since 2") as caught:
            exclusive(path, "demo").__enter__()
        assert caught.value.exit_code == 75
        assert "--wait" in caught.value.hint
    with exclusive(path, "demo"):
        assert holder(path).pid == os.getpid()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with other_process(path) as process:
        process.kill()
        process.wait()
        with exclusive(path, "demo"):
            assert path.exists()
    assert path.exists(), "a lock file is never deleted"


def test_the_lock_is_given_back_also_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyError), exclusive(path, "demo"):
        raise KeyError
    with exclusive(path, "demo"), pytest.raises(BusyError), exclusive(path, "demo"):
        raise AssertionError("held twice")


def test_who_waits_gets_it_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    async def wait(process: subprocess.Popen[str]) -> None:
        async def free() -> None:
            await asyncio.sleep(0.1)
            assert not waiting.done()
            process.kill()

        async def take() -> None:
            async with exclusive_when_free(path, "demo"):
                assert holder(path).pid == os.getpid()

        waiting = asyncio.ensure_future(take())
        await free()
        await asyncio.wait_for(waiting, 30)

    with other_process(path) as process:
        asyncio.run(wait(process))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"pid": "x"}', "\udcff", '{"pid": 1}', "null", json.dumps({"pid": 1})]
)
def test_an_unreadable_lock_file_has_an_unknown_holder(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_bytes(os.fsencode(text))
    assert holder(path).describe() == "another process"
    assert holder(tmp_path / "missing").pid == 0
    with exclusive(path, "demo"):
        assert holder(path).pid == os.getpid()


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_a_lock_file_that_is_none_is_a_typed_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock"
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
    with pytest.raises(StateError, match="cannot be opened") as caught:
        exclusive(path, "demo").__enter__()
    assert caught.value.hint == f"ls -l {path}"
    assert not (tmp_path / "elsewhere").exists()


def test_the_lock_file_is_private(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", "demo"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_steps_of_one_run_hold_the_machine_together(tmp_path: Path) -> None:
    """The second joins the first; another run waits until both are done, and is told that it waits."""
    path = tmp_path / "root.lock"
    order: list[str] = []

    async def scene() -> None:
        ours, theirs = SharedHold(path), SharedHold(path)
        leave = asyncio.Event()

        async def step(hold: SharedHold, name: str) -> None:
            async with hold.hold(lambda who: order.append(f"{name} waits for {who}")):
                order.append(f"{name} has it")
                if hold is ours:
                    await leave.wait()
            order.append(f"{name} is done")

        first = asyncio.ensure_future(step(ours, "first"))
        second = asyncio.ensure_future(step(ours, "second"))
        await asyncio.sleep(0)
        other = asyncio.ensure_future(step(theirs, "other"))
        while len(order) < 3:  # noqa: ASYNC110 - the wait is told through the list
            await asyncio.sleep(0.01)
        leave.set()
        await asyncio.wait_for(asyncio.gather(first, second, other), 30)

    asyncio.run(scene())
    assert order[:3] == ["first has it", "second has it", "other waits for another run of update-all"]
    assert order[-2:] == ["other has it", "other is done"]


def test_a_cancelled_wait_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "root.lock"

    async def scene() -> None:
        ours, theirs = SharedHold(path), SharedHold(path)

        async def take(hold: SharedHold) -> None:
            async with hold.hold(lambda _: None):
                pass

        async with ours.hold(lambda _: None):
            waiting = asyncio.ensure_future(take(theirs))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await asyncio.wait_for(take(theirs), 30)
        await asyncio.wait_for(take(ours), 30)

    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    asyncio.run(scene())
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - a count


def test_a_shared_lock_that_cannot_be_opened_is_a_typed_error(tmp_path: Path) -> None:
    async def take() -> None:
        async with SharedHold(tmp_path / "no" / "lock").hold(lambda _: None):
            raise AssertionError("held")

    with pytest.raises(StateError, match="cannot be opened"):
        asyncio.run(take())
