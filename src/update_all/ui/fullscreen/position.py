"""Where a person is on the full screen, and how they get from there to elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from update_all.ui.view import PluginRow, RunView, State, StepRow


@dataclass(frozen=True, slots=True)
class Place:
    """A plugin, or one step of it; by the names that the events use."""

    plugin: str
    step: str = ""

    @property
    def step_id(self) -> str:
        """As the engine names the step."""
        return f"{self.plugin}:{self.step}"


class Tab(StrEnum):
    """What the right pane shows."""

    LOG = "Log"
    GRAPH = "Graph"
    TIMELINE = "Timeline"
    CHANGES = "Changes"


class Focus(StrEnum):
    """The pane that the keys are for."""

    TREE = "tree"
    PANE = "pane"


class Asking(StrEnum):
    """What the line at the bottom is being typed for."""

    FILTER = "filter"
    ANSWER = "answer"
    PALETTE = "palette"


@dataclass(slots=True)
class Prompt:
    """A line that is being typed. `place` is the step that gets the answer, `hidden`
    whether it may be read.
    """

    asking: Asking
    text: str = ""
    place: Place | None = None
    hidden: bool = False


@dataclass(slots=True)
class Position:
    """Selection, panes, filters and what is being typed."""

    place: Place | None = None
    tab: Tab = Tab.LOG
    focus: Focus = Focus.TREE
    zoomed: bool = False
    helping: bool = False
    top: int | None = None
    """The first line shown in the right pane, counted from the first ever; None follows the end of a log."""
    filters: dict[Focus, str] = field(default_factory=lambda: {Focus.TREE: "", Focus.PANE: ""})
    prompt: Prompt | None = None
    message: str = ""

    def go(self, place: Place | None) -> None:
        """Select; the log of another step is followed."""
        if place != self.place:
            self.place = place
            if self.tab is Tab.LOG:
                self.top = None

    def show(self, tab: Tab) -> None:
        """Turn to a tab, at its beginning; of a log, at its end."""
        self.tab = tab
        self.top = None if tab is Tab.LOG else 0

    def back(self) -> bool:
        """Undo the last narrowing of the view; False if there is none."""
        if self.prompt is not None:
            self.prompt = None
        elif self.helping:
            self.helping = False
        elif self.filters[self.focus]:
            self.filters[self.focus] = ""
        elif self.zoomed:
            self.zoomed = False
        elif self.focus is Focus.PANE:
            self.focus = Focus.TREE
        else:
            return False
        return True


def places(view: RunView, needle: str = "") -> list[Place]:
    """All plugins with their steps in the order of the run; with a `needle`, those whose name holds it, and
    all of a plugin whose own name does.
    """
    wanted = needle.casefold()
    found: list[Place] = []
    for plugin, row in view.plugins.items():
        whole = wanted in row.name.casefold()
        steps = [
            Place(plugin, name) for name, step in row.steps.items() if whole or wanted in step.name.casefold()
        ]
        if whole or steps:
            found += [Place(plugin), *steps]
    return found


def row_of(view: RunView, place: Place | None) -> PluginRow | None:
    """The plugin of a place."""
    return None if place is None else view.plugins.get(place.plugin)


def step_of(view: RunView, place: Place | None) -> tuple[Place, StepRow] | None:
    """The step at a place: of a plugin, the one that it is at."""
    row = row_of(view, place)
    if row is None or place is None:
        return None
    if place.step:
        step = row.steps.get(place.step)
        return None if step is None else (place, step)
    current = row.current
    return next(
        ((Place(place.plugin, name), step) for name, step in row.steps.items() if step is current), None
    )


def beginning(view: RunView) -> Place | None:
    """What to look at first: the first step that failed, else that runs, else that waits, else the first."""
    for state in (State.FAILED, State.RUNNING, State.WAITING):
        for place in places(view):
            found = step_of(view, place) if place.step else None
            if found is not None and found[1].state is state:
                return place
    return next(iter(places(view)), None)


def moved(listed: Sequence[Place], place: Place | None, by: int) -> Place | None:
    """The place `by` rows below (above if negative), at most the last (first)."""
    if not listed:
        return None
    if place not in listed:
        return listed[0]
    return listed[max(0, min(len(listed) - 1, listed.index(place) + by))]


def next_error(view: RunView, place: Place | None) -> Place | None:
    """The next failed step behind a place, from the beginning again after the last; None without any."""
    listed = places(view)
    begin = listed.index(place) + 1 if place in listed else 0
    for each in listed[begin:] + listed[:begin]:
        row = view.plugins[each.plugin]
        if each.step and row.steps[each.step].state is State.FAILED:
            return each
        # A plugin can fail outside of its steps.
        if not each.step and any(not failure.step for failure in row.failures):
            return each
    return None


def first_visible(selected: int, count: int, height: int) -> int:
    """The first of `count` rows to show in `height`, so that the selected one is in the middle if it can."""
    return max(0, min(selected - height // 2, count - height))
