"""Ctrl-C ends whatever is awaited, also when the signal finds the main thread at a wait."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from update_all.cli import interruptible

AT_A_WAIT = """
import asyncio, os, signal, threading, time
from update_all.cli import interruptible

async def wait():
    # The kernel gives the signal to the other thread, and the wait of this one goes on.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    asyncio.get_running_loop().call_soon(ready.set)
    try:
        await asyncio.sleep(600)
    finally:
        print("cleaned up")

def interrupt():
    ready.wait()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)

ready = threading.Event()
threading.Thread(target=interrupt, daemon=True).start()
try:
    interruptible.run(wait())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_signal_that_finds_the_loop_waiting_wakes_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", AT_A_WAIT], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "cleaned up\ninterrupted\n"


def test_results_and_errors_come_through() -> None:
    async def seven() -> int:
        return 7

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert interruptible.run(seven()) == 7
    with pytest.raises(asyncio.CancelledError):
        interruptible.run(cancelled())
