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

from update_all.core.errors import CommandNotFoundError
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
    HELD: commands run without a question. PER_STEP: each command asks on the terminal, and must be lent its
    foreground (`wrap(…, ask=True)`). REFUSED: the question was answered wrongly, or not at all.
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
    """The rule for this command does not allow variables, though that for others does."""


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
        await privilege.authenticate()  # before the first root step
        argv = privilege.wrap(["apt-get", "update"])
        await privilege.release()  # after the last one
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
        self._passes_environment = backend is Backend.RUN0
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

        `terminal` says whether somebody can be asked (default: stdin and stderr are terminals). Where there
        is no such program, `wrap` says so: what needs no root is not disturbed.
        """
        if (os.geteuid() if euid is None else euid) == 0:
            return cls(Backend.NONE, terminal=False)
        if terminal is None:
            terminal = sys.stdin.isatty() and sys.stderr.isatty()
        seconds = KEEPALIVE_SECONDS if keepalive else None
        wanted = [Backend.SUDO, Backend.DOAS, Backend.RUN0] if command == "auto" else [Backend(command)]
        for backend in wanted:
            found = shutil.which(backend, path=os.pathsep.join(directories))
            if found is not None:
                return cls(backend, Path(found), terminal=terminal, keepalive_seconds=seconds)
        return cls(wanted[0], None, terminal=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    def wrap(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, ask: bool = False
    ) -> list[str]:
        """The command line that runs `argv` as root, with what of `env` the backend lets through.

        The program becomes absolute. It never asks for a password, unless `ask` says that it will run in the
        foreground of the terminal, where Ticket.PER_STEP needs it. run0 passes variables, sudo where its
        rules are wide enough (found by `authenticate`), doas by rules of its own (doas.conf(5)); those by
        which root could be made to run other code are left out. Root gets its command back as it is.

        Raises CommandNotFoundError without such a program or a privilege program, and UntrustedPathError
        for a program or argument that others than root can change.
        """
        if self.backend is Backend.NONE:
            return list(argv)
        if self.program is None:
            raise CommandNotFoundError(
                f"{argv[0]} needs root, and {self.backend} is not installed",
                hint="run update-all as root, or leave the plugin out with -x",
            )
        program = str(resolve_program(argv[0], self._directories, lstat=self._lstat))
        check_arguments(argv[1:], lstat=self._lstat)
        variables = _safe_variables(env or {}) if self._passes_environment else []
        front = [str(self.program)]
        if self.backend is Backend.RUN0:
            front += [*([] if ask else ["--no-ask-password"]), "--background="]
            front += [f"--setenv={variable}" for variable in variables]
        else:
            # sudo(8): variables stand before `--`.
            front += [*([] if ask else ["-n"]), *variables]
        return [*front, "--", program, *argv[1:]]

    async def authenticate(self) -> Ticket:
        """Ask for the password, on the terminal, if one is needed; then keep the ticket alive.

        Without a terminal nobody is asked, and the right of each command is found by trying it: UNTRIED. May
        be called again, for example after a step that ended the ticket.
        """
        if self.backend is Backend.NONE or self.program is None:
            return self.ticket
        if self.terminal:
            self.ticket = await self._ask_once()
        if self.backend is Backend.SUDO and self.ticket is not Ticket.REFUSED:
            # sudoers(5): a rule for ALL commands implies SETENV; one for exact commands forbids variables.
            self._passes_environment = await self._spawn(["-n", "UPDATE_ALL=1", "--", "true"]) == 0
        self._keep_alive()
        return self.ticket

    async def _ask_once(self) -> Ticket:
        if self.backend is Backend.RUN0:
            # polkit keeps no ticket that a later command could rely on.
            return Ticket.PER_STEP
        if await self._is_valid():
            return Ticket.HELD
        if await self._spawn(self._question, attached=True) != 0:
            return Ticket.REFUSED
        self._ours = True
        return Ticket.HELD if await self._is_valid() else Ticket.PER_STEP

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
    def _question(self) -> list[str]:
        return ["-v"] if self.backend is Backend.SUDO else ["--", "true"]

    async def _is_valid(self) -> bool:
        return await self._spawn(["-n", *self._question]) == 0

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


def _safe_variables(env: Mapping[str, str]) -> list[str]:
    names = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
    return [
        f"{name}={value}"
        for name, value in env.items()
        if names.fullmatch(name) and not _DANGEROUS.fullmatch(name)
    ]
