"""Runs the steps of a plugin one after another: what a plugin declares, without the engine around it."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
from dataclasses import dataclass, field

from update_all.api import BasePlugin, UpToDate
from update_all.core.facts import fill_command
from update_all.core.models import CheckResult, CheckStatus, UpdateCommand, UpdateStep
from update_all.core.queries import SILENT_ENVIRONMENT


@dataclass
class Run:
    """What happened: the check, the steps that ran, the steps that were skipped, and how it ended."""

    check: CheckResult
    ran: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: str | None = None
    output: str = ""


def check(plugin: BasePlugin) -> CheckResult:
    """The plugin's answer."""
    return asyncio.run(plugin.check())


def versions(plugin: BasePlugin) -> dict[str, str]:
    """What the tool says is installed."""
    found = asyncio.run(plugin.installed_versions())
    assert found is not None
    return dict(found)


def steps(plugin: BasePlugin, result: CheckResult) -> list[UpdateStep]:
    """The plan for a check's result."""
    return asyncio.run(plugin.plan_steps(result))


def run(plugin: BasePlugin) -> Run:
    """Check, plan, and run the steps in their declared order, stopping at the first failure."""
    return asyncio.run(_run(plugin, None))


def resume(plugin: BasePlugin, known: CheckResult) -> Run:
    """Run the steps again for a check's result that was kept, as after a crash."""
    return asyncio.run(_run(plugin, known))


async def _run(plugin: BasePlugin, known: CheckResult | None) -> Run:
    result = known or await plugin.check()
    report = Run(result)
    if result.status is CheckStatus.UP_TO_DATE or not (result.updates or result.runnable):
        return report
    for step in await plugin.plan_steps(result):
        if step.check_fn is not None:
            done = step.check_fn()
            if await done if inspect.isawaitable(done) else done:
                report.skipped.append(step.name)
                continue
        report.ran.append(step.name)
        try:
            passed = await _step(plugin, step, report)
        except UpToDate:
            return report
        if not passed:
            report.failed = step.name
            return report
    return report


async def _step(plugin: BasePlugin, step: UpdateStep, report: Run) -> bool:
    if step.execute_fn is not None:
        async for event in step.execute_fn():
            report.output += f"{event}\n"
    return all(_command(fill_command(command, plugin.facts), report) for command in step.commands or ())


def _command(command: UpdateCommand, report: Run) -> bool:
    done = subprocess.run(
        command.cmd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=60,
        env={**os.environ, **SILENT_ENVIRONMENT, **(command.env or {})},
        cwd=command.cwd,
        check=False,
    )
    report.output += done.stdout
    return done.returncode in {0, *command.ignore_exit_codes}
