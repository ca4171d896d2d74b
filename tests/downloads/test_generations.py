"""Installs as generations: real trees with a program that really runs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from update_all.core.errors import BusyError, InstallError
from update_all.downloads import generations as module
from update_all.downloads.exchange import exchange
from update_all.downloads.generations import Generations
from update_all.downloads.in_use import directories_in_use

sys.path.insert(0, str(Path(__file__).parent))
from kill_driver import CASES, SMOKE, before, build, says


@pytest.fixture
def place(tmp_path: Path) -> Generations:
    return Generations(tmp_path / "root")


def install(place: Generations, version: str) -> None:
    place.install(build(place.staged(version), version), version, SMOKE)


def test_install_and_upgrade(place: Generations) -> None:
    assert place.current_version() is None
    install(place, "1.9")
    assert place.current_version() == "1.9"
    with pytest.raises(InstallError, match="no version before"):
        before(place)
    install(place, "1.10")
    assert says(place.current) == "1.10"
    assert (place.current_version(), before(place)) == ("1.10", "1.9")
    assert place.installed() == ["1.10", "1.9"]
    assert sorted(path.name for path in place.root.iterdir() if path.name[0] != ".") == [
        "current",
        "previous",
        "versions",
    ]


def test_install_again_is_nothing(place: Generations) -> None:
    install(place, "1")
    install(place, "2")
    inode = place.path("2").stat().st_ino
    install(place, "2")
    place.switch("2", SMOKE)
    assert place.path("2").stat().st_ino == inode
    assert before(place) == "1"
    assert not place.staged("2").exists()


def test_program_that_does_not_run_is_never_placed(place: Generations) -> None:
    install(place, "1")
    with pytest.raises(InstallError, match="exit code 3: 2"):
        place.install(build(place.staged("2"), "2", works=False), "2", SMOKE)
    assert says(place.current) == "1"
    assert place.installed() == ["1"]
    (place.staged("3") / "bin").mkdir(parents=True)
    with pytest.raises(InstallError, match="cannot be run"):
        place.install(place.staged("3"), "3", SMOKE)
    with pytest.raises(InstallError, match="not there"):
        place.install(place.staged("4"), "4", SMOKE)


def test_switched_back_when_it_fails_as_current(place: Generations) -> None:
    install(place, "0")
    install(place, "1")
    with pytest.raises(InstallError, match=r"exit code 4.*; 1 is current"):
        place.install(build(place.staged("2"), "2", works_as_current=False), "2", SMOKE)
    assert says(place.current) == "1"
    assert before(place) == "0"
    assert place.installed() == ["1", "0"]


def test_first_install_that_fails_leaves_no_current(place: Generations) -> None:
    with pytest.raises(InstallError, match="nothing is current"):
        place.install(build(place.staged("1"), "1", works_as_current=False), "1", SMOKE)
    assert not place.current.is_symlink()
    install(place, "1")
    assert says(place.current) == "1"


def test_rollback(place: Generations) -> None:
    with pytest.raises(InstallError, match="no version before"):
        place.rollback()
    install(place, "1")
    with pytest.raises(InstallError, match="no version before"):
        place.rollback()
    install(place, "2")
    assert place.rollback() == "1"
    assert says(place.current) == "1"
    assert place.rollback() == "1"
    place.switch("2", SMOKE)
    assert (says(place.current), before(place)) == ("2", "1")


def test_prune_keeps_current_and_previous(place: Generations) -> None:
    for version in ("1", "2", "3", "4", "5"):
        install(place, version)
    place.rollback()
    assert place.prune(keep=3) == ["2", "1"]
    assert set(place.installed()) == {"3", "4", "5"}
    assert place.prune(keep=0) == ["5", "3"]
    assert says(place.current) == "4"
    assert [path.name for path in place.versions.iterdir()] == ["4"]


def test_prune_spares_what_is_in_use(place: Generations) -> None:
    for version in ("1", "2", "3", "4", "5"):
        install(place, version)
    standing = subprocess.Popen(["sleep", "60"], cwd=place.path("1"))
    script = place.path("2") / "bin" / "tool"
    script.write_text("#!/bin/sh\necho ready\nread line\n")
    running = subprocess.Popen([script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        assert place.prune() == ["3"]
        assert set(place.installed()) == {"1", "2", "4", "5"}
    finally:
        for process in (standing, running):
            process.kill()
            process.communicate()
    assert sorted(place.prune()) == ["1", "2"]


def test_similar_names_are_not_in_use(tmp_path: Path) -> None:
    for name in ("1.2", "1.20"):
        (tmp_path / name).mkdir()
    process = subprocess.Popen(["sleep", "60"], cwd=tmp_path / "1.20")
    try:
        assert directories_in_use([tmp_path / "1.2", tmp_path / "1.20"]) == {tmp_path / "1.20"}
    finally:
        process.kill()
        process.wait()


def test_prune_removes_what_was_abandoned(place: Generations) -> None:
    install(place, "1")
    old, fresh = build(place.staged("2"), "2"), build(place.staged("3"), "3")
    os.utime(old, (0, 0))
    place.prune()
    assert not old.exists()
    assert fresh.exists()


@pytest.mark.parametrize("version", ["", ".", "..", "../x", "a/b", ".hidden", "-x", "a\nb", "a b"])
def test_names_that_are_no_version(place: Generations, version: str) -> None:
    with pytest.raises(InstallError, match="name of a version"):
        place.staged(version)


def test_one_at_a_time(place: Generations) -> None:
    install(place, "1")
    with place._exclusive(), pytest.raises(BusyError):
        place.prune()


def test_relative_root() -> None:
    with pytest.raises(InstallError, match="absolute"):
        Generations(Path("here"))


@pytest.mark.skipif(os.geteuid() != 0, reason="what root may run is asked only of root")
def test_root_trusts_only_its_own_folders(place: Generations) -> None:
    install(place, "1")
    place.versions.chmod(0o777)
    with pytest.raises(InstallError, match="must belong to root"):
        place.rollback()


def test_adopt(place: Generations, tmp_path: Path) -> None:
    tool = build(tmp_path / "tool", "1")
    place.adopt(tool, "1")
    place.adopt(tool, "1")
    assert tool.is_symlink()
    assert (says(tool), place.current_version(), place.installed()) == ("1", "1", ["1"])
    install(place, "2")
    assert says(tool) == "2"
    assert place.rollback() == "1"
    assert says(tool) == "1"


def test_adopt_refuses_what_it_does_not_know(place: Generations, tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="not a directory"):
        place.adopt(tmp_path / "absent", "1")
    (tmp_path / "link").symlink_to("/usr")
    with pytest.raises(InstallError, match="link to /usr"):
        place.adopt(tmp_path / "link", "1")
    with pytest.raises(InstallError, match="different file systems"):
        place.adopt(Path("/dev"), "1")
    install(place, "1")
    tool = build(tmp_path / "tool", "1")
    with pytest.raises(InstallError, match="installed"):
        place.adopt(tool, "1")
    assert says(tool) == "1"


def test_adopt_without_exchange(place: Generations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "exchange", lambda left, right: False)
    tool = build(tmp_path / "tool", "1")
    place.adopt(tool, "1")
    assert (says(tool), tool.is_symlink(), place.current_version()) == ("1", True, "1")


def test_tool_is_never_away(place: Generations, tmp_path: Path) -> None:
    """Somebody starts the tool all the time while it is adopted, upgraded and rolled back."""
    if not exchange(build(tmp_path / "a", "a"), build(tmp_path / "b", "b")):
        pytest.skip("this file system cannot exchange names")
    tool = build(tmp_path / "tool", "1")
    done, said = threading.Event(), []

    def watch() -> None:
        while not done.is_set():
            try:
                said.append((tool / "bin" / "tool").read_text())
            except OSError as error:
                said.append(f"away: {error}")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        place.adopt(tool, "1")
        for number in range(2, 12):
            install(place, str(number))
            place.rollback()
            place.switch(str(number), SMOKE)
            place.prune()
    finally:
        done.set()
        watcher.join()
    assert said
    assert not [text for text in said if text.startswith("away")]


def drive(operation: str, folder: Path) -> int:
    argv = [sys.executable, str(Path(__file__).with_name("kill_driver.py")), operation, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("operation", CASES)
def test_killed_at_every_call(tmp_path: Path, operation: str) -> None:
    assert drive(operation, tmp_path) >= 4


def test_killed_at_random_moments(place: Generations, tmp_path: Path) -> None:
    """A real process installs version after version and is killed 40 times; whatever is current runs."""
    install(place, "0")
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from kill_driver import *; place = Generations(Path(sys.argv[2])); print(flush=True)\n"
        "for n in range(int(sys.argv[3]), 10**9):\n"
        "    staged = place.staged(str(n)); shutil.rmtree(staged, ignore_errors=True)\n"
        "    place.install(build(staged, str(n)), str(n), SMOKE); place.prune()\n"
        "    if n % 3 == 0: place.rollback()\n"
    )
    for round_ in range(40):
        argv = [sys.executable, "-c", script, str(Path(__file__).parent), str(place.root)]
        process = subprocess.Popen([*argv, str(1 + round_ * 1000)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep((round_ * 37 % 80) / 1000)
        process.kill()
        process.communicate()
        assert says(place.current) == place.current_version()
    place.prune()
    assert len(place.installed()) <= 3
