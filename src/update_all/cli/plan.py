"""Show the graph of a run: steps, commands, privileges, locks and what waits for what."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import combinations

from update_all.cli import envelope, interruptible
from update_all.cli.checking import check_all
from update_all.cli.json_output import write_json
from update_all.cli.options import add_output, add_selection, chosen
from update_all.cli.planned import Planned, plan_checked
from update_all.cli.stray_names import warn_of_strays
from update_all.cli.workspace import Selection, Workspace
from update_all.core.cleaning import clean
from update_all.core.dry_run import describe_step
from update_all.core.planning import PluginPlan, build_graph

EXIT_UPDATES = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    parser.add_argument("--graphviz", action="store_true", help="write the graph in the DOT language")
    parser.add_argument("--exit-code", action="store_true", help="exit with 100 if anything would be run")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    workspace = Workspace.open()
    selection = workspace.select(chosen(options), options.exclude)
    warn_of_strays(workspace)
    planned = interruptible.run(_plan(selection))
    planned.refuse_broken(chosen(options))
    if options.json:
        write_json(envelope.plan_document(planned, root=workspace.root_prefix))
    else:
        shown = [graphviz(planned.plans)] if options.graphviz else lines(planned, workspace.root_prefix)
        sys.stdout.write(clean("\n".join(shown)) + "\n")
    if planned.broken:
        return 2
    return EXIT_UPDATES if options.exit_code and planned.plans else 0


async def _plan(selection: Selection) -> Planned:
    checked = await check_all(selection.plugins, lambda event: None)
    planned = Planned(absent=selection.absent, broken=list(selection.broken))
    return await plan_checked(checked, planned)


def lines(planned: Planned, root: str) -> list[str]:
    """The plan as text: each step with what it waits for, and what can never overlap. Pure."""
    found: list[str] = []
    graph = build_graph(planned.plans)
    for plan in planned.plans:
        found.append(plan.name)
        for step in plan.steps:
            node = graph.nodes[graph.index[f"{plan.name}:{step.name}"]]
            rights = "  as root" if step.needs_root else ""
            found.append(f"  {step.name}: {step.description}{rights}")
            if node.depends_on:
                found.append(f"      after {', '.join(node.depends_on)}")
            if step.mutexes:
                found.append(f"      holds {', '.join(step.mutexes)}")
            if step.commands:
                found += [f"      $ {line}" for line in describe_step(plan.plugin, step, root=root)]
    conflicts = exclusions(planned.plans)
    if conflicts:
        found.append("Never at the same time:")
        found += [f"  {first} and {second}: {mutex}" for first, second, mutex in conflicts]
    found += [f"{name}: up to date" for name in planned.up_to_date]
    found += [f"{name}: cannot know, because {reason}" for name, reason in planned.unknown.items()]
    found += [f"{item.name}: broken: {item.reason}" for item in planned.broken]
    return found or ["Nothing to do."]


def exclusions(plans: Sequence[PluginPlan]) -> list[tuple[str, str, str]]:
    """Pairs of steps of different plugins that a mutex keeps apart. Pure."""
    holders: dict[str, list[str]] = {}
    for plan in plans:
        for step in plan.steps:
            for mutex in step.mutexes:
                holders.setdefault(mutex, []).append(f"{plan.name}:{step.name}")
    return [
        (first, second, mutex)
        for mutex, steps in sorted(holders.items())
        for first, second in combinations(steps, 2)
        if first.partition(":")[0] != second.partition(":")[0]
    ]


def graphviz(plans: Sequence[PluginPlan]) -> str:
    """The graph in the DOT language: solid edges are dependencies, dashed ones mutexes. Pure."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    found = ["digraph update_all {", "  rankdir=LR;", "  node [shape=box];"]
    for number, plan in enumerate(plans):
        found.append(f"  subgraph cluster_{number} {{ label={quoted(plan.name)};")
        for step in plan.steps:
            found.append(f"    {quoted(f'{plan.name}:{step.name}')} [label={quoted(step.name)}];")
        found.append("  }")
    for node in build_graph(plans).nodes:
        found += [f"  {quoted(before)} -> {quoted(node.id)};" for before in node.depends_on]
    found += [
        f"  {quoted(first)} -> {quoted(second)} [style=dashed, dir=none, label={quoted(mutex)}];"
        for first, second, mutex in exclusions(plans)
    ]
    return "\n".join([*found, "}"])
