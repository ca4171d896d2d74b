"""How a step becomes root: sudo, doas or run0, one question up front, a ticket kept alive and given back.

Passwords are never seen here: only the privilege program and the terminal are. Facts about sudo are from
sudo(8), sudoers(5) and measured: a ticket belongs to the terminal session, so privileged commands stay in
ours (`process_group=0`, never a new session), and never get a pty (sudo would write past us).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from update_all.core.errors import InvalidDefinitionError, NeedsInputError
from update_all.core.trusted_paths import ROOT_PATH, Lstat, check_arguments, resolve_program

KEEPALIVE_SECONDS = 50.0
"""Well within sudo's shortest usual time-out: 5 minutes upstream, 15 on Debian."""


class Backend(StrEnum):
    """The program that gains root; NONE where we are root already."""

    NONE = "none"
    SUDO = "sudo"
    DOAS = "doas"
    RUN0 = "run0"


class Ticket(StrEnum):
    """What is known of our right to become root.

    UNTRIED: nobody can be asked; a command finds out itself, and is never asked for a password.
    HELD: commands run without a question. PER_STEP: each command asks on the terminal, so it must run alone
    and in the foreground. REFUSED: the question was answered wrongly, or not at all.
    """

    NOT_NEEDED = "not-needed"
    UNTRIED = "untried"
    HELD = "held"
    PER_STEP = "per-step"
    REFUSED = "refused"


class PrivilegeOutcome(StrEnum):
    """Why a command that was to run as root ended as it did."""

    COMMAND = "command"
    """The command ran; the exit code is its own."""

    PASSWORD_REQUIRED = "password-required"  # noqa: S105 - a name of an outcome
    NOT_ALLOWED = "not-allowed"
    ENVIRONMENT_REFUSED = "environment-refused"
    """The rule does not allow variables: run it again after `Privilege.without_environment()`."""


_TEXTS: Mapping[PrivilegeOutcome, str] = {
    PrivilegeOutcome.ENVIRONMENT_REFUSED: (
        r"^sudo: (sorry, )?you are not allowed to (set|preserve) the (following )?environment"
    ),
    PrivilegeOutcome.PASSWORD_REQUIRED: (
        r"^sudo: ((a|no) password (is|was) (required|provided)|a terminal is required|no tty present"
        r"|sorry, you must have a tty|interactive authentication is required|timed out reading password"
        r"|\d+ incorrect password attempt|maximum \d+ incorrect|unable to read password)"
        r"|^doas: (Authoriz|Authentic)ation (required|failed)|^doas: a tty is required"
        r"|Interactive authentication required"
    ),
    PrivilegeOutcome.NOT_ALLOWED: (
        r"^Sorry, user \S+ (is not allowed to execute|may not run sudo)|^\S+ is not in the sudoers file"
        r"|^\S+ is not allowed to run sudo|^sudo: I'm sorry \S+ I'm afraid I can't do that"
        r"|^sudo: (.*must be owned by uid 0|effective uid is not 0|The \"no new privileges\" flag)"
        r"|^sudo: (unable to (initialize|load) policy|error initializing audit|parse error in)"
        r"|^doas: (Operation not permitted|doas is not enabled|/\S+ is writable)"
        r"|^Failed to start transient service unit: (Access|Permission) denied"
    ),
}
"""First match wins. From sudo 1.9 (C locale), sudo-rs, OpenDoas 6.8 and systemd-run(1)."""


_DANGEROUS = re.compile(
    r"LD_.*|PATH|IFS|ENV|BASH_ENV|BASH_FUNC_.*|SHELLOPTS|BASHOPTS|PS4|CDPATH|GLOBIGNORE|GCONV_PATH|LOCPATH"
    r"|NLSPATH|HOSTALIASES|RES_OPTIONS|TMPDIR|HOME|SHELL|EDITOR|VISUAL|PYTHON.*|PERL.*|RUBY.*|NODE_OPTIONS"
    r"|NODE_PATH|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|GIT_(?!TERMINAL_PROMPT$|PAGER$).*|SUDO_.*|APT_CONFIG"
)
"""Variables by which a user could make root run other code: environ(7), ld.so(8), bash(1)."""


class Privilege:
    """The one way to root of a run. Use as an asynchronous context manager: the ticket is given back.

    async with Privilege.find(config.sudo.command) as privilege:
        if await privilege.authenticate() is Ticket.REFUSED: ...   # before the first root step
        argv = privilege.wrap(["apt-get", "update"])
        ...
        await privilege.release()                                  # after the last one
    """

    def __init__(
        self,
        backend: Backend,
        program: Path | None = None,
        *,
        terminal: bool,
        keepalive_seconds: float | None = KEEPALIVE_SECONDS,
        directories: Sequence[str] = ROOT_PATH,
        lstat: Lstat = Path.lstat,
    ) -> None:
        self.backend = backend
        self.program = program
        self.terminal = terminal
        self.ticket = Ticket.NOT_NEEDED if backend is Backend.NONE else Ticket.UNTRIED
        self._keepalive_seconds = keepalive_seconds
        self._directories = directories
        self._lstat = lstat
        self._passes_environment = backend in {Backend.SUDO, Backend.RUN0}
        self._ours = False
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    def find(
        cls,
        command: str = "auto",
        *,
        keepalive: bool = True,
        terminal: bool | None = None,
        euid: int | None = None,
        directories: Sequence[str] = ROOT_PATH,
    ) -> Privilege:
        """The way to root of this machine: none for root, else `command`, or the first that is installed.

        `terminal` says whether somebody can be asked (default: stdin and stderr are terminals). Raises
        NeedsInputError where there is no such program.
        """
        if (os.geteuid() if euid is None else euid) == 0:
            return cls(Backend.NONE, terminal=False)
        if terminal is None:
            terminal = sys.stdin.isatty() and sys.stderr.isatty()
        wanted = ["sudo", "doas", "run0"] if command == "auto" else [command]
        for name in wanted:
            found = shutil.which(name, path=os.pathsep.join(directories))
            if found is not None:
                seconds = KEEPALIVE_SECONDS if keepalive else None
                return cls(Backend(name), Path(found), terminal=terminal, keepalive_seconds=seconds)
        raise NeedsInputError(
            f"some steps need root, and there is no {' or '.join(wanted)} in {':'.join(directories)}",
            hint="run update-all as root, or exclude those plugins with -x",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    def wrap(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> list[str]:
        """The command line that runs `argv` as root, with what of `env` the backend lets through.

        The program becomes absolute. sudo and run0 pass variables, until `without_environment`; doas has its
        own rules for them (doas.conf(5)). Root gets its command back as it is. Raises CommandNotFoundError,
        UntrustedPathError for a program or argument that others than root can change, and
        InvalidDefinitionError for a variable that could make root run other code.
        """
        if self.backend is Backend.NONE:
            return list(argv)
        program = str(resolve_program(argv[0], self._directories, lstat=self._lstat))
        check_arguments(argv[1:], lstat=self._lstat)
        variables = self._variables(env or {})
        front = [str(self.program)]
        quiet = self.ticket is not Ticket.PER_STEP
        if self.backend is Backend.RUN0:
            front += ["--no-ask-password"] if quiet else []
            front += ["--background=", *(f"--setenv={variable}" for variable in variables)]
        else:
            # sudo(8): variables stand before `--`.
            front += [*(["-n"] if quiet else []), *variables]
        return [*front, "--", program, *argv[1:]]

    def without_environment(self) -> None:
        """From now on pass no variables: the sudoers rule refuses them."""
        self._passes_environment = False

    async def authenticate(self) -> Ticket:
        """Ask for the password, on the terminal, if one is needed; then keep the ticket alive.

        Without a terminal nobody is asked and nothing is tried: UNTRIED. May be called again, for example
        after a step that ended the ticket.
        """
        if self.backend is Backend.NONE or not self.terminal:
            return self.ticket
        if self.backend is Backend.RUN0:
            # polkit keeps no ticket that a later command could rely on.
            self.ticket = Ticket.PER_STEP
        elif await self._is_valid():
            self.ticket = Ticket.HELD
        elif await self._spawn(self._ask, attached=True) != 0:
            self.ticket = Ticket.REFUSED
        else:
            self._ours = True
            self.ticket = Ticket.HELD if await self._is_valid() else Ticket.PER_STEP
        self._keep_alive()
        return self.ticket

    async def release(self) -> None:
        """Stop keeping the ticket alive, and give it back if it was us who got it."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._ours:
            self._ours = False
            self.ticket = Ticket.UNTRIED
            await self._spawn(["-k"] if self.backend is Backend.SUDO else ["-L"])

    def classify(self, exit_code: int, stderr: str) -> PrivilegeOutcome:
        """Why a wrapped command failed, from what was printed under LC_ALL=C; COMMAND if it ran.

        The privilege programs exit with 1 for every refusal of theirs, as many commands do for failures of
        their own, so the text decides.
        """
        if exit_code == 1 and self.backend is not Backend.NONE:
            for outcome, pattern in _TEXTS.items():
                if re.search(pattern, stderr, re.MULTILINE):
                    return outcome
        return PrivilegeOutcome.COMMAND

    @property
    def _ask(self) -> list[str]:
        return ["-v"] if self.backend is Backend.SUDO else ["--", "true"]

    async def _is_valid(self) -> bool:
        return await self._spawn(["-n", *self._ask]) == 0

    def _keep_alive(self) -> None:
        seconds = self._keepalive_seconds
        if self.ticket is Ticket.HELD and seconds is not None and self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(seconds), name="sudo keep-alive")

    async def _keep(self, seconds: float) -> None:
        while self.ticket is Ticket.HELD:
            await asyncio.sleep(seconds)
            if not await self._is_valid():
                self.ticket = Ticket.PER_STEP

    async def _spawn(self, arguments: Sequence[str], *, attached: bool = False) -> int:
        """Run the privilege program itself. Attached: in the foreground of the terminal, to ask there."""
        quiet = asyncio.subprocess.DEVNULL
        stream = None if attached else quiet
        process = await asyncio.create_subprocess_exec(
            str(self.program),
            *arguments,
            stdin=stream,
            stdout=stream,
            stderr=stream,
            process_group=None if attached else 0,
        )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    process.terminate()
                await process.wait()

    def _variables(self, env: Mapping[str, str]) -> list[str]:
        for name in env:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or _DANGEROUS.fullmatch(name):
                raise InvalidDefinitionError(f"the variable {name!r} cannot be given to a command of root's")
        return [f"{name}={value}" for name, value in env.items()] if self._passes_environment else []
