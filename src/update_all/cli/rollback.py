"""Return one plugin to the version before, which its last update kept."""

from __future__ import annotations

import argparse
import sys
import time

from update_all.cli import interruptible
from update_all.cli.checking import versions_of
from update_all.cli.failing import warn
from update_all.cli.recording import Recorder
from update_all.cli.running import one_run
from update_all.cli.stray_names import warn_of_strays
from update_all.cli.workspace import Workspace
from update_all.core.cleaning import clean_line
from update_all.core.session import next_run_id
from update_all.core.streaming import CompletionEvent, RunEndEvent, RunStartEvent, StepEndEvent
from update_all.core.verification import difference
from update_all.plugins.base import BasePlugin

STEP = "rollback"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="PLUGIN", help="the plugin to roll back")
    parser.add_argument("--wait", action="store_true", help="wait for another run to end")


def run(options: argparse.Namespace) -> int:
    return interruptible.run(_rollback(Workspace.open(), options))


async def _rollback(workspace: Workspace, options: argparse.Namespace) -> int:
    warn_of_strays(workspace)
    plugin = workspace.load(options.name)
    async with one_run(workspace, wait=options.wait):
        said = await _recorded(workspace, plugin)
    sys.stdout.write(clean_line(f"{plugin.name}: {said}") + "\n")
    if workspace.enabled(plugin.name):
        sys.stdout.write(
            f"The next run would update it again. To leave it: update-all plugins disable {plugin.name}\n"
        )
    return 0


async def _recorded(workspace: Workspace, plugin: BasePlugin) -> str:
    """Roll back, and keep in the history, as a run of one step, what that has changed."""

    def bug(message: str) -> None:
        warn([f"{plugin.name}: {message}"])

    recorder, run_id = Recorder(), next_run_id(workspace.state_directory)
    before = await versions_of(plugin, bug)
    recorder.handle(RunStartEvent(run_id=run_id))
    began = time.monotonic()
    said = await plugin.rollback()
    seconds = time.monotonic() - began
    after = None if before is None else await versions_of(plugin, bug)
    changes = () if before is None or after is None else tuple(difference(before, after))
    for event in (
        StepEndEvent(plugin_name=plugin.name, step_name=STEP, success=True, duration_seconds=seconds),
        CompletionEvent(plugin_name=plugin.name, success=True, changes=changes),
        RunEndEvent(run_id=run_id),
    ):
        recorder.handle(event)
    warn(recorder.write(workspace))
    return said
