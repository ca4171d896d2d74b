"""Go on with what the last run left: failed, interrupted and unfinished steps."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence

from update_all.cli import envelope
from update_all.cli.options import add_engine, add_output, add_progress
from update_all.cli.planned import Planned, plan_one
from update_all.cli.running import Manner, carry_out, show_summary, write_json
from update_all.cli.workspace import Broken, Workspace
from update_all.core.errors import NothingToResumeError, UpdateAllError
from update_all.core.locks import exclusive, exclusive_when_free
from update_all.core.models import CheckResult
from update_all.core.paths import secure_directory
from update_all.core.recovery import PluginRecovery
from update_all.core.session import ResumeOptions, RunNote, Session, unknown_name
from update_all.core.state import StateStore
from update_all.core.transitions import Outcome, PluginState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="PLUGIN", help="only these plugins")
    parser.add_argument(
        "--redo", action="append", default=[], metavar="STEP", help="run a step again that may have happened"
    )
    parser.add_argument(
        "--assume-done", action="append", default=[], metavar="STEP", help="take a step as done"
    )
    parser.add_argument("--strict", action="store_true", help="refuse if the plan has changed")
    add_engine(parser)
    add_output(parser)
    add_progress(parser)


def run(options: argparse.Namespace) -> int:
    return asyncio.run(_locked(Workspace.open(), options))


async def _locked(workspace: Workspace, options: argparse.Namespace) -> int:
    secure_directory(workspace.state_directory)
    path = workspace.state_directory / "lock"
    async with contextlib.AsyncExitStack() as stack:
        if options.wait:
            await stack.enter_async_context(exclusive_when_free(path, "update-all"))
        else:
            stack.enter_context(exclusive(path, "update-all"))
        return await _resume(workspace, options)


def unfinished(workspace: Workspace, names: Sequence[str], warnings: list[str]) -> list[PluginState]:
    """The states to go on with: of the plugins named, else of the newest run that left any.

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


async def _resume(workspace: Workspace, options: argparse.Namespace) -> int:
    try:
        states = unfinished(workspace, options.names, [])
    except NothingToResumeError as error:
        if options.json:
            write_json({"schema": "update-all.run/1", "status": "success", "exit_code": 0, "plugins": []})
        else:
            sys.stdout.write(error.message + "\n")
        return 0
    code = 0
    for run_id in sorted({state.run_id for state in states}):
        part = [state for state in states if state.run_id == run_id]
        code = max(code, await _resume_run(workspace, run_id, part, options))
    return code


async def _resume_run(
    workspace: Workspace, run_id: str, states: Sequence[PluginState], options: argparse.Namespace
) -> int:
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
        )
        result, view, record = await carry_out(
            workspace, session, planned.plans, recoveries, manner, resumed=True
        )
    code = 1 if result.exit_code == 0 and planned.broken else result.exit_code
    if options.json:
        write_json(envelope.run_document(run_id, code, record, planned))
    show_summary(view, manner)
    for item in planned.broken:
        sys.stderr.write(f"update-all: {item.name} cannot be resumed: {item.reason}\n")
    return code


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
    recoveries: dict[str, PluginRecovery] = {}
    for state in states:
        # Read again under the session, which notes what of the state was lost.
        current = session.load(state.plugin) or state
        try:
            plugin = workspace.load(state.plugin)
            plugin.facts = dict(current.facts)
            check = current.check or CheckResult.cannot_know("", runnable=True)
            plan = await plan_one(plugin, check, current.versions_before)
            recoveries[plan.name] = session.go_on(plan, current, how)
            planned.plans.append(plan)
        except UpdateAllError as error:
            if how.strict or error.exit_code == 75:
                raise
            hint = f" ({error.hint})" if error.hint else ""
            planned.broken.append(Broken(state.plugin, error.message + hint))
    _check_names(how, planned)
    return recoveries


def _check_names(how: ResumeOptions, planned: Planned) -> None:
    known = {step.name for plan in planned.plans for step in plan.steps}
    known |= {f"{plan.name}:{step.name}" for plan in planned.plans for step in plan.steps}
    for name in (*how.redo, *how.assume_done):
        if name not in known:
            raise unknown_name("step", name, sorted(known))
