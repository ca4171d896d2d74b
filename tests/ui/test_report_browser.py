"""The report in a real browser: it fits a phone and a wide screen, and the browser has no complaint."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from browser import DRIVER, browser
from stories import BEGIN, end, hostile_run, start, whole_run

from update_all.core.models import Change
from update_all.core.streaming import PlannedPlugin, PlannedStep, RunEndEvent, RunStartEvent, StreamEvent
from update_all.ui.report import Record, page

pytestmark = pytest.mark.skipif(DRIVER is None, reason="chromedriver is not installed")


def large_run() -> list[StreamEvent]:
    """40 plugins with 160 steps and long names."""
    names = [f"plugin-{number}-with-a-rather-long-name" for number in range(40)]
    plugins = tuple(PlannedPlugin(name, tuple(PlannedStep(f"step-{n}") for n in range(4))) for name in names)
    timed: list[tuple[float, StreamEvent]] = [(0, RunStartEvent(run_id="large", plugins=plugins))]
    for number, name in enumerate(names):
        for step in range(4):
            at = number * 2.0 + step * 5
            change = Change("a-package-with-a-long-name" * 3, "1.0-0ubuntu3.5+really" * 2, "1.1" * 20, 10**9)
            timed.append((at, start(name, f"step-{step}")))
            timed.append((at + 5, end(name, f"step-{step}", 5.0, change)))
    timed.append((200, RunEndEvent(run_id="large", exit_code=0, duration_seconds=200)))
    timed.sort(key=lambda item: item[0])
    for seconds, event in timed:
        event.timestamp = BEGIN + timedelta(seconds=seconds)
    return [event for _, event in timed]


@pytest.mark.parametrize("width", [390, 1400])
def test_it_fits_and_complains_of_nothing(width: int, tmp_path: Path) -> None:
    stories = {"whole": whole_run(), "hostile": hostile_run(), "large": large_run()}
    with browser(width, 844, tmp_path) as opened:
        for name, story in stories.items():
            path = tmp_path / f"{name}.html"
            path.write_text(page(Record(story), {"Logs": "/a/long/path" * 20}), "utf-8")
            opened.open(path)
            assert opened.run("return innerWidth") == width
            assert opened.run("return document.documentElement.scrollWidth") <= width
            loaded = "return performance.getEntriesByType('resource').map(entry => entry.name)"
            assert opened.run(loaded) == []
            bars = opened.run(
                "return [...document.querySelectorAll('rect')].map(bar => bar.getBoundingClientRect())"
                ".filter(box => box.left < 0 || box.right > innerWidth + 1).length"
            )
            assert bars == 0
            opened.run("document.querySelector('summary').click()")
            assert opened.run("return document.querySelector('details').open") is True
            assert opened.run("return document.documentElement.scrollWidth") <= width
        assert opened.console() == []
