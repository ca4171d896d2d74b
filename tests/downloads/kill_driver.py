"""Runs one operation on generations again and again, killed at each system call in turn.

Started by test_generation_kills.py as a program: it forks, and pytest's process has threads.
Argument: the operation and an empty folder. Prints the number of places at which it was killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from update_all.core.errors import InstallError
from update_all.downloads import generations
from update_all.downloads.generations import Generations

SMOKE = ["bin/tool"]
CALLS = ("mkdir", "rmdir", "rename", "unlink", "symlink", "fsync", "open", "utime", "chmod")


def build(tree: Path, version: str, *, works: bool = True, works_as_current: bool = True) -> Path:
    """A tree with a program that prints its version; it may fail, always or only through `current`."""
    (tree / "bin").mkdir(parents=True)
    tool = tree / "bin" / "tool"
    lines = ["#!/bin/sh", f"echo {version}"]
    if not works:
        lines.append("exit 3")
    if not works_as_current:
        lines.append('case "$0" in */current/*) exit 4;; esac')
    tool.write_text("\n".join(lines) + "\n")
    tool.chmod(0o755)
    return tree


def says(tree: Path) -> str:
    """What the program below `tree` prints."""
    return subprocess.run([tree / "bin" / "tool"], capture_output=True, text=True, check=True).stdout.strip()


def before(place: Generations) -> str:
    """The version that a rollback would lead to, tried on a copy. Raises InstallError where there is none."""
    copy = Generations(place.root.with_name("copy"))
    shutil.copytree(place.root, copy.root, symlinks=True)
    try:
        return copy.rollback()
    finally:
        shutil.rmtree(copy.root)


def kill_at(number: int) -> None:
    """Arrange that this process kills itself at the entry of its `number`-th call."""
    left = [number]

    def armed(call: Callable[..., object]) -> Callable[..., object]:
        def guarded(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return guarded

    for name in CALLS:
        setattr(os, name, armed(getattr(os, name)))
    for name in ("exchange", "flush_file_system"):
        setattr(generations, name, armed(getattr(generations, name)))


def survives(operation: Callable[[], object], number: int | None) -> bool:
    """Run in a child, killed at call `number`; whether it came to its end."""
    child = os.fork()
    if child == 0:
        if number is not None:
            kill_at(number)
        try:
            operation()
        except InstallError as error:
            sys.stderr.write(f"{error}\n")
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGKILL:
        return False
    assert code in {0, 1}, code
    return True


class Case:
    """An operation, what is there before it, and what must be true afterwards."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.generations = Generations(room / "root")
        self.tool = self.generations.current
        self.possible = {"1", "2"}
        self.final = "2"

    def prepare(self) -> None:
        place = self.generations
        place.install(build(place.staged("1"), "1"), "1", SMOKE)
        build(place.staged("2"), "2")

    def operate(self) -> None:
        self.generations.install(self.generations.staged("2"), "2", SMOKE)

    def check(self) -> None:
        assert says(self.tool) in self.possible


class Install(Case):
    pass


class FailedSwitch(Case):
    def __init__(self, room: Path) -> None:
        super().__init__(room)
        self.final = "1"

    def prepare(self) -> None:
        place = self.generations
        place.install(build(place.staged("1"), "1"), "1", SMOKE)
        build(place.staged("2"), "2", works_as_current=False)

    def operate(self) -> None:
        if self.generations.staged("2").exists() or self.generations.path("2").exists():
            super().operate()

    def check(self) -> None:
        """A version on trial may fail through `current`; what is proven must be where rollback leads."""
        current = self.generations.current_version()
        assert current in self.possible, f"{current} is current"
        if current == "2":
            assert before(self.generations) == "1"
            assert says(self.generations.path("1")) == "1"


class Rollback(Case):
    def __init__(self, room: Path) -> None:
        super().__init__(room)
        self.final = "1"

    def prepare(self) -> None:
        super().prepare()
        super().operate()

    def operate(self) -> None:
        assert self.generations.rollback() == "1"


class Prune(Case):
    def prepare(self) -> None:
        place = self.generations
        for version in ("0", "0.5", "1", "2"):
            place.install(build(place.staged(version), version), version, SMOKE)

    def operate(self) -> None:
        self.generations.prune()
        assert set(self.generations.installed()) == {"1", "2"}


class Adopt(Case):
    """The directory itself is what people run; it must never be away."""

    def __init__(self, room: Path) -> None:
        super().__init__(room)
        self.tool = room / "tool"
        self.final = "1"

    def prepare(self) -> None:
        build(self.tool, "1")

    def operate(self) -> None:
        self.generations.adopt(self.tool, "1")

    def check(self) -> None:
        super().check()
        if self.generations.current.is_symlink():
            assert says(self.generations.current) in self.possible


class AdoptBesideNewer(Adopt):
    def __init__(self, room: Path) -> None:
        super().__init__(room)
        self.final = "2"

    def prepare(self) -> None:
        super().prepare()
        place = self.generations
        place.install(build(place.staged("2"), "2"), "2", SMOKE)


class AdoptWithoutExchange(Adopt):
    """A file system that cannot exchange names: after a kill the next call of any method puts it right."""

    def operate(self) -> None:
        setattr(generations, "exchange", lambda left, right: False)  # noqa: B010 - not ours to replace
        super().operate()

    def check(self) -> None:
        self.generations.prune()
        super().check()


CASES: dict[str, type[Case]] = {
    case.__name__: case
    for case in (Install, FailedSwitch, Rollback, Prune, Adopt, AdoptBesideNewer, AdoptWithoutExchange)
}


def sweep(kind: type[Case], folder: Path) -> int:
    """Kill at the first call, the second, … until one run survives. Returns the number of kills."""
    for number in range(10_000):
        room = folder / "room"
        room.mkdir()
        case = kind(room)
        case.prepare()
        case.check()
        survived = survives(case.operate, number)
        case.check()
        assert survives(case.operate, None)
        assert says(case.tool) == case.final
        case.check()
        shutil.rmtree(room)
        if survived:
            return number
    raise AssertionError("it never ends")


if __name__ == "__main__":
    print(sweep(CASES[sys.argv[1]], Path(sys.argv[2])))
