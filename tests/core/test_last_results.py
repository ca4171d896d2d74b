"""What a listing reads of the history is what the history says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from update_all.core.errors import StateError
from update_all.core.history import History
from update_all.core.last_results import last_results
from update_all.core.models import StepResult

START = datetime(2026, 1, 1, tzinfo=UTC)
ENDS = st.tuples(st.sampled_from(["apt", "npm"]), st.sampled_from(["a", "b"]), st.booleans(), st.booleans())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.lists(ENDS, max_size=4), max_size=3))
def test_both_agree(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[str, str, bool, bool]]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.db"
    with History(path) as history:
        for number, ends in enumerate(runs):
            history.record_run_start(f"r{number}", START + timedelta(days=number))
            for order, (plugin, step, success, skipped) in enumerate(ends):
                ended = START + timedelta(days=number, seconds=order)
                history.record_step(f"r{number}", plugin, StepResult(step, success, skipped=skipped), ended)
        expected = {
            name: ("failed" if result.failure is not None else "done", result.ended)
            for name, result in history.last_results().items()
        }
    assert last_results(path) == expected


@pytest.mark.parametrize(
    ("ends", "word"),
    [
        ({"a": None, "b": "skipped", "c": None}, "skipped"),
        ({"a": "skipped", "b": "step-failed", "c": "skipped"}, "failed"),
        ({"a": None}, "done"),
    ],
)
def test_what_a_person_skipped_has_neither_failed_nor_succeeded(
    tmp_path: Path, ends: dict[str, str | None], word: str
) -> None:
    path = tmp_path / "history.db"
    with History(path) as history:
        for step, code in ends.items():
            history.record_step("r", "apt", StepResult(step, code is None, error_code=code), START)
    assert last_results(path) == {"apt": (word, START)}


def test_no_history_is_an_empty_one(tmp_path: Path) -> None:
    assert last_results(tmp_path / "history.db") == {}
    assert list(tmp_path.iterdir()) == []


def test_a_history_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with History(path):
        pass
    path.chmod(0o666)
    with pytest.raises(StateError, match="written by others"):
        last_results(path)
