"""The parts of the full screen that need no terminal: rows, places, the story of a run, the end of a log."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from full_scenes import Asked, Wheel, planned_run, position_in, scene_of, told
from hypothesis import given
from hypothesis import strategies as st
from stories import BEGIN, LATER, START, end, middle_of_a_run, output, start, viewed, whole_run

from update_all.core.models import Change
from update_all.core.streaming import (
    CheckEvent,
    CompletionEvent,
    RunStartEvent,
    StepEndEvent,
    StepStartEvent,
    StepWaitEvent,
)
from update_all.ui.fullscreen import pager
from update_all.ui.fullscreen.actions import ACTIONS, BY_KEY, matching, step_to_answer, why_not
from update_all.ui.fullscreen.logs import LINES_KEPT, LONGEST_LINE, READ_BYTES, LogTail
from update_all.ui.fullscreen.panes import changes
from update_all.ui.fullscreen.position import (
    Focus,
    Place,
    Position,
    Tab,
    beginning,
    first_visible,
    moved,
    next_error,
    places,
    step_of,
)
from update_all.ui.fullscreen.spans import Row, Span, beside, fitted, folded, plain, spread, width_of
from update_all.ui.text import display_width
from update_all.ui.view import State

TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cc", "Cs", "Cf", "Mn", "Me"]))
ROWS = st.lists(st.builds(Span, TEXT)).map(tuple)


@given(ROWS, st.integers(0, 40), st.sampled_from(["…", "..."]))
def test_a_fitted_row_has_its_width(row: Row, width: int, ellipsis: str) -> None:
    shown = fitted(row, width, ellipsis)
    assert width_of(shown) == width
    if width_of(row) <= width:
        assert plain([shown]) == plain([row])


@given(ROWS, ROWS, st.integers(9, 60))
def test_two_sides_share_a_row(left: Row, right: Row, width: int) -> None:
    assert width_of(spread(left, right, width, "…")) == width
    both = "".join(span.text for span in beside(left, right, width, "…"))
    assert display_width(both) == width
    if width_of(left) + width_of(right) < width:
        assert both.startswith("".join(span.text for span in left))
        assert both.endswith("".join(span.text for span in right))


@given(TEXT, st.integers(1, 20))
def test_folding_loses_nothing(line: str, width: int) -> None:
    parts = folded(line, width)
    assert "".join(parts) == line
    assert all(display_width(part) <= max(width, 2) for part in parts)


@given(st.integers(0, 100), st.integers(1, 100), st.integers(0, 30))
def test_what_is_visible_holds_the_selection(selected: int, count: int, height: int) -> None:
    selected = min(selected, count - 1)
    top = first_visible(selected, count, height)
    assert 0 <= top < count
    if height:
        assert top <= selected < top + height
        assert top + height <= max(count, height)


def test_places_are_in_the_order_of_the_run() -> None:
    view = viewed(middle_of_a_run())
    listed = places(view)
    assert listed[:3] == [Place("apt"), Place("apt", "refresh"), Place("apt", "download")]
    assert places(view, "NSTALL") == [Place("apt"), Place("apt", "install")]
    assert places(view, "texl") == [Place("texlive"), Place("texlive", "check"), Place("texlive", "update")]
    assert places(view, "zzz") == []


def test_moving_stops_at_both_ends() -> None:
    listed = places(viewed(middle_of_a_run()))
    assert moved(listed, listed[0], -1) == listed[0]
    assert moved(listed, listed[0], 1) == listed[1]
    assert moved(listed, listed[3], 1000) == listed[-1]
    assert moved(listed, Place("gone"), 1) == listed[0]
    assert moved([], None, 1) is None


def test_one_looks_first_at_what_failed_else_at_what_runs() -> None:
    assert beginning(viewed(middle_of_a_run())) == Place("texlive", "update")
    events = middle_of_a_run()
    running = [event for event in events if not isinstance(event, StepEndEvent | CompletionEvent)]
    assert beginning(viewed(running)) == Place("apt", "refresh")
    assert beginning(viewed(events[:1])) == Place("apt", "refresh"), "what will run, once it can"
    up_to_date = CheckEvent(plugin_name="adb", status="up-to-date")
    assert beginning(viewed([up_to_date, *events[:1]])) == Place("apt", "refresh")
    assert beginning(viewed([up_to_date])) == Place("adb")
    assert beginning(viewed([])) is None


def test_the_next_error_comes_round_again() -> None:
    view = viewed(middle_of_a_run())
    failed = Place("texlive", "update")
    assert next_error(view, None) == failed
    assert next_error(view, failed) == failed
    assert next_error(view, places(view)[-1]) == failed
    view.plugins["apt"].steps["refresh"].state = State.FAILED
    assert next_error(view, failed) == Place("apt", "refresh")
    assert next_error(view, Place("apt", "refresh")) == failed
    assert next_error(viewed(middle_of_a_run()[:5]), None) is None


def test_a_plugin_that_failed_outside_of_its_steps_is_an_error() -> None:
    view = viewed([*middle_of_a_run()[:5], CompletionEvent(plugin_name="snap", error_message="odd")])
    assert next_error(view, None) == Place("snap")


def test_a_plugin_stands_for_the_step_that_it_is_at() -> None:
    view = viewed(middle_of_a_run())
    found = step_of(view, Place("apt"))
    assert found is not None
    assert found[0] == Place("apt", "install")
    assert step_of(view, Place("apt", "nothing")) is None
    assert step_of(view, Place("nothing", "x")) is None


def test_back_undoes_one_thing_after_the_other() -> None:
    position = Position(focus=Focus.PANE, zoomed=True, helping=True)
    position.filters[Focus.PANE] = "x"
    assert [position.back() for _ in range(5)] == [True, True, True, True, False]
    assert (position.helping, position.zoomed, position.focus) == (False, False, Focus.TREE)
    assert position.filters[Focus.PANE] == ""


def test_another_step_is_followed_but_no_other_tab_is_left() -> None:
    position = Position(place=Place("a", "1"), top=7)
    position.go(Place("a", "1"))
    assert position.top == 7
    position.go(Place("a", "2"))
    assert position.top is None
    position.show(Tab.GRAPH)
    assert position.top == 0
    position.go(Place("a", "1"))
    assert (position.tab, position.top) == (Tab.GRAPH, 0)


def test_the_story_keeps_no_output() -> None:
    story = told(middle_of_a_run())
    size = len(story._events)
    for _ in range(1000):
        story.apply(output("apt", "install", "much"))
        story.apply(StepWaitEvent(plugin_name="flatpak", step_name="prepare", mutex="m", holder="apt"))
    assert len(story._events) == size + 1


def test_a_wait_ends_with_the_first_output() -> None:
    events = [
        RunStartEvent(run_id="r"),
        start("a", "s"),
        StepWaitEvent(plugin_name="a", step_name="s", reason="a lock", holder="apt"),
        output("a", "s", "on it goes"),
        output("a", "s", "and on"),
    ]
    for second, event in enumerate(events):
        event.timestamp = BEGIN + timedelta(seconds=second)
    (part,) = told(events).parts(START + 10)
    (wait,) = part.waits
    assert wait.seconds == 1
    assert [span.seconds for span in part.spans] == [9]


def test_what_runs_does_so_until_now_and_what_ended_does_not() -> None:
    (part,) = told(middle_of_a_run()).parts(LATER)
    install = next(span for span in part.spans if span.step == "install")
    assert install.end == pytest.approx(LATER)
    (part,) = told(whole_run()).parts(LATER + 1000)
    assert part.end == pytest.approx(START + 130)


def test_the_story_knows_the_attempt_and_the_log() -> None:
    story = told([StepStartEvent(plugin_name="a", step_name="s", attempt=2)])
    assert story.attempts["a", "s"] == 2
    assert ("a", "s") not in story.logs
    story.apply(StepEndEvent(plugin_name="a", step_name="s", attempts=3, log="/x.log"))
    assert story.attempts["a", "s"] == 3
    assert story.logs["a", "s"] == "/x.log"


def test_changes_are_those_made_then_those_to_come() -> None:
    events = planned_run()
    lines = plain(changes(scene_of(events)))
    assert lines[:2] == ["rustup  1", "  stable  1.97.0 → 1.98.0"]
    assert "  gone  3 removed" in lines[lines.index("Still to come") :]
    assert "  new  1 (new)" in lines
    done = end("snap", "refresh", 1.0, Change("stable", "1.0", "1.2", security=True))
    lines = plain(changes(scene_of([*events, done])))
    assert "  stable  1.0 → 1.2  security" in lines
    assert "Still to come" not in lines


def test_every_key_has_one_action_and_every_action_a_key() -> None:
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys)) == len(BY_KEY)
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)


def test_an_action_is_found_by_its_name_first() -> None:
    assert matching("pau")[0].name == "pause"
    assert matching("$PAGER")[0].name == "pager"
    assert matching("zzz") == []
    assert matching("") == list(ACTIONS)


@pytest.mark.parametrize(
    ("name", "whole", "steering", "reason"),
    [
        ("retry", False, None, "another terminal"),
        ("pause", True, Wheel(), "has ended"),
        ("skip", False, Wheel(), ""),
        ("input", False, Wheel(), "no step takes input"),
        ("input", False, Wheel(consoles={"apt:install": Asked()}), ""),
        ("error", False, None, ""),
        ("down", True, None, ""),
    ],
)
def test_a_key_that_cannot_act_says_why(name: str, whole: bool, steering: Wheel | None, reason: str) -> None:
    scene = scene_of(whole_run() if whole else middle_of_a_run())
    if steering is not None:
        scene = type(scene)(
            scene.view, scene.story, scene.style, scene.now, takes_input=tuple(steering.consoles)
        )
    action = next(action for action in ACTIONS if action.name == name)
    said = why_not(action, scene, position_in(scene), steering, has_log=True)
    assert reason in said
    assert bool(said) is bool(reason)


def test_the_selected_step_is_answered_before_others() -> None:
    base = scene_of(middle_of_a_run())
    asking = ("snap:refresh", "apt:install")
    scene = type(base)(base.view, base.story, base.style, base.now, takes_input=asking)
    assert step_to_answer(scene, Position(place=Place("apt", "install"))) == Place("apt", "install")
    assert step_to_answer(scene, Position(place=Place("rustup"))) == Place("snap", "refresh")
    assert step_to_answer(base, Position()) is None


def test_a_log_is_read_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    tail.poll()
    assert tail.shown == []
    path.write_bytes(b"one\ntwo\nna")
    tail.poll()
    assert tail.shown == ["one", "two", "na"]
    with path.open("ab") as file:
        file.write("me é".encode()[:-1])
    tail.poll()
    with path.open("ab") as file:
        file.write("é".encode()[-1:] + b"\r\nend\n")
    tail.poll()
    assert tail.shown == ["one", "two", "name é", "end"]
    assert tail.taken == 4
    path.write_bytes(b"anew\n")
    tail.poll()
    assert tail.shown == ["anew"]


def test_a_long_log_is_kept_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    for part in range(4):
        with path.open("a") as file:
            file.writelines(f"line {part * 2500 + number}\n" for number in range(2500))
        tail.poll()
    assert len(tail.shown) == LINES_KEPT
    assert tail.taken == 10_000
    assert (tail.shown[0], tail.shown[-1]) == ("line 5000", "line 9999")
    assert not tail.skipped


def test_who_is_far_behind_skips_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"%07d\n" % number for number in range(READ_BYTES // 4)))
    tail = LogTail(path)
    tail.poll()
    assert tail.skipped
    assert tail.shown[-1] == f"{READ_BYTES // 4 - 1:07}"
    assert all(len(line) == 7 for line in tail.shown)


def test_a_line_without_an_end_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    with path.open("ab") as file:
        for _ in range(8):
            file.write(b"x" * READ_BYTES)
            file.flush()
            tail.poll()
    assert len("".join(tail.shown)) <= LONGEST_LINE


@pytest.mark.parametrize(
    ("environ", "words"),
    [({"PAGER": "less -R"}, ["less", "-R"]), ({"PAGER": "'", "PATH": ""}, []), ({"PATH": ""}, [])],
)
def test_the_pager_is_the_persons(environ: dict[str, str], words: list[str]) -> None:
    assert pager.pager_command(environ) == words


def test_a_pager_that_never_gets_the_terminal_is_killed() -> None:
    argv = ["sh", "-c", "while :; do kill -STOP $$; done"]
    pid = os.posix_spawnp(argv[0], argv, dict(os.environ), setpgroup=0)
    assert pager._end_of(pid) == -signal.SIGKILL
