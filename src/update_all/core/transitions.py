"""The life of a plugin's steps as data: a state, and the records that change it. Pure.

Every change is a record, and the state is the fold of its records: the store can write the whole state or
append the record, and a process that reads either knows the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from update_all.core.json_reading import Reader
from update_all.core.models import CheckResult, Facts, JsonValue, StepExecutionState, StepResult
from update_all.core.result_json import result_from, result_to

Record = dict[str, JsonValue]


class Outcome(StrEnum):
    """How the plugin as a whole stands. Anything but UNFINISHED has nothing to resume."""

    UNFINISHED = "unfinished"
    COMPLETE = "complete"
    UP_TO_DATE = "up-to-date"


@dataclass(frozen=True, slots=True)
class Active:
    """A step in flight: its intent is durable, its end is not recorded."""

    attempt: int
    commands: int
    """How many commands the step has; 0 for an `execute_fn`."""


@dataclass(slots=True)
class PluginState:
    """What is known about one plugin's steps: `StepExecutionState` and what a resume needs besides."""

    run_id: str
    execution: StepExecutionState
    fingerprint: str = ""
    step_fingerprints: dict[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)
    active: dict[str, Active] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    commands_done: dict[str, list[int]] = field(default_factory=dict)
    boot_id: str = ""
    outcome: Outcome = Outcome.UNFINISHED
    check: CheckResult | None = None
    versions_before: dict[str, str] | None = None
    fruitless_resumes: int = 0
    sequence: int = 0
    completed: set[str] = field(default_factory=set)
    """The names in `execution.completed_steps`, for quick look-up."""

    @property
    def plugin(self) -> str:
        return self.execution.plugin_name

    def apply(self, record: Record) -> None:
        """Fold one record into the state. Raises ValueError for one that cannot be read."""
        reader = Reader(record, "record")
        self.sequence = reader.get("n", int)
        self.execution.last_updated = reader.time("at")
        kind = reader.get("do", str)
        if kind == "start":
            self._start(reader)
        elif kind == "command":
            done = self.commands_done.setdefault(reader.get("step", str), [])
            done.append(reader.get("index", int))
        elif kind == "end":
            self._end(result_from(Reader(reader.data.get("result"), "record.result")), reader)
        elif kind == "facts":
            self.facts = dict(reader.table("facts"))
        elif kind == "outcome":
            self.outcome = Outcome(reader.get("outcome", str))
        elif kind == "resume":
            self.fruitless_resumes = reader.get("fruitless", int)
            self.boot_id = reader.get("boot_id", str)
            self.forget(reader.strings("forget"))
            self._reopen(reader.strings("reopen"))
        else:
            raise ValueError(f"record.do is {kind!r}, which is unknown")

    def _start(self, reader: Reader) -> None:
        step = reader.get("step", str)
        attempt = reader.get("attempt", int)
        self.active[step] = Active(attempt, reader.get("commands", int))
        self.attempts[step] = attempt
        self.execution.current_step = step
        self.execution.started_at = self.execution.started_at or reader.time("at")

    def _end(self, result: StepResult, reader: Reader) -> None:
        step = result.step_name
        self.active.pop(step, None)
        self.execution.step_results[step] = result
        if "facts" in reader.data:
            self.facts = dict(reader.table("facts"))
        if result.success:
            self.fruitless_resumes = 0
            self.commands_done.pop(step, None)
            if step not in self.completed:
                self.completed.add(step)
                self.execution.completed_steps.append(step)
        if self.execution.current_step == step:
            self.execution.current_step = next(reversed(self.active), None)

    def note_unrecorded(self, step: str, attempt: int, commands: int) -> None:
        """A step that a lost state did not tell of, but files of the run do."""
        known = self.active.get(step)
        if known is None or known.attempt < attempt:
            self.active[step] = Active(attempt, commands)
        elif known.attempt == attempt:
            self.active[step] = Active(attempt, max(commands, known.commands))
        self.attempts[step] = max(attempt, self.attempts.get(step, 0))

    def forget(self, steps: list[str]) -> None:
        """Drop what is known of these steps: they vanished from the plan.

        Their attempts still count: the numbers name files of the run that exist already.
        """
        for step in steps:
            self.execution.step_results.pop(step, None)
        self._reopen(steps)

    def _reopen(self, steps: list[str]) -> None:
        """These steps run again, as they are defined now; that they were started before is still known."""
        for step in steps:
            self.active.pop(step, None)
            self.commands_done.pop(step, None)
            self.completed.discard(step)
        self.execution.completed_steps = [
            step for step in self.execution.completed_steps if step in self.completed
        ]
        if self.execution.current_step in steps:
            self.execution.current_step = next(reversed(self.active), None)


def start_record(step: str, attempt: int, commands: int) -> Record:
    return {"do": "start", "step": step, "attempt": attempt, "commands": commands}


def command_record(step: str, index: int) -> Record:
    return {"do": "command", "step": step, "index": index}


def end_record(result: StepResult, facts: Facts | None = None) -> Record:
    record: Record = {"do": "end", "result": result_to(result)}
    if facts is not None:
        record["facts"] = dict(facts)
    return record


def assumed_record(step: str) -> Record:
    """A step counts as done although it did not run."""
    return end_record(StepResult(step, success=True, skipped=True))


def outcome_record(outcome: Outcome) -> Record:
    return {"do": "outcome", "outcome": outcome.value}


def resume_record(fruitless: int, boot_id: str, forget: list[str], reopen: list[str]) -> Record:
    return {
        "do": "resume",
        "fruitless": fruitless,
        "boot_id": boot_id,
        "forget": list(forget),
        "reopen": list(reopen),
    }


class Verdict(StrEnum):
    """What to do with a step that was in flight when its orchestrator died (system.md section 4)."""

    ADOPT = "adopt"
    REATTACH = "reattach"
    START = "start"
    CHECK = "check"
    RERUN = "rerun"
    GIVE_UP = "give-up"
    ASK = "ask"


MAX_ATTEMPTS = 3


def verdict(
    *,
    exit_recorded: bool,
    killed: bool,
    running: bool,
    started: bool,
    same_boot: bool,
    has_check: bool,
    idempotent: bool,
    attempt: int,
) -> Verdict:
    """Decide from what the crash left behind. The order of the questions is the promise:
    an exit record wins, a living process is never doubled, what never started may start.

    `killed`: somebody ended a command from outside, and no process of it is left. Then it did not fail, it
    was interrupted, and how far it came is unknown.
    """
    if exit_recorded and not killed:
        return Verdict.ADOPT
    if running:
        return Verdict.REATTACH
    # After a power cut a missing spool proves nothing: it was never flushed.
    if not started and not killed and same_boot:
        return Verdict.START
    if has_check:
        return Verdict.CHECK
    return unknown_verdict(idempotent=idempotent, attempt=attempt)


def unknown_verdict(*, idempotent: bool, attempt: int) -> Verdict:
    """A step that may or may not have happened, and no check can tell."""
    if not idempotent:
        return Verdict.ASK
    return Verdict.RERUN if attempt < MAX_ATTEMPTS else Verdict.GIVE_UP
