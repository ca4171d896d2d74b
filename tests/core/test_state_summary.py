"""What is read quickly of a state is what the store reads of it, whole or damaged in any place."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from state_documents import state_to

from update_all.core.errors import StateError
from update_all.core.models import (
    Change,
    CheckResult,
    JsonValue,
    StepExecutionState,
    StepResult,
    Usage,
)
from update_all.core.state import StateStore
from update_all.core.state_json import state_from
from update_all.core.state_summary import Summary, plugins_in, summary, summary_from, summary_of
from update_all.core.transitions import Active, Outcome, PluginState, end_record, start_record

CHANGE = Change("left-pad", "1", "2", 100, security=True)


def full_state() -> PluginState:
    """A state with something in every field."""
    results = {
        "fetch": StepResult("fetch", success=True, usage=Usage(1.5, 1, 2, 3), changes=(CHANGE,), exit_code=0),
        "build": StepResult("build", success=False, error_message="no room", error_code="disk-full"),
        "test": StepResult("test", success=False, error_message="no", error_code="interrupted", output="x"),
    }
    execution = StepExecutionState("apt", ["fetch"], "install", results)
    execution.started_at = datetime(2026, 1, 1, tzinfo=UTC)
    execution.last_updated = datetime(2026, 1, 2, tzinfo=UTC)
    return PluginState(
        "20260101-000000-abcdef",
        execution,
        fingerprint="f",
        step_fingerprints={"fetch": "a", "build": "b", "install": "c"},
        facts={"found": ["x", 1, None]},
        active={"install": Active(1, 2)},
        attempts={"fetch": 1, "build": 3},
        commands_done={"install": [0, 1]},
        boot_id="boot",
        check=CheckResult.of([CHANGE]),
        versions_before={"left-pad": "1"},
        fruitless_resumes=1,
        sequence=9,
        completed={"fetch"},
    )


def told(found: Summary) -> dict[str, object]:
    shown = {name: getattr(found, name) for name in Summary.__slots__}
    failure = found.failure
    return shown | {"failure": failure and (failure.step, failure.code, failure.message)}


def places(value: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, child in children:
        yield from places(child, (*path, name))


def changed(document: JsonValue, path: tuple[str | int, ...], value: JsonValue) -> JsonValue:
    if not path:
        return value
    result = copy.deepcopy(document)
    inner: JsonValue = result
    for part in path[:-1]:
        assert isinstance(inner, dict | list)
        inner = inner[part]  # type: ignore[index]
    assert isinstance(inner, dict | list)
    inner[path[-1]] = value  # type: ignore[index]
    return result


def without(document: JsonValue, path: tuple[str | int, ...]) -> JsonValue:
    result = copy.deepcopy(document)
    inner: JsonValue = result
    for part in path[:-1]:
        assert isinstance(inner, dict | list)
        inner = inner[part]  # type: ignore[index]
    assert isinstance(inner, dict | list)
    del inner[path[-1]]  # type: ignore[arg-type]
    return result


def read(reader: Callable[[JsonValue], Summary], document: JsonValue) -> dict[str, object] | None:
    try:
        return told(reader(document))
    except ValueError:
        return None


def assert_same(document: JsonValue) -> None:
    """The quick reader accepts what the full one accepts, and says the same of it."""
    expected = read(lambda value: summary_of(state_from(value)), document)
    assert read(summary_from, document) == expected


DOCUMENT = state_to(full_state())
PLACES = list(places(DOCUMENT))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.floats(0, 1), st.sampled_from(["", "x", "complete"])
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.just("x"), SCALARS, max_size=1))


def test_a_state_with_everything_in_it() -> None:
    assert_same(DOCUMENT)
    found = summary_from(DOCUMENT)
    assert (found.done, found.steps, found.outcome, found.current_step) == (1, 3, "unfinished", "install")
    assert found.failure is not None
    assert (found.failure.step, found.failure.code) == ("test", "interrupted")


@pytest.mark.parametrize("path", [path for path in PLACES if path], ids=str)
def test_a_state_that_lacks_any_one_thing(path: tuple[str | int, ...]) -> None:
    assert_same(without(DOCUMENT, path))


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(PLACES), value=VALUES)
def test_a_state_with_any_one_thing_changed(path: tuple[str | int, ...], value: JsonValue) -> None:
    if path == ("schema",) and isinstance(value, int) and value > 1:
        return  # The full reader has an error of its own for it, which the quick one leaves to it.
    assert_same(changed(DOCUMENT, path, value))


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome(outcome: Outcome) -> None:
    state = full_state()
    state.outcome = outcome
    assert_same(state_to(state))


def test_a_journal_is_read_by_the_store(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    state = PluginState("run", StepExecutionState("apt"), facts={"much": "x" * 20_000})
    store.open(state)
    store.record("apt", start_record("one", 1, 1))
    store.commit()
    store.record("apt", end_record(StepResult("one", success=True)))
    store.commit()
    assert (tmp_path / "steps/apt.journal").stat().st_size > 0
    assert summary(store.directory, "apt").done == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema": 1}', b"\xff", b'{"schema": 99}'])
def test_a_damaged_state_raises_what_the_store_raises(tmp_path: Path, damage: bytes) -> None:
    store = StateStore(tmp_path)
    store.open(PluginState("run", StepExecutionState("apt")))
    (store.directory / "apt.json").write_bytes(damage)
    with pytest.raises((StateError, ValueError)) as expected:
        store.peek("apt")
    with pytest.raises(type(expected.value)) as found:
        summary(store.directory, "apt")
    assert str(found.value) == str(expected.value)


def test_the_state_of_another_plugin_is_not_shown(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.open(PluginState("run", StepExecutionState("apt")))
    (store.directory / "apt.json").rename(store.directory / "npm.json")
    with pytest.raises(ValueError, match="belongs to 'apt'"):
        summary(store.directory, "npm")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text("ab.-_ 1", min_size=1, max_size=8), max_size=6))
def test_names_are_those_of_the_store(tmp_path: Path, names: list[str]) -> None:
    directory = tmp_path / "steps"
    directory.mkdir(exist_ok=True)
    for name in names:
        for ending in (".json", ".json.prev", ".json.corrupt-1", ".journal"):
            if name not in (".", ".."):
                (directory / f"{name}{ending}").touch()
    assert plugins_in(directory) == StateStore(tmp_path).plugins()
    assert plugins_in(tmp_path / "nowhere") == []


def test_looking_imports_neither_the_values_of_the_engine_nor_dataclasses(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "update-all")
    store.open(full_state())
    code = "import sys; from update_all.cli.main import main; main(['status']); print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "apt" in ended.stdout
    loaded = set(ended.stdout.split())
    assert loaded.isdisjoint({"dataclasses", "inspect", "update_all.core.models", "shutil", "asyncio"})
    assert json.loads((store.directory / "apt.json").read_text())["plugin_name"] == "apt"
