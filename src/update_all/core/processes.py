"""The orchestrator's side of the shim: start commands, follow their output, end their trees, re-attach."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from update_all.core import process_tree
from update_all.core.errors import CommandNotFoundError, StepError
from update_all.core.models import Usage

SHIM = Path(__file__).with_name("shim.py")
RECORDS_GLOB = "exits-*.jsonl"


class ShimLostError(StepError):
    """The shim died: how the command ends will not be recorded."""

    code = "shim-lost"


class AlreadyStartedError(StepError):
    """A command of this key was started before: by a shim that outlived its orchestrator."""

    code = "already-started"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended: exit code, negative for the signal that ended it."""

    code: int
    usage: Usage = field(default_factory=Usage)


def exit_from(record: Mapping[str, object]) -> Exit:
    def number(name: str) -> float:
        value = record.get(name, 0)
        return value if isinstance(value, int | float) else 0

    return Exit(
        code=int(number("code")),
        usage=Usage(
            cpu_seconds=float(number("cpu")),
            max_rss_bytes=int(number("rss")),
            read_bytes=int(number("read")),
            written_bytes=int(number("written")),
        ),
    )


def marker(directory: Path, key: str) -> str:
    """What marks the processes of a command: unique over all runs of this user."""
    return f"{directory.name}/{key}"


class Command:
    """A command that runs, whoever started it."""

    def __init__(self, key: str, spool: Path, pid: int | None, exited: asyncio.Future[Exit]) -> None:
        self.key = key
        self.marker = marker(spool.parent, key)
        self.spool = spool
        self.pid = pid
        self.exited = exited

    def signal(self, number: int, *, tree: bool) -> list[int]:
        """Signal the main process, or every process of the command. Returns the pids that may not be."""
        targets = process_tree.tree_of(self.marker, self.pid) if tree else [self.pid] if self.pid else []
        return [pid for pid in targets if not process_tree.send_signal(pid, number)]

    def remaining(self) -> list[int]:
        """Pids of living processes of this command."""
        return process_tree.tree_of(self.marker, self.pid)


class ShimClient:
    """Starts the shim of a run on first use and speaks with it."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = environment
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started: dict[str, asyncio.Future[int]] = {}
        self._exits: dict[str, asyncio.Future[Exit]] = {}
        self._buffer = bytearray()
        self._unsent = bytearray()

    async def start(
        self,
        key: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        session: bool = False,
    ) -> Command:
        """Start a command with its output in the spool file of `key`.

        Raises CommandNotFoundError naming the program, AlreadyStartedError when the spool exists,
        StepError for another refusal of the system, ShimLostError when the shim dies.
        """
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._launch(loop)
        started: asyncio.Future[int] = loop.create_future()
        exited: asyncio.Future[Exit] = loop.create_future()
        self._started[key], self._exits[key] = started, exited
        environment = {**(env or {}), process_tree.MARKER: marker(self.directory, key)}
        self._send(
            {
                "do": "start",
                "key": key,
                "argv": list(argv),
                "env": environment,
                "cwd": cwd,
                "session": session,
            }
        )
        try:
            pid = await started
        except OSError as error:
            self._exits.pop(key, None)
            raise _refusal(argv[0], cwd, error) from None
        return Command(key, self.directory / f"{key}.out", pid, exited)

    def _launch(self, loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        number = len(list(self.directory.glob(RECORDS_GLOB))) + 1
        with theirs, (self.directory / "shim.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM), str(self.directory), f"exits-{number}.jsonl"],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                cwd="/",
                process_group=0,
            )
        ours.setblocking(False)
        self._socket = ours
        loop.add_reader(ours, self._receive)
        self._send({"do": "environment", "env": dict(self.environment)})

    def _send(self, message: Mapping[str, object]) -> None:
        self._unsent += json.dumps(message).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        try:
            sent = self._socket.send(self._unsent)
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._lost()
            return
        if self._unsent:
            loop.add_writer(self._socket, self._flush)
        else:
            loop.remove_writer(self._socket)

    def _receive(self) -> None:
        assert self._socket is not None  # noqa: S101 - narrows the type
        try:
            data = self._socket.recv(1 << 18)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._handle(json.loads(line))

    def _handle(self, message: dict[str, object]) -> None:
        key, did = str(message["key"]), message["did"]
        if did == "exit":
            exited = self._exits.pop(key, None)
            if exited is not None and not exited.done():
                exited.set_result(exit_from(message))
            return
        started = self._started.pop(key)
        if started.done():
            return
        if did == "started":
            started.set_result(int(str(message["pid"])))
        else:
            number = int(str(message["errno"]))
            started.set_exception(OSError(number, os.strerror(number), str(message["file"])))

    def _lost(self) -> None:
        self.close()
        lost = ShimLostError("the process that waits for commands ended unexpectedly")
        for started in self._started.values():
            started.set_exception(lost)
        for exited in self._exits.values():
            exited.set_exception(lost)
            exited.exception()  # Whoever waited for it may be gone.
        self._started.clear()
        self._exits.clear()

    def close(self) -> None:
        """Let the shim go: it ends when its last command has ended."""
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None
        if self._process is not None and not self._exits:
            self._process.wait()
        elif self._process is not None:
            self._process.returncode = 0  # It lives on for its commands; Popen must not warn about it.
        self._process = None


def _refusal(program: str, cwd: str | None, error: OSError) -> StepError:
    if error.errno == errno.EEXIST:
        return AlreadyStartedError(f"{program!r} was already started by an earlier process")
    if cwd is not None and error.filename == cwd:
        return StepError(f"cannot enter the directory {cwd!r} of {program!r}: {error.strerror}")
    if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR):
        return CommandNotFoundError(
            f"cannot run {program!r}: {error.strerror} (as a shell would say: exit code 127)",
            hint=f"install {program!r}, or disable the plugin: update-all plugins disable NAME",
        )
    return StepError(f"cannot start {program!r}: {error.strerror}")


TERM_GRACE_SECONDS = 10.0
SWEEP_SECONDS = 0.05
SWEEPS = 100


async def end_tree(command: Command, *, grace: float = TERM_GRACE_SECONDS) -> list[int]:
    """TERM every process of a command, KILL what is left after `grace` seconds, sweep what escapes.

    Returns the pids that could not be ended: processes of another user.
    """
    loop = asyncio.get_running_loop()
    command.signal(signal.SIGTERM, tree=True)
    deadline = loop.time() + grace
    while loop.time() < deadline and command.remaining():  # noqa: ASYNC110 - the kernel sets no event
        await asyncio.sleep(SWEEP_SECONDS)
    for _ in range(SWEEPS):
        left = command.remaining()
        if not left:
            break
        if len(command.signal(signal.SIGKILL, tree=True)) == len(left):
            return left
        await asyncio.sleep(SWEEP_SECONDS)
    return command.remaining()
