"""Interrupts end whole trees that run as root through real sudo, or name what they may not end.

UPDATE_ALL_FAULT_ROOT_CANCELS sets how many runs of the zoo are cancelled (default 2: 24 trees; full: 42).
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import living, wait_for
from sudo_world import ALL, CAN, PASSWORD, QUESTION, REASON, SudoWorld, finish
from test_orphans import ZOO

from update_all.core.streaming import StepEndEvent

pytestmark = pytest.mark.skipif(not CAN, reason=REASON)

ROUNDS = int(os.environ.get("UPDATE_ALL_FAULT_ROOT_CANCELS", "2"))
KINDS = [
    (pty, rule, presses)
    for presses in (1, 2, 3)
    for rule in ("ask", "nopasswd")
    for pty in ("use_pty", "!use_pty")
]
KINDS.sort(key=lambda kind: (kind[2], kind[0] == "use_pty", kind[1]))
RULES = {"ask": ALL, "nopasswd": "ann ALL=(ALL) NOPASSWD: ALL"}
PATIENT = "export PYTHONPATH=$PYTHONPATH:/srv/home;"
"""What precedes a run that is to end things fast: see `hurried`."""


def hurried(place: SudoWorld, *more: str) -> None:
    lines = ["import update_all.core.supervision as module", "module.TERM_GRACE_SECONDS = 0.5", *more]
    (place.home / "usercustomize.py").write_text("\n".join(lines))


def zoo(directory: Path, token: str, rules: str) -> SudoWorld:
    """One plugin for each kind of tree, as root; each touches a file when all its processes are up."""
    place = SudoWorld(directory, rules)
    hurried(place)
    (place.home / "up").mkdir()
    for name, kind in ZOO.items():
        script = re.sub(r"sleep (\d+)", rf"sleep \1.{token}", kind).replace("sleep(60)", f"sleep(60.{token})")
        place.tool(f"zoo-{name}", f"(sleep 0.3; touch /srv/home/up/{name}) &\n{script}")
        step = {"name": "step", "cmd": [f"zoo-{name}"], "sudo": True}
        place.plugin(name, step, settings="jobs = 20")
    return place


@contextlib.contextmanager
def cleaned(token: str) -> Iterator[None]:
    try:
        yield
    finally:
        for pid in living(token):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_interrupts_leave_no_process_of_root(
    tmp_path: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", len(ZOO))
    pty, rule, presses = KINDS[number % len(KINDS)]
    token = str(time.time_ns())
    place = zoo(tmp_path / "world", token, f"Defaults {pty}\n{RULES[rule]}")
    with cleaned(token), place.terminal("run", "--yes", before=PATIENT) as terminal:
        if rule == "ask":
            terminal.expect(QUESTION)
            terminal.sendline(PASSWORD)
        wait_for("the zoo", lambda: len(list((place.home / "up").iterdir())) == len(ZOO))
        for _ in range(presses):
            terminal.sendintr()
            time.sleep(0.05)
        assert finish(terminal) == 130
        assert living(token) == {}
    ends = {event.plugin_name: event for event in place.events() if isinstance(event, StepEndEvent)}
    assert {name: end.error_code for name, end in ends.items()} == dict.fromkeys(ZOO, "interrupted")
    assert not [end.error_message for end in ends.values() if "still running" in (end.error_message or "")]


def test_without_the_keeper_processes_of_root_would_be_left(tmp_path: Path) -> None:
    token = str(time.time_ns())
    place = zoo(tmp_path / "world", token, RULES["nopasswd"])
    off = "rights.Rights.wrap = lambda self, argv, env: self.privilege.wrap(argv, env)"
    hurried(place, "import update_all.core.rights as rights", off)
    with cleaned(token), place.terminal("run", "--yes", before=PATIENT) as terminal:
        wait_for("the zoo", lambda: len(list((place.home / "up").iterdir())) == len(ZOO))
        terminal.sendintr()
        assert finish(terminal) == 130
        assert living(token) != {}


def test_what_may_not_be_ended_is_named(tmp_path: Path) -> None:
    """A rule for the command alone does not allow kill(1)."""
    token = str(time.time_ns())
    place = SudoWorld(tmp_path / "world", "ann ALL=(root) NOPASSWD: /usr/local/bin/stays")
    hurried(place)
    place.tool("stays", f"touch /srv/home/up; setsid sleep 60.{token} & sleep 61.{token}")
    place.plugin("alpha", {"name": "step", "cmd": ["stays"], "sudo": True})
    with cleaned(token), place.terminal("run", "--yes", before=PATIENT) as terminal:
        wait_for("the step", (place.home / "up").exists)
        wait_for("its processes", lambda: len(living(token)) == 2)
        terminal.sendintr()
        assert finish(terminal) == 130
        left = living(token)
        message = place.ends()["step"].error_message or ""
        assert left
        assert all(str(pid) in message for pid in left)


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
def test_a_transaction_as_root_gets_one_int_and_nothing_else(tmp_path: Path, pty: str) -> None:
    place = SudoWorld(tmp_path / "world", f"Defaults {pty}\n{RULES['nopasswd']}")
    place.tool(
        "transact",
        "trap 'echo INT; exit 0' INT; trap 'echo TERM' TERM; trap 'echo HUP' HUP\n"
        "touch /srv/home/up; n=0; while test $n -lt 600; do sleep 0.1; n=$((n+1)); done",
    )
    place.plugin("alpha", {"name": "step", "cmd": ["transact"], "sudo": True, "uninterruptible": True})
    with place.terminal("run", "--yes") as terminal:
        wait_for("the step", (place.home / "up").exists)
        terminal.sendintr()
        terminal.expect("nothing new starts")
        assert place.logs() == ""
        terminal.sendintr()
        assert finish(terminal) == 130
    assert place.logs() == "INT\n"
    assert place.ends()["step"].success


def test_a_transaction_that_has_asked_for_the_password_gives_the_terminal_back(tmp_path: Path) -> None:
    """A Ctrl-C on the terminal is for update-all again, and its first one lets the transaction finish."""
    place = SudoWorld(tmp_path / "world", f"Defaults timestamp_timeout=0\n{ALL}")
    place.tool(
        "transact", "trap 'echo INT' INT; touch /srv/home/up; until test -e /srv/home/go; do sleep 0.1; done"
    )
    place.plugin("alpha", {"name": "step", "cmd": ["transact"], "sudo": True, "uninterruptible": True})
    with place.terminal("run", "--yes") as terminal:
        for _ in range(2):
            terminal.expect(QUESTION)
            terminal.sendline(PASSWORD)
        wait_for("the step", (place.home / "up").exists)
        wait_for("the terminal", lambda: os.tcgetpgrp(terminal.child_fd) == terminal.pid)
        terminal.sendintr()
        terminal.expect("nothing new starts")
        (place.home / "go").touch()
        assert finish(terminal) == 130
    assert place.logs() == ""
    assert place.ends()["step"].success
