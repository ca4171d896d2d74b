"""Each step of Go, Waterfox and Calibre fails once for a real reason: the old version runs, and `resume`, a
new process with nothing but what the state holds, begins at that step and ends with the new version.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "downloads"))
sys.path.insert(0, str(Path(__file__).parent))
from publisher import Publisher, publisher
from publishers import CalibreSite, Files, GoSite, WaterfoxSite, calibre_tree, go_tree, plant, waterfox_tree
from release_steps import Machine, configure, machine_at, printed

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the only machine of all three")


@dataclass(frozen=True)
class Program:
    """One plugin: its publisher, two versions, how the installed one is asked, where feed and archive are."""

    site: type[GoSite] | type[WaterfoxSite] | type[CalibreSite]
    tree: Callable[[str], Files]
    versions: tuple[str, str]
    smoke: tuple[str, str]
    feed: str
    archive: str
    steps: tuple[str, ...]

    def says(self, directory: Path) -> str:
        """Which of the two versions runs."""
        told = printed(directory / self.smoke[0], self.smoke[1])
        (version,) = (version for version in self.versions if version in told)
        return version


PROGRAMS = {
    "go-runtime": Program(
        GoSite,
        go_tree,
        ("1.20.1", "1.21.5"),
        ("bin/go", "version"),
        "/dl/?mode=json",
        "/go/go1.21.5.linux-amd64.tar.gz",
        ("check-version", "download", "extract", "install", "symlink"),
    ),
    "waterfox": Program(
        WaterfoxSite,
        waterfox_tree,
        ("6.5.0", "6.5.1"),
        ("waterfox", "--version"),
        "/repos/latest",
        "/waterfox/releases/6.5.1/Linux_x86_64/waterfox-6.5.1.tar.bz2",
        ("check", "download", "extract", "install"),
    ),
    "calibre": Program(
        CalibreSite,
        lambda version: {f"top/{name}": data for name, data in calibre_tree(version).items()},
        ("7.26.0", "8.0.1"),
        ("calibre", "--version"),
        "/tarball-info/x86_64",
        "/files/8.0.1/calibre-8.0.1-x86_64.txz",
        ("check", "download", "install"),
    ),
}


@contextmanager
def feed_gone(server: Publisher, program: Program, _: Path) -> Iterator[None]:
    """It answers the check that comes before the run, and not the step."""
    feed = server.resources[program.feed]

    def leave(_: int) -> None:
        feed.status = 404

    feed.on_slice = leave
    yield
    feed.on_slice = feed.status = None


@contextmanager
def archive_gone(server: Publisher, program: Program, _: Path) -> Iterator[None]:
    archive = server.resources.pop(program.archive)
    yield
    server.resources[program.archive] = archive


@contextmanager
def no_place(_: Publisher, __: Program, versions: Path) -> Iterator[None]:
    """A file is where the versions are to be."""
    versions.touch()
    yield
    versions.unlink()


@contextmanager
def somebody_installs(_: Publisher, __: Program, versions: Path) -> Iterator[None]:
    versions.mkdir()
    lock = os.open(versions / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield
    os.close(lock)


@contextmanager
def no_switch(_: Publisher, __: Program, versions: Path) -> Iterator[None]:
    """A directory is where the link of a version on trial is to be."""
    (versions / ".switching").mkdir(parents=True)
    yield
    (versions / ".switching").rmdir()


Fault = Callable[[Publisher, Program, Path], AbstractContextManager[None]]
FAULTS: dict[str, list[Fault]] = {
    "check-version": [feed_gone],
    "check": [feed_gone],
    "download": [archive_gone],
    "extract": [no_place],
    "install": [somebody_installs, no_switch],
    "symlink": [no_switch],
}
CASES = [
    pytest.param(name, step, fault, id=f"{name}-{step}-{number}")
    for name, program in PROGRAMS.items()
    for step in program.steps
    for number, fault in enumerate(FAULTS[step])
    if not (fault is no_switch and step == "install" and "symlink" in program.steps)
]


def started(machine: Machine) -> list[str]:
    """The steps that the only run began, in their order."""
    (run,) = (machine.state / "runs").iterdir()
    lines = (run / "events.jsonl").read_text().splitlines()
    events: list[Mapping[str, object]] = [json.loads(line) for line in lines]
    return [str(event["step_name"]) for event in events if event["event_type"] == "step_start"]


@pytest.mark.parametrize(("name", "step", "fault"), CASES)
def test_a_step_fails_and_a_new_process_goes_on_with_it(
    tmp_path: Path, name: str, step: str, fault: Fault
) -> None:
    program = PROGRAMS[name]
    old, new = program.versions
    with publisher() as server, machine_at(tmp_path) as machine:
        site = program.site(server)
        site.publish(new)
        directory = plant(configure(machine, name, tmp_path / "opt/program", site.options), program.tree(old))
        with fault(server, program, directory.with_name("program-versions")):
            failed = machine.run("run", name, "--yes")
            assert failed.code == 1, failed.out
            assert f"› {step} failed" in failed.out
            assert program.says(directory) == old
        reached = list(program.steps[: program.steps.index(step) + 1])
        assert started(machine) == reached
        ended = machine.run("resume")
        assert ended.code == 0, ended.out + ended.err
        assert started(machine) == reached + list(program.steps[len(reached) - 1 :])
        assert program.says(directory) == new
        assert machine.run("check", name).code == 0
        assert "Nothing to do" in machine.run("run", name, "--yes").out
        assert machine.run("rollback", name).code == 0
        assert program.says(directory) == old
