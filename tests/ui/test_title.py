"""The title of the window and the progress beside it: only where they are shown, and put back."""

from __future__ import annotations

import io

import pytest
from stories import START, middle_of_a_run, viewed, whole_run

from update_all.core.streaming import WarningEvent
from update_all.ui.live import LivePrinter
from update_all.ui.printers import make_printer
from update_all.ui.text import Style
from update_all.ui.title import progress_of, shows_progress, shows_title, title_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(environ: dict[str, str] | None) -> str:
    stream = Terminal()
    printer = LivePrinter(stream, Style(), environ)
    events = whole_run()
    for event in events:
        printer.handle(event)
        printer.tick(event.timestamp.timestamp())
    printer.tick(START + 1000)
    printer.close()
    printer.close()
    return stream.getvalue()


@pytest.mark.parametrize("term", ["dumb", "linux", "vt100", "", "ansi"])
def test_a_console_gets_no_title(term: str) -> None:
    assert not shows_title({"TERM": term})
    assert "\x1b]" not in written({"TERM": term})
    assert "\x1b]" not in written(None)


def test_the_title_follows_the_run_and_is_put_back() -> None:
    text = written({"TERM": "xterm-256color"})
    assert text.count("\x1b[22;2t") == text.count("\x1b[23;2t") == 1
    assert text.index("\x1b[22;2t") < text.index("\x1b]2;update-all ") < text.index("\x1b[23;2t")
    assert text.endswith("\x1b[23;2t")
    assert "\x1b]9" not in text


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({"WT_SESSION": "x"}, True),
        ({"ConEmuANSI": "ON"}, True),
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"TERM_PROGRAM": "iTerm.app"}, False),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_FEATURES": "T3P"}, True),
        ({"VTE_VERSION": "7600"}, False),
        ({"VTE_VERSION": "8100"}, True),
        ({"TERM": "xterm"}, False),
    ],
)
def test_progress_goes_only_to_terminals_that_show_it(environ: dict[str, str], shown: bool) -> None:
    assert shows_progress(environ) is shown
    text = written({"TERM": "xterm", **environ})
    assert ("\x1b]9;4;" in text) is shown
    assert text.endswith("\x1b]9;4;0\x1b\\") is shown


def test_what_they_say() -> None:
    view = viewed(middle_of_a_run())
    assert title_of(view) == "update-all 4/13, 1 plugin failed"
    assert progress_of(view).startswith("\x1b]9;4;2;")
    view.apply(WarningEvent(plugin_name="apt", step_name="install", code="needs-input", message="name?"))
    assert title_of(view) == "update-all 4/13 needs an answer"
    assert title_of(viewed([])) == "update-all 0/0"


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_pipe_gets_neither(term: str) -> None:
    stream = io.StringIO()
    printer = make_printer("live", stream, environ={"TERM": term, "WT_SESSION": "x"})
    for event in whole_run():
        printer.handle(event)
    printer.tick(START + 1000)
    printer.close()
    assert "\x1b]" not in stream.getvalue()
