"""Plain lines: what a pipe or a log gets."""

from __future__ import annotations

import io
from datetime import timedelta

from stories import BEGIN, START, middle_of_a_run, output, start, whole_run

from update_all.core.streaming import CompletionEvent, RunStartEvent, StepEndEvent, StepWaitEvent, StreamEvent
from update_all.ui.plain import PlainPrinter
from update_all.ui.text import Style


def printed(events: list[StreamEvent], *, close: bool = True) -> list[str]:
    stream = io.StringIO()
    printer = PlainPrinter(stream, Style())
    for event in events:
        printer.handle(event)
    if close:
        printer.close()
    return stream.getvalue().splitlines()


def test_a_line_for_each_start_wait_end_and_warning() -> None:
    lines = printed(whole_run())
    assert lines[0] == "     0s  running 7 plugins, 13 steps, expected 2m00s to 3m20s"
    for expected in (
        "     0s  ► apt refresh 1/3, usually 5s",
        "     0s  ◷ snap refresh waits for network (held by apt refresh)",
        "     5s  ✔ apt refresh done in 4.9s",
        "     9s  ⚠ apt: a repository is unreachable (see: explain apt)",
        "    31s  ✖ texlive update failed after 25s: tlmgr exited with 1",
        "  1m40s  ✔ apt install done in 1m35s, 9 changes",
        "  1m41s  ⊘ snap refresh skipped: snapd is not running",
    ):
        assert lines.count(expected) == 1


def test_kept_output_of_a_failure_comes_last_and_once() -> None:
    lines = printed(whole_run())
    assert lines[-5:] == [
        "--- output of texlive update: tlmgr exited with 1",
        "start",
        "tlmgr: Remote repository is newer than local (2025 < 2026)",
        "Only supported with update-tlmgr-latest.",
        "--- log: ~/.local/state/update-all/runs/r1/texlive.update.log",
    ]
    assert printed(middle_of_a_run())[-5:] == lines[-5:]
    assert not any(line.startswith("---") for line in printed(middle_of_a_run(), close=False))


def test_a_wait_is_told_again_only_when_it_changes() -> None:
    waits = [StepWaitEvent(plugin_name="p", step_name="a", mutex="m", holder=holder) for holder in "xxyyx"]
    assert len(printed([*waits])) == 3


def test_output_itself_is_not_printed() -> None:
    assert not any("Unpacking" in line for line in printed(middle_of_a_run()))


def test_heartbeat_after_a_minute_without_a_line() -> None:
    stream = io.StringIO()
    printer = PlainPrinter(stream, Style())
    begin = start("p", "a")
    begin.timestamp = BEGIN
    printer.handle(begin)
    noise = output("p", "a", "line")
    noise.timestamp = BEGIN + timedelta(seconds=50)
    printer.handle(noise)
    for second in (10, 59, 60, 61, 119, 120, 121):
        printer.tick(START + second)
    assert stream.getvalue().splitlines()[1:] == [
        "  1m00s  still running: p a for 1m00s",
        "  2m00s  still running: p a for 2m00s (no output for 1m10s)",
    ]


def test_no_heartbeat_when_nothing_runs() -> None:
    stream = io.StringIO()
    printer = PlainPrinter(stream, Style())
    printer.handle(RunStartEvent(timestamp=BEGIN))
    printer.tick(START + 500)
    assert len(stream.getvalue().splitlines()) == 1


def test_plugin_that_fails_without_a_step_is_told() -> None:
    assert printed([CompletionEvent(plugin_name="p", error_message="cannot read its steps")])[0].endswith(
        "✖ p: cannot read its steps"
    )
    not_run = StepEndEvent(plugin_name="p", step_name="a", success=False, skipped=True, reason="because of q")
    lines = printed([not_run, CompletionEvent(plugin_name="p")])
    assert [line.strip() for line in lines] == ["0s  ◌ p a not run: because of q"]
