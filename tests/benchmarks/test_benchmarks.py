"""The benchmarks run and write their report. Nothing here looks at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.killed import judge  # noqa: E402
from benchmarks.measuring import Sample  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from benchmarks.rows import Row, at_least, at_most  # noqa: E402


def samples(*values: float) -> list[Sample]:
    return [Sample(value) for value in values]


@pytest.mark.parametrize("topic", ["state", "output", "killed"])
def test_quick_run_writes_rows(topic: str, tmp_path: Path) -> None:
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    argv = [sys.executable, "-m", "benchmarks", "--quick", "--only", topic, "--into", str(tmp_path)]
    ended = subprocess.run(argv, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "performance.json").read_text())
    assert report["rows"]
    assert not report["failures"]
    text = (tmp_path / "performance.md").read_text()
    assert all(row["work"] in text and row["peer"] in text for row in report["rows"])
    assert list((tmp_path / "cache/update-all-benchmarks").glob("work-*")) == []


def test_ratio_is_that_of_each_round() -> None:
    noisy = Row("t", "w", "p", samples(1, 10, 3), samples(2, 20, 3), at_most(0.6))
    assert (noisy.ratio, noisy.met) == (0.5, True)
    assert not Row("t", "w", "p", samples(1), samples(2), at_most(0.4)).met


def test_speed_counts_how_many_times_as_fast_we_are() -> None:
    row = Row("t", "w", "p", samples(2), samples(6), at_least(3), speed=True, unit="steps/s", amount=600)
    assert (row.ratio, row.met) == (3, True)
    assert (row.shown(row.ours), row.shown(row.theirs)) == ("300 steps/s", "100 steps/s")


def test_missing_peer_is_no_verdict() -> None:
    row = Row("t", "w", "p", samples(2), goal=at_most(1))
    assert (row.ratio, row.met, row.shown(row.theirs)) == (None, None, "–")


def test_nothing_against_nothing_is_nothing() -> None:
    assert Row("t", "w", "p", samples(0), samples(0), at_most(0)).met
    assert not Row("t", "w", "p", samples(1), samples(0), at_most(0)).met


def test_judge_finds_each_kind_of_damage() -> None:
    kill = 100
    clean = [("start", "a", 1), ("end", "a", 50), ("start", "b", 90), ("end", "b", 120)]
    assert judge(clean, kill).total == 0
    forgotten = judge([*clean, ("start", "a", 150), ("end", "a", 160)], kill)
    assert (forgotten.forgotten, forgotten.twice, forgotten.unseen, forgotten.overlaps) == (1, 1, 0, 0)
    beside = judge([*clean, ("start", "b", 110), ("end", "b", 140)], kill)
    assert (beside.forgotten, beside.twice, beside.unseen, beside.overlaps) == (0, 1, 1, 1)
    after = judge([*clean, ("start", "b", 130), ("end", "b", 140)], kill)
    assert (after.unseen, after.overlaps) == (1, 0)


def test_a_missed_goal_says_by_how_much_and_where_it_is_said_why() -> None:
    missed = Row("Start-up", "a list", "pass", samples(9), samples(1), at_most(6))
    met = Row("Start-up", "a look", "pass", samples(3), samples(1), at_most(6))
    text = Report([missed, met], {}, 1.0).markdown()
    assert "Goals met: 1 of 2." in text
    assert "- Missed by 50%: a list, against pass" in text
    assert "(where-the-time-goes.md#start-up)" in text
    assert "a look, against" not in text


def test_what_should_not_be_there_at_all_is_missed_without_a_share() -> None:
    lost = Row("Killed", "steps", "promise", samples(2), samples(0), at_most(0), unit="wrong")
    assert "- Missed: steps, against promise: 2 wrong" in Report([lost], {}, 1.0).markdown()
