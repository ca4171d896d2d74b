"""The power goes: the file system holds what was flushed and no more. Then a resume on what is left.

The state lies on a file system in an image file. At a random instant every process is stopped and the image
is copied: the copy is the disk after a power cut, for what the kernel has not written yet is not in it. The
ledger of the steps lies elsewhere and tells what happened; what had been shown as done must be done. Needs
root, loop devices and the tools of the file systems.

UPDATE_ALL_FAULT_POWER_CUTS sets the number of cuts over all file systems (default 0: left out).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import Ledger, Scenario, cleaning_up, kill, wait_for
from test_kill_resume import Oracle, mixed, resume_until_done

CUTS = int(os.environ.get("UPDATE_ALL_FAULT_POWER_CUTS", "0"))
MIB = 1 << 20
SYSTEMS = {
    "ext4": (32, ["mkfs.ext4", "-q", "-F"]),
    "xfs": (300, ["mkfs.xfs", "-q", "-f"]),  # The least that mkfs.xfs takes.
    "btrfs": (128, ["mkfs.btrfs", "-q", "-f"]),
}

pytestmark = [
    pytest.mark.skipif(CUTS == 0, reason="only in the full tier: UPDATE_ALL_FAULT_POWER_CUTS"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
    ),
]


@contextlib.contextmanager
def mounted(image: Path, place: Path, *options: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    how = ",".join(("loop", *options))
    subprocess.run(["mount", "-o", how, str(image), str(place)], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, capture_output=True)


def made(system: str, image: Path) -> Path:
    """An empty file system."""
    size, command = SYSTEMS[system]
    if not shutil.which(command[0]):
        pytest.skip(f"needs {command[0]}")
    with image.open("wb") as file:
        file.truncate(size * MIB)
    subprocess.run([*command, str(image)], check=True, capture_output=True)
    return image


def cut(directory: Path, system: str, after: float, *options: str) -> tuple[Scenario, Ledger, set[str]]:
    """Run, and lose the power `after` seconds into the first step: with the steps that were shown as done."""
    scenario, ledger = mixed(directory)
    image = made(system, directory / "disk")
    place = directory / "mount"
    scenario.state = place / "state"
    copied = directory / "copied"
    with mounted(image, place), cleaning_up(scenario), scenario.started(*options) as process:
        wait_for("the first step", lambda: ledger.count("start"))
        time.sleep(after)
        stopped = [process.pid, *scenario.living()]
        kill(stopped, signal.SIGSTOP)
        wait_for("the stop", lambda: all(map(at_rest, stopped)))
        wait_for("a copy of one instant", lambda: copy_of_one_instant(image, copied))
        shown = {name for name, end in scenario.ends().items() if end.success}
        kill([*stopped, *scenario.living()])
        process.communicate()
        wait_for("the end of every process", lambda: not scenario.living())
    return scenario, ledger, shown


def copy_of_one_instant(image: Path, copied: Path) -> bool:
    """Copy the image; False where the kernel has written to it meanwhile."""
    subprocess.run(["cp", "--sparse=always", str(image), str(copied)], check=True)
    return subprocess.run(["cmp", "-s", str(image), str(copied)]).returncode == 0


def at_rest(pid: int) -> bool:
    """Stopped, gone, or inside a system call from which it will not come back before it is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (
            b"T",
            b"Z",
            b"X",
            b"D",
        )
    except OSError:
        return True


def resumed(scenario: Scenario, ledger: Ledger, shown: set[str], *options: str) -> list[str]:
    """Resume on the disk after the cut, in a machine that was started anew, and what the oracle finds."""
    scenario.always = ["--boot", "the next one"]
    oracle = Oracle(scenario, ledger)
    with mounted(scenario.directory / "copied", scenario.state.parent, *options), cleaning_up(scenario):
        forgotten = [f"shown as done and forgotten: {name}" for name in shown - scenario.completed()]
        oracle.note_completed()
        resume_until_done(scenario, oracle)
        wait_for("the end of every process", lambda: not scenario.living())
        return forgotten + oracle.judge()


@pytest.mark.timeout(120 + 10 * CUTS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_power_cut_loses_and_repeats_nothing(
    tmp_path: Path, system: str, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(system)  # noqa: S311 - instants of cuts
    for number in range(max(1, CUTS // len(SYSTEMS))):
        directory = tmp_path / str(number)
        directory.mkdir()
        # Another mount namespace may still hold the original, which has the same identity.
        options = ("nouuid",) if system == "xfs" else ()
        assert resumed(*cut(directory, system, chance.uniform(0.0, 0.5)), *options) == [], number
        shutil.rmtree(directory)
    record_property("cases", max(1, CUTS // len(SYSTEMS)))


@pytest.mark.timeout(300)
def test_without_flushes_a_power_cut_loses_what_was_acknowledged(tmp_path: Path) -> None:
    lost: list[str] = []
    for number in range(10):
        directory = tmp_path / str(number)
        directory.mkdir()
        scenario, _, shown = cut(directory, "ext4", 0.4, "--off", "flush")
        with mounted(directory / "copied", scenario.state.parent):
            lost += shown - scenario.completed()
        if lost:
            return
    raise AssertionError("nothing was lost: the copies are not what a power cut leaves")
