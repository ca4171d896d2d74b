"""Bring everything up to date: check, show the plan, ask, run, sum up."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from datetime import UTC, datetime

from update_all.cli import envelope
from update_all.cli.checking import Checked, check_all
from update_all.cli.options import add_engine, add_output, add_progress, add_selection, chosen
from update_all.cli.planned import Planned, plan_checked, plan_lines
from update_all.cli.running import Manner, carry_out, past_durations, show_summary, usual_seconds, write_json
from update_all.cli.workspace import Selection, Workspace
from update_all.core.cleaning import clean
from update_all.core.dry_run import describe_step
from update_all.core.errors import NeedsDecisionError, NeedsInputError, UsageError
from update_all.core.locks import exclusive, exclusive_when_free
from update_all.core.models import CheckResult, Phase
from update_all.core.paths import secure_directory
from update_all.core.recovery import PluginRecovery
from update_all.core.session import ResumeOptions, RunNote, Session, new_run_id, prune_runs
from update_all.core.state import StateStore
from update_all.core.streaming import CheckEvent, StreamEvent
from update_all.ui.terminal import Sink, is_terminal, style_of

EXIT_NEEDS_INPUT = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="show every command, run none")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask before the run")
    parser.add_argument("--resume-from", metavar="STEP", help="start one plugin at this step")
    parser.add_argument("--force", action="store_true", help="with --resume-from: whatever it depends on")
    parser.add_argument("--download-only", action="store_true", help="stop after the downloads")
    add_engine(parser)
    add_output(parser)
    add_progress(parser)


def run(options: argparse.Namespace) -> int:
    workspace = Workspace.open()
    names = chosen(options)
    if options.resume_from and len(names) != 1:
        raise UsageError(
            "--resume-from starts one plugin at a step, so it needs exactly one plugin",
            hint=f"update-all run PLUGIN --resume-from {options.resume_from}",
        )
    selection = workspace.select(names, options.exclude)
    if options.dry_run:
        return asyncio.run(_dry_run(workspace, selection, options))
    return asyncio.run(_locked(workspace, selection, options))


async def _locked(workspace: Workspace, selection: Selection, options: argparse.Namespace) -> int:
    secure_directory(workspace.state_directory)
    path = workspace.state_directory / "lock"
    async with contextlib.AsyncExitStack() as stack:
        if options.wait:
            await stack.enter_async_context(exclusive_when_free(path, "update-all"))
        else:
            stack.enter_context(exclusive(path, "update-all"))
        return await _run(workspace, selection, options)


async def _run(workspace: Workspace, selection: Selection, options: argparse.Namespace) -> int:
    manner = Manner(
        jobs=options.jobs or workspace.config.jobs,
        fail_fast=options.fail_fast or workspace.config.fail_fast,
        last_phase=Phase.DOWNLOAD if options.download_only else Phase.EXECUTE,
        progress=options.progress,
        color=options.color,
        as_json=options.json,
        no_input=options.no_input,
    )
    events: list[StreamEvent] = []
    planned = await _plan(workspace, selection, options, events)
    if planned.plans:
        _confirm(workspace, planned, options)
    with Session(workspace.state_directory, new_run_id()) as session:
        recoveries = _open(session, planned, options)
        RunNote(
            plugins=tuple(plan.name for plan in planned.plans),
            jobs=manner.jobs,
            fail_fast=manner.fail_fast,
            started=datetime.now(UTC).isoformat(),
        ).write(session.directory)
        result, view, record = await carry_out(
            workspace, session, planned.plans, recoveries, manner, before=events
        )
    prune_runs(workspace.state_directory, workspace.config.keep_runs)
    code = _exit_code(result.exit_code, planned)
    if options.json:
        write_json(envelope.run_document(session.run_id, code, record, planned))
    show_summary(view, manner)
    _show_left_out(planned, manner)
    return code


def _exit_code(code: int, planned: Planned) -> int:
    """A plugin that could not be asked, or is broken, is a failure too."""
    return 1 if code == 0 and (planned.unknown or planned.broken) else code


async def _plan(
    workspace: Workspace,
    selection: Selection,
    options: argparse.Namespace,
    events: list[StreamEvent],
) -> Planned:
    for name, reason in selection.absent.items():
        events.append(CheckEvent(plugin_name=name, status="absent", reason=reason))
    planned = Planned(absent=selection.absent, broken=list(selection.broken))
    if options.resume_from:
        # What an unfinished run planned is what it goes on with.
        checked = [Checked(plugin, CheckResult.of([])) for plugin in selection.plugins]
        store = StateStore(workspace.state_directory)
        for number, item in enumerate(checked):
            state = store.load(item.plugin.name).state
            known = None if state is None else state.check
            checked[number] = Checked(item.plugin, known or CheckResult.cannot_know("", runnable=True))
    else:
        checked = await check_all(selection.plugins, events.append, with_versions=not options.dry_run)
    return await plan_checked(checked, planned)


def _open(session: Session, planned: Planned, options: argparse.Namespace) -> dict[str, PluginRecovery]:
    """Open the state of every plugin; one that must not start is left out and reported."""
    recoveries: dict[str, PluginRecovery] = {}
    for plan in list(planned.plans):
        try:
            if options.resume_from:
                from_step = ResumeOptions(from_step=options.resume_from, force=options.force)
                recoveries[plan.name] = session.start_at(plan, session.load(plan.name), from_step)
            else:
                recoveries[plan.name] = session.start_afresh(plan)
        except NeedsDecisionError as error:
            planned.plans.remove(plan)
            planned.unknown[plan.name] = f"{error.message} ({error.hint})"
    return recoveries


async def _dry_run(workspace: Workspace, selection: Selection, options: argparse.Namespace) -> int:
    events: list[StreamEvent] = []
    planned = await _plan(workspace, selection, options, events)
    if options.json:
        write_json(envelope.plan_document(planned))
        return 0
    lines: list[str] = []
    for plan in planned.plans:
        lines.append(plan.name)
        for number, step in enumerate(plan.steps, 1):
            lines.append(f"  {number}/{len(plan.steps)} {step.name}: {step.description}")
            lines += [f"      {line}" for line in describe_step(plan.plugin, step)]
            if step.check_fn is not None:
                lines.append("      (skipped if its check says that it is done)")
    lines += [f"{name}: up to date" for name in planned.up_to_date]
    lines += [f"{name}: cannot know: {reason}" for name, reason in planned.unknown.items()]
    lines += [f"{item.name}: broken: {item.reason}" for item in planned.broken]
    lines += [f"{name}: not here: {reason}" for name, reason in planned.absent.items()]
    lines.append("Nothing was run.")
    sys.stdout.write(clean("\n".join(lines)) + "\n")
    return 1 if planned.unknown or planned.broken else 0


def _confirm(workspace: Workspace, planned: Planned, options: argparse.Namespace) -> None:
    """Show the plan and ask. Raises NeedsInputError where nobody can answer, KeyboardInterrupt for a no."""
    human = not options.json and options.progress != "jsonl"
    if human:
        out = Sink(sys.stdout)
        style = style_of(sys.stdout, os.environ, options.color)
        width = out.size().width if is_terminal(sys.stdout, os.environ) else 100
        seconds = usual_seconds(past_durations(workspace))
        out.write("\n".join(plan_lines(planned, width, style, seconds)) + "\n")
    if options.yes or workspace.config.confirm == "never":
        return
    if options.no_input or not human or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NeedsInputError(
            "the plan was not confirmed, and nobody is there to ask", hint="add --yes to run it"
        )
    sys.stdout.write("Proceed? [Y/n] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("", "y", "yes"):
        raise UsageError("nothing was run")


def _show_left_out(planned: Planned, manner: Manner) -> None:
    if manner.as_json:
        return
    lines = [f"update-all: {name}: cannot know: {reason}" for name, reason in planned.unknown.items()]
    lines += [f"update-all: {item.name} is broken: {item.reason}" for item in planned.broken]
    if lines:
        sys.stderr.write(clean("\n".join(lines)) + "\n")
