"""State files that are damaged or foreign: each kind, what is done, and what is left untouched."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from update_all.core.errors import InvalidDefinitionError, StateError, StateWriteError
from update_all.core.models import Change, CheckResult, StepExecutionState, StepResult
from update_all.core.state import StateStore
from update_all.core.transitions import PluginState, end_record, start_record

Damage = Callable[[Path], None]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away or make devices")


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    """A store that holds one plugin's state, and the state before it as `.prev`."""
    made = StateStore(tmp_path)
    made.open(PluginState(run_id="r1", execution=StepExecutionState("apt")))
    made.record("apt", start_record("refresh", 1, 1))
    made.commit()
    made.record("apt", end_record(StepResult("refresh", success=True), {"version": "1"}))
    made.commit()
    return made


def content(data: bytes) -> Damage:
    return lambda path: _rewrite(path, data)


def change(**fields: object) -> Damage:
    return lambda path: _rewrite(path, json.dumps({**json.loads(path.read_bytes()), **fields}).encode())


def text(pattern: str, new: str) -> Damage:
    def damage(path: Path) -> None:
        changed, times = re.subn(pattern, new, path.read_text(), count=1)
        assert times == 1
        _rewrite(path, changed.encode())

    return damage


def cut(share: float) -> Damage:
    return lambda path: _rewrite(path, path.read_bytes()[: int(path.stat().st_size * share)])


def _rewrite(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)
    path.chmod(0o600)


SET_ASIDE: dict[str, Damage] = {
    "empty": content(b""),
    "truncated early": cut(0.1),
    "truncated late": cut(0.9),
    "zeros": lambda path: _rewrite(path, b"\0" * path.stat().st_size),
    "garbage": content(os.urandom(512)),
    "not UTF-8": content(b'{"schema": 1, "x": "\xff\xfe"}'),
    "another document behind it": lambda path: _rewrite(path, path.read_bytes() * 2),
    "a list": content(b"[]"),
    "null": content(b"null"),
    "a number": content(b"17"),
    "an empty object": content(b"{}"),
    "NaN": text(r'"fruitless_resumes":\d+', '"fruitless_resumes":NaN'),
    "infinity": text(r'"facts":\{', '"facts":{"far":1e999,'),
    "a key twice": text('"schema":1', '"schema":1,"schema":1'),
    "nested too deep": text(r'"facts":\{', '"facts":{"deep":' + "[" * 70 + "]" * 70 + ","),
    "nested without end": content(b'{"schema":' + b"[" * 100_000),
    "a number without end": text(r'"sequence":\d+', '"sequence":' + "9" * 5000),
    "a wrong type": change(completed_steps="refresh"),
    "a wrong nested type": change(step_results={"refresh": {"step_name": "refresh", "success": 1}}),
    "a missing field": text(r'"outcome":"[a-z-]+",', ""),
    "an unknown outcome": change(outcome="splendid"),
    "a schema that never was": change(schema=0),
    "a schema that is no number": change(schema="1"),
    "a time that is none": change(started_at="yesterday"),
    "of another plugin": change(plugin_name="pip"),
    "an attempt that is no number": change(active={"refresh": {"attempt": None, "commands": 1}}),
}


@pytest.mark.parametrize("kind", SET_ASIDE)
def test_a_damaged_file_is_set_aside_and_the_one_before_is_used(store: StateStore, kind: str) -> None:
    path = store.path("apt")
    SET_ASIDE[kind](path)
    damaged = path.read_bytes()
    loaded = StateStore(path.parent.parent).load("apt")
    assert loaded.lost
    assert loaded.state is not None
    assert loaded.state.sequence == 1
    assert set(loaded.state.active) == {"refresh"}
    [warning] = loaded.warnings
    assert str(path) in warning
    assert "apt.json.corrupt-1" in warning
    assert path.with_name("apt.json.corrupt-1").read_bytes() == damaged
    assert not path.exists()
    assert StateStore(path.parent.parent).load("apt").lost, "who comes next must be told too"


@pytest.mark.parametrize("kind", SET_ASIDE)
def test_with_both_damaged_the_loss_is_known_and_both_are_kept(store: StateStore, kind: str) -> None:
    path = store.path("apt")
    SET_ASIDE[kind](path)
    path.with_name("apt.json.prev").unlink()
    damaged = path.read_bytes()
    path.with_name("apt.json.prev").write_bytes(damaged)
    path.with_name("apt.json.prev").chmod(0o600)
    loaded = StateStore(path.parent.parent).load("apt")
    assert (loaded.state, loaded.lost, len(loaded.warnings)) == (None, True, 2)
    kept = sorted(path.parent.glob("*.corrupt-*"))
    assert [file.read_bytes() for file in kept] == [damaged, damaged]
    again = StateStore(path.parent.parent)
    assert again.plugins() == ["apt"]
    assert again.load("apt").lost
    assert "is missing" in again.load("apt").warnings[0]


def replaced_by(make: Damage) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def bound_socket(path: Path) -> None:
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir(path.parent)  # A socket address holds about a hundred bytes.
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def linked_twice(path: Path) -> None:
    os.link(path, path.with_name("other-name"))


def linked_elsewhere(path: Path) -> None:
    other = path.with_name("elsewhere.json")
    path.rename(other)
    path.symlink_to(other)


REFUSED: dict[str, tuple[Damage, str]] = {
    "a newer schema": (change(schema=99), "newer update-all"),
    "a link": (linked_elsewhere, "is a link"),
    "a link to nothing": (replaced_by(lambda path: path.symlink_to("/nonexistent/x")), "is a link"),
    "a second name": (linked_twice, "names"),
    "a pipe": (replaced_by(lambda path: os.mkfifo(path, 0o600)), "not a regular file"),
    "a directory": (replaced_by(lambda path: path.mkdir(0o700)), "not a regular file"),
    "a socket": (replaced_by(bound_socket), "apt.json"),
    "writable by the group": (lambda path: path.chmod(0o620), "can be written by others"),
    "writable by all": (lambda path: path.chmod(0o606), "can be written by others"),
    "over 8 MiB": (content(b" " * (8 * 1024 * 1024 + 1)), "bytes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_not_ours_to_mend_is_refused_untouched(store: StateStore, kind: str) -> None:
    damage, message = REFUSED[kind]
    path = store.path("apt")
    damage(path)
    before = path.lstat()
    data = path.read_bytes() if path.is_file() else b""
    for _ in range(2):
        with pytest.raises(StateError, match=message) as caught:
            StateStore(path.parent.parent).load("apt")
        assert str(path) in caught.value.message
        assert caught.value.hint
    after = path.lstat()
    assert (before.st_ino, before.st_mode, before.st_size) == (after.st_ino, after.st_mode, after.st_size)
    assert not path.is_file() or path.read_bytes() == data
    assert not list(path.parent.glob("*.corrupt-*"))


@AS_ROOT
def test_a_file_of_another_user_and_a_device_are_refused(store: StateStore) -> None:
    path = store.path("apt")
    os.chown(path, 12345, -1)
    with pytest.raises(StateError, match="belongs to user 12345") as caught:
        store.load("apt")
    assert caught.value.hint.startswith("chown 0 ")
    path.unlink()
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    except OSError:
        return  # Not allowed in every container; the owner was the point.
    with pytest.raises(StateError, match="not a regular file"):
        store.load("apt")


@pytest.mark.parametrize("name", ["", "../apt", "a/b", ".apt", "a b"])
def test_a_name_that_is_no_file_name_is_refused(store: StateStore, name: str) -> None:
    with pytest.raises(StateError, match="cannot be the name of a state file"):
        store.load(name)


def test_only_five_damaged_files_are_kept_the_newest_ones(store: StateStore) -> None:
    path = store.path("apt")
    for number in range(8):
        _rewrite(path, f"damage {number}".encode())
        StateStore(path.parent.parent).load("apt")
        (path.with_name("apt.json.prev")).unlink(missing_ok=True)
        path.touch(0o600)
    kept = sorted(path.parent.glob("apt.json.corrupt-*"))
    assert [file.read_text() for file in kept] == [f"damage {number}" for number in range(3, 8)]


def test_a_damaged_file_that_cannot_be_set_aside_is_a_typed_error(store: StateStore) -> None:
    path = store.path("apt")
    for number in range(1, 6):
        path.with_name(f"apt.json.corrupt-{number}").mkdir()
        (path.with_name(f"apt.json.corrupt-{number}") / "full").touch()
    _rewrite(path, b"damage")
    with pytest.raises(StateWriteError, match="is damaged and cannot be set aside") as caught:
        store.load("apt")
    assert caught.value.hint == f"rm {path}"


def test_texts_that_are_no_unicode_are_kept(store: StateStore) -> None:
    name = os.fsdecode(b"caf\xe9")
    store.record("apt", end_record(StepResult("x", success=True, output=name), {"file": name}))
    store.commit()
    found = StateStore(store.directory.parent).load("apt").state
    assert found is not None
    assert found.facts == {"file": name}


def test_a_state_that_nothing_could_read_again_is_not_written(store: StateStore) -> None:
    before = store.path("apt").read_bytes()
    store.record("apt", end_record(StepResult("x", success=True), {"much": "x" * (9 * 1024 * 1024)}))
    with pytest.raises(StateWriteError, match=r"the state of apt would be \d+ bytes long"):
        store.commit()
    assert store.path("apt").read_bytes() == before
    wrong = PluginState(run_id="r", execution=StepExecutionState("apt"))
    wrong.check = CheckResult.of([Change("a", 1.5, "2")])  # type: ignore[arg-type]
    with pytest.raises(InvalidDefinitionError, match="plugin 'apt' has answered what cannot be kept"):
        store.open(wrong)
    assert store.path("apt").read_bytes() == before


def test_plugins_are_listed_by_what_is_left_of_their_states(store: StateStore) -> None:
    directory = store.directory
    for name in (
        "pip.json",
        "go.json.prev",
        "npm.json.corrupt-2",
        ".uv.json.1-ab.tmp",
        "x.lock",
        "y.journal",
    ):
        (directory / name).touch(0o600)
    assert store.plugins() == ["apt", "go", "npm", "pip"]
    assert StateStore(directory / "nowhere").plugins() == []
