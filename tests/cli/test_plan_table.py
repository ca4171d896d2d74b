"""The plan as a table: what comes first, what is marked, and what fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from update_all.cli.plan_table import (
    detail_lines,
    heading,
    is_downgrade,
    is_major,
    plan_lines,
    risky,
)
from update_all.cli.planned import Planned
from update_all.core.models import Change, CheckResult, UpdateCommand, UpdateStep
from update_all.core.planning import plan_plugin
from update_all.plugins.base import BasePlugin
from update_all.ui.text import Style, display_width

Make = Callable[..., BasePlugin]


def plans(make: Make, **changes: list[Change]) -> Planned:
    """A plugin for each name, with one step; those called `root…` need root."""
    planned = Planned(check_seconds=4.1)
    for name, updates in changes.items():
        step = UpdateStep("update", "Update", [UpdateCommand(["true"])], sudo=name.startswith("root"))
        plugin = make([step], name=name)
        planned.plans.append(plan_plugin(plugin, [step], check=CheckResult.of(updates)))
    return planned


def text(planned: Planned, width: int = 120, **more: tuple[float, float]) -> list[str]:
    return plan_lines(planned, width, Style(), {}, **more)


@pytest.mark.parametrize(
    ("old", "new", "major", "downgrade"),
    [
        ("1.2", "1.3", False, False),
        ("1.9", "2.0", True, False),
        ("v1.9", "v2.0", True, False),
        ("go1.25.3", "go1.26", False, False),
        ("2.0", "1.9", True, True),
        ("1.10", "1.9", False, True),
        ("9f00aa1", "1b2c3d4", False, False),
        ("abc1234", "9f00aa1", False, False),
        ("2026-11-01", "2026-11-23", False, False),
        (None, "2.0", False, False),
        ("2.0", None, False, False),
    ],
)
def test_versions_tell_what_is_major_and_what_is_older(
    old: str | None, new: str | None, major: bool, downgrade: bool
) -> None:
    change = Change("jq", old, new)
    assert (is_major(change), is_downgrade(change)) == (major, downgrade)


@pytest.mark.parametrize(
    ("change", "asks"),
    [
        (Change("jq", "1.1", "1.2"), False),
        (Change("jq", None, "1.2"), False),
        (Change("jq", "1.1", None), True),
        (Change("jq", "1.1", "2.0"), True),
        (Change("jq", "1.2", "1.1"), True),
    ],
)
def test_enter_is_no_consent_to_what_is_risky(plugin_of: Make, change: Change, asks: bool) -> None:
    assert risky(plans(plugin_of, apt=[Change("sed", "4.8", "4.9"), change])) is asks


def test_what_matters_comes_first(plugin_of: Make) -> None:
    many = [Change(f"a{number}", "1.0", "1.1") for number in range(5)]
    planned = plans(
        plugin_of,
        npm=many,
        apt=[
            *many,
            Change("major", "1.0", "2.0"),
            Change("secure", "1.0", "1.1", security=True),
            Change("older", "1.2", "1.1"),
            Change("gone", "1.0", None),
        ],
    )
    first, second, *_ = text(planned)
    assert first.split()[0] == "apt"
    assert "gone removed, older 1.2 → 1.1 downgrade, secure 1.0 → 1.1 security, +6" in first
    assert second.split()[0] == "npm"
    assert "major 1.0 → 2.0 major" in "\n".join(detail_lines(planned, Style(), {}))


def test_sizes_times_and_privileges_survive_a_long_change(plugin_of: Make) -> None:
    long = [Change("x" * 80, "1.0", "1.1", size_bytes=10**6), Change("y", "1", "1.1")]
    planned = plans(plugin_of, rootly=long)
    seconds = {("rootly", "update"): 95.0}
    for width in (60, 80, 200):
        lines = plan_lines(planned, width, Style(), seconds)
        assert all(display_width(line) <= width for line in lines[:1])
        assert lines[0].rstrip().endswith("1.0 MB?  ~1m35s  root")


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_shows_the_versions_whole(plugin_of: Make, width: int) -> None:
    changes = [Change("libstdc++6", "12.2.0-14", "12.2.0-15"), Change("日本語-fonts", "1:2024", "1:2026")]
    lines = text(plans(plugin_of, root_one=changes, two=changes), width)
    assert all(display_width(line) <= width for line in lines)
    words = " ".join(lines).replace(",", "").split()
    for change in changes:
        assert [words.count(str(version)) for version in (change.old, change.new)] == [2, 2]


def test_the_total_is_a_range_and_a_guess_is_marked(plugin_of: Make) -> None:
    planned = plans(
        plugin_of,
        root1=[Change("linux-image-amd64", "6.1", "6.2", size_bytes=10**8), Change("sed", "4.8", "4.9")],
        npm=[Change("npm", "1.0", "1.1", size_bytes=10**6)],
    )
    total = text(planned, expected=(120.0, 240.0))[-1]
    assert total.strip() == (
        "2 plugins, 2 steps · 101 MB? to fetch · about 3m00s (2m00s–4m00s) · root for root1"
        " · restart likely (linux-image-amd64)"
    )
    assert "about" not in text(planned)[-1]


def test_the_heading_tells_how_the_checks_went(plugin_of: Make) -> None:
    planned = plans(plugin_of, apt=[Change("sed", "4.8", "4.9")])
    planned.up_to_date = ["npm", "go"]
    planned.absent = {"snap": "not found"}
    told = heading(planned, Style(unicode=False))
    assert told == "Checked 3 plugins in 4.1s | 2 up to date | 1 not installed here"


def test_ascii_terminals_get_ascii(plugin_of: Make) -> None:
    planned = plans(plugin_of, apt=[Change("日本", "1.0", "1.1")])
    lines = plan_lines(planned, 80, Style(unicode=False), {}, expected=(1.0, 9.0))
    lines += detail_lines(planned, Style(unicode=False), {})
    assert all(line.isascii() for line in lines)
    assert "1.0 -> 1.1" in lines[0]


def test_nothing_to_run_is_no_table(plugin_of: Make) -> None:
    assert text(plans(plugin_of)) == []
    unknown = replace(plans(plugin_of), unknown={"npm": "offline"})
    assert text(unknown)[0] == "  npm  cannot know: offline"
