"""The full screen as a Textual program: keys in, frames out, at most four a second without a key."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from textual.app import App, ComposeResult
from textual.events import Key, Paste
from textual.filter import NoColor

from update_all.ui.fullscreen import Logs, Reason, Steering, pager
from update_all.ui.fullscreen.actions import (
    ACTIONS,
    BY_KEY,
    Action,
    matching,
    step_to_answer,
    why_not,
)
from update_all.ui.fullscreen.canvas import Canvas
from update_all.ui.fullscreen.driver import TerminalDriver, is_there
from update_all.ui.fullscreen.frame import Frame, LogText, compose
from update_all.ui.fullscreen.logs import LogTail
from update_all.ui.fullscreen.panes import Scene
from update_all.ui.fullscreen.position import (
    Asking,
    Focus,
    Place,
    Position,
    Prompt,
    Tab,
    beginning,
    moved,
    next_error,
    places,
    step_of,
)
from update_all.ui.fullscreen.spans import plain
from update_all.ui.fullscreen.story import Story
from update_all.ui.text import Style, plural
from update_all.ui.view import RunView

REFRESH_SECONDS = 0.25
MOST_COPIED = 64 * 1024
"""Characters: terminals drop longer OSC 52 sequences."""


class FullScreenApp(App[Reason]):
    """One visit to the full screen. `broken` says what went wrong in it."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "Screen { background: ansi_default; color: ansi_default; overflow: hidden; }"

    def __init__(
        self,
        view: RunView,
        story: Story,
        steering: Steering | None,
        logs: Logs,
        style: Style,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(driver_class=TerminalDriver, ansi_color=True)
        if not style.colour and not self.no_color:
            self._filters.append(NoColor())
        self.broken = ""
        self.position = Position(place=beginning(view))
        self._view, self._story, self._steering = view, story, steering
        self._logs, self._style, self._clock = logs, style, clock
        self._tail: LogTail | None = None
        self._frame = Frame([])
        self._canvas = Canvas(self.draw)
        self._warned = len(view.warnings)
        self._ended = False
        self._aside = 0
        self._looks_around = True
        """Until a key is pressed or a step has begun, whatever is best to look at is selected."""
        self._suspension = contextlib.ExitStack()
        self._leaving: Reason | None = None
        self._acts: dict[str, Callable[[], None]] = self._table()

    def compose(self) -> ComposeResult:
        yield self._canvas

    def on_load(self) -> None:
        # Textual makes all tasks of the loop eager (Python 3.12); the loop is the run's.
        asyncio.get_running_loop().set_task_factory(None)

    def on_mount(self) -> None:
        self.set_interval(REFRESH_SECONDS, self._tick)
        self.draw()

    def _handle_exception(self, error: Exception) -> None:
        # Textual would print a traceback with the values of all variables, secrets among them.
        self.broken = f"{type(error).__name__}: {error}"
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._close_messages_no_wait()

    def _tick(self) -> None:
        if self._aside:
            return
        if self._leaving is not None:
            self.exit(self._leaving)
        elif not self.is_headless and not is_there():
            self.exit(Reason.LOST)
        else:
            self.draw()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Give the terminal to somebody else for a while; no frame is drawn meanwhile."""
        self._aside += 1
        if self._aside == 1 and self.is_running and not self.is_headless:
            self._suspension.enter_context(self.suspend())
        try:
            yield
        finally:
            self._aside -= 1
            if self._aside == 0:
                self._suspension.close()
                self.draw()

    def leave(self, reason: Reason) -> None:
        """Leave; whoever has the terminal just now comes first."""
        self._leaving = reason
        if not self._aside:
            self.exit(reason)

    # What there is to see

    def scene(self) -> Scene:
        steering = self._steering
        takes = tuple(steering.wants_input()) if steering is not None else ()
        asking = frozenset(step for step in takes if self._asks(step))
        paused = steering is not None and steering.paused
        return Scene(self._view, self._story, self._style, self._clock(), asking, takes, paused)

    def _asks(self, step_id: str) -> bool:
        console = self._steering.console(step_id) if self._steering is not None else None
        return console is not None and console.asks

    def draw(self) -> None:
        """Compose the frame of this moment and show what is new in it."""
        if len(self._view.warnings) > self._warned:
            self._warned = len(self._view.warnings)
            notice = self._view.warnings[-1]
            self.position.message = f"{self._style.marks.warning} {notice.message}"
        if self._view.ended is not None and not self._ended:
            # Whatever was to say before, the last line says now that it is over.
            self._ended, self.position.message = True, ""
        if self.position.place is None or self._looks_around:
            self._look_around()
        scene = self.scene()
        self._frame = compose(scene, self.position, self._log_text(), *self.size, self._listed(scene))
        self._canvas.show(self._frame.rows)

    def _look_around(self) -> None:
        self.position.go(beginning(self._view))
        found = step_of(self._view, self.position.place)
        self._looks_around = found is None or found[1].started is None

    def screen_text(self) -> list[str]:
        """The frame as lines of text."""
        return plain(self._frame.rows)

    def _listed(self, scene: Scene) -> list[tuple[Action, str]]:
        prompt = self.position.prompt
        palette = prompt is not None and prompt.asking is Asking.PALETTE
        if not palette and not self.position.helping:
            return []
        actions = matching(prompt.text) if palette and prompt is not None else list(ACTIONS)
        return [(action, self._why_not(action, scene)) for action in actions]

    def _why_not(self, action: Action, scene: Scene) -> str:
        return why_not(action, scene, self.position, self._steering, self._log_path() is not None)

    def _log_path(self) -> Path | None:
        found = step_of(self._view, self.position.place)
        path = None if found is None else self._logs(found[0].plugin, found[0].step)
        return path if path is not None and path.exists() else None

    def _log_text(self) -> LogText:
        if self.position.tab is not Tab.LOG:
            return LogText()
        path = self._log_path()
        if path is None:
            found = step_of(self._view, self.position.place)
            return LogText(found[1].tail.lines if found is not None else ())
        if self._tail is None or self._tail.path != path:
            self._tail = LogTail(path)
        self._tail.poll()
        return LogText(self._tail.shown, self._tail.taken - len(self._tail.lines), self._tail.skipped)

    # What a person does

    def on_key(self, event: Key) -> None:
        event.stop()
        event.prevent_default()
        self._looks_around = False
        if self.position.prompt is not None:
            self._typed(self.position.prompt, event)
        else:
            self.position.message = ""
            key = event.character if event.character and event.character.isalpha() else event.key
            action = BY_KEY.get(key) or BY_KEY.get(event.key)
            if action is not None:
                self.act(action)
            elif event.is_printable:
                self.position.message = f"{event.character} does nothing: ? shows the keys"
        self.draw()

    def on_paste(self, event: Paste) -> None:
        if self.position.prompt is not None:
            self.position.prompt.text += event.text.partition("\n")[0]
            self.draw()

    def act(self, action: Action) -> None:
        """Do it, or say why not."""
        reason = self._why_not(action, self.scene())
        if reason:
            self.position.message = f"{action.shown}: {reason}"
        else:
            self._acts[action.name]()

    def _typed(self, prompt: Prompt, event: Key) -> None:
        match event.key:
            case "escape" | "ctrl+c":
                if prompt.asking is Asking.FILTER:
                    self.position.filters[self.position.focus] = ""
                self.position.prompt = None
            case "enter":
                self.position.prompt = None
                self._entered(prompt)
            case "backspace" | "ctrl+h":
                prompt.text = prompt.text[:-1]
            case "ctrl+u":
                prompt.text = ""
            case _ if event.is_printable and event.character:
                prompt.text += event.character
        if prompt.asking is Asking.FILTER and self.position.prompt is not None:
            self._filtered(prompt.text)

    def _entered(self, prompt: Prompt) -> None:
        if prompt.asking is Asking.PALETTE:
            if found := matching(prompt.text):
                self.act(found[0])
            else:
                self.position.message = f"nothing is called {prompt.text}"
        elif prompt.asking is Asking.ANSWER and prompt.place is not None and self._steering is not None:
            reason = self._steering.answer(prompt.place.step_id, prompt.text)
            self.position.message = f"not sent: {reason}" if reason else "sent"

    def _filtered(self, text: str) -> None:
        self.position.filters[self.position.focus] = text
        if self.position.focus is Focus.PANE:
            self.position.show(self.position.tab)
            return
        listed = places(self._view, text)
        if listed and self.position.place not in listed:
            self.position.go(listed[0])

    def _table(self) -> dict[str, Callable[[], None]]:
        return {
            "down": lambda: self._move(1),
            "up": lambda: self._move(-1),
            "page_down": lambda: self._move(self._page()),
            "page_up": lambda: self._move(-self._page()),
            "first": lambda: self._move(-(1 << 30)),
            "last": lambda: self._move(1 << 30),
            "zoom": self._zoom,
            "pane": self._switch_pane,
            "next_tab": lambda: self._turn(1),
            "previous_tab": lambda: self._turn(-1),
            **{tab.name.lower(): partial(self.position.show, tab) for tab in Tab},
            "filter": lambda: self._ask(Prompt(Asking.FILTER, self.position.filters[self.position.focus])),
            "follow": self._follow,
            "error": lambda: self.position.go(next_error(self._view, self.position.place)),
            "copy": self._copy,
            "pager": self._pager,
            "retry": lambda: self._steer(lambda wheel, step: wheel.retry(step), "is tried again"),
            "skip": lambda: self._steer(lambda wheel, step: wheel.skip(step), "is skipped"),
            "pause": self._pause,
            "input": self._input,
            "stop": self._stop_run,
            "palette": lambda: self._ask(Prompt(Asking.PALETTE)),
            "help": self._help,
            "back": self._back,
            "live": lambda: self.exit(Reason.BACK),
            "leave": lambda: self.exit(Reason.LEFT),
        }

    def _page(self) -> int:
        return max(1, self._frame.room - 1)

    def _move(self, by: int) -> None:
        position, frame = self.position, self._frame
        if position.focus is Focus.TREE and not position.zoomed and not position.helping:
            listed = places(self._view, position.filters[Focus.TREE])
            position.go(moved(listed, position.place, by))
            return
        end = frame.count if position.tab is Tab.LOG and not position.helping else frame.count - frame.room
        top = frame.first + by
        if position.tab is Tab.LOG and not position.helping and frame.first + frame.shown + by >= end:
            position.top = None
        else:
            position.top = max(0, min(top, end))

    def _zoom(self) -> None:
        self.position.zoomed = not self.position.zoomed

    def _switch_pane(self) -> None:
        self.position.zoomed = False
        self.position.focus = Focus.PANE if self.position.focus is Focus.TREE else Focus.TREE

    def _turn(self, by: int) -> None:
        tabs = list(Tab)
        self.position.show(tabs[(tabs.index(self.position.tab) + by) % len(tabs)])

    def _ask(self, prompt: Prompt) -> None:
        self.position.prompt = prompt

    def _follow(self) -> None:
        self.position.show(Tab.LOG)

    def _help(self) -> None:
        self.position.helping = not self.position.helping
        self.position.top = 0 if self.position.helping or self.position.tab is not Tab.LOG else None

    def _back(self) -> None:
        helping = self.position.helping
        if not self.position.back():
            self.exit(Reason.BACK)
        elif helping:
            self.position.show(self.position.tab)

    def _copy(self) -> None:
        lines = self._log_text().lines if self.position.tab is Tab.LOG else self.screen_text()
        text = "\n".join(map(self._style.text, lines))
        self.copy_to_clipboard(text[-MOST_COPIED:])
        cut = f", the last {MOST_COPIED // 1024} KiB of them" if len(text) > MOST_COPIED else ""
        self.position.message = f"copied {plural(len(lines), 'line')}{cut}, if the terminal allows it"

    def _steer(self, act: Callable[[Steering, str], str], done: str) -> None:
        found = step_of(self._view, self.position.place)
        if found is None or self._steering is None:
            return
        reason = act(self._steering, found[0].step_id)
        self.position.message = f"{found[0].plugin} {found[0].step} " + (reason or done)

    def _stop_run(self) -> None:
        if self._steering is not None:
            self._steering.stop()

    def _pause(self) -> None:
        if self._steering is not None:
            self._steering.pause(not self._steering.paused)
            paused = self._steering.paused
            self.position.message = "paused: nothing new starts; p goes on" if paused else "going on"

    def _input(self) -> None:
        place = step_to_answer(self.scene(), self.position)
        if place is not None:
            self.position.go(place)
            self.position.prompt = Prompt(Asking.ANSWER, place=place, hidden=self._hides(place))

    def _hides(self, place: Place) -> bool:
        console = self._steering.console(place.step_id) if self._steering is not None else None
        return console is not None and console.hides_input()

    def _pager(self) -> None:
        self.call_later(self._open_pager)

    async def _open_pager(self) -> None:
        path = self._log_path()
        if path is None:
            return
        with self.aside():
            message = await pager.show(path)
        self.position.message = message
        self.draw()
