"""pacman killed while it unpacks a package: it knows neither version, and says that all is up to date."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from room import UPDATE_ALL, Room, why_not
from tools.pacman import PACKAGE, Pacman

pytestmark = pytest.mark.skipif(bool(why_not() or Pacman.missing()), reason=why_not() or Pacman.missing())

BIG = "usr/share/ua-lab-big"


@pytest.fixture
def pacman(tmp_path: Path) -> Iterator[Pacman]:
    with Room(tmp_path) as room:
        found = Pacman(room)
        try:
            found.prepare()
            yield found
        finally:
            found.close()


def kill_while_unpacking(pacman: Pacman) -> None:
    """Publish a version with a large file, and let the upgrade die in the middle of that file.

    The kernel kills it at the 20th mebibyte, setrlimit(2): no other killer meets that moment every time.
    """
    room = pacman.room
    big = room.folder / "pacman-2.0-1" / BIG
    big.parent.mkdir(parents=True)
    big.write_bytes(os.urandom(1 << 20) * 40)
    pacman.publish("2.0-1", "")
    room.run("pacman", "--sync", "--refresh", "--sysupgrade", "--downloadonly", "--noconfirm")
    process = room.start("prlimit", f"--fsize={20 << 20}", "pacman", "--sync", "--sysupgrade", "--noconfirm")
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGXFSZ, output
    assert 0 < room.inside(f"/{BIG}").stat().st_size < big.stat().st_size


def test_what_was_half_unpacked_is_installed_anew(pacman: Pacman) -> None:
    kill_while_unpacking(pacman)
    room = pacman.room
    assert "description file is missing" in pacman.complaint()
    check = room.run(*UPDATE_ALL, "check", "pacman")
    assert f"an update was begun and not finished: db.lck, {PACKAGE}" in " ".join(check.split())
    room.run(*UPDATE_ALL, "run", "--yes", "pacman")
    assert pacman.complaint() == ""
    assert pacman.installed() == {PACKAGE: "2.0-1"}
    assert room.inside(f"/{BIG}").stat().st_size == 40 << 20
    room.run(*UPDATE_ALL, "check", "pacman")


def test_where_it_cannot_be_installed_it_is_not_forgotten(pacman: Pacman) -> None:
    kill_while_unpacking(pacman)
    room = pacman.room
    pacman.server.stop()
    for file in room.inside("/var/cache/pacman/pkg").iterdir():
        file.unlink()
    room.run(*UPDATE_ALL, "run", "--yes", "pacman", codes=(1,))
    assert "description file is missing" in pacman.complaint()


def test_what_a_pacman_at_work_unpacks_is_left_to_it(pacman: Pacman) -> None:
    kill_while_unpacking(pacman)
    room = pacman.room
    lock = "/var/lib/pacman/db.lck"
    holder = room.start("sh", "-c", f"exec 3<{lock}; echo ready; exec sleep 100")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    before = sorted(room.inside("/var/lib/pacman/local").rglob("*"))
    room.run(*UPDATE_ALL, "run", "--yes", "pacman", codes=(1,))
    assert room.inside(lock).exists()
    assert sorted(room.inside("/var/lib/pacman/local").rglob("*")) == before
    room.kill()
    holder.communicate()
