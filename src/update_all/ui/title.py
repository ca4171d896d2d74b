"""The title of the terminal's window, and the progress that some terminals show with it.

Titles: xterm's ctlseqs, OSC 2 and the title stack (CSI 22;2t, 23;2t). Progress: OSC 9;4 of ConEmu's
/en/AnsiEscapeCodes.html. Others take OSC 9 for a notification, so it goes only to those known to show it.
"""

from __future__ import annotations

from collections.abc import Mapping

from update_all.ui.terminal import Sink
from update_all.ui.text import plural
from update_all.ui.view import RunView, State

SAVE_TITLE, RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"
NO_PROGRESS = "\x1b]9;4;0\x1b\\"
_WITHOUT_TITLE = ("linux", "dumb", "vt", "cons", "ansi", "unknown")
_OLDEST_VTE = 7900


def shows_title(environ: Mapping[str, str]) -> bool:
    """Whether the terminal has a title: a console has none, and prints what it does not know."""
    term = environ.get("TERM", "dumb")
    return bool(term) and not term.startswith(_WITHOUT_TITLE)


def shows_progress(environ: Mapping[str, str]) -> bool:
    """Whether the terminal is one of those that show a progress."""
    vte = environ.get("VTE_VERSION", "")
    return (
        environ.get("ConEmuANSI") == "ON"
        or "WT_SESSION" in environ
        or environ.get("TERM_PROGRAM") in {"WezTerm", "ghostty"}
        or (environ.get("TERM_PROGRAM") == "iTerm.app" and "P" in environ.get("TERM_FEATURES", ""))
        or (vte.isdecimal() and int(vte) >= _OLDEST_VTE)
    )


def title_of(view: RunView) -> str:
    """What the title says of a run. Pure."""
    steps = list(view.steps)
    done = sum(step.state in {State.DONE, State.SKIPPED} for step in steps)
    text = f"update-all {done}/{len(steps)}"
    if any(step.asks for step in steps):
        return f"{text} needs an answer"
    failed = len(view.rows(State.FAILED))
    return f"{text}, {plural(failed, 'plugin')} failed" if failed else text


def progress_of(view: RunView) -> str:
    """The progress of a run as OSC 9;4: state 1 is normal, 2 an error. Pure."""
    steps = list(view.steps)
    ended = sum(step.state.ended for step in steps)
    percent = 100 * ended // len(steps) if steps else 0
    return f"\x1b]9;4;{2 if view.rows(State.FAILED) else 1};{percent}\x1b\\"


class Title:
    """Writes title and progress when they change, and puts both back in `close`."""

    def __init__(self, sink: Sink, environ: Mapping[str, str]) -> None:
        self._sink = sink
        self._title = shows_title(environ)
        self._progress = shows_progress(environ)
        self._shown = ""

    def show(self, view: RunView) -> None:
        """Say where the run is."""
        text = f"\x1b]2;{title_of(view)}\x1b\\" if self._title else ""
        text += progress_of(view) if self._progress else ""
        if text != self._shown:
            self._sink.write((SAVE_TITLE if self._title and not self._shown else "") + text)
            self._shown = text

    def close(self) -> None:
        """Leave the window as it was."""
        if self._shown:
            self._sink.write((RESTORE_TITLE if self._title else "") + (NO_PROGRESS if self._progress else ""))
            self._shown = ""
