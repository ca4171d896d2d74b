"""The history: what is recorded comes back, and no damage to it is worse than a warning."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.errors import StateError
from update_all.core.history import History, Outcome
from update_all.core.models import Change, StepResult, Usage

START = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def done(step: str, seconds: float = 1.0) -> StepResult:
    return StepResult(step, True, duration_seconds=seconds, exit_code=0)


def failed(step: str) -> StepResult:
    return StepResult(step, False, duration_seconds=9.0, exit_code=100, error_message="no", error_code="x")


def record(history: History, run: str, results: dict[str, list[StepResult]], day: int = 0) -> None:
    start = START + timedelta(days=day)
    with history.batch():
        history.record_run_start(run, start)
        for plugin, steps in results.items():
            for result in steps:
                history.record_step(run, plugin, result, start + timedelta(seconds=1))
        history.record_run_end(run, start + timedelta(seconds=2), 0)


def test_a_run_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    usage = Usage(cpu_seconds=1.5, max_rss_bytes=2**31, read_bytes=0, written_bytes=7)
    changes = (Change("libc6", "2.36", "2.37", 1000, True), Change("new", None, "1"), Change("gone", "1"))
    with History(tmp_path / "history.db") as history:
        history.record_run_start("r1", START)
        history.record_step("r1", "apt", StepResult("up", True, duration_seconds=2.5, usage=usage), START)
        history.record_step("r1", "npm", failed("up"), START)
        history.record_changes("r1", "apt", changes)
        history.record_run_end("r1", START + timedelta(minutes=1), 1, interrupted=True)
    with History(tmp_path / "history.db", read_only=True) as history:
        details = history.run("r1")
        assert history.run("r2") is None
        assert history.warnings == ()
    assert details is not None
    run = details.run
    assert (run.started, run.ended, run.exit_code, run.interrupted) == (
        START,
        START + timedelta(minutes=1),
        1,
        True,
    )
    assert (run.plugins, run.failed, run.changes) == (2, 1, 3)
    assert details.changes == {"apt": changes}
    first, second = details.steps
    assert (first.plugin, first.step, first.outcome, first.seconds) == ("apt", "up", Outcome.DONE, 2.5)
    assert first.usage == usage
    assert (second.outcome, second.exit_code, second.error_code) == (Outcome.FAILED, 100, "x")
    assert (second.error_message, second.usage) == ("no", None)


def test_a_killed_run_has_no_end_and_a_resumed_one_is_open_again(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        history.record_run_start("r", START)
        assert history.runs()[0].ended is None
        history.record_run_end("r", START, 130, interrupted=True)
        history.record_run_start("r", START + timedelta(days=1))
        (run,) = history.runs()
    assert (run.started, run.ended, run.exit_code, run.interrupted) == (START, None, None, False)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (StepResult("s", True), Outcome.DONE),
        (StepResult("s", True, skipped=True), Outcome.SKIPPED),
        (StepResult("s", True, up_to_date=True), Outcome.UP_TO_DATE),
        (StepResult("s", False), Outcome.FAILED),
        (StepResult("s", False, skipped=True), Outcome.NOT_RUN),
        (StepResult("s", False, error_code="skipped"), Outcome.SKIPPED),
    ],
)
def test_outcome_of_a_result(result: StepResult, outcome: Outcome) -> None:
    assert Outcome.of(result) is outcome


SECONDS = st.floats(0, 10**6)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), SECONDS, st.sampled_from(list(Outcome))),
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_durations_are_the_last_successful_ones(
    steps: list[tuple[str, str, float, Outcome]], limit: int
) -> None:
    wanted: dict[tuple[str, str], list[float]] = {}
    with History(Path("/nonexistent/h"), read_only=True) as history:
        for plugin, step, seconds, outcome in steps:
            success = outcome not in {Outcome.FAILED, Outcome.NOT_RUN}
            skipped = outcome in {Outcome.SKIPPED, Outcome.NOT_RUN}
            up_to_date = outcome is Outcome.UP_TO_DATE
            result = StepResult(
                step, success, skipped=skipped, duration_seconds=seconds, up_to_date=up_to_date
            )
            history.record_step("r", plugin, result, START)
            if outcome is Outcome.DONE:
                wanted.setdefault((plugin, step), []).insert(0, seconds)
        assert history.durations(limit) == {key: values[:limit] for key, values in wanted.items()}


def test_runs_since_a_moment_are_those_that_started_then_or_later(tmp_path: Path) -> None:
    with History(tmp_path / "history.db") as history:
        for day in range(4):
            record(history, f"r{day}", {"apt": [done("up")]}, day)
        since = history.runs(since=START + timedelta(days=2))
        assert [run.id for run in since] == ["r3", "r2"]
        assert [run.id for run in history.runs(1, since=START)] == ["r3"]
        assert history.runs(since=START + timedelta(days=3, seconds=1)) == []


def test_durations_and_failures_since_a_moment_are_those_that_ended_then_or_later(tmp_path: Path) -> None:
    with History(tmp_path / "history.db") as history:
        for day, end in enumerate((failed("up"), done("up", 2.0), done("up", 3.0))):
            record(history, f"r{day}", {"apt": [end]}, day)
        last = START + timedelta(days=2, seconds=1)
        assert history.durations(since=START) == {("apt", "up"): [3.0, 2.0]}
        assert history.durations(since=last) == {("apt", "up"): [3.0]}
        assert history.durations(since=last + timedelta(seconds=1)) == {}
        assert history.failure_rate("apt", since=START) == 1 / 3
        assert history.failure_rate("apt", since=START + timedelta(days=1)) == 0.0
        assert history.failure_rate("apt", since=last + timedelta(seconds=1)) is None


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        for day in (2, 0, 1):
            record(history, f"r{day}", {"apt": [done("up")]}, day)
        assert [run.id for run in history.runs()] == ["r2", "r1", "r0"]
        assert [run.id for run in history.runs(limit=1)] == ["r2"]


def test_the_last_word_of_a_step_counts(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        record(history, "old", {"apt": [failed("up")], "npm": [done("up")], "pip": [failed("up")]})
        record(history, "new", {"apt": [failed("up"), done("up")], "npm": [failed("a"), done("b")]}, day=1)
        last = history.last_results()
        failures = [run.failed for run in history.runs()]
        rates = [history.failure_rate(plugin) for plugin in ("apt", "npm", "pip", "none")]
        newest = history.failure_rate("npm", limit=1)
    assert {name: (result.run_id, result.failure is None) for name, result in last.items()} == {
        "apt": ("new", True),
        "npm": ("new", False),
        "pip": ("old", False),
    }
    assert last["npm"].failure is not None
    assert last["npm"].failure.step == "a"
    assert failures == [1, 2]
    assert rates == [0.5, 0.5, 1.0, None]
    assert newest == 1.0


def test_versions_of_a_plugin_come_from_its_last_runs_newest_first(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        # Recorded in another order than they were started in.
        for day, old, new in ((1, "1", "2"), (0, None, "1"), (2, "2", None)):
            record(history, f"r{day}", {}, day)
            history.record_changes(f"r{day}", "apt", [Change("libc6", old, new), Change("x", "0", "9")])
        record(history, "r3", {"apt": [done("up")]}, 3)
        history.record_changes("r3", "npm", [Change("libc6", "7", "8")])
        versions = history.versions("apt")
        assert history.versions("apt", limit=2) == versions[:4]
        assert history.versions("none") == []
        assert history.versions("apt", since=START + timedelta(days=1)) == versions[:4]
        assert history.versions("apt", since=START + timedelta(days=1, seconds=1)) == versions[:2]
    assert [(v.run_id, v.item, v.old, v.new) for v in versions if v.item == "libc6"] == [
        ("r2", "libc6", "2", None),
        ("r1", "libc6", "1", "2"),
        ("r0", "libc6", None, "1"),
    ]
    assert [v.item for v in versions] == ["libc6", "x"] * 3
    assert versions[2].started == START + timedelta(days=1)


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    def interrupted(history: History) -> None:
        with history.batch():
            history.record_run_start("r1", START)
            raise KeyboardInterrupt

    with History(tmp_path / "h") as history:
        with pytest.raises(KeyboardInterrupt):
            interrupted(history)
        assert history.runs() == []
        history.record_run_start("r2", START)
        assert [run.id for run in history.runs()] == ["r2"]


def test_what_a_tool_prints_fits(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        history.record_run_start("r", START)
        history.record_changes("r", "p", [Change("a\udcff\0", "'; DROP TABLE runs", "é", 10**30)])
        details = history.run("r")
    assert details is not None
    assert details.changes["p"] == (Change("a?\0", "'; DROP TABLE runs", "é", 2**63 - 1),)


def test_the_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with History(tmp_path / "h") as history:
            history.record_run_start("r", START)
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"h": 0o600, "h-wal": 0o600, "h-shm": 0o600}


def test_reading_makes_nothing(tmp_path: Path) -> None:
    with History(tmp_path / "h", read_only=True) as history:
        assert history.runs() == []
        assert history.durations() == {}
        assert history.last_results() == {}
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_what_a_living_writer_has_written(tmp_path: Path) -> None:
    with History(tmp_path / "h") as writer:
        writer.record_run_start("r", START)
        with History(tmp_path / "h", read_only=True) as reader:
            assert [run.id for run in reader.runs()] == ["r"]
            with pytest.raises(StateError, match="readonly"):
                reader.record_run_start("r2", START)


def test_a_killed_writer_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib, datetime\n"
        "from update_all.core.history import History\n"
        "history = History(pathlib.Path(sys.argv[1]))\n"
        "history.record_run_start('r', datetime.datetime.now(datetime.UTC))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "h")]).returncode == -9
    with History(tmp_path / "h") as history:
        assert [run.id for run in history.runs()] == ["r"]
        assert history.warnings == ()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = os.urandom(len(data) - 100)
    path.write_bytes(data)


def scribble_behind_the_schema(path: Path) -> None:
    """Damage that opening does not find, only reading or writing."""
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database\n" * 1000)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE music (title)")
    other.close()
    path.chmod(0o600)


@pytest.mark.parametrize("damage", [truncate, scribble, scribble_behind_the_schema, garbage, foreign])
def test_a_damaged_database_is_set_aside_with_a_warning(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "history.db"
    with History(path) as history:
        record(history, "old", {"apt": [done(f"s{number}") for number in range(500)]})
    damage(path)
    content = path.read_bytes()
    with History(path, read_only=True) as history:
        assert history.runs() == []
        assert history.durations() == {}
        assert str(path) in history.warnings[0]
    assert path.read_bytes() == content
    with History(path) as history:
        record(history, "new", {"apt": [done("s")]})
        assert [run.id for run in history.runs()] == ["new"]
        aside = tmp_path / "history.db.corrupt-1"
        assert str(aside) in history.warnings[0]
    assert aside.read_bytes() == content
    with History(path) as history:
        assert history.warnings == ()


def test_two_that_begin_at_once_share_one_database(tmp_path: Path) -> None:
    path = tmp_path / "h"
    with sqlite3.connect(path) as nearly:
        nearly.execute("PRAGMA journal_mode = WAL")
    nearly.close()
    path.chmod(0o600)
    assert path.stat().st_size > 0
    with History(path, read_only=True) as reader:
        assert reader.runs() == []
    with History(path) as first, History(path) as second:
        first.record_run_start("r", START)
        assert [run.id for run in second.runs()] == ["r"]
        assert first.warnings == second.warnings == ()


def test_only_a_few_damaged_databases_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "h"
    for _ in range(8):
        path.write_bytes(b"garbage" * 100)
        path.chmod(0o600)
        History(path).close()
    assert len(list(tmp_path.glob("h.corrupt-*"))) == 5


def test_a_newer_schema_is_refused_and_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "h"
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 2")
    newer.close()
    path.chmod(0o600)
    content = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StateError, match="newer update-all") as caught:
            History(path, read_only=read_only)
        assert str(path) in caught.value.hint
    assert path.read_bytes() == content


def test_a_file_that_is_not_private_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h"
    History(path).close()
    path.chmod(0o666)
    with pytest.raises(StateError, match="written by others"):
        History(path)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(StateError, match="is a link"):
        History(tmp_path / "link")


def test_a_directory_that_is_not_there_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be used"):
        History(tmp_path / "none" / "h")


def test_a_full_disk_is_a_typed_error_and_keeps_what_was_there(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        record(history, "r", {"apt": [done("s")]})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(StateError, match="cannot be used"):
                record(history, "big", {"apt": [done("s" * 100) for _ in range(5000)]})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [run.id for run in history.runs()] == ["r"]
        record(history, "r2", {"apt": [done("s")]}, day=1)
        assert len(history.runs()) == 2


def test_another_writer_is_waited_for_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("update_all.core.history_database.BUSY_SECONDS", 0.01)
    with History(tmp_path / "h") as first, History(tmp_path / "h") as second:
        with first.batch(), pytest.raises(StateError, match="locked"):
            second.record_run_start("r", START)
        second.record_run_start("r", START)
        assert [run.id for run in first.runs()] == ["r"]
