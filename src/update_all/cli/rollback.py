"""Return one plugin to the version before, which its last update kept."""

from __future__ import annotations

import argparse
import sys

from update_all.cli import interruptible
from update_all.cli.running import one_run
from update_all.cli.workspace import Workspace
from update_all.core.cleaning import clean_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="PLUGIN", help="the plugin to roll back")
    parser.add_argument("--wait", action="store_true", help="wait for another run to end")


def run(options: argparse.Namespace) -> int:
    return interruptible.run(_rollback(Workspace.open(), options))


async def _rollback(workspace: Workspace, options: argparse.Namespace) -> int:
    plugin = workspace.load(options.name)
    async with one_run(workspace, wait=options.wait):
        sys.stdout.write(clean_line(f"{plugin.name}: {await plugin.rollback()}") + "\n")
    if workspace.enabled(plugin.name):
        sys.stdout.write(
            f"The next run would update it again. To leave it: update-all plugins disable {plugin.name}\n"
        )
    return 0
