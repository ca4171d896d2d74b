"""Say what could be updated, changing nothing. Exit code 100 if anything could be."""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from update_all.cli import envelope, interruptible
from update_all.cli.checking import Checked, check_all
from update_all.cli.json_output import write_json
from update_all.cli.options import add_output, add_selection, chosen
from update_all.cli.stray_names import warn_of_strays
from update_all.cli.workspace import Selection, Workspace
from update_all.core.models import CheckStatus
from update_all.ui.terminal import Sink, is_terminal, style_of
from update_all.ui.text import Style, plural

EXIT_UPDATES = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selection(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    workspace = Workspace.open()
    selection = workspace.select(chosen(options), options.exclude)
    warn_of_strays(workspace)
    checked = interruptible.run(check_all(selection.plugins, lambda event: None))
    if options.json:
        write_json(document(selection, checked))
    else:
        style = style_of(sys.stdout, os.environ, options.color)
        told = lines(selection, checked, style)
        if exit_code(selection, checked) == EXIT_UPDATES and is_terminal(sys.stdout, os.environ):
            told.append(style.paint(style.text(f"Install them: {_same_run(options)}"), "dim"))
        Sink(sys.stdout).write("\n".join(told) + "\n")
    return exit_code(selection, checked)


def _same_run(options: argparse.Namespace) -> str:
    """The command that installs what was looked for."""
    words = ["update-all", "run", *chosen(options), *(f"--exclude={name}" for name in options.exclude)]
    return shlex.join(words)


def exit_code(selection: Selection, checked: list[Checked]) -> int:
    """100 updates, else 2 if a plugin is broken, 1 if something could not be known, else 0."""
    if any(item.result.status is CheckStatus.UPDATES for item in checked):
        return EXIT_UPDATES
    unknown = any(
        item.result.status is CheckStatus.CANNOT_KNOW and not item.result.runnable for item in checked
    )
    return 2 if selection.broken else 1 if unknown else 0


def lines(selection: Selection, checked: list[Checked], style: Style) -> list[str]:
    """One block a plugin: what could be updated, or why that is not known. Pure."""
    found: list[str] = []
    for item in checked:
        name = style.text(item.plugin.name)
        match item.result.status:
            case CheckStatus.UP_TO_DATE:
                found.append(f"{name}: up to date")
            case CheckStatus.CANNOT_KNOW:
                found.append(f"{name}: cannot know, because {style.text(item.result.reason)}")
            case CheckStatus.UPDATES:
                found.append(f"{name}: {plural(len(item.result.updates), 'update')}")
                for change in item.result.updates:
                    old, new = change.old or "not installed", change.new or "removed"
                    flag = "  security" if change.security else ""
                    found.append(style.text(f"  {change.item}  {old} → {new}{flag}"))
    found += [f"{item.name}: broken: {style.text(item.reason)}" for item in selection.broken]
    if not checked and not selection.broken:
        found.append("No plugin has anything to look at on this machine: update-all plugins list")
    return found


def document(selection: Selection, checked: list[Checked]) -> envelope.Document:
    """`update-all.check/1`."""
    return {
        "schema": "update-all.check/1",
        "plugins": [
            {
                "name": item.plugin.name,
                "status": item.result.status.value,
                "reason": item.result.reason,
                "updates": [envelope.change_to(change) for change in item.result.updates],
            }
            for item in checked
        ],
        "not_here": dict(selection.absent),
        "broken": {item.name: item.reason for item in selection.broken},
    }
