"""What the panes of the full screen show, as rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from update_all.core.models import Change, ChangeKind
from update_all.core.streaming import PlannedStep
from update_all.ui import rows
from update_all.ui.fullscreen.position import Place, row_of, step_of
from update_all.ui.fullscreen.spans import Row, Span, row, spread
from update_all.ui.fullscreen.story import Story
from update_all.ui.summary import merged
from update_all.ui.text import Style, display_width, duration, fit, size, wrap
from update_all.ui.view import PluginRow, RunView, State, StepRow


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to see now: `now` is in seconds since the epoch, `asking` names steps that
    wait for an answer, `takes_input` also those that would take one.
    """

    view: RunView
    story: Story
    style: Style
    now: float
    asking: frozenset[str] = frozenset()
    takes_input: tuple[str, ...] = ()
    paused: bool = False

    def mark(self, state: State) -> Span:
        return Span(rows.mark(state, self.style.marks), rows.COLOURS[state])


def tree_row(scene: Scene, place: Place, selected: bool, focused: bool, width: int) -> Row:
    """A plugin, or a step one level below it, with how long it takes or took."""
    plugin = scene.view.plugins[place.plugin]
    marks, text = scene.style.marks, scene.style.text
    pointer = (marks.within if focused else marks.between) if selected else " "
    look = "bold" if selected else ""
    if not place.step:
        name, state, times = plugin.name, plugin.state, _plugin_seconds(plugin, scene.now)
    else:
        step = plugin.steps[place.step]
        name, state, times = step.name, step.state, _step_seconds(step, scene)
    indent = "  " if place.step else ""
    mark = Span("?", "yellow") if place.step_id in scene.asking else scene.mark(state)
    left = row(Span(f"{pointer}{indent}", look), mark, Span(f" {text(name)}", look))
    return spread(left, row(Span(times, "dim")) if times else (), width, marks.ellipsis)


def _plugin_seconds(plugin: PluginRow, now: float) -> str:
    return "" if plugin.started is None else duration((plugin.ended or now) - plugin.started)


def _step_seconds(step: StepRow, scene: Scene) -> str:
    if step.started is not None:
        return duration((step.ended if step.state.ended and step.ended else scene.now) - step.started)
    if step.state is State.WAITING and step.usual_seconds is not None:
        return f"{scene.style.marks.usual}{duration(step.usual_seconds)}"
    return ""


def heading(scene: Scene, place: Place | None, width: int) -> list[Row]:
    """What the selected step is doing, or how it ended: a line, and a few more where it needs words."""
    found = step_of(scene.view, place)
    plugin = row_of(scene.view, place)
    marks, text = scene.style.marks, scene.style.text
    if plugin is None or place is None:
        return [row(Span("no step is selected", "dim"))]
    if found is None:
        outcome = rows.outcome(plugin, marks)
        return [row(scene.mark(plugin.state), f" {text(plugin.name)}  {text(outcome)}")]
    where, step = found
    times = _step_seconds(step, scene)
    if step.started is not None and step.usual_seconds is not None:
        times += f" {marks.usual}{duration(step.usual_seconds)}"
    state = "asks for an answer" if where.step_id in scene.asking else str(step.state)
    attempt = scene.story.attempts.get((where.plugin, where.step), 1)
    words = f" {text(plugin.name)} {marks.within} {text(step.name)}  {state}"
    if attempt > 1:
        words += f", attempt {attempt}"
    first = spread(row(scene.mark(step.state), Span(words, "bold")), row(times), width, marks.ellipsis)
    return [first, *(row(Span(line, "dim")) for line in wrap(text(_why(plugin, step)), width, "  ")[:3])]


def _why(plugin: PluginRow, step: StepRow) -> str:
    if step.state is State.WAITING:
        return rows.wait_text(step)
    if step.state is State.RUNNING:
        if step.bytes_done is not None:
            return size(step.bytes_done) + (f" of {size(step.bytes_total)}" if step.bytes_total else "")
        percent = f"{step.percent:.0f}% " if step.percent is not None else ""
        return percent + step.message
    code = next((failure.code for failure in plugin.failures if failure.step == step.name), "")
    return step.reason + (f" (update-all explain {code})" if code else "")


def graph(scene: Scene, place: Place | None) -> list[Row]:
    """Every step with what it comes after, and what it holds while it runs."""
    lines: list[Row] = []
    text = scene.style.text
    for name, plugin in scene.view.plugins.items():
        planned = scene.story.plugins.get(name)
        after = [_shown(scene, other) for other in planned.dependencies] if planned else []
        lines.append(row(scene.mark(plugin.state), Span(f" {text(plugin.name)}", "bold"), *_relations(after)))
        steps = {step.name: step for step in planned.steps} if planned else {}
        width = max((display_width(text(step.name)) for step in plugin.steps.values()), default=0)
        for key, step in plugin.steps.items():
            here = place == Place(name, key)
            pointer = scene.style.marks.within if here else " "
            title = Span(" " + fit(text(step.name), width), "bold" if here else "")
            relations = _step_relations(scene, steps.get(key), step)
            lines.append(row(f"{pointer} ", scene.mark(step.state), title, *relations))
    return lines or [row(Span("nothing is planned", "dim"))]


def _shown(scene: Scene, plugin: str) -> str:
    row_ = scene.view.plugins.get(plugin)
    return scene.style.text(row_.name if row_ else plugin)


def _relations(after: Sequence[str]) -> list[Span]:
    return [Span(f"  after {', '.join(after)}", "dim")] if after else []


def _step_relations(scene: Scene, planned: PlannedStep | None, step: StepRow) -> list[Span]:
    text = scene.style.text
    spans: list[Span] = []
    if planned is not None:
        spans += _relations([text(name) for name in planned.depends_on])
        if planned.mutexes:
            spans.append(Span(f"  holds {', '.join(map(text, planned.mutexes))}", "cyan"))
        if planned.sudo:
            spans.append(Span("  root", "yellow"))
    if step.state is State.WAITING and (step.mutex or step.holder or step.wait_reason):
        spans.append(Span(f"  {text(rows.wait_text(step))}", "yellow"))
    return spans


def changes(scene: Scene) -> list[Row]:
    """What has changed, plugin by plugin; then what the checks found and has not happened yet."""
    made = {row.name: merged(row.changes) for row in scene.view.plugins.values() if row.changes}
    lines = [line for name, found in made.items() for line in _changed(scene, name, found)]
    ahead: list[Row] = []
    for name, updates in scene.story.updates.items():
        plugin = scene.view.plugins.get(name)
        if updates and plugin is not None and not plugin.changes and not plugin.state.ended:
            ahead += _changed(scene, plugin.name, merged(updates))
    if ahead:
        lines += [row(), row(Span("Still to come", "dim"))] if lines else [row(Span("Still to come", "dim"))]
    return (lines + ahead) or [row(Span("Nothing has changed so far.", "dim"))]


def _changed(scene: Scene, plugin: str, found: Sequence[Change]) -> list[Row]:
    lines = [row(Span(scene.style.text(plugin), "bold"), Span(f"  {len(found)}", "dim"))]
    for change in found:
        remark = Span("  security", "red") if change.security else Span("")
        lines.append(row(f"  {scene.style.text(change.item)}  {_versions(change, scene.style)}", remark))
    return lines


def _versions(change: Change, style: Style) -> str:
    old, new = style.text(change.old or ""), style.text(change.new or "")
    if change.kind is ChangeKind.REMOVE:
        return f"{old} removed".strip()
    return f"{old} {style.marks.arrow} {new}" if old else f"{new} (new)"
