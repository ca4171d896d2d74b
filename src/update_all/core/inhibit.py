"""Keep the machine from sleeping and shutting down while a run goes on, where systemd-logind is there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

PROGRAM = "systemd-inhibit"
MODES = ("block", "delay")
"""The second one is for whom polkit denies the first: over ssh, by its defaults (systemd-inhibit(1))."""

LET_GO_SECONDS = 1.0


def inhibitor(run: Path = Path("/run")) -> str | None:
    """The program that takes the lock; None where there is no logind, whose directory this is."""
    return shutil.which(PROGRAM) if (run / "systemd/inhibit").is_dir() else None


@contextlib.asynccontextmanager
async def awake(*, wanted: bool = True, run: Path = Path("/run")) -> AsyncIterator[None]:
    """Hold the lock during the block. Where it is denied or cannot be had, nothing is said: it is a courtesy.

    The lock is that of `cat`, which reads a pipe of ours; so it is gone with us, however we end.
    """
    program = inhibitor(run) if wanted else None
    if program is None:
        yield
        return
    reader, writer = os.pipe()
    holding = asyncio.ensure_future(_hold(program, reader))
    try:
        yield
    finally:
        os.close(writer)
        await asyncio.wait([holding], timeout=LET_GO_SECONDS)
        holding.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await holding
        os.close(reader)


async def _hold(program: str, reader: int) -> None:
    for mode in MODES:
        process = await asyncio.create_subprocess_exec(
            program,
            "--what=sleep:shutdown",
            f"--mode={mode}",
            "--who=update-all",
            "--why=Software is being updated",
            "cat",
            stdin=reader,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            process_group=0,
        )
        try:
            if await process.wait() == 0:
                return
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
