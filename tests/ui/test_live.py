"""The live view: golden screens, its limits for any run, and what the printer writes."""

from __future__ import annotations

import io
import re
import unicodedata
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import BEGIN, HOSTILE, LATER, START, end, middle_of_a_run, output, plan, start, viewed, whole_run

from update_all.core.streaming import (
    CompletionEvent,
    ProgressEvent,
    RunStartEvent,
    StepEndEvent,
    StepWaitEvent,
    StreamEvent,
)
from update_all.ui.live import LivePrinter, line_cap, render
from update_all.ui.region import visible_width
from update_all.ui.text import Style, display_width

SCREENS = Path(__file__).parent / "screens"
COLOUR = re.compile(r"\x1b\[\d*m")


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 60)])
@pytest.mark.parametrize("charset", ["unicode", "ascii"])
def test_golden_screens(width: int, height: int, charset: str) -> None:
    style = Style(unicode=charset == "unicode")
    lines = render(viewed(middle_of_a_run()), width, height, LATER, style)
    expected = (SCREENS / f"live-{width}x{height}-{charset}.txt").read_text(encoding="utf-8")
    assert "\n".join(lines) + "\n" == expected
    coloured = render(viewed(middle_of_a_run()), width, height, LATER, Style(True, style.unicode))
    assert [COLOUR.sub("", line) for line in coloured] == lines


NAMES = st.sampled_from(["apt", "日本語", "a-very-long-plugin-name-indeed", HOSTILE, "é"])
STEPS = st.sampled_from(["refresh", "更新する", "x" * 60, HOSTILE])
WORDS = st.text(max_size=80) | st.just(HOSTILE) | st.just("長い" * 50)
EVENTS = st.one_of(
    st.builds(start, NAMES, STEPS, st.integers(0, 3), st.integers(0, 4)),
    st.builds(end, NAMES, STEPS),
    st.builds(output, NAMES, STEPS, WORDS),
    st.builds(StepWaitEvent, plugin_name=NAMES, step_name=STEPS, reason=WORDS, mutex=WORDS, holder=WORDS),
    st.builds(
        ProgressEvent, plugin_name=NAMES, step_name=STEPS, message=WORDS,
        percent=st.none() | st.floats(-1, 200), bytes_downloaded=st.none() | st.integers(0, 10**15),
        bytes_total=st.none() | st.integers(0, 10**15),
    ),
    st.builds(
        StepEndEvent, plugin_name=NAMES, step_name=STEPS, success=st.booleans(), skipped=st.booleans(),
        error_message=WORDS,
    ),
    st.builds(
        CompletionEvent, plugin_name=NAMES, success=st.booleans(), error_message=WORDS,
        up_to_date=st.booleans(),
    ),
    st.builds(
        RunStartEvent, plugins=st.just(plan(("apt", {"refresh": 1.0}), ("日本語", {"更新する": None}))),
        expected_low=st.none() | st.floats(0, 1e6), expected_high=st.none() | st.floats(0, 1e6),
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    events=st.lists(EVENTS, max_size=30),
    width=st.integers(1, 130),
    height=st.integers(1, 70),
    style=st.builds(Style, colour=st.booleans(), unicode=st.booleans()),
)
def test_no_line_is_too_wide_and_there_are_not_too_many(
    events: list[StreamEvent], width: int, height: int, style: Style
) -> None:
    for number, event in enumerate(events):
        event.timestamp = BEGIN + timedelta(seconds=number)
    lines = render(viewed(events), width, height, START + 100, style)
    plain = [COLOUR.sub("", line) for line in lines]
    assert all(display_width(line) <= width for line in plain)
    assert [visible_width(line) for line in lines] == [display_width(line) for line in plain]
    assert 1 <= len(lines) <= line_cap(height)
    assert not {unicodedata.category(one) for line in plain for one in line} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert style.unicode or all(line.isascii() for line in plain)


def test_order_is_failed_running_waiting() -> None:
    lines = render(viewed(middle_of_a_run()), 100, 60, LATER, Style())
    assert [line[:2] for line in lines[:6]] == ["✖ ", "► ", "► ", "► ", "◷ ", "◷ "]
    assert [line.split()[1] for line in lines[1:4]] == ["apt", "日本語ツール", "go-runtime"]


def test_waiting_row_names_mutex_and_holder() -> None:
    text = "\n".join(render(viewed(middle_of_a_run()), 100, 60, LATER, Style()))
    assert "waits for network (held by apt refresh)" in text


def test_silence_is_told_after_a_minute() -> None:
    view = viewed(middle_of_a_run())
    assert "no output for" not in render(view, 80, 24, START + 60.5, Style())[2]
    assert "no output for 1m01s" in render(view, 80, 24, START + 62.5, Style())[2]


def test_time_left_is_a_range_and_hidden_when_unknown() -> None:
    view = viewed(middle_of_a_run())
    assert "about 1m16s left (±40s)" in render(view, 80, 24, LATER, Style())[-1]
    view.expected_low = None
    assert "left" not in render(view, 80, 24, LATER, Style())[-1]


class Terminal(io.StringIO):
    """A stream without a size of its own: 80 × 24."""


def frames(events: list[StreamEvent], *ticks: float) -> tuple[LivePrinter, Terminal, list[int]]:
    terminal = Terminal()
    printer = LivePrinter(terminal, Style())
    lengths = []
    for event in events:
        printer.handle(event)
    for tick in ticks:
        printer.tick(START + tick)
        lengths.append(len(terminal.getvalue()))
    return printer, terminal, lengths


def test_nothing_is_drawn_in_the_first_half_second() -> None:
    _, _, lengths = frames([RunStartEvent(timestamp=BEGIN)], 0.0, 0.3, 0.49, 0.51)
    assert lengths[:3] == [0, 0, 0]
    assert lengths[3] > 0


def test_at_most_ten_frames_a_second_and_only_on_change() -> None:
    printer, terminal, _ = frames(middle_of_a_run(), 83.61)
    event = output("apt", "install", "next line")
    event.timestamp = BEGIN + timedelta(seconds=83.62)
    printer.handle(event)
    lengths = [len(terminal.getvalue())]
    for tick in (83.65, 83.7, 83.72, 83.85, 83.95):
        printer.tick(START + tick)
        lengths.append(len(terminal.getvalue()))
    assert lengths[0] == lengths[1] == lengths[2] < lengths[3] == lengths[4] == lengths[5]


def test_finished_plugins_and_warnings_are_written_once() -> None:
    printer, terminal, _ = frames(whole_run(), 83.0, 84.0, 85.0)
    printer.close()
    printer.close()
    text = terminal.getvalue()
    assert text.count("✔ rustup  stable 1.97.0 → 1.98.0") == 1
    assert text.count("⚠ apt: a repository is unreachable") == 1
    assert text.count("✖ texlive  tlmgr exited with 1") == 1


def test_close_restores_cursor_and_wrapping() -> None:
    printer, terminal, _ = frames(middle_of_a_run(), 83.0)
    assert terminal.getvalue().count("\x1b[?25l") == 1
    printer.close()
    printer.tick(START + 99)
    assert terminal.getvalue().endswith("\x1b[?7h\x1b[?25h")


def test_close_of_a_short_run_still_tells_what_ended() -> None:
    printer, terminal, _ = frames(whole_run())
    printer.close()
    assert "✔ rustup" in terminal.getvalue()
    assert "\x1b[?25l" not in terminal.getvalue()


def test_a_lost_terminal_does_not_stop_the_run() -> None:
    printer, terminal, _ = frames(middle_of_a_run(), 83.0)
    terminal.close()
    printer.handle(output("apt", "install", "more"))
    printer.tick(START + 90)
    printer.close()
    assert printer.view.plugins["apt"].steps["install"].tail.last_line == "more"
