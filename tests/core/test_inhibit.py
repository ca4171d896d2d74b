"""A run keeps the machine awake: the lock is there during it, gone after it, and gone with a killed process.

systemd-inhibit is a fake built from its manual, for there is no logind here: it runs its command for as long
as the command takes, exits with its code, and fails at once where the lock is denied.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from update_all.core.inhibit import awake, inhibitor

FAKE = """#!/bin/sh
mode=; while :; do case "$1" in --mode=*) mode=${{1#--mode=}}; shift ;; --*) shift ;; *) break ;; esac; done
case "{denied}" in *$mode*)
    echo "$mode denied" >> {log}; echo "Failed to inhibit: Access denied" >&2; exit 1 ;;
esac
echo "$mode taken" >> {log}
"$@"
code=$?
echo "$mode released" >> {log}
exit $code
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts the fake in place, which denies some modes; returns its log."""
    (tmp_path / "run/systemd/inhibit").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    def place(denied: str) -> Path:
        log = tmp_path / "log"
        log.touch()
        program = tmp_path / "bin/systemd-inhibit"
        program.write_text(FAKE.format(denied=denied, log=log))
        program.chmod(0o755)
        return log

    return place


def until(log: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("denied", "expected"),
    [
        ("", ["block taken", "block released"]),
        ("block", ["block denied", "delay taken", "delay released"]),
        ("block delay", ["block denied", "delay denied"]),
    ],
)
def test_held_during_the_block_in_the_mode_that_is_allowed(
    machine: Callable[[str], Path], tmp_path: Path, denied: str, expected: list[str]
) -> None:
    log = machine(denied)

    async def run() -> None:
        async with awake(run=tmp_path / "run"):
            last = expected[-2] if "taken" in expected[-2] else expected[-1]
            await asyncio.to_thread(until, log, last)
            assert "released" not in log.read_text()

    asyncio.run(run())
    assert log.read_text().splitlines() == expected


def test_nothing_without_logind_or_where_it_is_not_wanted(
    machine: Callable[[str], Path], tmp_path: Path
) -> None:
    log = machine("")

    async def run() -> None:
        async with awake(run=tmp_path / "elsewhere"), awake(wanted=False, run=tmp_path / "run"):
            pass

    asyncio.run(run())
    assert log.read_text() == ""
    assert inhibitor(tmp_path / "run")
    assert inhibitor(tmp_path / "elsewhere") is None


def test_a_killed_process_holds_it_no_longer(machine: Callable[[str], Path], tmp_path: Path) -> None:
    log = machine("")
    source = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom update_all.core.inhibit import awake\n"
        "async def run():\n    async with awake(run=Path(sys.argv[1])):\n        await asyncio.sleep(60)\n"
        "asyncio.run(run())\n"
    )
    with subprocess.Popen([sys.executable, "-c", source, str(tmp_path / "run")]) as process:
        until(log, "block taken")
        process.send_signal(signal.SIGKILL)
    until(log, "block released")


def test_a_block_that_fails_lets_go(machine: Callable[[str], Path], tmp_path: Path) -> None:
    log = machine("")

    async def run() -> None:
        async with awake(run=tmp_path / "run"):
            await asyncio.to_thread(until, log, "block taken")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(run())
    until(log, "block released")
