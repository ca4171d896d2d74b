"""Run one attempt of one step: its commands or its function, and nothing about state or order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from update_all.core.borrowing import Borrower
from update_all.core.cleaning import clean, clean_line
from update_all.core.command import Command, Exit
from update_all.core.errors import CommandNotFoundError, StepError, UpToDate
from update_all.core.evidence import Evidence
from update_all.core.facts import fill_command
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.json_reading import Reader, loads
from update_all.core.models import Facts, StepResult, UpdateCommand, UpdateStep, Usage
from update_all.core.names import log_name
from update_all.core.output import Follower, PatternMatcher, StepLog
from update_all.core.planning import Updater, node_id
from update_all.core.processes import AlreadyStartedError, ShimClient
from update_all.core.steering import Steering
from update_all.core.step_output import StepOutput
from update_all.core.streaming import StreamEvent
from update_all.core.supervision import (
    AskedError,
    InterruptedStepError,
    RefusedError,
    Supervision,
    TimedOutError,
    supervise,
)

ANSWER_SECONDS = 600.0
"""How long a command that reads the person's terminal waits for an answer; then it is ended."""


class Privileges(Protocol):
    """How commands run as root."""

    def wrap(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        """The argument list that runs `argv` as root. Raises a typed error when there is no way."""
        ...

    def refusal(self, exit_code: int, output: str) -> StepError | None:
        """The error to report when a privileged command was refused rather than run."""
        ...

    async def signal(self, pids: Sequence[int], number: int) -> None:
        """Signal processes of root."""
        ...

    async def let_ask(self, command: Command, too_late: Callable[[], bool]) -> bool:
        """Let a person answer a privileged command that asks for the password; False where that is not so."""
        ...

    async def release(self) -> None:
        """No further step of the run needs root."""
        ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """What to do: from which command on, and whether its first command was started by an earlier process."""

    number: int
    first_command: int = 0
    found_running: bool = False


@dataclass(slots=True)
class StepRunner:
    """What all steps of a run share."""

    directory: Path
    shim: ShimClient
    evidence: Evidence
    privileges: Privileges
    interrupts: Interrupts
    emit: Callable[[StreamEvent], None]
    may_continue: Callable[[], bool]
    environment: Mapping[str, str]
    silent: Mapping[str, str]
    secrets: Collection[str] = ()
    steering: Steering = field(default_factory=Steering)
    terminal: tuple[int, int] | None = None
    """Columns and rows of the terminal that an interactive step gets; None where nobody answers it."""
    _programs: dict[tuple[str, str], str | None] = field(default_factory=dict)

    async def run(
        self,
        plugin: Updater,
        step: UpdateStep,
        attempt: Attempt,
        *,
        skip: Collection[int] = (),
        on_command: Callable[[int], Awaitable[None]] | None = None,
        interrupts: Interrupts | None = None,
    ) -> StepResult:
        """Run an attempt and return its result; every failure is a result, never an exception.

        `skip` are independent commands that succeeded in an earlier attempt; `on_command` is told of each
        further one, `interrupts` end it. Raises only ShimLostError and DetachedError: the end of the step is
        then not known.
        """
        execution = _Execution(self, plugin, step, attempt, interrupts or self.interrupts)
        try:
            return await execution.run(skip, on_command)
        finally:
            execution.output.log.close()

    def log_path(self, plugin: str, step: str, attempt: int) -> Path:
        """The log of an attempt."""
        return self.directory / log_name(plugin, step, attempt)

    def discard_spools(self, plugin: str, step: UpdateStep, attempt: int) -> None:
        """Remove raw output whose cleaned form is in the log. For steps whose end is durable."""
        for index in range(len(step.commands or ())):
            with contextlib.suppress(OSError):
                self.evidence.spool(command_key(plugin, step.name, attempt, index)).unlink()

    def program(self, name: str, env: Mapping[str, str]) -> str:
        """The absolute path of a program. Raises CommandNotFoundError naming it."""
        if "/" in name:
            return name
        path = env.get("PATH", self.environment.get("PATH", os.defpath))
        key = (name, path)
        if key not in self._programs:
            safe = os.pathsep.join(part for part in path.split(os.pathsep) if part.startswith("/"))
            self._programs[key] = shutil.which(name, path=safe)
        found = self._programs[key]
        if found is None:
            raise CommandNotFoundError(
                f"cannot run {name!r}: it is not on PATH (as a shell would say: exit code 127)",
                hint=f"install {name!r}, or leave the plugin out with -x",
            )
        return found


def command_key(plugin: str, step: str, attempt: int, index: int) -> str:
    """The name of a command's spool and records."""
    return f"{plugin}:{step}:{attempt}:{index}"


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one command ended. `error` is None when it passed."""

    exit_code: int | None
    error: StepError | None
    usage: Usage


class _Execution:
    def __init__(
        self, runner: StepRunner, plugin: Updater, step: UpdateStep, attempt: Attempt, interrupts: Interrupts
    ) -> None:
        self.runner = runner
        self.interrupts = interrupts
        self.plugin = plugin
        self.step = step
        self.attempt = attempt
        log = StepLog(runner.log_path(plugin.name, step.name, attempt.number), runner.secrets)
        self.output = StepOutput(plugin, step.name, log, runner.emit)
        self.started = time.monotonic()
        self.usage = Usage()
        self.exit_code: int | None = None
        self.deadline = (
            None if step.timeout_seconds is None else asyncio.get_running_loop().time() + step.timeout_seconds
        )

    async def run(
        self, skip: Collection[int], on_command: Callable[[int], Awaitable[None]] | None
    ) -> StepResult:
        up_to_date = False
        error: StepError | None = None
        try:
            if self.step.commands:
                await self._commands(self.step.commands, skip, on_command)
            else:
                await self._function()
        except UpToDate as nothing:
            up_to_date = True
            self.output.write(f"{nothing}\n" if str(nothing) else "")
        except StepError as failed:
            if failed.code in ("shim-lost", "detached"):
                raise
            error = failed
        changes = self.output.changes() if error is None else ()
        return StepResult(
            step_name=self.step.name,
            success=error is None,
            output=self.output.tail.text(),
            error_message=None if error is None else clean(error.described, self.runner.secrets),
            error_code=None if error is None else error.code,
            duration_seconds=time.monotonic() - self.started,
            packages_updated=len(changes),
            exit_code=self.exit_code,
            changes=changes,
            up_to_date=up_to_date,
            usage=self.usage,
        )

    async def _commands(
        self,
        commands: Sequence[UpdateCommand],
        skip: Collection[int],
        on_command: Callable[[int], Awaitable[None]] | None,
    ) -> None:
        failures: list[StepError] = []
        for index, command in enumerate(commands):
            if index in skip:
                continue
            found = self.attempt.found_running and index == self.attempt.first_command
            if index < self.attempt.first_command or found:
                ended = await self._adopted(index, command)
            else:
                ended = await self._started(index, command)
            if ended.error is None:
                if self.step.independent_commands and on_command is not None:
                    await on_command(index)
                continue
            failures.append(ended.error)
            if not self.step.independent_commands or ended.error.code == "interrupted":
                break
        if failures:
            raise failures[0] if len(failures) == 1 else _joined(failures)

    async def _started(self, index: int, command: UpdateCommand) -> _Ended:
        key = command_key(self.plugin.name, self.step.name, self.attempt.number, index)
        try:
            filled = fill_command(command, self.plugin.facts)
            argv, env = self._invocation(filled)
            if self.interrupts.urgency >= Urgency.FINISH:
                raise InterruptedStepError(f"it did not start, because {self.interrupts.why}")
            process = await self.runner.shim.start(
                key,
                argv,
                env=env,
                cwd=filled.cwd,
                session=self.plugin.third_party,
                terminal=self.runner.terminal if self.step.interactive else None,
            )
        except AlreadyStartedError:
            return await self._adopted(index, command)
        except StepError as error:
            return _Ended(127 if isinstance(error, CommandNotFoundError) else None, error, Usage())
        return await self._supervised(process, command)

    def _invocation(self, command: UpdateCommand) -> tuple[list[str], dict[str, str]]:
        env = dict(command.env or {})
        if command.sudo or self.step.sudo:
            # sudo would drop the shim's environment.
            return self.runner.privileges.wrap(command.cmd, {**self.runner.silent, **env}), env
        return [self.runner.program(command.cmd[0], env), *command.cmd[1:]], env

    async def _adopted(self, index: int, command: UpdateCommand) -> _Ended:
        """A command that an earlier process started: its record, or wait for its end."""
        key = command_key(self.plugin.name, self.step.name, self.attempt.number, index)
        self.runner.evidence.read()
        if key in self.runner.evidence.refused:
            return _Ended(127, StepError(f"{command.cmd[0]!r} could not be started"), Usage())
        return await self._supervised(self.runner.evidence.attach(key), command)

    async def _supervised(self, process: Command, command: UpdateCommand) -> _Ended:
        errors = PatternMatcher(command.error_patterns)
        successes = PatternMatcher(command.success_patterns)

        def on_text(text: str) -> None:
            errors.feed(text)
            successes.feed(text)
            self.output.show(text)

        follower = Follower(process.spool, self.output.log, on_text)
        step_id = node_id(self.plugin.name, self.step.name)
        if process.console is not None:
            self.runner.steering.opened(step_id, process.console)
        try:
            end = await supervise(process, follower, self._supervision(command))
        except RefusedError as error:
            return _Ended(None, self.output.failure or error, Usage())
        except (TimedOutError, InterruptedStepError, AskedError) as error:
            return _Ended(None, error, Usage())
        finally:
            self.runner.steering.closed(step_id)
        errors.finish()
        successes.finish()
        self._account(end)
        failure = self._judge(command, end.code, errors.found, successes.found)
        if self.plugin.third_party:
            failure = self._told(end.code) or failure
        return _Ended(end.code, failure, end.usage)

    def _told(self, code: int) -> StepError | None:
        """What the plugin's own protocol says of output and end, besides the exit code."""
        try:
            self.plugin.end_of_output(self.step.name, code)
        except StepError as error:
            return self.output.failure or error
        except UpToDate:
            if self.output.failure is None:
                raise
        return self.output.failure

    def _supervision(self, command: UpdateCommand) -> Supervision:
        deadline = self.deadline
        if command.timeout_seconds is not None:
            own = asyncio.get_running_loop().time() + command.timeout_seconds
            deadline = own if deadline is None else min(own, deadline)
        return Supervision(
            interrupts=self.interrupts,
            deadline=deadline,
            uninterruptible=self.step.uninterruptible,
            signal_as_root=self.runner.privileges.signal,
            on_silence=self.output.silence,
            may_continue=self.runner.may_continue,
            is_flooding=lambda: self.output.flooding,
            on_question=self.output.question,
            somebody_answers=self.runner.terminal is not None,
            let_ask=self.runner.privileges.let_ask if command.sudo or self.step.sudo else self._let_ask,
        )

    async def _let_ask(self, command: Command, _too_late: Callable[[], bool]) -> bool:
        """Wait for the answer of a person whose terminal the command wants to read; False when there is none.

        It must be a command that we have started: of another one nobody tells when it goes on.
        """
        if self.runner.terminal is None or not self.runner.shim.knows(command):
            return False
        self.output.question("")
        borrower = Borrower(command)
        ended = self.interrupts.reached(Urgency.STOP if self.step.uninterruptible else Urgency.FINISH)
        with self.runner.steering.borrowing(node_id(self.plugin.name, self.step.name), borrower):
            any_of: list[asyncio.Future[None] | asyncio.Future[Exit]] = [
                borrower.answered,
                ended,
                command.exited,
            ]
            await asyncio.wait(any_of, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        return borrower.answered.done() or command.exited.done()

    def _account(self, end: Exit) -> None:
        self.exit_code = end.code
        self.usage = Usage(
            cpu_seconds=self.usage.cpu_seconds + end.usage.cpu_seconds,
            max_rss_bytes=max(self.usage.max_rss_bytes, end.usage.max_rss_bytes),
            read_bytes=self.usage.read_bytes + end.usage.read_bytes,
            written_bytes=self.usage.written_bytes + end.usage.written_bytes,
        )

    def _judge(
        self, command: UpdateCommand, code: int, error_line: str | None, success_line: str | None
    ) -> StepError | None:
        """Precedence: error pattern, exit code, success pattern (system.md section 2)."""
        program = command.cmd[0]
        if error_line is not None:
            return StepError(f"{program} reported: {clean_line(error_line, 200, self.runner.secrets)}")
        if code == 0 or code in command.ignore_exit_codes or success_line is not None:
            return None
        if command.sudo or self.step.sudo:
            refused = self.runner.privileges.refusal(code, self.output.tail.text())
            if refused is not None:
                return refused
        how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
        return StepError(f"{program} {how}")

    async def _function(self) -> None:
        assert self.step.execute_fn is not None  # noqa: S101 - guaranteed by UpdateStep
        consumer = asyncio.ensure_future(self._consume())
        interrupted = self.interrupts.reached(Urgency.FINISH)
        try:
            limit = None if self.deadline is None else self.deadline - asyncio.get_running_loop().time()
            await asyncio.wait([consumer, interrupted], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if consumer.done():
                consumer.result()
                return
            consumer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await consumer
            if interrupted.done():
                raise InterruptedStepError(f"it was ended because {self.interrupts.why}")
            raise TimedOutError(f"it took longer than {self.step.timeout_seconds} s and was ended")
        finally:
            interrupted.cancel()
            consumer.cancel()

    async def _consume(self) -> None:
        """Run the function of a plugin. Its errors are the step's errors: this is the border."""
        assert self.step.execute_fn is not None  # noqa: S101 - guaranteed by UpdateStep
        try:
            async for event in self.step.execute_fn():
                self.output.forward(event)
                while not self.runner.may_continue():  # noqa: ASYNC110 - the reader sets no event
                    await asyncio.sleep(0.01)
        except (StepError, UpToDate, asyncio.CancelledError):
            raise
        except Exception as error:
            raise self.output.bug(error) from error


def _joined(failures: Sequence[StepError]) -> StepError:
    error = StepError(f"{len(failures)} commands failed: " + "; ".join(item.message for item in failures))
    error.code = failures[-1].code
    return error


def plain_facts(facts: Mapping[str, object]) -> Facts:
    """The facts as JSON keeps them: a path becomes its text. Raises StepError naming the fact."""
    plain: Facts = {}
    for name, value in facts.items():
        try:
            kept = loads(json.dumps({"facts": {name: value}}, default=os.fspath).encode())
        except (TypeError, ValueError) as error:
            raise StepError(f"the fact {name!r} cannot be kept: {error}") from None
        plain |= Reader(kept, "kept").table("facts")
    return plain
