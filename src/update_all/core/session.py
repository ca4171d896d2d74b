"""Open a run: its directory, the plugins' states and locks, and what an earlier process left of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from update_all.core import paths
from update_all.core.errors import StateError, UsageError, unknown_name
from update_all.core.evidence import Evidence
from update_all.core.interrupts import Interrupts
from update_all.core.journal import JOURNAL, JournalWriter, read_events
from update_all.core.locks import exclusive
from update_all.core.models import StepExecutionState
from update_all.core.orchestration import Run, RunResult, RunSettings
from update_all.core.planning import PluginPlan
from update_all.core.recovery import PluginRecovery, recover, refuse_unknown
from update_all.core.shim import boot_id
from update_all.core.state import StateStore
from update_all.core.steering import Steering
from update_all.core.steps import Privileges
from update_all.core.streaming import StepStartEvent, StreamEvent, WarningEvent
from update_all.core.transitions import Outcome, PluginState, assumed_record, resume_record

KEPT_RUNS = 50
_STAMP = "%Y%m%d-%H%M%S"
_RUN_ID = re.compile(r"(\d{8}-\d{6})-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """How a resume treats what it finds. Steps are named `plugin:step` or `step`."""

    strict: bool = False
    redo: frozenset[str] = frozenset()
    assume_done: frozenset[str] = frozenset()
    from_step: str | None = None
    """Start at this step; what comes before it is left out."""
    force: bool = False
    """With `from_step`: even if a step that it depends on is not done."""

    def chosen(self, names: frozenset[str], plugin: str) -> set[str]:
        """The steps of one plugin among `names`."""
        return {name.partition(":")[2] if ":" in name else name for name in names if _meant(name, plugin)}


def _meant(name: str, plugin: str) -> bool:
    return ":" not in name or name.partition(":")[0] == plugin


@dataclass(slots=True)
class Session:
    """One process's part of a run. Use as a context manager: it holds the plugins' locks."""

    state_directory: Path
    run_id: str
    resumed: bool = False
    warnings: list[str] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _locked: set[str] = field(default_factory=set)
    store: StateStore = field(init=False)
    directory: Path = field(init=False)
    boot_id: str = field(init=False)

    def __post_init__(self) -> None:
        paths.secure_directory(self.state_directory)
        self.store = StateStore(self.state_directory)
        self.directory = paths.secure_directory(self.state_directory / "runs" / self.run_id)
        self.boot_id = boot_id()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def lock(self, plugin: str) -> None:
        """Keep every other process from running this plugin, once and for the whole session.

        Raises BusyError.
        """
        if plugin in self._locked:
            return
        paths.secure_directory(self.store.directory)
        self._stack.enter_context(exclusive(self.store.directory / f"{plugin}.lock", plugin))
        self._locked.add(plugin)

    def load(self, plugin: str) -> PluginState | None:
        """The plugin's state, as far as it can be read; what was set aside is added to `warnings`.

        Where the newest state is lost, the files of the newest run tell which steps may have happened.
        Raises BusyError when another process has the plugin, StateError.
        """
        self.lock(plugin)
        loaded = self.store.load(plugin)
        self.warnings += loaded.warnings
        state = loaded.state
        if not loaded.lost:
            return state
        for run_id in run_ids(self.state_directory):
            if state is not None and run_id < state.run_id:
                break
            traces = _traces(self.state_directory / "runs" / run_id, plugin)
            if traces:
                if state is None or run_id > state.run_id:
                    execution = StepExecutionState(plugin)
                    state = PluginState(run_id=run_id, execution=execution, boot_id=self.boot_id)
                known = dict(state.attempts)
                for step, attempt, commands in traces:
                    if step not in state.completed and attempt > known.get(step, 0):
                        state.note_unrecorded(step, attempt, commands)
                break
        return state

    def start_afresh(self, plan: PluginPlan) -> PluginRecovery:
        """Open a new state for a plugin.

        Raises NeedsDecisionError, StateError, and BusyError: another process has the plugin, or a command of
        an earlier run still runs.
        """
        previous = self.load(plan.name)
        self._refuse_unknown(plan, previous)
        self.store.open(self._new_state(plan, previous))
        plan.plugin.facts = {}
        return PluginRecovery()

    def _refuse_unknown(self, plan: PluginPlan, previous: PluginState | None, wanted: str = "") -> None:
        if previous is not None and previous.outcome is Outcome.UNFINISHED:
            evidence = Evidence(self.state_directory / "runs" / previous.run_id)
            refuse_unknown(plan, previous, evidence, self.boot_id, wanted=wanted)

    def _new_state(self, plan: PluginPlan, previous: PluginState | None) -> PluginState:
        return PluginState(
            run_id=self.run_id,
            execution=StepExecutionState(plan.name),
            fingerprint=plan.fingerprint,
            step_fingerprints=dict(plan.step_fingerprints),
            boot_id=self.boot_id,
            check=plan.check,
            versions_before=None if plan.versions_before is None else dict(plan.versions_before),
            sequence=0 if previous is None else previous.sequence,
        )

    def go_on(self, plan: PluginPlan, state: PluginState, options: ResumeOptions) -> PluginRecovery:
        """Open the state that an earlier process left, for a resume of the same run.

        Raises PlanChangedError, NoProgressError, BusyError, StateError.
        """
        self.lock(plan.name)
        recovery = recover(
            plan,
            state,
            Evidence(self.directory),
            boot_id=self.boot_id,
            strict=options.strict,
            redo=options.chosen(options.redo, plan.name),
            assume_done=options.chosen(options.assume_done, plan.name),
        )
        if recovery.difference:
            self.warnings.append(f"the plan of {plan.name} has changed: {recovery.difference.describe()}")
        state.fingerprint = plan.fingerprint
        state.step_fingerprints = dict(plan.step_fingerprints)
        going_on = resume_record(recovery.fruitless_resumes, self.boot_id, recovery.forget, recovery.reopen)
        known = state.completed - set(recovery.reopen)
        # One write: a crash leaves the state of before, or all of what the resume has decided.
        self.store.open(state, [going_on, *map(assumed_record, sorted(recovery.done - known))])
        plan.plugin.facts = dict(state.facts)
        return recovery

    def start_at(self, plan: PluginPlan, state: PluginState | None, options: ResumeOptions) -> PluginRecovery:
        """Open the state to start at a named step, keeping what an unfinished run before it has done.

        Naming the step is the decision to repeat it. Raises UsageError for an unknown step or one whose
        dependencies are not done (unless forced), and what `start_afresh` raises.
        """
        assert options.from_step is not None  # noqa: S101 - the caller's reason to call
        before = steps_before(plan, state, options.from_step, force=options.force)
        self.lock(plan.name)
        self._refuse_unknown(plan, state, options.from_step)
        fresh = self._new_state(plan, state)
        if state is not None:
            fresh.facts = dict(state.facts)
            fresh.versions_before = state.versions_before or fresh.versions_before
        self.store.open(fresh, [assumed_record(name) for name in before])
        plan.plugin.facts = dict(fresh.facts)
        return PluginRecovery(done=set(before))

    async def run(
        self,
        plans: Sequence[PluginPlan],
        recoveries: Mapping[str, PluginRecovery],
        *,
        privileges: Privileges,
        settings: RunSettings,
        sink: Callable[[StreamEvent], None],
        may_continue: Callable[[], bool] = lambda: True,
        interrupts: Interrupts | None = None,
        steering: Steering | None = None,
        before: Sequence[StreamEvent] = (),
    ) -> RunResult:
        """Carry out the plans; every event goes to the run's journal and then to `sink`.

        The journal also gets the events `before` the run, which `sink` has seen.
        """
        journal = JournalWriter(self.directory)
        for event in before:
            journal.handle(event)

        def tell(event: StreamEvent) -> None:
            journal.handle(event)
            sink(event)

        try:
            for warning in self.warnings:
                tell(WarningEvent(message=warning, code="state"))
            run = Run(
                plans,
                recoveries,
                run_id=self.run_id,
                directory=self.directory,
                store=self.store,
                privileges=privileges,
                settings=settings,
                sink=tell,
                flush=journal.flush,
                may_continue=may_continue,
                interrupts=interrupts,
                steering=steering,
            )
            return await run.execute()
        finally:
            journal.close()


def steps_before(plan: PluginPlan, state: PluginState | None, name: str, *, force: bool = False) -> list[str]:
    """The steps that a start at step `name` leaves out. Pure.

    Raises UsageError for an unknown step, and unless forced for one whose dependencies are not done.
    """
    names = [step.name for step in plan.steps]
    if name not in names:
        raise unknown_name("step", name, names, f" of {plan.name}")
    before = names[: names.index(name)]
    if not force:
        _require_dependencies(plan, name, set() if state is None else state.completed.intersection(before))
    return before


def _require_dependencies(plan: PluginPlan, name: str, done: set[str]) -> None:
    needed: list[str] = []
    stack = list(plan.step(name).depends_on)
    while stack:
        dependency = stack.pop()
        if dependency not in done and dependency not in needed:
            needed.append(dependency)
            stack += plan.step(dependency).depends_on
    if needed:
        missing = [step.name for step in plan.steps if step.name in needed]
        raise UsageError(
            f"{plan.name}: {name} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'}"
            " not done",
            hint=f"start at {missing[0]}, or add --force",
        )


def _traces(run: Path, plugin: str) -> list[tuple[str, int, int]]:
    """Step, attempt and number of commands of all that a run is known to have started of a plugin."""
    evidence = Evidence(run)
    found: list[tuple[str, int, int]] = []
    for key in sorted({*evidence.exits, *evidence.pids, *evidence.spooled_keys()}):
        name, *rest = key.split(":")
        if name == plugin and len(rest) == 3 and rest[1].isdecimal() and rest[2].isdecimal():
            found.append((rest[0], int(rest[1]), int(rest[2]) + 1))
    with contextlib.suppress(OSError):
        for event, _ in read_events(run / JOURNAL):
            if isinstance(event, StepStartEvent) and event.plugin_name == plugin:
                found.append((event.step_name, event.attempt, 0))
    return found


def new_run_id(now: datetime | None = None) -> str:
    """A name that sorts by time: `20261123-021500-1a2b3c`."""
    stamp = (now or datetime.now(UTC)).strftime(_STAMP)
    return f"{stamp}-{os.urandom(3).hex()}"


def next_run_id(state_directory: Path, now: datetime | None = None) -> str:
    """A name that sorts behind those of all runs on disk, also after the clock was set back."""
    made = new_run_id(now)
    newest = next((found for found in map(_RUN_ID.match, run_ids(state_directory)) if found), None)
    if newest is None or made > newest.string:
        return made
    later = datetime.strptime(newest[1], _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
    return new_run_id(later)


def run_ids(state_directory: Path) -> list[str]:
    """The runs that are still on disk, newest first."""
    try:
        return sorted((path.name for path in (state_directory / "runs").iterdir()), reverse=True)
    except OSError:
        return []


def prune_runs(state_directory: Path, keep: int = KEPT_RUNS) -> None:
    """Delete the oldest runs; never one that an unfinished state refers to.

    Nothing is deleted while a state cannot be read: what it refers to is then not known.
    """
    store = StateStore(state_directory)
    needed = set()
    for plugin in store.plugins():
        try:
            state = store.peek(plugin)
        except (OSError, StateError, ValueError):
            return
        if state.outcome is Outcome.UNFINISHED:
            needed.add(state.run_id)
    for run in run_ids(state_directory)[keep:]:
        if run not in needed:
            shutil.rmtree(state_directory / "runs" / run, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class RunNote:
    """`run.json`: what a resume must know of the run as a whole."""

    plugins: tuple[str, ...]
    jobs: int
    fail_fast: bool
    started: str

    def write(self, directory: Path) -> None:
        """Durably. Raises StateWriteError."""
        data = {
            "plugins": list(self.plugins),
            "jobs": self.jobs,
            "fail_fast": self.fail_fast,
            "started": self.started,
        }
        paths.write_atomic(directory / "run.json", json.dumps(data).encode(), keep_previous=False)

    @classmethod
    def read(cls, directory: Path) -> RunNote | None:
        """None where there is none that can be read."""
        try:
            data = json.loads(paths.read_secure(directory / "run.json"))
            return cls(
                tuple(data["plugins"]), int(data["jobs"]), bool(data["fail_fast"]), str(data["started"])
            )
        except (OSError, StateError, ValueError, KeyError, TypeError):
            return None
