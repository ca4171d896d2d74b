"""The footer of the live view: which keys there are, and what is asked, on any terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import HOSTILE, LATER, START, middle_of_a_run, output, viewed

from update_all.core.streaming import StreamEvent, WarningEvent
from update_all.ui.footer import Footer, footer_line
from update_all.ui.live import LivePrinter, line_cap, render
from update_all.ui.region import visible_width
from update_all.ui.text import Style, display_width

SCREENS = Path(__file__).parent / "screens"
PLAIN = Footer()


def asked() -> list[StreamEvent]:
    """A run in whose middle a step asks something."""
    question = WarningEvent(
        plugin_name="go-runtime",
        step_name="download",
        code="needs-input",
        message="it needs an answer: name?",
    )
    events = middle_of_a_run()
    question.timestamp = events[-1].timestamp
    return [*events, question]


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 60)])
@pytest.mark.parametrize("charset", ["unicode", "ascii"])
def test_golden_screens_with_a_question(width: int, height: int, charset: str) -> None:
    style = Style(unicode=charset == "unicode")
    footer = Footer(answers_wanted=1, takes_input=True)
    lines = render(viewed(asked()), width, height, LATER, style, footer)
    expected = (SCREENS / f"asks-{width}x{height}-{charset}.txt").read_text(encoding="utf-8")
    assert "\n".join(lines) + "\n" == expected


TEXTS = st.text(max_size=60) | st.just(HOSTILE) | st.just("長い" * 40)
FOOTERS = st.builds(
    Footer,
    paused=st.booleans(),
    ending=st.booleans(),
    answers_wanted=st.integers(0, 12),
    takes_input=st.booleans(),
    question=st.just("") | TEXTS,
    choices=st.lists(TEXTS, max_size=12).map(tuple),
    note=st.just("") | TEXTS,
    all_keys=st.booleans(),
)


@settings(deadline=None)
@given(
    footer=FOOTERS,
    width=st.integers(1, 130),
    height=st.integers(2, 70),
    style=st.builds(Style, colour=st.booleans(), unicode=st.booleans()),
)
def test_it_is_one_line_that_fits(footer: Footer, width: int, height: int, style: Style) -> None:
    line = footer_line(footer, width, height, style)
    assert visible_width(line) <= width
    assert "\n" not in line
    assert style.unicode or line.isascii()
    lines = render(viewed(asked()), width, height, LATER, style, footer)
    assert len(lines) <= line_cap(height)
    assert all(visible_width(each) <= width for each in lines)
    assert not line or lines[-1] == line


@pytest.mark.parametrize(("width", "height", "shown"), [(80, 24, True), (59, 24, False), (80, 19, False)])
def test_the_keys_are_shown_where_there_is_room(width: int, height: int, shown: bool) -> None:
    assert bool(footer_line(PLAIN, width, height, Style())) is shown


def test_the_keys_are_shown_anywhere_to_who_asks_for_them() -> None:
    assert footer_line(Footer(all_keys=True), 40, 10, Style()) == "? keys   p pause   s skip"


@pytest.mark.parametrize(
    ("footer", "words"),
    [
        (Footer(paused=True), ["paused: nothing new starts", "p go on"]),
        (Footer(ending=True), ["ends after the running steps", "s skip"]),
        (Footer(answers_wanted=2, takes_input=True), ["2 steps need an answer: i", "i input"]),
        (Footer(note="apt:install must not be ended"), ["apt:install must not be ended"]),
        (Footer(question="Skip apt:install?", note="x"), ["Skip apt:install?  [y/N]"]),
        (Footer(question="Skip which?", choices=("a:b", "c:d")), ["1 a:b  2 c:d", "esc"]),
    ],
)
def test_what_is_the_matter_comes_first(footer: Footer, words: list[str]) -> None:
    line = footer_line(footer, 120, 24, Style())
    assert line.startswith(words[0]) or footer.choices
    assert all(word in line for word in words)
    assert footer.takes_input or "i input" not in line


def test_a_question_is_shown_even_on_the_smallest_terminal() -> None:
    lines = render(viewed(asked()), 30, 2, LATER, Style(), Footer(question="Skip apt:install?"))
    assert lines == ["Skip apt:install?  [y/N]"]


def test_who_asks_comes_before_who_works_until_it_says_something() -> None:
    lines = render(viewed(asked()), 100, 60, LATER, Style())
    assert lines[1].startswith("⌨ go-runtime")
    assert "it needs an answer: name?" in lines[1]
    answered = output("go-runtime", "download", "name? Ada")
    answered.timestamp = asked()[-1].timestamp
    lines = render(viewed([*asked(), answered]), 100, 60, LATER, Style())
    assert not any(line.startswith("⌨") for line in lines)


def test_the_bell_rings_once_for_a_question() -> None:
    stream = io.StringIO()
    printer = LivePrinter(stream, Style())
    for event in asked():
        printer.handle(event)
    printer.tick(START + 84)
    printer.tick(START + 95)
    printer.close()
    assert stream.getvalue().count("\a") == 1
    assert display_width("⌨") == 1
