"""The answers of the checks as they come in: golden screens, limits, and what is left of them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import HOSTILE

from update_all.core.models import Change
from update_all.core.streaming import CheckEvent
from update_all.ui.checks import ChecksPrinter, check_lines
from update_all.ui.live import line_cap
from update_all.ui.region import visible_width
from update_all.ui.text import Style

SCREENS = Path(__file__).parent / "screens"
NAMES = ["apt", "日本語ツール", "flatpak", "go-runtime", "npm", "pipx", "rustup", "snap"]


def answers() -> dict[str, CheckEvent]:
    many = tuple(Change(f"package-{number}", "1", "2") for number in range(23))
    return {
        "apt": CheckEvent(plugin_name="apt", status="updates", updates=many),
        "go-runtime": CheckEvent(
            plugin_name="go-runtime", status="updates", updates=(Change("go", "1.25.3", "1.26.0"),)
        ),
        "npm": CheckEvent(plugin_name="npm", status="up-to-date"),
        "日本語ツール": CheckEvent(
            plugin_name="日本語ツール",
            status="cannot-know",
            reason="索引に接続できません (index unreachable)",
        ),
    }


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 60)])
@pytest.mark.parametrize("charset", ["unicode", "ascii"])
def test_golden_screens(width: int, height: int, charset: str) -> None:
    lines = check_lines(NAMES, answers(), width, height, 2.4, Style(unicode=charset == "unicode"))
    expected = (SCREENS / f"checks-{width}x{height}-{charset}.txt").read_text(encoding="utf-8")
    assert "\n".join(lines) + "\n" == expected


TEXTS = st.text(max_size=50) | st.just(HOSTILE) | st.just("長い" * 30)
EVENTS = st.builds(
    CheckEvent,
    status=st.sampled_from(["updates", "up-to-date", "cannot-know"]),
    reason=TEXTS,
    updates=st.lists(st.builds(Change, item=TEXTS, old=TEXTS, new=TEXTS), max_size=3).map(tuple),
)


@settings(deadline=None)
@given(
    names=st.lists(TEXTS, max_size=12, unique=True),
    events=st.lists(EVENTS, max_size=12),
    width=st.integers(1, 130),
    height=st.integers(2, 60),
    style=st.builds(Style, colour=st.booleans(), unicode=st.booleans()),
)
def test_no_line_is_too_wide_and_there_are_not_too_many(
    names: list[str], events: list[CheckEvent], width: int, height: int, style: Style
) -> None:
    lines = check_lines(names, dict(zip(names, events, strict=False)), width, height, 2.0, style)
    assert 1 <= len(lines) <= line_cap(height)
    assert all(visible_width(line) <= width for line in lines)
    assert not any("\n" in line for line in lines)


def test_it_says_nothing_at_first_and_leaves_nothing_behind() -> None:
    stream = io.StringIO()
    printer = ChecksPrinter(stream, Style(), NAMES, began=1000.0)
    for event in answers().values():
        printer.handle(event)
    printer.tick(1000.2)
    assert stream.getvalue() == ""
    printer.tick(1000.6)
    shown = stream.getvalue()
    assert "23 updates" in shown
    printer.tick(1000.75)
    assert stream.getvalue() == shown, "nothing has changed"
    printer.close()
    assert stream.getvalue().endswith("\x1b[?25h")
    assert stream.getvalue().count("\x1b[?25l") == 1


def test_checks_that_are_quick_are_not_shown() -> None:
    stream = io.StringIO()
    printer = ChecksPrinter(stream, Style(), NAMES, began=1000.0)
    printer.tick(1000.3)
    printer.close()
    assert stream.getvalue() == ""
