"""Say why a plugin, a step or an error is as it is."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

from update_all.cli import interruptible
from update_all.cli.checking import check_one
from update_all.cli.planned import plan_one
from update_all.cli.plugin_options import option_lines
from update_all.cli.stray_names import warn_of_strays
from update_all.cli.workspace import Workspace
from update_all.core.dry_run import describe_step
from update_all.core.errors import ConfigError, StateError, UpdateAllError, unknown_name
from update_all.core.history import History, Outcome, StepRecord
from update_all.core.models import CheckResult, CheckStatus, UpdateStep
from update_all.core.planning import PluginPlan
from update_all.core.state import StateStore
from update_all.core.transitions import Outcome as StateOutcome
from update_all.plugins.base import BasePlugin
from update_all.plugins.mutexes import known_reasons
from update_all.ui.terminal import Sink, style_of
from update_all.ui.text import Style, duration, plural, size

PAGES = "error_pages"
RUNS_SHOWN = 5
RUNS_SEARCHED = 50
CHANGES_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="WHAT", help="a plugin, PLUGIN:STEP, or the code of an error")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")


def run(options: argparse.Namespace) -> int:
    style = style_of(sys.stdout, os.environ, options.color)
    what = options.what.strip("[]")
    if what in codes():
        lines = list(page_lines(page(what), style))
    else:
        lines = [style.text(line) for line in _explained(what)]
    Sink(sys.stdout).write("\n".join(lines) + "\n")
    return 0


def codes() -> list[str]:
    """The codes of errors and warnings that have a page."""
    found = resources.files("update_all").joinpath(PAGES).iterdir()
    return sorted(entry.name.removesuffix(".md") for entry in found if entry.name.endswith(".md"))


def page(code: str) -> str:
    """The page of one of `codes()`, in Markdown."""
    return resources.files("update_all").joinpath(PAGES, f"{code}.md").read_text("utf-8")


def page_lines(text: str, style: Style) -> Iterator[str]:
    """A page for a terminal: headings stand out, marks of code and links are gone. Pure."""
    for line in text.rstrip().split("\n"):
        heading = re.fullmatch(r"#+ (.*)", line)
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1] if heading else line).replace("`", "")
        indent = plain[: len(plain) - len(plain.lstrip(" "))]
        shown = indent + style.text(plain.lstrip(" "))
        yield style.paint(shown, "bold") if heading else shown


def _explained(what: str) -> list[str]:
    workspace = Workspace.open()
    warn_of_strays(workspace)
    name, _, step = what.partition(":")
    if name not in workspace.registry.names():
        raise unknown_name("plugin or error code", what, [*workspace.registry.names(), *codes()])
    return interruptible.run(_explain_plugin(workspace, name, step))


async def _explain_plugin(workspace: Workspace, name: str, wanted: str) -> list[str]:
    entry = next(entry for entry in workspace.registry.entries() if entry.name == name)
    lines = [f"  defined: {entry.origin} {entry.kind} ({entry.place})"]
    if entry.overrides:
        lines.append(f"  in place of: {', '.join(entry.overrides)}")
    try:
        plugin = workspace.load(name)
        found = plugin.detect()
    except ConfigError:
        raise
    except UpdateAllError as error:
        return [name, *lines, f"  in a run: no, its definition is broken: {error.message}"]
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; explaining its bug is the point
        return [name, *lines, f"  in a run: no, it is broken: {type(error).__name__}: {error}"]
    check = await check_one(plugin) if found.present else None
    plan, problem = await _plan(plugin, check)
    if wanted:
        return _step_lines(workspace, plugin, plan, wanted, problem)
    return [
        f"{name}: {plugin.description}" if plugin.description else name,
        *lines,
        f"  {'here' if found.present else 'not here'}: {found.reason}",
        f"  in a run: {why_in_a_run(workspace, name, check)}",
        *_update_lines(check),
        *_setting_lines(plugin),
        *(f"  option {line}" for line in option_lines(plugin)),
        *([f"  no plan: {problem}"] if problem else []),
        *(_steps_lines(plan, workspace.root_prefix) if plan else []),
        *_state_lines(workspace, name),
        *_past_lines(workspace, name),
    ]


async def _plan(plugin: BasePlugin, check: CheckResult | None) -> tuple[PluginPlan | None, str]:
    """The steps as they would run now; where there is nothing to do, as they are declared."""
    try:
        if check is not None:
            plan = await plan_one(plugin, check, None)
            if plan.steps:
                return plan, ""
        from update_all.core.planning import plan_plugin

        return plan_plugin(plugin, plugin.lowered_steps()), ""
    except UpdateAllError as error:
        return None, error.message
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; explaining its bug is the point
        return None, f"{type(error).__name__}: {error}"


def why_in_a_run(workspace: Workspace, name: str, check: CheckResult | None) -> str:
    """Whether a plain run would take the plugin, and why or why not. `check` is None where it is not here."""
    if check is None:
        return "no, because it is not here"
    config = workspace.config
    if not workspace.plugin_config(name).enabled:
        return f"no, unless named: it is disabled (update-all plugins enable {name})"
    if name in config.exclude:
        return "no, unless named: the configuration excludes it (key exclude)"
    if not workspace.enabled(name):
        return "no, unless named: the configuration names other plugins only (key plugins.enabled)"
    match check.status:
        case CheckStatus.UP_TO_DATE:
            return "no, because it is up to date"
        case CheckStatus.UPDATES:
            return f"yes, with {plural(len(check.updates), 'update')}"
        case _ if check.runnable:
            return f"yes, though it cannot know beforehand: {check.reason}"
        case _:
            return f"no, because it cannot know: {check.reason}"


def _update_lines(check: CheckResult | None) -> list[str]:
    if check is None or not check.updates:
        return []
    lines = []
    for change in check.updates[:CHANGES_SHOWN]:
        weight = f"  {size(change.size_bytes)}" if change.size_bytes else ""
        old, new = change.old or "not installed", change.new or "removed"
        lines.append(f"    {change.item}  {old} → {new}{weight}{'  security' if change.security else ''}")
    more = len(check.updates) - CHANGES_SHOWN
    return [*lines, f"    and {more} more"] if more > 0 else lines


def _setting_lines(plugin: BasePlugin) -> list[str]:
    pairs = (
        ("after", plugin.dependencies),
        ("tags", [f"@{tag}" for tag in plugin.tags]),
        ("programs run as root", plugin.sudo_commands),
    )
    return [f"  {label}: {', '.join(values)}" for label, values in pairs if values]


def _steps_lines(plan: PluginPlan, root: str) -> list[str]:
    return ["  steps:", *(line for step in plan.steps for line in _one_step(plan, step, root))]


def _one_step(plan: PluginPlan, step: UpdateStep, root: str) -> list[str]:
    commands = describe_step(plan.plugin, step, root=root) if step.commands else ()
    return [
        f"    {step.name}: {step.description}{'  as root' if step.needs_root else ''}",
        *(f"        $ {line}" for line in commands),
        *_mutex_lines(step, known_reasons()),
    ]


def _mutex_lines(step: UpdateStep, reasons: Mapping[str, str]) -> list[str]:
    return [
        f"        holds {mutex}" + (f": {reasons[mutex]}" if mutex in reasons else "")
        for mutex in step.mutexes
    ]


def _step_lines(
    workspace: Workspace, plugin: BasePlugin, plan: PluginPlan | None, wanted: str, problem: str
) -> list[str]:
    if plan is None:
        return [f"{plugin.name}:{wanted}", f"  no plan: {problem}"]
    names = [step.name for step in plan.steps]
    if wanted not in names:
        raise unknown_name("step", wanted, names, f" of {plugin.name}")
    step = plan.step(wanted)
    commands = describe_step(plan.plugin, step, root=workspace.root_prefix) if step.commands else ()
    return [
        f"{plugin.name}:{step.name}: {step.description}",
        f"  place: step {names.index(wanted) + 1} of {len(names)}"
        + (f", after {', '.join(step.depends_on)}" if step.depends_on else ""),
        f"  phase: {step.effective_phase.value}",
        f"  as root: {'yes' if step.needs_root else 'no'}",
        *(f"  runs: $ {line}" for line in commands),
        *[line.replace("        ", "  ", 1) for line in _mutex_lines(step, known_reasons())],
        f"  interrupted: {_when_interrupted(step)}",
        *_limits(step),
        *_past_lines(workspace, plugin.name, step.name),
    ]


def _when_interrupted(step: UpdateStep) -> str:
    """What a resume does with a step whose end nobody saw."""
    if step.check_fn is not None:
        return "its check finds out whether it is done, and resume runs it if it is not"
    if step.idempotent:
        return "resume runs it again, at most 3 times"
    reason = f" ({step.reason})" if step.reason else ""
    return f"resume asks: it must not happen twice{reason}"


def _limits(step: UpdateStep) -> Iterator[str]:
    if step.timeout_seconds:
        yield f"  ended after: {duration(step.timeout_seconds)}"
    if step.retries:
        yield f"  retried: {plural(step.retries, 'time')}"
    if step.interval_seconds:
        yield f"  not again within: {duration(step.interval_seconds)} of its last success"
    if step.uninterruptible:
        yield "  Ctrl-C: the first one lets it finish"


def _state_lines(workspace: Workspace, name: str) -> list[str]:
    store = StateStore(workspace.state_directory)
    if name not in store.plugins():
        return []
    try:
        state = store.peek(name)
    except (StateError, ValueError, FileNotFoundError) as error:
        return [f"  state: cannot be read: {error} (update-all doctor)"]
    if state.outcome is not StateOutcome.UNFINISHED:
        return []
    done = plural(len(state.completed), "step")
    return [f"  unfinished: run {state.run_id} has done {done}; go on with: update-all resume {name}"]


def _past_lines(workspace: Workspace, plugin: str, step: str = "") -> list[str]:
    try:
        with workspace.history(read_only=True) as history:
            past = list(_past(history, plugin, step))
    except StateError as error:
        return [f"  last runs: {error.message}"]
    return ["  last runs:", *past] if past else ["  last runs: none"]


def _past(history: History, plugin: str, step: str) -> Iterator[str]:
    shown = 0
    for record in history.runs(RUNS_SEARCHED):
        details = history.run(record.id)
        steps = [
            item
            for item in (details.steps if details else ())
            if item.plugin == plugin and (not step or item.step == step)
        ]
        if not steps:
            continue
        when = record.started.astimezone().strftime("%Y-%m-%d %H:%M")
        yield f"    {when}  {record.id}  {duration(sum(item.seconds for item in steps))}  {_outcome(steps)}"
        shown += 1
        if shown == RUNS_SHOWN:
            return


def _outcome(steps: Sequence[StepRecord]) -> str:
    """How steps ended, which come in that order: a resume has its say after the failure."""
    failures = [item for item in steps if item.outcome is Outcome.FAILED]
    if not failures:
        return steps[-1].outcome.value
    told = failures[-1].error_message or failures[-1].step
    last = {item.step: item.outcome for item in steps}
    if Outcome.FAILED in last.values():
        return f"failed: {told}"
    return f"{steps[-1].outcome.value}, after it had failed: {told}"
