"""The keys of the full screen: what each does, and why it cannot. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from update_all.ui.fullscreen import Steering
from update_all.ui.fullscreen.panes import Scene
from update_all.ui.fullscreen.position import Place, Position, next_error, places, step_of
from update_all.ui.fullscreen.spans import Row, Span, row


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do, by the names that Textual gives to keys; `shown` is how a person reads them."""

    name: str
    keys: tuple[str, ...]
    shown: str
    text: str


ACTIONS = (
    Action("down", ("j", "down"), "j down", "move down"),
    Action("up", ("k", "up"), "k up", "move up"),
    Action("page_down", ("pagedown", "space"), "pgdn space", "a page down"),
    Action("page_up", ("pageup",), "pgup", "a page up"),
    Action("first", ("g", "home"), "g home", "to the beginning"),
    Action("last", ("G", "end"), "G end", "to the end"),
    Action("zoom", ("enter",), "enter", "the right pane alone, and back"),
    Action("pane", ("tab", "shift+tab"), "tab", "the other pane"),
    Action("next_tab", ("l", "right"), "l right", "next tab"),
    Action("previous_tab", ("h", "left"), "h left", "tab before"),
    Action("log", ("1",), "1", "log of the selected step"),
    Action("graph", ("2",), "2", "graph: what comes after what, and holds what"),
    Action("timeline", ("3",), "3", "timeline: when each step ran and waited"),
    Action("changes", ("4",), "4", "changes: what is new"),
    Action("filter", ("slash",), "/", "show only what holds a text: plugins and steps, or lines"),
    Action("follow", ("f",), "f", "follow the log as it grows"),
    Action("error", ("e",), "e", "next failed step"),
    Action("copy", ("y",), "y", "copy the log, or the pane that is shown"),
    Action("pager", ("o",), "o", "open the log in $PAGER"),
    Action("retry", ("r",), "r", "try the step again now"),
    Action("skip", ("s",), "s", "skip the step"),
    Action("pause", ("p",), "p", "start nothing new, and go on"),
    Action("input", ("i",), "i", "answer a step that asks"),
    Action("stop", ("ctrl+c",), "ctrl-c", "end the run; again: sooner"),
    Action("palette", ("colon",), ":", "find an action by its name"),
    Action("help", ("question_mark",), "?", "these keys"),
    Action("back", ("escape",), "esc", "one step back, at last to the live view"),
    Action("live", ("t",), "t", "back to the live view"),
    Action("leave", ("q", "ctrl+q"), "q", "leave; the run goes on"),
)

FOOTER = ("help", "live", "filter", "zoom", "pane", "error", "pause", "skip", "retry")
SHORT = {"help": "help", "live": "live view", "filter": "filter", "zoom": "zoom", "pane": "pane",
         "error": "error", "pause": "pause", "skip": "skip", "retry": "retry"}  # fmt: skip
BY_KEY = {key: action for action in ACTIONS for key in action.keys}

NOT_OURS = "this run belongs to another terminal: it is only watched here"
OVER = "the run has ended"


def why_not(
    action: Action, scene: Scene, position: Position, steering: Steering | None, has_log: bool
) -> str:
    """Why a key can do nothing now; "" if it can. Whether a step can be skipped or retried the run says."""
    if action.name in {"retry", "skip", "pause", "input", "stop"}:
        return _why_not_steered(action.name, scene, position, steering)
    if action.name == "pager" and not has_log:
        return _no_log(scene, position)
    if action.name == "error" and next_error(scene.view, position.place) is None:
        return "no step has failed"
    return ""


def _why_not_steered(name: str, scene: Scene, position: Position, steering: Steering | None) -> str:
    if steering is None:
        return NOT_OURS
    if scene.view.ended is not None:
        return OVER
    if name in {"retry", "skip"} and step_of(scene.view, position.place) is None:
        return "no step is selected"
    if name == "input" and not scene.takes_input:
        return "no step takes input"
    return ""


def _no_log(scene: Scene, position: Position) -> str:
    found = step_of(scene.view, position.place)
    return "no step is selected" if found is None else f"{found[1].name} has no log: it has printed nothing"


def step_to_answer(scene: Scene, position: Position) -> Place | None:
    """The selected step if it takes input, else the one that waits for it most."""
    found = step_of(scene.view, position.place)
    if found is not None and found[0].step_id in scene.takes_input:
        return found[0]
    known = {place.step_id: place for place in places(scene.view) if place.step}
    return next((known[step] for step in scene.takes_input if step in known), None)


def matching(text: str) -> list[Action]:
    """The actions whose name or description holds `text`; those whose name begins with it come first."""
    wanted = text.strip().casefold()
    found = [action for action in ACTIONS if wanted in f"{action.name} {action.text}".casefold()]
    return sorted(found, key=lambda action: not action.name.startswith(wanted))


def action_rows(actions: Sequence[tuple[Action, str]], *, names: bool = False) -> list[Row]:
    """Keys, what they do, and why they cannot now."""
    lines: list[Row] = []
    for action, reason in actions:
        name = f"{action.name.replace('_', ' '):<14}" if names else ""
        line = row(
            Span(f" {action.shown:<11}", "bold"), Span(f"{name}{action.text}", "dim" if reason else "")
        )
        lines.append((*line, Span(f" (not now: {reason})", "yellow")) if reason else line)
    return lines
