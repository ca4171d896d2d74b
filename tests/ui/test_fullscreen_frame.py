"""The pictures of the full screen: golden ones, and what holds for all."""

from __future__ import annotations

from pathlib import Path

import pytest
from full_scenes import log_of, planned_run, position_in, scene_of
from hypothesis import given
from hypothesis import strategies as st
from stories import hostile_run, middle_of_a_run, whole_run

from update_all.core.streaming import StreamEvent
from update_all.ui.fullscreen.actions import ACTIONS, action_rows
from update_all.ui.fullscreen.frame import LogText, compose
from update_all.ui.fullscreen.position import Asking, Focus, Place, Prompt, Tab
from update_all.ui.fullscreen.spans import plain, width_of
from update_all.ui.text import display_width

SCREENS = Path(__file__).parent / "screens"
STREAMS = {"middle": middle_of_a_run(), "whole": whole_run(), "hostile": hostile_run(), "empty": []}
HUNDRED = [f"line {number}" for number in range(100)]


@pytest.mark.parametrize("tab", Tab)
@pytest.mark.parametrize("charset", ["unicode", "ascii"])
@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (200, 60)])
def test_golden_screens(width: int, height: int, charset: str, tab: Tab) -> None:
    scene = scene_of(planned_run(), unicode=charset == "unicode")
    position = position_in(scene, tab)
    position.focus = Focus.PANE
    frame = compose(scene, position, log_of(scene, position), width, height)
    golden = SCREENS / f"full-{tab.lower()}-{width}x{height}-{charset}.txt"
    assert plain(frame.rows) == golden.read_text("utf-8").split("\n")[:-1]


def test_the_narrow_screen_shows_the_steps_until_the_pane_is_asked_for() -> None:
    scene = scene_of(planned_run())
    position = position_in(scene)
    rows = plain(compose(scene, position, LogText(), 40, 10).rows)
    assert rows[1] == " Steps"
    assert any(row.startswith("›  ✖ update") for row in rows)
    position.focus = Focus.PANE
    rows = plain(compose(scene, position, LogText(), 40, 10).rows)
    assert rows[1].startswith("[1 Log]")


@given(
    width=st.integers(1, 130),
    height=st.integers(1, 50),
    name=st.sampled_from(sorted(STREAMS)),
    tab=st.sampled_from(list(Tab)),
    focus=st.sampled_from(list(Focus)),
    unicode=st.booleans(),
    zoomed=st.booleans(),
    helping=st.booleans(),
    top=st.one_of(st.none(), st.integers(0, 200)),
    prompt=st.one_of(st.none(), st.builds(Prompt, st.sampled_from(list(Asking)), st.text())),
    message=st.text(),
    needle=st.text(max_size=2),
)
def test_every_frame_fills_its_screen_exactly(
    width: int, height: int, name: str, tab: Tab, focus: Focus, unicode: bool, zoomed: bool,
    helping: bool, top: int | None, prompt: Prompt | None, message: str, needle: str,
) -> None:  # fmt: skip
    scene = scene_of(STREAMS[name], unicode=unicode)
    position = position_in(scene, tab)
    position.focus, position.zoomed, position.helping, position.top = focus, zoomed, helping, top
    position.prompt, position.message = prompt, message
    position.filters[focus] = needle
    log = LogText(HUNDRED, first=50)
    rows = compose(scene, position, log, width, height, [(action, "no") for action in ACTIONS]).rows
    assert len(rows) == height
    assert {width_of(row) for row in rows} == {max(width, 4)}
    text = "\n".join("".join(span.text for span in row) for row in rows)
    assert unicode or text.isascii()
    assert not any(ord(character) < 32 and character != "\n" for character in text)
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_what_is_hostile_is_clean_in_every_tab(name: str) -> None:
    scene = scene_of(STREAMS[name])
    for tab in Tab:
        position = position_in(scene, tab)
        text = "".join(plain(compose(scene, position, LogText(["\x1b[2Jx\u202ey\x00"]), 120, 40).rows))
        assert not {"\x1b", "\u202e", "\x00", "\x9b", "\x07"} & set(text)


def test_a_log_is_followed_to_its_end_and_scrolled_by_its_lines() -> None:
    scene = scene_of(middle_of_a_run())
    position = position_in(scene)
    log = LogText(HUNDRED, first=1000)
    frame = compose(scene, position, log, 80, 24)
    assert plain(frame.rows)[-2].endswith("│line 99")
    assert frame.first + frame.shown == frame.count == 1100
    position.top = 1010
    frame = compose(scene, position, log, 80, 24)
    assert any(row.endswith("│line 10") for row in plain(frame.rows))
    assert "1011-" in plain(frame.rows)[1]
    assert frame.first == 1010
    position.top = 3
    assert compose(scene, position, log, 80, 24).first == 1000, "what was dropped cannot be shown"


def test_a_long_line_of_a_log_is_shown_whole() -> None:
    scene = scene_of(middle_of_a_run())
    position = position_in(scene)
    line = "".join(chr(0x4E00 + number) for number in range(100))
    rows = plain(compose(scene, position, LogText([line]), 80, 24).rows)
    shown = "".join(row.partition("│")[2].strip() for row in rows[2:])
    assert line in shown


def test_the_filter_of_the_pane_leaves_the_lines_that_hold_it() -> None:
    scene = scene_of(middle_of_a_run())
    position = position_in(scene)
    position.filters[Focus.PANE] = "LINE 7"
    rows = plain(compose(scene, position, LogText(HUNDRED), 80, 24).rows)
    found = [row.partition("│")[2] for row in rows if "│line" in row]
    assert found == ["line 7", *(f"line 7{digit}" for digit in range(10))]
    position.filters[Focus.PANE] = "nowhere"
    assert "no line holds that" in "\n".join(plain(compose(scene, position, LogText(HUNDRED), 80, 24).rows))


def test_the_filter_of_the_tree_keeps_the_plugins_of_its_steps() -> None:
    scene = scene_of(middle_of_a_run())
    position = position_in(scene)
    position.filters[Focus.TREE] = "refresh"
    rows = [row[:24].strip() for row in plain(compose(scene, position, LogText(), 80, 24).rows)]
    assert [row.split()[1] for row in rows[2:] if row.strip("│ ")][:4] == [
        "apt",
        "refresh",
        "snap",
        "refresh",
    ]


def test_the_selected_step_is_always_visible() -> None:
    scene = scene_of(middle_of_a_run())
    position = position_in(scene)
    for plugin, row in scene.view.plugins.items():
        for step in row.steps:
            position.place = Place(plugin, step)
            rows = plain(compose(scene, position, LogText(), 80, 8).rows)
            assert sum(row.startswith("›") for row in rows) == 1, (plugin, step)


def ended(events: list[StreamEvent]) -> str:
    scene = scene_of(events)
    return plain(compose(scene, position_in(scene), LogText(), 80, 24).rows)[-1]


def test_the_last_line_says_that_the_run_is_over() -> None:
    assert "help" in ended(middle_of_a_run())
    assert ended(whole_run()).startswith("The run was interrupted. q or esc: leave, and see the summary")
    assert ended(hostile_run()).startswith("The run has ended: 1 plugin failed.")


def test_a_secret_answer_is_not_shown() -> None:
    scene = scene_of(middle_of_a_run())
    position = position_in(scene)
    position.prompt = Prompt(Asking.ANSWER, "hunter2", Place("apt", "install"), hidden=True)
    row = plain(compose(scene, position, LogText(), 80, 24).rows)[-1]
    assert row.startswith("answer for apt install: *******")
    position.prompt.hidden = False
    assert "hunter2" in plain(compose(scene, position, LogText(), 80, 24).rows)[-1]


def test_all_actions_are_listed_with_why_they_cannot_act() -> None:
    rows = plain(action_rows([(action, "because" if action.name == "skip" else "") for action in ACTIONS]))
    assert len(rows) == len(ACTIONS)
    assert [row for row in rows if "because" in row] == [" s          skip the step (not now: because)"]
    assert max(map(display_width, rows)) < 80
