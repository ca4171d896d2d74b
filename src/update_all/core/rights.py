"""How the steps of a run become root, as the engine sees it: wrap, explain a refusal, signal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence

from update_all.core import foreground, process_tree
from update_all.core.command import Command
from update_all.core.errors import StepError
from update_all.core.privilege import Backend, Privilege, PrivilegeOutcome, Ticket

_REFUSED = "it needs root, and no password was accepted"
SPOOL_BYTES = 4096
_TOLD_SECONDS = 5.0
_HINT = "run update-all in a terminal, or see: update-all sudoers"


class NeedsPrivilegeError(StepError):
    """A step needs root, and nobody could or would give it."""

    code = "needs-privilege"


StepAside = Callable[[str], contextlib.AbstractContextManager[None]]
"""Leaves the terminal to a question, of which the text tells what it is for, and comes back."""


def _stay(_: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


class Rights:
    """A `Privilege` for the steps of a run: its refusals become the steps' errors.

    `step_aside` is entered while a person types a password in the middle of the run.
    """

    def __init__(self, privilege: Privilege) -> None:
        self.privilege = privilege
        self.step_aside: StepAside = _stay
        self._asking = asyncio.Lock()

    @classmethod
    def find(cls, command: str = "auto", *, keepalive: bool = True, may_ask: bool = True) -> Rights:
        """With the privilege program of this machine; `may_ask` is False where nobody is to be asked."""
        terminal = None if may_ask else False
        return cls(Privilege.find(command, keepalive=keepalive, terminal=terminal))

    @property
    def prefix(self) -> str:
        """What a person would type before a root command: "sudo", or nothing for root."""
        return "" if self.privilege.backend is Backend.NONE else self.privilege.backend.value

    async def authenticate(self) -> str | None:
        """Ask for the password, if one is needed and somebody is there. Why root steps will not run, or None.

        A refusal blocks the steps that need root and no others.
        """
        if await self.privilege.authenticate() is Ticket.REFUSED:
            return "no password was accepted"
        return None

    @property
    def asks_each_time(self) -> bool:
        """Whether the password was right, but is wanted again by each command."""
        return self.privilege.ticket is Ticket.PER_STEP

    def wrap(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        """The argument list that runs `argv` as root. Raises NeedsPrivilegeError after a refusal.

        Where somebody is there it may ask: a ticket can end before its time (`sudo -k` in a step), or not
        last at all.
        """
        if self.privilege.ticket is Ticket.REFUSED:
            raise NeedsPrivilegeError(_REFUSED, hint=_HINT)
        wrapped = self.privilege.wrap(argv, env, ask=self._may_ask)
        keeper = [sys.executable, "-I", "-S", str(process_tree.KEEPER)]
        match self.privilege.backend:
            case Backend.SUDO | Backend.DOAS if self._may_ask and self.asks_each_time:
                return [*keeper, "--ask", *wrapped]
            case Backend.SUDO:
                return [*keeper, *wrapped]
            case _:
                # What doas remembers, with `persist`, counts for the children of one process.
                return wrapped

    @property
    def _may_ask(self) -> bool:
        # While it is lent, it is not ours to lend, but will be again.
        return self.privilege.terminal and (self._asking.locked() or foreground.may_lend())

    async def let_ask(self, command: Command, too_late: Callable[[], bool]) -> bool:
        """Lend the terminal to a command that was stopped at the question for the password.

        One question at a time; it ends when the command proper runs. False where it is not that question,
        nobody can be asked, or it was `too_late` when its turn came.
        """
        pid = command.pid
        if pid is None or not self._may_ask:
            return False
        async with self._asking:
            if command.exited.done() or not self._is_at_the_question(pid):
                return command.exited.done()
            if too_late() or self.privilege.ticket is Ticket.REFUSED:
                return False
            plugin, step = command.key.split(":")[:2]
            with self.step_aside(f"{plugin}: {step} runs as root"):
                lent = await foreground.lend(
                    pid,
                    lambda: _taken(command),
                    lambda: command.exited.done() or not self._is_at_the_question(pid),
                )
            if lent and not process_tree.alive(process_tree.program_of(pid)):
                # Its end is told by the shim, a moment later: how it ended decides whether others may ask.
                await asyncio.wait({command.exited}, timeout=_TOLD_SECONDS)
            if lent and command.exited.done() and self._was_not_answered(command):
                # Whoever could not, or would not, is not asked again.
                self.privilege.ticket = Ticket.REFUSED
            return lent

    def _was_not_answered(self, command: Command) -> bool:
        if command.exited.exception() is not None:
            return False
        with contextlib.suppress(OSError), command.spool.open("rb") as spool:
            said = spool.read(SPOOL_BYTES).decode("utf-8", "replace")
            outcome = self.privilege.classify(command.exited.result().code, said)
            return outcome is PrivilegeOutcome.PASSWORD_REQUIRED
        return False

    def _is_at_the_question(self, pid: int) -> bool:
        """Whether the privilege program has not yet become, or started, the command."""
        program = process_tree.program_of(pid)
        words = process_tree.arguments(program)
        # In the middle of execve(2) a process has no arguments for an instant.
        waits = words == [] or str(process_tree.KEEPER).encode() in words
        asks = waits or words[0] == str(self.privilege.program).encode()
        return asks and process_tree.alive(program) and (waits or not process_tree.descendants([program]))

    async def release(self) -> None:
        """No further step needs root: give the ticket back."""
        await self.privilege.release()

    def refusal(self, exit_code: int, output: str) -> StepError | None:
        """Why a command that was to run as root did not run, None when it did."""
        outcome = self.privilege.classify(exit_code, output)
        if outcome is PrivilegeOutcome.COMMAND:
            return None
        reasons = {
            PrivilegeOutcome.PASSWORD_REQUIRED: "it needs root, and a password that nobody could type",
            PrivilegeOutcome.NOT_ALLOWED: "it needs root, and the rules of this machine do not allow it",
        }
        reason = reasons.get(outcome, f"it needs root: {outcome}")
        if self.privilege.ticket is Ticket.REFUSED:
            reason = _REFUSED
        return NeedsPrivilegeError(reason, hint=_HINT)

    async def signal(self, pids: Sequence[int], number: int) -> None:
        """Signal processes of root, through the privilege program; without a question, or not at all."""
        living = [str(pid) for pid in pids if process_tree.alive(pid)]
        if not living or self.privilege.backend is Backend.NONE:
            return
        argv = self.privilege.wrap(["kill", f"-{number}", *living], {})
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            process_group=0,
        )
        await process.wait()


def _taken(command: Command) -> bool:
    """Whether it was stopped again since the last time."""
    stopped, command.asks = command.asks, False
    return stopped
