"""Bring everything up to date: check, show the plan, ask, run, sum up."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from datetime import UTC, datetime

from update_all.cli import envelope, interruptible
from update_all.cli.after_run import after_run, before_run, left_to_do
from update_all.cli.aside import Screen
from update_all.cli.asking import ask, somebody_is_there, takes_keys
from update_all.cli.checking import Checked, check_all
from update_all.cli.confirming import confirmed
from update_all.cli.dry_run import dry_run_lines, left_out_steps, peeked
from update_all.cli.failing import error_to, tell, warn
from update_all.cli.full_screen import check_tui
from update_all.cli.guarding import guard
from update_all.cli.json_output import write_json
from update_all.cli.options import add_downgrade, add_engine, add_output, add_progress, add_selection, chosen
from update_all.cli.planned import Planned, plan_checked
from update_all.cli.plugin_options import given, require_releases
from update_all.cli.recording import Recorder
from update_all.cli.running import (
    Manner,
    carry_out,
    one_run,
    show_summary,
)
from update_all.cli.stray_names import warn_of_strays
from update_all.cli.workspace import Selection, Workspace
from update_all.core.aftermath import Aftermath
from update_all.core.cleaning import clean, clean_line
from update_all.core.errors import HookError, NeedsDecisionError, NeedsInputError, UsageError
from update_all.core.models import CheckResult, Phase
from update_all.core.recovery import PluginRecovery
from update_all.core.session import ResumeOptions, RunNote, Session, next_run_id, prune_runs
from update_all.core.streaming import CheckEvent, StreamEvent, WarningEvent
from update_all.ui.checks import ChecksPrinter
from update_all.ui.printers import Printer, SilentPrinter, make_printer
from update_all.ui.terminal import style_of
from update_all.ui.view import RunView

EXIT_INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="show every command, run none")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask before the run")
    parser.add_argument("--resume-from", metavar="STEP", help="start one plugin at this step")
    parser.add_argument(
        "--force", action="store_true", help="with --resume-from: even if what the step needs is not done"
    )
    parser.add_argument("--download-only", action="store_true", help="stop after the downloads")
    add_downgrade(parser)
    add_engine(parser)
    add_output(parser)
    add_progress(parser)


def run(options: argparse.Namespace) -> int:
    workspace = Workspace.open(plugin_options=given(options))
    names = chosen(options)
    if options.resume_from and (len(names) != 1 or names[0].startswith("@")):
        raise UsageError(
            "--resume-from starts one plugin at a step, so it needs exactly one plugin",
            hint=f"update-all run PLUGIN --resume-from {options.resume_from}",
        )
    if options.force and not options.resume_from:
        raise UsageError("--force is for --resume-from STEP, which is not given")
    check_tui(options.tui, options.progress, as_json=options.json)
    selection = workspace.select(names, options.exclude)
    warn_of_strays(workspace)
    if options.allow_downgrade and names:
        require_releases(selection.plugins)
    if options.dry_run:
        return interruptible.run(_dry_run(workspace, selection, options))
    return interruptible.run(_locked(workspace, selection, options))


async def _locked(workspace: Workspace, selection: Selection, options: argparse.Namespace) -> int:
    async with one_run(workspace, wait=options.wait):
        if not options.resume_from and _prefers_to_resume(workspace, selection, options):
            from update_all.cli.resume import go_on

            resumed = {"names": [], "redo": [], "assume_done": [], "strict": False}
            return await go_on(workspace, argparse.Namespace(**{**vars(options), **resumed}))
        return await _run(workspace, selection, options)


def _prefers_to_resume(workspace: Workspace, selection: Selection, options: argparse.Namespace) -> bool:
    """Ask whether to go on with a recent unfinished run; tell of it where this run does not do its work."""
    from update_all.cli.resume import recently_unfinished

    left = recently_unfinished(workspace)
    again = set() if options.download_only else {plugin.name for plugin in selection.plugins}
    asks = not (options.yes or options.download_only or chosen(options)) and somebody_is_there(options)
    if left and (asks or not again.issuperset(left)):
        names = clean_line(", ".join(left))
        sys.stderr.write(
            f"update-all: the last run was not finished ({names}); go on with: update-all resume\n"
        )
    return bool(left) and asks and ask("Resume it? No starts afresh.", default=True)


async def _run(workspace: Workspace, selection: Selection, options: argparse.Namespace) -> int:
    manner = Manner(
        jobs=options.jobs or workspace.config.jobs,
        fail_fast=options.fail_fast or workspace.config.fail_fast,
        last_phase=Phase.DOWNLOAD if options.download_only else Phase.EXECUTE,
        progress=options.progress,
        color=options.color,
        as_json=options.json,
        no_input=options.no_input,
        tui=options.tui,
    )
    events: list[StreamEvent] = []
    planned = await _plan(workspace, selection, options, events)
    left_out = left_out_steps(workspace, planned, options)
    if planned.plans:
        warnings = await guard(workspace, planned.plans)
        if options.yes or not somebody_is_there(options):
            events += warnings
        else:
            warn([event.message for event in warnings if isinstance(event, WarningEvent)])
        try:
            if not confirmed(workspace, planned, options, manner, left_out):
                sys.stderr.write("update-all: nothing was run\n")
                return EXIT_INTERRUPTED
        except NeedsInputError as error:
            if options.json:
                document = envelope.plan_document(planned, root=workspace.root_prefix)
                write_json({**document, "errors": [error_to(error)]})
            tell(error)
            return error.exit_code
    else:
        return _nothing_to_run(planned, manner, events)
    forbidden = await before_run(
        workspace.config, envelope.plan_document(planned, root=workspace.root_prefix)
    )
    if forbidden:
        raise HookError(forbidden[0], hint="mend it, or take it out of hooks.before: update-all config edit")
    with Session(workspace.state_directory, next_run_id(workspace.state_directory)) as session:
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
    code = planned.exit_code(result.exit_code)
    left = left_to_do(view)
    document = envelope.run_document(session.run_id, code, record, planned, left)
    if options.json:
        write_json(document)
    show_summary(view, manner, left, planned.plans)
    _show_left_out(planned, manner)
    warn(await after_run(workspace.config, document, view))
    return code


def _nothing_to_run(planned: Planned, manner: Manner, events: list[StreamEvent]) -> int:
    """No run is made: no directory, no state, no entry in the history."""
    view = RunView()
    progress = "jsonl" if manner.progress == "jsonl" and not manner.as_json else "none"
    with contextlib.closing(make_printer(progress, sys.stdout)) as printer:
        for event in events:
            view.apply(event)
            printer.handle(event)
    code = planned.exit_code(0)
    if manner.as_json:
        write_json(envelope.run_document("", code, Recorder(), planned, Aftermath()))
    show_summary(view, manner, Aftermath())
    _show_left_out(planned, manner)
    return code


async def _plan(
    workspace: Workspace,
    selection: Selection,
    options: argparse.Namespace,
    events: list[StreamEvent],
) -> Planned:
    """The plans of what has something to do. Raises StepOrderError, UsageError: nothing is to be run."""
    for name, reason in selection.absent.items():
        events.append(CheckEvent(plugin_name=name, status="absent", reason=reason))
    planned = Planned(
        absent=selection.absent,
        missed=frozenset(filter(workspace.enabled_by_name, selection.absent)),
        broken=list(selection.broken),
    )
    if options.resume_from:
        # What an unfinished run planned is what it goes on with.
        checked = []
        for plugin in selection.plugins:
            state = peeked(workspace, plugin.name)
            known = None if state is None else state.check
            checked.append(Checked(plugin, known or CheckResult.cannot_know("", runnable=True)))
    else:
        began = time.monotonic()
        checked = await _check(selection, options, events)
        planned.check_seconds = time.monotonic() - began
    await plan_checked(checked, planned)
    planned.refuse_broken(chosen(options))
    return planned


async def _check(
    selection: Selection, options: argparse.Namespace, events: list[StreamEvent]
) -> list[Checked]:
    """Ask all plugins; on a terminal their answers can be seen to come."""
    printer: Printer = SilentPrinter()
    began = time.time()
    if takes_keys("live" if options.tui else options.progress, as_json=options.json, no_input=False):
        names = [plugin.name for plugin in selection.plugins]
        printer = ChecksPrinter(sys.stdout, style_of(sys.stdout, os.environ, options.color), names, began)

    def tell(event: StreamEvent) -> None:
        events.append(event)
        printer.handle(event)

    with contextlib.closing(printer):
        async with Screen(printer).ticking():
            return await check_all(selection.plugins, tell, with_versions=not options.dry_run)


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
            planned.undecided[plan.name] = error.described
    return recoveries


async def _dry_run(workspace: Workspace, selection: Selection, options: argparse.Namespace) -> int:
    planned = await _plan(workspace, selection, options, [])
    left_out = left_out_steps(workspace, planned, options)
    if options.json:
        write_json(envelope.plan_document(planned, left_out=left_out, root=workspace.root_prefix))
    else:
        lines = dry_run_lines(planned, left_out, workspace.root_prefix)
        sys.stdout.write(clean("\n".join(lines)) + "\n")
    return planned.exit_code(0)


def _show_left_out(planned: Planned, manner: Manner) -> None:
    if manner.as_json:
        return
    lines = [f"update-all: {name}: cannot know: {reason}" for name, reason in planned.unknown.items()]
    lines += [f"update-all: {name}: {reason}" for name, reason in planned.undecided.items()]
    lines += [f"update-all: {item.name} is broken: {item.reason}" for item in planned.broken]
    if lines:
        sys.stderr.write(clean("\n".join(lines)) + "\n")
