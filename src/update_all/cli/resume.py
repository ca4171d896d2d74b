"""Go on with what the last run left: failed, interrupted and unfinished steps."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from update_all.cli import envelope, interruptible
from update_all.cli.after_run import after_run, left_to_do
from update_all.cli.dry_run import peeked
from update_all.cli.failing import warn
from update_all.cli.full_screen import check_tui
from update_all.cli.json_output import write_json
from update_all.cli.options import add_downgrade, add_engine, add_output, add_progress
from update_all.cli.planned import Planned, in_order, plan_one
from update_all.cli.plugin_options import given, require_releases
from update_all.cli.running import Manner, carry_out, one_run, show_summary
from update_all.cli.stray_names import warn_of_strays
from update_all.cli.workspace import Broken, Workspace
from update_all.core.errors import NothingToResumeError, UpdateAllError, unknown_name
from update_all.core.models import CheckResult, JsonValue
from update_all.core.planning import PluginPlan
from update_all.core.recovery import PluginRecovery
from update_all.core.session import ResumeOptions, RunNote, Session
from update_all.core.state import StateStore
from update_all.core.transitions import Outcome, PluginState
from update_all.ui.terminal import Sink, is_terminal, style_of
from update_all.ui.text import Style, cut, plural

EXIT_BUSY = 75
EXIT_INTERRUPTED = 130
RECENT = timedelta(days=1)
"""How long a run left unfinished is worth a word."""
PLUGINS_TOLD = 8
STEPS_TOLD = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="PLUGIN", help="only these plugins")
    parser.add_argument(
        "--redo", action="append", default=[], metavar="STEP", help="run a step again that may have happened"
    )
    parser.add_argument(
        "--assume-done", action="append", default=[], metavar="STEP", help="take a step as done"
    )
    parser.add_argument("--strict", action="store_true", help="refuse if the plan has changed")
    add_downgrade(parser)
    add_engine(parser)
    add_output(parser)
    add_progress(parser)


def run(options: argparse.Namespace) -> int:
    workspace = Workspace.open(plugin_options=given(options))
    warn_of_strays(workspace)
    return interruptible.run(_locked(workspace, options))


async def _locked(workspace: Workspace, options: argparse.Namespace) -> int:
    async with one_run(workspace, wait=options.wait):
        return await go_on(workspace, options)


def recently_unfinished(workspace: Workspace) -> list[str]:
    """The plugins that the newest run left unfinished, if that was within a day."""
    known = StateStore(workspace.state_directory).plugins()
    states = [state for name in known if (state := peeked(workspace, name)) is not None]
    left = [state for state in states if state.outcome is Outcome.UNFINISHED and _is_recent(state)]
    newest = max((state.run_id for state in left), default="")
    return [state.plugin for state in left if state.run_id == newest]


def _is_recent(state: PluginState) -> bool:
    updated = state.execution.last_updated
    return updated is not None and datetime.now(UTC) - updated < RECENT


def unfinished(workspace: Workspace, names: Sequence[str], warnings: list[str]) -> list[PluginState]:
    """The states to go on with: of the plugins named, else of the newest run that left any.

    What was set aside as damaged is added to `warnings`.

    Raises NothingToResumeError, UsageError for an unknown name, StateError.
    """
    store = StateStore(workspace.state_directory)
    known = store.plugins()
    for name in names:
        if name not in known:
            raise unknown_name("unfinished plugin", name, known)
    states = []
    for name in names or known:
        loaded = store.load(name)
        warnings += loaded.warnings
        if loaded.state is not None and loaded.state.outcome is Outcome.UNFINISHED:
            states.append(loaded.state)
    if not states:
        raise NothingToResumeError("nothing to resume: no run was left unfinished")
    newest = max(state.run_id for state in states)
    return states if names else [state for state in states if state.run_id == newest]


async def go_on(workspace: Workspace, options: argparse.Namespace) -> int:
    """Resume what is unfinished, run by run, holding the lock. Returns the exit code."""
    check_tui(options.tui, options.progress, as_json=options.json)
    documents: list[JsonValue] = []
    warnings: list[str] = []
    code = 0
    try:
        states = unfinished(workspace, options.names, warnings)
    except NothingToResumeError as error:
        states = []
        if not options.json and options.progress != "jsonl":
            sys.stdout.write(error.message + "\n")
    for warning in warnings:
        sys.stderr.write(f"update-all: {warning}\n")
    if options.allow_downgrade and options.names and states:
        require_releases([workspace.load(state.plugin) for state in states])
    for run_id in sorted({state.run_id for state in states}):
        part = [state for state in states if state.run_id == run_id]
        ended, document = await _resume_run(workspace, run_id, part, options)
        documents.append(document)
        code = max(code, ended)
        if ended == EXIT_INTERRUPTED:
            break
    if options.json:
        write_json({"schema": "update-all.resume/1", "exit_code": code, "runs": documents})
    return code


async def _resume_run(
    workspace: Workspace, run_id: str, states: Sequence[PluginState], options: argparse.Namespace
) -> tuple[int, envelope.Document]:
    """The exit code of one run, and the document that tells of it."""
    planned = Planned()
    with Session(workspace.state_directory, run_id, resumed=True) as session:
        recoveries = await _recover(workspace, session, states, planned, _options(options))
        note = RunNote.read(session.directory)
        manner = Manner(
            jobs=options.jobs or (note.jobs if note else workspace.config.jobs),
            fail_fast=options.fail_fast or (note is not None and note.fail_fast),
            progress=options.progress,
            color=options.color,
            as_json=options.json,
            no_input=options.no_input,
            tui=options.tui,
        )
        _announce(run_id, planned, recoveries, manner)
        result, view, record = await carry_out(
            workspace, session, planned.plans, recoveries, manner, resumed=True
        )
    code = 1 if result.exit_code == 0 and planned.broken else result.exit_code
    left = left_to_do(view)
    show_summary(view, manner, left, planned.plans)
    for item in planned.broken:
        sys.stderr.write(f"update-all: {item.name} cannot be resumed: {item.reason}\n")
    document = envelope.run_document(run_id, code, record, planned, left)
    warn(await after_run(workspace.config, document, view))
    return code, document


def _announce(
    run_id: str, planned: Planned, recoveries: Mapping[str, PluginRecovery], manner: Manner
) -> None:
    """Say what is gone on with, where people read."""
    if not planned.plans or manner.as_json or manner.progress == "jsonl":
        return
    out = Sink(sys.stdout)
    width = out.size().width if is_terminal(sys.stdout, os.environ) else 100
    style = style_of(sys.stdout, os.environ, manner.color)
    out.write("\n".join(going_on(run_id, planned.plans, recoveries, width, style)) + "\n")


def going_on(
    run_id: str,
    plans: Sequence[PluginPlan],
    recoveries: Mapping[str, PluginRecovery],
    width: int,
    style: Style,
) -> list[str]:
    """Where each plugin goes on, and what of it is done, in lines of at most `width` columns. Pure."""
    told = [style.text(_where(plan, recoveries[plan.name].done)) for plan in plans]
    begin = f"Going on with run {style.text(run_id)}:"
    if len(told) == 1:
        lines = [f"{begin} {told[0]}"]
    else:
        lines = [begin, *(f"  {line}" for line in told[:PLUGINS_TOLD])]
        if len(told) > PLUGINS_TOLD:
            lines.append(f"  {style.marks.ellipsis} {plural(len(told) - PLUGINS_TOLD, 'more plugin')}")
    return [cut(line, width, style.marks.ellipsis) for line in lines]


def _where(plan: PluginPlan, done: Collection[str]) -> str:
    steps = [step.name for step in plan.steps]
    before = [name for name in steps if name in done]
    first = next((name for name in steps if name not in done), "its end")
    if not before:
        return f"{plan.name} at {first}"
    if len(before) > STEPS_TOLD:
        return f"{plan.name} at {first} ({len(before)} of {plural(len(steps), 'step')} are done)"
    return f"{plan.name} at {first} ({', '.join(before)} {'is' if len(before) == 1 else 'are'} done)"


def _options(options: argparse.Namespace) -> ResumeOptions:
    return ResumeOptions(
        strict=options.strict,
        redo=frozenset(options.redo),
        assume_done=frozenset(options.assume_done),
    )


async def _recover(
    workspace: Workspace,
    session: Session,
    states: Sequence[PluginState],
    planned: Planned,
    how: ResumeOptions,
) -> dict[str, PluginRecovery]:
    """Rebuild each plan from its plugin and find out where its steps stand."""
    found: dict[str, PluginState] = {}
    for state in states:
        # Read again under the session, which notes what of the state was lost.
        current = session.load(state.plugin) or state
        try:
            plugin = workspace.load(state.plugin)
            plugin.facts = dict(current.facts)
            check = current.check or CheckResult.cannot_know("", runnable=True)
            planned.plans.append(await plan_one(plugin, check, current.versions_before))
            found[state.plugin] = current
        except UpdateAllError as error:
            _report(error, state.plugin, planned, how)
        except Exception as error:  # noqa: BLE001 - a plugin of anybody; it is reported, the rest goes on
            planned.broken.append(Broken(state.plugin, f"{type(error).__name__}: {error}"))
    # Before anything of a state changes.
    _check_names(how, planned)
    planned.plans = in_order(planned.plans)
    recoveries: dict[str, PluginRecovery] = {}
    for plan in list(planned.plans):
        try:
            recoveries[plan.name] = session.go_on(plan, found[plan.name], how)
        except UpdateAllError as error:
            planned.plans.remove(plan)
            _report(error, plan.name, planned, how)
    return recoveries


def _report(error: UpdateAllError, plugin: str, planned: Planned, how: ResumeOptions) -> None:
    """Note that a plugin cannot go on, unless that ends it all."""
    if how.strict or error.exit_code == EXIT_BUSY:
        raise error
    planned.broken.append(Broken.of(plugin, error))


def _check_names(how: ResumeOptions, planned: Planned) -> None:
    known = {step.name for plan in planned.plans for step in plan.steps}
    known |= {f"{plan.name}:{step.name}" for plan in planned.plans for step in plan.steps}
    for name in (*how.redo, *how.assume_done):
        if name not in known:
            raise unknown_name("step", name, sorted(known))
