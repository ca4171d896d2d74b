"""Scenes of the full screen that its tests look at: a run in its middle, and a wheel that notes its use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stories import LATER, middle_of_a_run, viewed

from update_all.core.models import Change
from update_all.core.streaming import CheckEvent, PlannedPlugin, PlannedStep, RunStartEvent, StreamEvent
from update_all.ui.fullscreen import Story
from update_all.ui.fullscreen.frame import LogText
from update_all.ui.fullscreen.panes import Scene
from update_all.ui.fullscreen.position import Position, Tab, beginning, step_of
from update_all.ui.text import Style


def told(events: Sequence[StreamEvent]) -> Story:
    story = Story()
    for event in events:
        story.apply(event)
    return story


def planned_run() -> list[StreamEvent]:
    """The middle of a run whose plan also says what comes after what, and what the checks found."""
    events = middle_of_a_run()
    first = events[0]
    assert isinstance(first, RunStartEvent)
    first.plugins = tuple(_with_relations(plugin) for plugin in first.plugins)
    updates = (Change("stable", "1.0", "1.1"), Change("gone", "3", None), Change("new", None, "1"))
    found = [CheckEvent(plugin_name="snap", status="updates", updates=updates, timestamp=first.timestamp)]
    return [*found, *events]


def _with_relations(plugin: PlannedPlugin) -> PlannedPlugin:
    if plugin.name == "apt":
        names = [step.name for step in plugin.steps]
        steps = [
            PlannedStep(step.name, mutexes=("dpkg",), sudo=True, depends_on=tuple(names[:number]))
            for number, step in enumerate(plugin.steps)
        ]
        return PlannedPlugin(plugin.name, tuple(steps), plugin.dependencies)
    return PlannedPlugin(plugin.name, plugin.steps, ("apt",) if plugin.name == "snap" else ())


def scene_of(events: Sequence[StreamEvent], *, unicode: bool = True, now: float = LATER) -> Scene:
    return Scene(viewed(list(events)), told(events), Style(unicode=unicode), now)


def position_in(scene: Scene, tab: Tab = Tab.LOG) -> Position:
    position = Position(place=beginning(scene.view))
    position.show(tab)
    return position


def log_of(scene: Scene, position: Position) -> LogText:
    found = step_of(scene.view, position.place)
    return LogText(found[1].tail.lines if found is not None else ())


@dataclass
class Asked:
    """The terminal of a step that asks."""

    asks: bool = True
    hidden: bool = False

    def hides_input(self) -> bool:
        return self.hidden


@dataclass
class Wheel:
    """What the engine would be told; it refuses what `refuses` says."""

    paused: bool = False
    done: list[str] = field(default_factory=list)
    consoles: dict[str, Asked] = field(default_factory=dict)
    refuses: str = ""

    def pause(self, on: bool) -> None:
        self.paused = on

    def stop(self) -> None:
        self.done.append("stop")

    def skip(self, step_id: str) -> str:
        self.done.append(f"skip {step_id}")
        return self.refuses

    def retry(self, step_id: str) -> str:
        self.done.append(f"retry {step_id}")
        return self.refuses

    def wants_input(self) -> list[str]:
        return list(self.consoles)

    def answer(self, step_id: str, text: str) -> str:
        self.done.append(f"answer {step_id} {text}")
        return self.refuses

    def console(self, step_id: str) -> Asked | None:
        return self.consoles.get(step_id)
