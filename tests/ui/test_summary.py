"""The summary: changes first, failures last, everything within the width."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import end, hostile_run, middle_of_a_run, output, start, viewed, whole_run

from update_all.core.models import Change
from update_all.core.streaming import (
    CheckEvent,
    CompletionEvent,
    RunEndEvent,
    StepEndEvent,
    StepNotRunEvent,
)
from update_all.ui.summary import chosen_lines, merged, summary
from update_all.ui.text import Style, display_width
from update_all.ui.view import State

SCREENS = Path(__file__).parent / "screens"
ADVICE = [("Restart needed", "kernel 6.8.0-90 installed, 6.8.0-88 running")]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("charset", ["unicode", "ascii"])
def test_golden_summaries(width: int, charset: str) -> None:
    lines = summary(viewed(whole_run()), width, Style(unicode=charset == "unicode"), advice=ADVICE)
    expected = (SCREENS / f"summary-{width}-{charset}.txt").read_text(encoding="utf-8")
    assert "\n".join(lines) + "\n" == expected


@settings(deadline=None)
@given(width=st.integers(12, 120), unicode=st.booleans())
def test_only_paths_and_commands_may_exceed_the_width(width: int, unicode: bool) -> None:
    for events in (whole_run(), middle_of_a_run(), hostile_run()):
        for line in summary(viewed(events), width, Style(unicode=unicode), advice=ADVICE):
            copied = line.startswith(("  Log ", "  Resume ", "  Why ", "Go on with"))
            assert copied or display_width(line) <= width
            assert unicode or line.isascii()


def test_failures_come_last_with_log_and_command() -> None:
    lines = summary(viewed(middle_of_a_run()), 80, Style())
    assert lines[-1] == "  Resume  update-all resume texlive"
    assert lines[-2] == "  Log     ~/.local/state/update-all/runs/r1/texlive.update.log"
    begin = lines.index("✖ texlive › update failed after 25s: tlmgr exited with 1")
    assert "" not in lines[begin:]
    assert "  No change was reported." in lines[begin:]


def test_failure_counts_the_changes_before_it() -> None:
    failed = StepEndEvent(plugin_name="p", step_name="b", success=False, exit_code=3)
    lines = summary(viewed([end("p", "a", 1.0, Change("x", "1", "2")), start("p", "b"), failed]), 80, Style())
    assert "✖ p › b failed: exited with 3" in lines
    assert "  1 change made before it." in lines


def test_changes_are_folded() -> None:
    changes = [Change(f"item{number}", "1", "2") for number in range(20)]
    lines = summary(viewed([end("p", "a", 1.0, *changes)]), 80, Style(), changes_shown=3)
    assert sum("item" in line and "→" in line for line in lines) == 3
    assert any("… 17 more" in line for line in lines)
    assert not any("more" in line for line in summary(viewed([end("p", "a", 1.0, *changes)]), 80, Style(),
                                                      changes_shown=20))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([Change("a", "1", "2"), Change("a", "2", "3")], [Change("a", "1", "3")]),
        ([Change("a", "1", "2"), Change("b", "1", None)], [Change("b", "1", None), Change("a", "1", "2")]),
        (
            [Change("a", "1", None), Change("b", "1", "2", security=True)],
            [Change("b", "1", "2", security=True), Change("a", "1", None)],
        ),
    ],
)
def test_merged(changes: list[Change], expected: list[Change]) -> None:
    assert merged(changes) == expected


def test_headlines() -> None:
    ended = RunEndEvent(duration_seconds=3.0)
    nothing = viewed([CheckEvent(plugin_name="p", status="up-to-date"), ended])
    assert summary(nothing, 80, Style()) == ["Nothing to do (3.0s) · 1 up to date"]
    unsaid = viewed([start("p", "a"), end("p", "a"), CompletionEvent(plugin_name="p", success=True), ended])
    assert summary(unsaid, 80, Style()) == ["Done in 3.0s, no changes reported"]
    stopped = RunEndEvent(duration_seconds=3.0, interrupted=True)
    interrupted = summary(viewed([start("p", "a"), stopped]), 80, Style())
    assert interrupted[0] == "Nothing was updated in 3.0s · interrupted · 1 not finished"
    assert interrupted[-1] == "Go on with: update-all resume"


def test_skipped_plugins_and_warnings_are_told_with_their_reason() -> None:
    events = [CheckEvent(plugin_name="gem", status="cannot-know", reason="the index is unreachable")]
    lines = summary(viewed([*events, *whole_run()[10:]]), 80, Style())
    assert "⊘ gem: the index is unreachable" in lines
    assert "⚠ apt: a repository is unreachable (see: explain apt)" in lines


def test_chosen_lines_surround_the_error() -> None:
    lines = [f"line {number}" for number in range(100)]
    assert chosen_lines(lines, "exit 1") == lines[-12:]
    lines[50] = "E: Unable to fetch some archives"
    chosen = chosen_lines(lines, "exit 1")
    assert len(chosen) == 12
    assert lines[50] in chosen
    assert {lines[45], lines[52]} <= set(chosen)
    lines[20] = "disk quota exceeded here"
    assert lines[20] in chosen_lines(lines, "failed: disk quota exceeded here")


@given(st.lists(st.text(max_size=20), max_size=40), st.text(max_size=30), st.integers(1, 15))
def test_chosen_lines_are_a_run_of_the_lines(lines: list[str], message: str, limit: int) -> None:
    chosen = chosen_lines(lines, message, limit)
    assert len(chosen) == min(limit, len(lines))
    assert any(lines[at : at + len(chosen)] == chosen for at in range(len(lines) + 1))


def test_long_output_of_a_failure_is_limited() -> None:
    noise = "\n".join(f"row {number}" for number in range(500))
    failed = StepEndEvent(plugin_name="p", step_name="a", success=False, error_message="exited with 1")
    lines = summary(viewed([start("p", "a"), output("p", "a", noise), failed]), 80, Style())
    assert sum(line.startswith("    row") for line in lines) == 12


def test_where_to_read_on_and_how_to_undo_come_last_and_dim_after_a_good_run() -> None:
    changed = [start("go", "a"), end("go", "a", 1.0, Change("go", "1.25.3", "1.25.4"))]
    good = [*changed, CompletionEvent(plugin_name="go", success=True), RunEndEvent(duration_seconds=3.0)]
    lines = summary(viewed(good), 80, Style(), undo=["go"])
    assert lines[-3:] == ["", "Report  update-all report", "Undo    update-all rollback go"]
    assert summary(viewed(good), 80, Style(colour=True))[-1] == "\x1b[2mReport  update-all report\x1b[0m"
    failed = [start("p", "b"), StepEndEvent(plugin_name="p", step_name="b", success=False)]
    broken = summary(viewed([*changed, *failed, CompletionEvent(plugin_name="p"), *good[2:]]), 80, Style())
    assert broken[-1].startswith("  Resume"), "failures come last"
    assert not any("update-all report" in line for line in broken)
    nothing = [start("go", "a"), end("go", "a"), CompletionEvent(plugin_name="go", success=True)]
    assert not any("update-all" in line for line in summary(viewed(nothing), 80, Style(), undo=["go"]))


def test_what_somebody_skipped_has_not_failed_and_is_not_done() -> None:
    ended = StepEndEvent(
        plugin_name="p", step_name="a", success=False, error_code="skipped", error_message="was ended"
    )
    left = StepNotRunEvent(plugin_name="q", step_name="a", reason="skipped")
    lost = StepNotRunEvent(plugin_name="q", step_name="b", reason="not run, because q:a was skipped")
    last = [CompletionEvent(plugin_name=name, exit_code=1) for name in ("p", "q")]
    over = RunEndEvent(exit_code=1, duration_seconds=3.0)
    view = viewed([start("p", "a"), ended, left, lost, *last, over])
    assert [row.state for row in view.plugins.values()] == [State.SKIPPED, State.SKIPPED]
    assert summary(view, 80, Style()) == [
        "Nothing was updated in 3.0s · 2 skipped",
        "",
        "⊘ skipped while it ran: p a",
        "⊘ skipped before it ran: q a",
        "",
        "Go on with: update-all resume",
    ]
    again = viewed([start("p", "a"), ended, start("p", "a"), end("p", "a"), last[0]])
    assert not again.plugins["p"].steps["a"].by_hand, "a later attempt did it"
