"""How the steps of a run become root, as the engine sees it: wrap, explain a refusal, signal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from update_all.core import process_tree
from update_all.core.errors import StepError
from update_all.core.privilege import Backend, Privilege, PrivilegeOutcome, Ticket

_HINT = "run update-all in a terminal, or see: update-all sudoers"


class NeedsPrivilegeError(StepError):
    """A step needs root, and nobody could or would give it."""

    code = "needs-privilege"


class Rights:
    """A `Privilege` for the steps of a run: its refusals become the steps' errors."""

    def __init__(self, privilege: Privilege) -> None:
        self.privilege = privilege

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

    def wrap(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        """The argument list that runs `argv` as root. Raises NeedsPrivilegeError after a refusal."""
        if self.privilege.ticket is Ticket.REFUSED:
            raise NeedsPrivilegeError("it needs root, and no password was accepted", hint=_HINT)
        return self.privilege.wrap(argv, env)

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
