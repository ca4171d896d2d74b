"""The question before a run: yes, no, fewer plugins, or a closer look first."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from update_all.cli.asking import read_line, somebody_is_there
from update_all.cli.dry_run import LeftOut, dry_run_lines
from update_all.cli.plan_table import detail_lines, heading, plan_lines, risky
from update_all.cli.planned import Planned, in_order
from update_all.cli.running import Manner, forecast, past_durations, usual_seconds
from update_all.cli.workspace import Workspace
from update_all.core.cleaning import clean
from update_all.core.errors import NeedsInputError
from update_all.core.planning import PluginPlan, build_graph
from update_all.ui.terminal import Sink, is_terminal, style_of

Lines = Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Looks:
    """What can be shown of a plan: all lines are made anew after a change of the selection."""

    plan: Lines
    details: Lines
    commands: Lines
    risky: Callable[[], bool]
    """Whether Enter is no consent."""


def confirmed(
    workspace: Workspace,
    planned: Planned,
    options: argparse.Namespace,
    manner: Manner,
    left_out: LeftOut,
) -> bool:
    """Show the plan, and ask unless that is not wanted. Raises NeedsInputError where nobody can answer."""
    looks = _looks(workspace, planned, manner, left_out)
    asks = not options.yes and workspace.config.confirm != "never"
    if asks and somebody_is_there(options):
        return confirm(planned, looks)
    if not options.json and options.progress != "jsonl":
        _show(looks.plan())
    if asks:
        raise NeedsInputError(
            "the plan was not confirmed, and nobody is there to ask", hint="add --yes to run it"
        )
    return True


def _looks(workspace: Workspace, planned: Planned, manner: Manner, left_out: LeftOut) -> Looks:
    style = style_of(sys.stdout, os.environ, manner.color)
    terminal = is_terminal(sys.stdout, os.environ)
    durations = past_durations(workspace)
    seconds = usual_seconds(durations)

    def plan() -> list[str]:
        width = Sink(sys.stdout).size().width if terminal else 100
        graph = build_graph(planned.plans, seconds=seconds, last_phase=manner.last_phase)
        _, expected = forecast(workspace, graph, manner.jobs, durations)
        return [
            *([heading(planned, style), ""] if planned.check_seconds else []),
            *plan_lines(planned, width, style, seconds, expected=expected),
        ]

    return Looks(
        plan=plan,
        details=lambda: detail_lines(planned, style, seconds),
        commands=lambda: dry_run_lines(planned, left_out, workspace.root_prefix)[:-1],
        risky=lambda: risky(planned),
    )


def confirm(planned: Planned, looks: Looks) -> bool:
    """Ask until the answer is yes or no; Enter is yes unless something is risky. The end of input is a no.

    The person may take plugins out of `planned` meanwhile. Raises KeyboardInterrupt for Ctrl-C.
    """
    _show(looks.plan())
    everything = list(planned.plans)
    while True:
        sure = not looks.risky() and bool(planned.plans)
        yes, no = ("[Y]es", "[n]o") if sure else ("[y]es", "[N]o")
        answer = read_line(f"Proceed?  {yes}  {no}  [e]dit selection  [d]etails  [c]ommands  ")
        match "no" if answer is None else answer.strip().lower():
            case "":
                return sure
            case "y" | "yes":
                return bool(planned.plans)
            case "n" | "no":
                return False
            case "e" | "edit":
                planned.plans = in_order(edited(everything, planned.plans))
                _show(looks.plan())
            case "d" | "details":
                _show(looks.details())
            case "c" | "commands":
                _show(looks.commands())
            case _:
                pass


def edited(everything: Sequence[PluginPlan], chosen: Sequence[PluginPlan]) -> list[PluginPlan]:
    """Let the person switch plugins off and on by their numbers, until there is nothing more to change."""
    names = {plan.name for plan in chosen}
    while True:
        for number, plan in enumerate(everything, 1):
            sys.stdout.write(f"  {number:>2} [{'x' if plan.name in names else ' '}] {plan.name}\n")
        answer = read_line("Numbers or names to switch, Enter when it is right: ")
        words = (answer or "").replace(",", " ").split()
        if not words:
            return [plan for plan in everything if plan.name in names]
        unknown = [word for word in words if not _meant(word, everything)]
        for word in words:
            names ^= _meant(word, everything)
        if unknown:
            sys.stdout.write(f"There is no {', '.join(unknown)}.\n")


def _meant(word: str, everything: Sequence[PluginPlan]) -> set[str]:
    """The plugin with this number or name; a range of numbers as 2-4."""
    first, _, last = word.partition("-")
    if first.isdecimal() and (last or first).isdecimal():
        numbers = range(int(first), int(last or first) + 1)
        return {plan.name for number, plan in enumerate(everything, 1) if number in numbers}
    return {plan.name for plan in everything if plan.name == word}


def _show(lines: Sequence[str]) -> None:
    Sink(sys.stdout).write(clean("\n".join(lines)) + "\n")
