"""Private files: what is refused, and what every possible failure of a write leaves behind."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core import paths
from update_all.core.errors import StateError, StateWriteError

CALLS = ("open", "close", "write", "fsync", "rename", "link", "unlink")


class Crash(BaseException):
    """The process died: nothing after this call takes effect."""


class Faults(paths.FileSystem):
    """Counts calls and lets the n-th one fail; `dead` lets all later ones fail too, as after a kill."""

    def __init__(self, at: int, error: Callable[[], BaseException], *, dead: bool) -> None:
        self.count = 0
        self.at = at
        self.error = error
        self.dead = dead

    def __getattribute__(self, name: str) -> object:
        attribute = super().__getattribute__(name)
        if name not in CALLS:
            return attribute

        def call(*args: object, **kwargs: object) -> object:
            self.count += 1
            if self.count == self.at or (self.dead and self.count > self.at):
                raise self.error()
            return attribute(*args, **kwargs)

        return call


def sweep(monkeypatch: pytest.MonkeyPatch, path: Path, error: Callable[[], BaseException], dead: bool) -> int:
    """Fail at each call in turn until a write comes through; the number of failures tried."""
    for at in range(1, 100):
        paths.write_atomic(path, b"older")
        paths.write_atomic(path, b"old")
        faults = Faults(at, error, dead=dead)
        with monkeypatch.context() as patch, contextlib.suppress(StateWriteError, Crash):
            patch.setattr(paths, "filesystem", faults)
            paths.write_atomic(path, b"new")
        content = paths.read_secure(path)
        assert content in {b"old", b"new"}
        previous = path.with_name("state.json.prev")
        assert not previous.exists() or paths.read_secure(previous) in {b"older", b"old"}
        assert dead or not list(path.parent.glob(".*.tmp")), f"call {at} left a temporary file"
        if faults.count < at:
            assert content == b"new"
            return at - 1
    raise AssertionError("the write never came through")


def test_write_atomic_survives_a_crash_at_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sweep(monkeypatch, tmp_path / "state.json", Crash, dead=True) >= 8


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_write_atomic_survives_an_error_at_every_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def error() -> OSError:
        return OSError(code, os.strerror(code))

    assert sweep(monkeypatch, tmp_path / "state.json", error, dead=False) >= 8


def test_write_atomic_names_the_file_and_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    faults = Faults(3, lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), dead=False)
    monkeypatch.setattr(paths, "filesystem", faults)
    with pytest.raises(StateWriteError, match="No space left") as caught:
        paths.write_atomic(path, b"new")
    assert str(path) in caught.value.message
    assert caught.value.hint == "free some space"


def test_write_atomic_flushes_the_file_before_and_the_directory_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []

    class Recorder(paths.FileSystem):
        def fsync(self, fd: int) -> None:
            log.append("fsync " + ("directory" if Path(f"/proc/self/fd/{fd}").is_dir() else "file"))
            super().fsync(fd)

        def rename(self, old: str, new: str, *, dir_fd: int) -> None:
            log.append("rename")
            super().rename(old, new, dir_fd=dir_fd)

    monkeypatch.setattr(paths, "filesystem", Recorder())
    paths.write_atomic(tmp_path / "state.json", b"new")
    assert log == ["fsync file", "rename", "fsync directory"]


@given(data=st.binary(max_size=3000), chunk=st.integers(1, 700))
def test_write_atomic_finishes_short_writes(
    data: bytes, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Short(paths.FileSystem):
        def write(self, fd: int, data: memoryview) -> int:
            return super().write(fd, data[:chunk])

    path = tmp_path_factory.mktemp("short") / "state.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "filesystem", Short())
        paths.write_atomic(path, data)
    assert paths.read_secure(path) == data


def test_write_atomic_stops_when_nothing_is_ever_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(paths.FileSystem):
        def write(self, fd: int, data: memoryview) -> int:
            return 0

    monkeypatch.setattr(paths, "filesystem", Stuck())
    with pytest.raises(StateWriteError):
        paths.write_atomic(tmp_path / "state.json", b"new")
    assert list(tmp_path.iterdir()) == []


def test_write_atomic_keeps_the_previous_content(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for content in (b"1", b"2", b"3"):
        paths.write_atomic(path, content)
    assert paths.read_secure(path) == b"3"
    assert paths.read_secure(tmp_path / "state.json.prev") == b"2"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["state.json", "state.json.prev"]


def test_write_atomic_works_where_hard_links_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoLinks(paths.FileSystem):
        def link(self, old: str, new: str, *, dir_fd: int) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(paths, "filesystem", NoLinks())
    paths.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_write_atomic_replaces_a_link_and_never_writes_through_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    path = tmp_path / "state.json"
    path.symlink_to(victim)
    paths.write_atomic(path, b"new")
    assert victim.read_bytes() == b"untouched"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_created_belongs_to_the_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        directory = paths.secure_directory(tmp_path / "a" / "b" / "state")
        paths.write_atomic(directory / "x", b"")
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o7777 for p in (tmp_path / "a").rglob("*")}
    assert modes == {"b": 0o700, "state": 0o700, "x": 0o600}


def test_secure_directory_takes_what_exists(tmp_path: Path) -> None:
    assert paths.secure_directory(tmp_path / "state") == paths.secure_directory(tmp_path / "state")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_secure_directory_refuses_one_that_others_can_write(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "my state"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(StateError, match="written by others") as caught:
        paths.secure_directory(path)
    assert caught.value.hint == f"chmod go-w '{path}'"
    assert path.stat().st_mode & 0o7777 == mode


def test_secure_directory_refuses_a_link_even_to_a_good_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to("real")
    with pytest.raises(StateError, match="is a link"):
        paths.secure_directory(tmp_path / "state")


def test_secure_directory_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(StateError, match="not a directory"):
        paths.secure_directory(tmp_path / "state")
    with pytest.raises(StateError, match="cannot be created"):
        paths.secure_directory(tmp_path / "state" / "deeper")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_files_of_another_user_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    path = directory / "x"
    path.write_bytes(b"1")
    path.chmod(0o600)
    os.chown(path, 12345, -1)
    with pytest.raises(StateError, match="12345") as caught:
        paths.open_secure(path)
    assert caught.value.hint.startswith("chown 0 ")
    os.chown(directory, 12345, -1)
    with pytest.raises(StateError, match="12345"):
        paths.secure_directory(directory)


def private(path: Path, content: bytes = b"1") -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def make_link(path: Path) -> None:
    path.symlink_to(private(path.with_name("target")))


def make_hard_link(path: Path) -> None:
    path.hardlink_to(private(path.with_name("target")))


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def make_writable(path: Path) -> None:
    private(path).chmod(0o620)


def make_big(path: Path) -> None:
    private(path)
    os.truncate(path, paths.MAX_STATE_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_link, "is a link"),
        (make_hard_link, "hard links"),
        (os.mkfifo, "not a regular file"),
        (Path.mkdir, "not a regular file"),
        (make_socket, "cannot be read"),
        (make_writable, "written by others"),
        (make_big, "more than the 8388608 allowed"),
    ],
)
def test_open_secure_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)  # A socket's path is limited to 108 bytes.
    path = Path("x")
    make(path)
    with pytest.raises(StateError, match=reason) as caught:
        paths.open_secure(path)
    assert caught.value.hint
    assert path.exists()


def test_open_secure_tells_a_missing_file_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        paths.open_secure(tmp_path / "x")


def test_read_secure_stops_at_the_limit(tmp_path: Path) -> None:
    path = private(tmp_path / "x", b"12345")
    assert paths.read_secure(path, 5) == b"12345"
    with pytest.raises(StateError, match="more than the 4 allowed"):
        paths.read_secure(path, 4)


def test_a_crash_between_link_and_rename_leaves_both_names_readable(tmp_path: Path) -> None:
    path = private(tmp_path / "x")
    (tmp_path / "x.prev").hardlink_to(path)
    assert paths.read_secure(path) == paths.read_secure(tmp_path / "x.prev") == b"1"


def test_directories_follow_the_xdg_specification() -> None:
    home = {"HOME": "/home/ann"}
    ours = paths.directories(home, uid=1000)
    assert ours.state == Path("/home/ann/.local/state/update-all")
    assert ours.config == Path("/home/ann/.config/update-all")
    assert ours.cache == Path("/home/ann/.cache/update-all")
    assert ours.history.parent == ours.state
    set_ = paths.directories({**home, "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "relative"}, uid=1000)
    assert set_.state == Path("/s/update-all")
    assert set_.config == ours.config


def test_directories_of_root() -> None:
    assert paths.directories({"HOME": "/root"}, uid=0).state == Path("/var/lib/update-all")
    moved = paths.directories({"HOME": "/root", "XDG_STATE_HOME": "/s"}, uid=0)
    assert moved.state == Path("/s/update-all")
