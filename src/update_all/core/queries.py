"""Read-only questions to a tool: run, capture, bounded in time and size."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from update_all.core.errors import CommandNotFoundError, StepError

QUERY_SECONDS = 20.0
QUERY_BYTES = 32 * 1024 * 1024

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
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **SILENT_ENVIRONMENT, **(env or {})},
            cwd=cwd,
            process_group=0,
        )
    except OSError as error:
        raise CommandNotFoundError(f"cannot run {argv[0]!r}: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout):
            stdout, stderr = await asyncio.gather(_bounded(process.stdout), _bounded(process.stderr))
            code = await process.wait()
    except TimeoutError:
        raise StepError(f"{argv[0]!r} did not answer within {timeout:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return QueryOutput(code, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))


async def _bounded(stream: asyncio.StreamReader | None) -> bytes:
    data = bytearray()
    while stream is not None and (chunk := await stream.read(65536)):
        data += chunk
        if len(data) > QUERY_BYTES:
            raise StepError(f"a query printed more than {QUERY_BYTES // 1048576} MiB")
    return bytes(data)
