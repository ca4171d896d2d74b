"""The whole terminal for one run: its steps beside their logs, graph, timeline and changes.

Drawn by Textual, the optional extra `tui`, in the event loop of the run: whoever looks away loses nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from update_all.ui.fullscreen.story import Story
from update_all.ui.terminal import is_terminal
from update_all.ui.text import Style
from update_all.ui.view import RunView

__all__ = ["Console", "FullScreen", "Logs", "Reason", "Steering", "Story", "why_not_here"]

Logs = Callable[[str, str], Path | None]
"""Where the log of a step is, by the names of its plugin and of itself; None for nowhere."""


class Reason(StrEnum):
    """Why the full screen ended."""

    BACK = "back"
    """The person wants the live view again."""
    LEFT = "left"
    """The person wants to see no more of it."""
    LOST = "lost"
    """The terminal is gone."""
    BROKEN = "broken"
    """The screen itself failed; the run did not."""


class Console(Protocol):
    """The terminal of a step that may ask (core.console)."""

    @property
    def asks(self) -> bool:
        """Whether the step waits for an answer."""

    def hides_input(self) -> bool:
        """Whether what is typed must not be shown."""


class Steering(Protocol):
    """What a person may do with a run (core.steering). Where a string is returned: "" or why not."""

    @property
    def paused(self) -> bool:
        """Whether nothing new starts."""

    def pause(self, on: bool) -> None:
        """Start nothing new, or go on."""

    def stop(self) -> object:
        """One rung of the Ctrl-C ladder."""

    def skip(self, step_id: str) -> str:
        """Do not run a step, or end it."""

    def retry(self, step_id: str) -> str:
        """Run a failed step again."""

    def wants_input(self) -> list[str]:
        """The steps that take input, those that wait for an answer first."""

    def answer(self, step_id: str, text: str) -> str:
        """Answer a step with a line of text."""

    def console(self, step_id: str) -> Console | None:
        """The terminal of a step, None where it has none."""


def why_not_here(environ: Mapping[str, str] = os.environ) -> str:
    """Why there can be no full screen here, with what to do; "" if there can."""
    if find_spec("textual") is None:
        return "the full screen needs Textual, which is not installed: pip install 'update-all[tui]'"
    for stream, name in ((sys.__stdin__, "standard input"), (sys.__stdout__, "standard output")):
        if stream is None or not is_terminal(stream, environ):
            return f"the full screen needs a terminal, and {name} is none"
    return ""


class FullScreen:
    """One visit to the full screen of a run.

    `view` and `feed` are kept up to date by the caller in the same event loop. Without `steering` the keys
    that act on the run say that they cannot.
    """

    def __init__(
        self, view: RunView, feed: Story, steering: Steering | None, logs: Logs, style: Style
    ) -> None:
        from update_all.ui.fullscreen.app import FullScreenApp

        self._app = FullScreenApp(view, feed, steering, logs, style)

    async def show(self) -> tuple[Reason, str]:
        """Show the run until the person leaves; why it ended, with words where the screen is broken.

        The terminal is left as it was found. Call it only where `why_not_here` has no reason, from the main
        thread, with nobody else reading the terminal.
        """
        from update_all.ui.fullscreen.driver import kept_process_state

        with kept_process_state():
            reason = await self._app.run_async(mouse=False)
        if self._app.broken or reason is None:
            return Reason.BROKEN, self._app.broken
        return reason, ""

    def close(self) -> None:
        """End the visit from outside."""
        self._app.leave(Reason.BACK)

    def aside(self) -> AbstractContextManager[None]:
        """Give the terminal to somebody else for a while."""
        return self._app.aside()
