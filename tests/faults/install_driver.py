"""Kills an operation on generations at random calls and instants, and again while it is put right.

    install_driver.py FOLDER KILLS SEED [--careless]

A program of its own: it forks, and pytest's process may have threads. Whatever the kills leave, `current`
must be a version that runs, and left alone the operation must come to its end. Prints how many kills hit.
`--careless` replaces the switch by removing the link and making it anew, to show that the kills find that.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "downloads"))
from kill_driver import CASES, Case, says, survives

from update_all.core.errors import InstallError
from update_all.downloads.generations import Generations

USUAL_SECONDS = 0.03
LONGEST = 40
"""No operation makes many more calls."""


def killed(operation: Callable[[], object], chance: random.Random) -> bool:
    """Run in a child that is killed at some call of its own, or at some instant by us; whether that hit."""
    if chance.random() < 0.5:
        return not survives(operation, chance.randrange(LONGEST))
    child = os.fork()
    if child == 0:
        with contextlib.suppress(InstallError):
            operation()
        os._exit(0)
    time.sleep(chance.uniform(0, USUAL_SECONDS))
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def one_case(case: Case, chance: random.Random) -> int:
    """Prepare, kill up to three times, put right. Returns the kills that hit."""
    case.prepare()
    case.check()
    kills = 0
    for _ in range(chance.randint(1, 3)):
        kills += killed(case.operate, chance)
        case.check()
    assert survives(case.operate, None)
    assert says(case.tool) == case.final
    case.check()
    return kills


def carelessly(_: Generations, link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def main() -> int:
    """Kill until so many kills have hit."""
    folder, wanted, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))  # noqa: S311
    if "--careless" in sys.argv:
        setattr(Generations, "_link", carelessly)  # noqa: B010 - not ours to replace
    kinds = list(CASES.values())
    kills = 0
    while kills < wanted:
        room = folder / "room"
        room.mkdir()
        kills += one_case(chance.choice(kinds)(room), chance)
        shutil.rmtree(room)
    print(kills)
    return 0


if __name__ == "__main__":
    sys.exit(main())
