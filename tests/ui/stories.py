"""Event streams that the tests of the printers play: an eventful run, and hostile text everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from update_all.core.models import Change
from update_all.core.streaming import (
    CheckEvent,
    CompletionEvent,
    OutputEvent,
    PlannedPlugin,
    PlannedStep,
    ProgressEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepStartEvent,
    StepWaitEvent,
    StreamEvent,
    WarningEvent,
)
from update_all.ui.view import RunView

BEGIN = datetime(2026, 11, 22, 23, 10, tzinfo=UTC)
START = BEGIN.timestamp()
LATER = START + 83.61
"""When the screens of `middle_of_a_run` are taken: no shown duration changes in the next 0.3 s."""

HOSTILE = "e\x1b]0;owned\x07\x1b[31m\x9b2Jv\u202ei\u200bl\r\n\x00x"


def plan(*plugins: tuple[str, dict[str, float | None]]) -> tuple[PlannedPlugin, ...]:
    return tuple(
        PlannedPlugin(name, tuple(PlannedStep(step, expected_seconds=usual) for step, usual in steps.items()))
        for name, steps in plugins
    )


def start(plugin: str, step: str, number: int = 1, total: int = 1) -> StepStartEvent:
    return StepStartEvent(plugin_name=plugin, step_name=step, step_number=number, total_steps=total)


def end(plugin: str, step: str, seconds: float = 1.0, *changes: Change) -> StepEndEvent:
    return StepEndEvent(plugin_name=plugin, step_name=step, duration_seconds=seconds, changes=changes)


def output(plugin: str, step: str, text: str) -> OutputEvent:
    return OutputEvent(plugin_name=plugin, step_name=step, line=text)


def _first_half() -> Iterator[tuple[float, StreamEvent]]:
    plugins = plan(
        ("apt", {"refresh": 5.0, "download": None, "install": 95.0}),
        ("日本語ツール", {"update": 30.0}),
        ("flatpak", {"prepare": None, "update": 60.0}),
        ("go-runtime", {"check": None, "download": 40.0, "switch": None}),
        ("snap", {"refresh": None}),
        ("rustup", {"update": 22.0}),
        ("texlive", {"check": None, "update": 120.0}),
    )
    yield 0.0, RunStartEvent(run_id="r1", plugins=plugins, expected_low=120, expected_high=200)
    yield 0.0, CheckEvent(plugin_name="npm", status="up-to-date")
    yield 0.0, CheckEvent(plugin_name="pacman", status="absent", reason="not on PATH")
    yield 0.1, start("apt", "refresh", 1, 3)
    yield 0.2, start("日本語ツール", "update")
    yield 0.3, start("go-runtime", "check", 1, 3)
    yield 0.4, start("texlive", "check", 1, 2)
    yield 0.5, start("rustup", "update")
    yield 0.6, StepWaitEvent(plugin_name="snap", step_name="refresh", mutex="network", holder="apt refresh")
    yield 1.0, output("日本語ツール", "update", "first\n更新しています: パッケージ一覧を読み込んでいます")
    yield 5.0, end("apt", "refresh", 4.9)
    yield 5.1, start("apt", "install", 3, 3)
    yield 6.0, end("go-runtime", "check", 5.7)
    yield 6.0, start("go-runtime", "download", 2, 3)
    yield 6.5, end("texlive", "check", 6.1)
    yield 6.5, start("texlive", "update", 2, 2)
    yield 9.0, WarningEvent(plugin_name="apt", message="a repository is unreachable", hint="see: explain apt")
    yield 20.0, end("rustup", "update", 19.5, Change("stable", "1.97.0", "1.98.0"))
    yield 20.0, CompletionEvent(plugin_name="rustup", success=True, packages_updated=1)


def _second_half() -> Iterator[tuple[float, StreamEvent]]:
    message = "tlmgr: Remote repository is newer than local (2025 < 2026)"
    log = "~/.local/state/update-all/runs/r1/texlive.update.log"
    yield 30.0, output("texlive", "update", f"start\n{message}\nOnly supported with update-tlmgr-latest.")
    yield 31.0, StepEndEvent(
        plugin_name="texlive", step_name="update", success=False, error_message="tlmgr exited with 1",
        error_code="step-failed", exit_code=1, duration_seconds=24.5, log=log,
    )  # fmt: skip
    yield 31.0, CompletionEvent(plugin_name="texlive", exit_code=1, error_message="tlmgr exited with 1")
    yield 80.0, output("apt", "install", "Unpacking libc6:amd64 (2.39-0ubuntu8.6) over (2.39-0ubuntu8.5) …")
    yield (
        82.0,
        ProgressEvent(
            plugin_name="go-runtime",
            step_name="download",
            bytes_downloaded=48_300_000,
            bytes_total=78_900_000,
        ),
    )


def _third_half() -> Iterator[tuple[float, StreamEvent]]:
    packages = [Change(f"package-{number}", "1.0", f"1.{number}") for number in range(1, 8)]
    openssl = Change("openssl", "3.0.13-0ubuntu3.5", "3.0.13-0ubuntu3.6", security=True)
    yield 100.0, end("apt", "install", 95.0, *packages, openssl, Change("oldlib", "0.9", None))
    yield 100.0, CompletionEvent(plugin_name="apt", success=True, packages_updated=9)
    yield (
        101.0,
        StepEndEvent(plugin_name="snap", step_name="refresh", skipped=True, reason="snapd is not running"),
    )
    yield 101.0, CompletionEvent(plugin_name="snap", success=True)
    yield 120.0, end("日本語ツール", "update", 119.8, Change("日本語パッケージ", "一", "二"))
    yield 120.0, CompletionEvent(plugin_name="日本語ツール", success=True, packages_updated=1)
    yield 130.0, RunEndEvent(run_id="r1", exit_code=130, interrupted=True, duration_seconds=130.0)


def _timed(story: Iterator[tuple[float, StreamEvent]]) -> list[StreamEvent]:
    events = []
    for seconds, event in story:
        event.timestamp = BEGIN + timedelta(seconds=seconds)
        events.append(event)
    return events


def middle_of_a_run() -> list[StreamEvent]:
    """A failed, several running, two waiting plugins; 83 seconds after START nothing new has come."""
    return _timed(_first_half()) + _timed(_second_half())


def whole_run() -> list[StreamEvent]:
    """`middle_of_a_run`, then the rest until it is interrupted."""
    return middle_of_a_run() + _timed(_third_half())


def hostile_run() -> list[StreamEvent]:
    """Every text field of every kind of event is hostile."""
    text = HOSTILE
    return _timed(
        iter(
            (
                (0.0, RunStartEvent(run_id=text, plugins=plan((text, {text: 3, "b": 1}), ("p", {text: 1})))),
                (0.1, CheckEvent(plugin_name=text, status=text, reason=text)),
                (0.2, CheckEvent(plugin_name="q", status="cannot-know", reason=text)),
                (0.2, StepWaitEvent(plugin_name="p", step_name=text, reason=text, mutex=text, holder=text)),
                (0.3, start(text, text, 1, 2)),
                (0.4, output(text, text, text * 3)),
                (1.4, ProgressEvent(plugin_name=text, step_name=text, message=text, percent=5)),
                (1.5, WarningEvent(plugin_name=text, step_name=text, message=text, code=text, hint=text)),
                (1.6, end("p", text, 1.0, Change(text, text, text), Change(text + "2", text, None))),
                (1.6, CompletionEvent(plugin_name="p", success=True)),
                (2.0, StepEndEvent(
                    plugin_name=text, step_name=text, success=False, error_message=text, error_code=text,
                    reason=text, log=text,
                )),
                (2.1, StepEndEvent(
                    plugin_name=text, step_name="b", success=False, skipped=True, reason=text,
                )),
                (2.2, CompletionEvent(plugin_name=text, error_message=text)),
                (2.3, RunEndEvent(run_id=text, exit_code=1)),
            )
        )
    )  # fmt: skip


def viewed(events: list[StreamEvent]) -> RunView:
    view = RunView()
    for event in events:
        view.apply(event)
    return view
