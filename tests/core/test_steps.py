"""One attempt of one step, with real commands and real functions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from update_all.core import step_output
from update_all.core.command import Command
from update_all.core.errors import StepError, UpToDate
from update_all.core.evidence import Evidence
from update_all.core.interrupts import Interrupts, Urgency
from update_all.core.models import Change, StepResult, UpdateCommand, UpdateStep
from update_all.core.processes import ShimClient
from update_all.core.queries import SILENT_ENVIRONMENT
from update_all.core.steps import Attempt, StepRunner
from update_all.core.streaming import CompletionEvent, OutputEvent, ProgressEvent, StreamEvent, WarningEvent
from update_all.plugins.base import BasePlugin


class NoPrivileges:
    """Says what it wraps, and refuses what exits with 42."""

    def wrap(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        return ["env", "AS=root", *argv]

    def refusal(self, exit_code: int, output: str) -> StepError | None:
        return StepError(f"refused: {output.strip()}") if exit_code == 42 else None

    async def signal(self, pids: Sequence[int], number: int) -> None:
        return None

    async def release(self) -> None:
        return None

    async def let_ask(self, command: Command, too_late: Callable[[], bool]) -> bool:
        return False


class Tool(BasePlugin):
    """A plugin that reads "upgraded X" as a change and "PROGRESS 50" as progress."""

    name = "tool"
    command = "tool"

    def __init__(self, *, third_party: bool = False) -> None:
        super().__init__()
        self.third_party = third_party

    def parse_changes(self, step_name: str, output: str) -> list[Change]:
        if "unreadable" in output:
            raise ValueError("no such format")
        lines = [
            line.removeprefix("upgraded ") for line in output.splitlines() if line.startswith("upgraded ")
        ]
        return [Change(item) for item in lines]

    def interpret_output(self, step_name: str, line: str) -> StreamEvent | None:
        if line == "BAD":
            raise StepError("no such message")
        if line == "BUG":
            raise KeyError(line)
        if not line.startswith("PROGRESS "):
            return None
        return ProgressEvent(percent=float(line.removeprefix("PROGRESS ")))


@dataclass
class Bench:
    """A step runner over a directory, and what it emitted."""

    directory: Path
    tool: Tool = field(default_factory=Tool)
    interrupts: Interrupts = field(default_factory=Interrupts)
    events: list[StreamEvent] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    secrets: tuple[str, ...] = ()

    def run(
        self,
        step: UpdateStep,
        attempt: Attempt = Attempt(1),  # noqa: B008 - a frozen value
        *,
        skip: Sequence[int] = (),
        after: tuple[float, Urgency] | None = None,
    ) -> StepResult:
        """Run the attempt; `after` some seconds the run gets urgent."""
        return asyncio.run(self._run(step, attempt, skip, after))

    async def _run(
        self, step: UpdateStep, attempt: Attempt, skip: Sequence[int], after: tuple[float, Urgency] | None
    ) -> StepResult:
        evidence = Evidence(self.directory)
        self.runner = StepRunner(
            directory=self.directory,
            shim=ShimClient(evidence, {**os.environ, **SILENT_ENVIRONMENT}),
            evidence=evidence,
            privileges=NoPrivileges(),
            interrupts=self.interrupts,
            emit=self.events.append,
            may_continue=lambda: True,
            environment=os.environ,
            silent=SILENT_ENVIRONMENT,
            secrets=self.secrets,
        )

        async def note(index: int) -> None:
            self.done.append(index)

        if after is not None:
            asyncio.get_running_loop().call_later(after[0], self.interrupts.escalate, after[1])
        try:
            async with asyncio.timeout(20):
                return await self.runner.run(self.tool, step, attempt, skip=skip, on_command=note)
        finally:
            self.runner.shim.close()

    def texts(self) -> str:
        return "".join(event.line + "\n" for event in self.events if isinstance(event, OutputEvent))

    def log(self, name: str = "tool:step.log") -> str:
        return (self.directory / name).read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def sh(script: str, **more: object) -> UpdateCommand:
    return UpdateCommand(cmd=["sh", "-c", script], **more)  # type: ignore[arg-type]


def step(*commands: UpdateCommand, **more: object) -> UpdateStep:
    return UpdateStep("step", "A step", commands=list(commands), **more)  # type: ignore[arg-type]


def function(body: Callable[[], AsyncIterator[StreamEvent]], **more: object) -> UpdateStep:
    return UpdateStep("step", "A step", execute_fn=body, **more)  # type: ignore[arg-type]


def test_commands_run_in_order_into_one_log_and_one_result(bench: Bench) -> None:
    result = bench.run(step(sh("echo one"), sh("echo two >&2"), sh("printf three")))

    assert result.success
    assert (result.output, result.exit_code, result.error_message) == ("one\ntwo\nthree", 0, None)
    assert bench.log() == "one\ntwo\nthree"
    assert bench.texts() == "one\ntwo\nthree\n"


def test_failed_command_ends_the_step(bench: Bench) -> None:
    result = bench.run(step(sh("echo one; exit 3"), sh("echo two")))

    assert not result.success
    assert (result.exit_code, result.error_message) == (3, "sh exited with 3")
    assert bench.log() == "one\n"


def test_independent_commands_all_run_and_those_done_are_told_and_skipped(bench: Bench) -> None:
    commands = [sh("exit 3"), sh("echo two"), sh("exit 4"), sh("echo four")]
    result = bench.run(step(*commands, independent_commands=True), skip=[3])

    assert result.error_message == "2 commands failed: sh exited with 3; sh exited with 4"
    assert bench.done == [1]
    assert bench.log() == "two\n"


@pytest.mark.parametrize(
    ("script", "more", "passes"),
    [
        ("exit 0", {}, True),
        ("exit 1", {}, False),
        ("exit 1", {"ignore_exit_codes": (1,)}, True),
        ("exit 2", {"ignore_exit_codes": (1,)}, False),
        ("echo nothing to do; exit 1", {"success_patterns": ("nothing to do$",)}, True),
        ("echo E: broken; exit 0", {"error_patterns": ("^E:",)}, False),
        ("echo E: broken; echo fine", {"error_patterns": ("^E:",), "success_patterns": ("fine",)}, False),
        ("echo W E: fine", {"error_patterns": ("^E:",)}, True),
        ("printf 'E: no newline'", {"error_patterns": ("^E:",)}, False),
        ("kill -TERM $$", {"ignore_exit_codes": (-15,)}, True),
    ],
)
def test_precedence_of_patterns_and_codes(
    bench: Bench, script: str, more: dict[str, object], passes: bool
) -> None:
    assert bench.run(step(sh(script, **more))).success is passes


def test_error_line_is_reported_clean_and_short(bench: Bench) -> None:
    result = bench.run(step(sh(r"printf 'E: \033[31mred\033[0m %0300d\n' 7", error_patterns=("^E:",))))

    assert result.error_message is not None
    assert result.error_message.startswith("sh reported: E: red 000")
    assert len(result.error_message) < 230


def test_facts_fill_arguments_environment_and_directory(bench: Bench, tmp_path: Path) -> None:
    bench.tool.facts = {"version": "1.2", "place": str(tmp_path)}
    command = UpdateCommand(
        cmd=["sh", "-c", 'echo {version} "$V" "$(pwd)" {{x}}'], env={"V": "v{version}"}, cwd="{place}"
    )

    assert bench.run(step(command)).output == f"1.2 v1.2 {tmp_path} {{x}}\n"


def test_missing_fact_fails_by_name_and_starts_nothing(bench: Bench) -> None:
    result = bench.run(step(sh("echo {version}")))

    assert (result.success, result.error_code) == (False, "missing-fact")
    assert "'version'" in str(result.error_message)
    assert list(bench.directory.glob("*.out")) == []


def test_missing_program_is_like_a_shells_127(bench: Bench) -> None:
    result = bench.run(step(UpdateCommand(cmd=["no-such-program"])))

    assert result.error_code == "command-not-found"
    assert "'no-such-program'" in str(result.error_message)
    assert "127" in str(result.error_message)


def test_relative_places_on_path_are_not_searched(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil").write_text("#!/bin/sh\necho evil\n")
    (tmp_path / "evil").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")

    assert bench.run(step(UpdateCommand(cmd=["evil"]))).error_code == "command-not-found"


def test_askers_are_silenced_unless_the_command_says_otherwise(bench: Bench) -> None:
    script = 'echo "$GIT_TERMINAL_PROMPT $LC_ALL $DEBIAN_FRONTEND"'
    result = bench.run(step(sh(script), sh(script, env={"LC_ALL": "C"})))

    assert result.output == "0 C.UTF-8 noninteractive\n0 C noninteractive\n"


@pytest.mark.parametrize("of_step", [True, False])
def test_root_is_asked_of_the_privileges_and_their_refusal_is_the_error(bench: Bench, of_step: bool) -> None:
    assert bench.run(step(sh("echo $AS", sudo=not of_step), sudo=of_step)).output == "root\n"
    refused = bench.run(step(sh("echo no; exit 42", sudo=not of_step), sudo=of_step), Attempt(2))
    assert refused.error_message == "refused: no"


def test_time_limit_of_the_step_covers_all_its_commands(bench: Bench) -> None:
    result = bench.run(step(sh("sleep 0.7"), sh("sleep 0.7"), sh("echo never"), timeout_seconds=1))

    assert result.error_code == "timed-out"
    assert "never" not in result.output


def test_interrupt_between_two_commands_starts_no_other(bench: Bench) -> None:
    first = sh("sleep 0.5; echo whole")
    result = bench.run(step(first, sh("echo never"), uninterruptible=True), after=(0.2, Urgency.FINISH))

    assert (result.error_code, result.output) == ("interrupted", "whole\n")


def test_changes_come_from_the_whole_log(bench: Bench) -> None:
    script = "echo upgraded first; head -c 200000 /dev/zero | tr '\\0' 'x'; echo; echo upgraded last"
    result = bench.run(step(sh(script)))

    assert [change.item for change in result.changes] == ["first", "last"]
    assert result.packages_updated == 2
    assert len(result.output) == 64 * 1024


def test_parser_that_fails_costs_the_list_and_not_the_step(bench: Bench) -> None:
    result = bench.run(step(sh("echo unreadable")))

    assert (result.success, result.changes) == (True, ())
    warnings = [event for event in bench.events if isinstance(event, WarningEvent)]
    assert [(event.code, event.step_name) for event in warnings] == [("bad-parser", "step")]


def test_lines_of_a_protocol_become_events(bench: Bench) -> None:
    bench.tool = Tool(third_party=True)
    bench.run(step(sh("echo before; echo PROGRESS 50; echo after")))

    progress = [event for event in bench.events if isinstance(event, ProgressEvent)]
    assert [(event.percent, event.plugin_name, event.step_name) for event in progress] == [
        (50, "tool", "step")
    ]
    assert bench.texts() == "before\nafter\n"
    assert bench.log() == "before\nPROGRESS 50\nafter\n"


@pytest.mark.parametrize(("line", "message"), [("BAD", "no such message"), ("BUG", "KeyError: 'BUG'")])
def test_line_that_fails_the_step_does_so_when_its_command_has_ended(
    bench: Bench, line: str, message: str
) -> None:
    bench.tool = Tool(third_party=True)
    result = bench.run(step(sh(f"echo {line}; echo PROGRESS 1; echo {line}; sleep 0.3; echo end")))

    assert (result.success, result.error_message) == (False, message)
    assert bench.texts() == f"{line}\nPROGRESS 1\n{line}\nend\n"


def test_command_that_goes_on_and_on_after_its_output_was_refused_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_output, "REFUSED_CHARACTERS", 1_000_000)
    bench.tool = Tool(third_party=True)
    result = bench.run(step(sh("echo BAD; exec yes")))

    assert (result.success, result.error_message) == (False, "no such message")


def test_logs_and_spools_of_attempts_have_names_of_their_own(bench: Bench) -> None:
    bench.run(step(sh("echo one")))
    bench.run(step(sh("echo two")), Attempt(2))

    bench.runner.discard_spools("tool", step(sh("echo one")), 1)

    assert (bench.log(), bench.log("tool:step:2.log")) == ("one\n", "two\n")
    assert [path.name for path in bench.directory.glob("*.out")] == ["tool:step:2:0.out"]


def test_command_that_an_earlier_process_ran_is_adopted(bench: Bench) -> None:
    two = step(sh("echo one"), sh("echo two"))
    bench.run(two)
    again = bench.run(two, Attempt(1, first_command=2))

    assert (again.success, again.output) == (True, "one\ntwo\n")
    assert bench.log() == "one\ntwo\n"


def test_command_whose_start_was_not_noticed_is_adopted_and_not_repeated(
    bench: Bench, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    one = step(sh(f"echo x >> {ledger}"))
    bench.run(one)
    again = bench.run(one)

    assert again.success
    assert ledger.read_text() == "x\n"


def test_usage_is_summed_up(bench: Bench) -> None:
    work = sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    one, two = bench.run(step(work)), bench.run(step(work, work, work), Attempt(2))

    assert one.usage is not None and two.usage is not None  # noqa: PT018 - narrows the types
    assert 0 < one.usage.cpu_seconds < two.usage.cpu_seconds
    assert one.usage.max_rss_bytes > 0


def test_function_prints_sets_facts_and_ends(bench: Bench) -> None:
    async def body() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="\x1b[1mbold\x1b[0m s3cret-value")
        bench.tool.facts["found"] = "yes"
        yield ProgressEvent(percent=10, message="s3cret-value")

    bench.secrets = ("s3cret-value",)
    result = bench.run(function(body))

    assert (result.success, result.output, bench.log()) == (True, "bold [redacted]\n", "bold [redacted]\n")
    assert [event.message for event in bench.events if isinstance(event, ProgressEvent)] == ["[redacted]"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StepError("it broke"), "it broke"),
        (StepError("it broke", hint="mend it"), "it broke (mend it)"),
        (RuntimeError("a bug"), "RuntimeError: a bug"),
    ],
)
def test_errors_of_a_function_are_the_steps(bench: Bench, error: Exception, message: str) -> None:
    async def body() -> AsyncIterator[StreamEvent]:
        yield OutputEvent(line="before")
        raise error

    result = bench.run(function(body))

    assert (result.success, result.error_message, result.output) == (False, message, "before\n")


def test_function_may_fail_by_an_event_or_find_nothing_to_do(bench: Bench) -> None:
    async def fails() -> AsyncIterator[StreamEvent]:
        yield CompletionEvent(success=False, error_message="no luck")

    async def nothing() -> AsyncIterator[StreamEvent]:
        raise UpToDate("all fine")
        yield OutputEvent()

    assert bench.run(function(fails)).error_message == "no luck"
    result = bench.run(function(nothing), Attempt(2))
    assert (result.success, result.up_to_date, result.output) == (True, True, "all fine\n")


@pytest.mark.parametrize("limited", [True, False])
def test_function_is_cancelled_by_time_and_interrupt_and_may_clean_up(bench: Bench, limited: bool) -> None:
    cleaned = []

    async def body() -> AsyncIterator[StreamEvent]:
        try:
            yield OutputEvent(line="working")
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    late = None if limited else (0.2, Urgency.FINISH)
    result = bench.run(function(body, timeout_seconds=1 if limited else None), after=late)

    assert result.error_code == ("timed-out" if limited else "interrupted")
    assert cleaned == [True]
