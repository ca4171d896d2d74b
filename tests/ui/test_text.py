"""Width, cutting, durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.cleaning import clean_line
from update_all.ui.text import (
    ASCII_MARKS,
    Style,
    bar,
    columns,
    cut,
    display_width,
    duration,
    fit,
    size,
    sparkline,
    wrap,
)

TEXTS = st.text(max_size=60).map(clean_line)


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("👍", 2), ("✔ ok", 4), ("ﾊﾝ", 2)]
)
def test_display_width(text: str, width: int) -> None:
    assert display_width(text) == width


@given(text=TEXTS, width=st.integers(0, 40), ellipsis=st.sampled_from(["…", "..."]))
def test_cut_and_fit_keep_to_the_width(text: str, width: int, ellipsis: str) -> None:
    short = cut(text, width, ellipsis)
    assert display_width(short) <= width
    assert display_width(fit(text, width, ellipsis)) == width
    assert short == text if display_width(text) <= width else short.endswith(ellipsis[:width])


@given(text=TEXTS, width=st.integers(4, 40), indent=st.sampled_from(["", "  "]))
def test_wrap_keeps_the_words_and_the_width(text: str, width: int, indent: str) -> None:
    lines = wrap(text, width, indent)
    assert all(display_width(line) <= width and line.startswith(indent) for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@given(
    rows=st.lists(st.lists(TEXTS, min_size=1, max_size=4), max_size=5),
    width=st.integers(1, 60),
)
def test_columns_keep_to_the_width(rows: list[list[str]], width: int) -> None:
    lines = columns(rows, width)
    assert len(lines) == len(rows)
    assert all(display_width(line) <= width for line in lines)


def test_columns_align_wide_characters() -> None:
    assert columns([("日本", "x"), ("a", "y")], 40) == ["  日本  x", "  a     y"]


@pytest.mark.parametrize(
    ("seconds", "plain", "precise"),
    [
        (-1, "0s", "0.0s"),
        (0.94, "0s", "0.9s"),
        (9.96, "9s", "10s"),
        (59.6, "59s", "1m00s"),
        (95, "1m35s", "1m35s"),
        (7500, "2h05m", "2h05m"),
        (273_600, "3d04h", "3d04h"),
    ],
)
def test_duration(seconds: float, plain: str, precise: str) -> None:
    assert duration(seconds) == plain
    assert duration(seconds, precise=True) == precise


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (48_300_000, "48.3 MB"),
        (118_000_000, "118 MB"),
        (999_960, "1.0 MB"),
        (2 * 10**18, "2000 PB"),
    ],
)
def test_size(count: int, shown: str) -> None:
    assert size(count) == shown


@given(st.floats(-1, 2), st.integers(0, 30))
def test_bar_has_its_width(fraction: float, width: int) -> None:
    assert len(bar(fraction, width)) == width
    assert bar(fraction, width, ASCII_MARKS).isascii()


def test_sparkline() -> None:
    assert sparkline([]) == ""
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([0, 7]) == "▁█"
    assert sparkline([0.0, 5.0], ASCII_MARKS) == "_#"


def test_style_paints_only_with_colours() -> None:
    assert Style(colour=False).paint("x", "red") == "x"
    assert Style(colour=True).paint("x", "red") == "\x1b[31mx\x1b[0m"
    assert Style(colour=True).paint("", "red") == ""


@given(st.text(max_size=50))
def test_ascii_style_gives_printable_ascii_only(text: str) -> None:
    shown = Style(unicode=False).text(text)
    assert shown.isascii()
    assert shown.isprintable()


def test_ascii_style_spells_arrows_out() -> None:
    assert Style(unicode=False).text("1 → 2…") == "1 -> 2..."
