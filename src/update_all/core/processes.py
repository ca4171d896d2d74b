"""The orchestrator's side of the shim: start it, have it start commands, hear how they end."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from update_all.core import process_tree
from update_all.core.command import Command, ShimLostError, exit_from, marker
from update_all.core.console import Console
from update_all.core.errors import CommandNotFoundError, StepError
from update_all.core.evidence import Evidence, records_path

SHIM = Path(__file__).with_name("shim.py")


class AlreadyStartedError(StepError):
    """A command of this key was started before: by a shim that outlived its orchestrator, or died."""

    code = "already-started"


class ShimClient:
    """Starts the shim of a run on first use and speaks with it."""

    def __init__(self, evidence: Evidence, environment: Mapping[str, str]) -> None:
        self.directory = evidence.directory
        self.environment = environment
        self._evidence = evidence
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started: dict[str, asyncio.Future[int]] = {}
        self._commands: dict[str, Command] = {}
        self._buffer = bytearray()
        self._unsent = bytearray()
        self._waits_to_send = False

    async def start(
        self,
        key: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        session: bool = False,
        terminal: tuple[int, int] | None = None,
    ) -> Command:
        """Start a command with its output in the spool file of `key`.

        `terminal` are the columns and rows of a terminal of its own, where it may ask; without, its input is
        /dev/null.

        Raises CommandNotFoundError naming the program, AlreadyStartedError when the spool exists,
        StepError for another refusal of the system, ShimLostError when two shims died before they started
        it.
        """
        message = {
            "do": "start",
            "key": key,
            "argv": list(argv),
            "env": {**(env or {}), process_tree.MARKER: marker(self.directory, key)},
            "cwd": cwd,
            "session": session,
            "terminal": terminal,
        }
        try:
            try:
                return await self._start(key, message)
            except ShimLostError:
                return await self._start(key, message)
        except OSError as error:
            raise _refusal(argv[0], cwd, error) from None

    def knows(self, command: Command) -> bool:
        """Whether the command was started by this shim and has not ended."""
        return self._commands.get(command.key) is command

    async def _start(self, key: str, message: Mapping[str, object]) -> Command:
        """Raises OSError, or ShimLostError when the shim died and never started it."""
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._launch(loop)
        started = self._started[key] = loop.create_future()
        command = Command(key, self._evidence.spool(key), None, loop.create_future())
        self._commands[key] = command
        self._send(message)
        try:
            command.pid = await started
        except (OSError, StepError):
            self._commands.pop(key, None)
            raise
        return command

    def _launch(self, loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        records = self._reserve_records()
        try:
            with theirs, open(self.directory / "shim.log", "ab", opener=_private) as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(SHIM), str(self.directory)],
                    stdin=theirs.fileno(),
                    stdout=records,
                    stderr=log,
                    cwd="/",
                    process_group=0,
                )
        finally:
            os.close(records)
        ours.setblocking(False)
        self._socket = ours
        self._buffer.clear()
        self._unsent.clear()
        self._waits_to_send = False
        loop.add_reader(ours, self._receive)
        self._send({"do": "environment", "env": dict(self.environment)})

    def _reserve_records(self) -> int:
        """A records file of the shim's own, locked before the shim exists: who looks finds it alive."""
        number = 1
        while True:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                descriptor = os.open(records_path(self.directory, number), flags, 0o600)
            except FileExistsError:
                number += 1
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor

    def _send(self, message: Mapping[str, object]) -> None:
        self._unsent += json.dumps(message).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            # The shim was gone before it had heard anything: nobody will answer what was to be sent now.
            self._lost()
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
        if bool(self._unsent) != self._waits_to_send:
            self._waits_to_send = bool(self._unsent)
            if self._waits_to_send:
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
        command = self._commands.get(key)
        if did == "exit":
            self._commands.pop(key, None)
            if command is not None and not command.exited.done():
                command.exited.set_result(exit_from(message))
        elif did == "asks":
            if command is not None:
                command.asks = True
        else:
            self._answer(self._started.pop(key), message)

    def _answer(self, started: asyncio.Future[int], message: Mapping[str, object]) -> None:
        if started.done():
            return
        if message["did"] == "started":
            if "device" in message and (command := self._commands.get(str(message["key"]))) is not None:
                command.console = Console(command.spool, str(message["device"]))
            started.set_result(int(str(message["pid"])))
        else:
            number = int(str(message["errno"]))
            started.set_exception(OSError(number, os.strerror(number), str(message["file"])))

    def _lost(self) -> None:
        """The shim died. What it had started goes on, and is followed like any command of a dead shim."""
        self._disconnect()
        for key, started in self._started.items():
            command = self._commands.pop(key)
            if not started.done():
                started.set_exception(_unanswered(command))
        for command in self._commands.values():
            self._evidence.watch(command)
        self._started.clear()
        self._commands.clear()

    def _disconnect(self) -> None:
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # Popen must not warn about one that lives on.

    def close(self) -> None:
        """Let the shim go: it ends when its last command has ended."""
        process, self._process = self._process, None
        if process is not None and self._commands:
            process.returncode = 0
        self._disconnect()
        if process is not None and not self._commands:
            process.wait()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _unanswered(command: Command) -> StepError:
    if command.spool.exists():
        return AlreadyStartedError("the process that was to start it died when it had begun")
    return ShimLostError("the process that starts commands died")


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
