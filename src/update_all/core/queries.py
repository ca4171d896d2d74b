"""Read-only questions to a tool: run, capture, bounded in time and size."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from update_all.core.errors import CommandNotFoundError, StepError

QUERY_SECONDS = 20.0
QUERY_BYTES = 32 * 1024 * 1024
PIPE_BYTES = 1 << 20

SILENT_ENVIRONMENT: Mapping[str, str] = {
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "APT_LISTBUGS_FRONTEND": "none",
    "NEEDRESTART_MODE": "l",
    "UCF_FORCE_CONFFOLD": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    "SSH_ASKPASS_REQUIRE": "never",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "CONDA_ALWAYS_YES": "true",
    "NPM_CONFIG_YES": "true",
    "NPM_CONFIG_UPDATE_NOTIFIER": "false",
    "SYSTEMD_PAGER": "",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "NO_COLOR": "1",
    "TERM": "dumb",
}
"""What silences known askers and keeps output parseable (system.md section 5)."""


@dataclass(frozen=True, slots=True)
class QueryOutput:
    """What a query printed. `code` is the exit code, negative for a signal."""

    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0


async def query(
    argv: Sequence[str],
    *,
    timeout: float = QUERY_SECONDS,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> QueryOutput:
    """Run a read-only command with stdin closed, in its own process group, `LC_ALL=C.UTF-8`.

    Raises CommandNotFoundError when the program cannot be started, StepError when it takes longer than
    `timeout` seconds or prints more than 32 MiB (its process group is then killed).
    """
    import asyncio

    with _Capture() as stdout, _Capture() as stderr:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout.writer,
                stderr=stderr.writer,
                env={**os.environ, **SILENT_ENVIRONMENT, **(env or {})},
                cwd=cwd,
                process_group=0,
            )
        except OSError as error:
            raise CommandNotFoundError(f"cannot run {argv[0]!r}: {error.strerror}") from error
        ended = asyncio.ensure_future(process.wait())
        try:
            waited = [ended, stdout.full, stderr.full]
            done, _ = await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await ended
        if not done:
            raise StepError(f"{argv[0]!r} did not answer within {timeout:g} s")
        if ended not in done:
            raise StepError(f"{argv[0]!r} printed more than {QUERY_BYTES >> 20} MiB")
        return QueryOutput(ended.result(), stdout.text(), stderr.text())


class _Capture:
    """A pipe that is read as it fills. Its end of file is never waited for: a daemon may keep it open."""

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._reader, self.writer = os.pipe()
        self._data = bytearray()
        self.full: asyncio.Future[int] = self._loop.create_future()
        os.set_blocking(self._reader, False)
        self._loop.add_reader(self._reader, self._take)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._reader)
        self.full.cancel()
        os.close(self._reader)
        os.close(self.writer)

    def _take(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._data += os.read(self._reader, PIPE_BYTES)
        if len(self._data) > QUERY_BYTES and not self.full.done():
            self.full.set_result(0)
            self._loop.remove_reader(self._reader)

    def text(self) -> str:
        """All of it, once the program has ended: what is left in the pipe is one read."""
        self._take()
        return self._data.decode("utf-8", "replace")
