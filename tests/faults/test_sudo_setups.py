"""The whole program with real sudo, in the set-ups that machines have: who is asked, how often, and when not.

Each runs `update-all run` as a user with a password of her own on a terminal of her own.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pexpect
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from sudo_world import ALL, CAN, PASSWORD, QUESTION, REASON, SudoWorld, finish

pytestmark = pytest.mark.skipif(not CAN, reason=REASON)

ONE = {"name": "one", "cmd": ["note", "first"], "sudo": True}
MINE = {"name": "mine", "cmd": ["note", "own"]}
TWO = {"name": "two", "cmd": ["note", "second"], "sudo": True}
CUSTOM = "export PYTHONPATH=$PYTHONPATH:/srv/home;"
"""Before the program, so that it finds `usercustomize.py` at home."""


def world(directory: Path, rules: str = ALL, *, tries: int = 1) -> SudoWorld:
    found = SudoWorld(directory / "world", rules, tries=tries)
    found.plugin("alpha", ONE, MINE, TWO)
    return found


def run(place: SudoWorld, *answers: str, question: str = QUESTION, before: str = "") -> tuple[int, int]:
    """Run on a terminal and give these answers: the exit code, and how often it was asked."""
    asked = 0
    with place.terminal("run", "--yes", before=before) as terminal:
        while terminal.expect([question, pexpect.EOF]) == 0:
            place.screen += str(terminal.before)
            terminal.sendline(answers[asked] if asked < len(answers) else PASSWORD)
            asked += 1
        return finish(terminal), asked


def codes(place: SudoWorld) -> dict[str, str | None]:
    return {name: end.error_code for name, end in place.ends().items()}


def everything_ran(place: SudoWorld) -> None:
    assert codes(place) == {"one": None, "mine": None, "two": None}
    assert {"first as 0", "own as 54321", "second as 0"} <= set(place.logs().splitlines())
    assert PASSWORD not in place.logs()


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
def test_asked_once_and_every_step_runs(tmp_path: Path, pty: str) -> None:
    place = world(tmp_path, f"Defaults {pty}\n{ALL}")
    assert run(place) == (0, 1)
    everything_ran(place)


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
def test_where_no_password_is_remembered_each_step_asks(tmp_path: Path, pty: str) -> None:
    place = world(tmp_path, f"Defaults {pty}, timestamp_timeout=0\n{ALL}")
    assert run(place) == (0, 3)
    everything_ran(place)
    assert "sudo does not remember the password here" in place.screen
    assert "alpha: two runs as root" in place.screen


def test_steps_that_run_at_once_ask_one_after_another(tmp_path: Path) -> None:
    place = SudoWorld(tmp_path / "world", f"Defaults timestamp_timeout=0\n{ALL}")
    names = ("alpha", "beta", "gamma")
    for name in names:
        place.plugin(name, {"name": f"of-{name}", "cmd": ["note", name], "sudo": True})
    assert run(place) == (0, 4)
    assert {f"{name} as 0" for name in names} <= set(place.logs().splitlines())


def test_the_ticket_outlives_its_time_while_it_is_kept_alive(tmp_path: Path) -> None:
    """sudo forgets after 2 seconds here; the step in between takes longer than that."""
    place = SudoWorld(tmp_path / "world", f"Defaults timestamp_timeout=0.03\n{ALL}")
    place.plugin("alpha", ONE, {"name": "mine", "cmd": ["sleep", "3"]}, TWO)
    keeper = "import update_all.core.privilege as module; module.KEEPALIVE_SECONDS = 0.5"
    (place.home / "usercustomize.py").write_text(keeper)
    with place.terminal("run", "--yes", before=CUSTOM) as terminal:
        terminal.expect(QUESTION)
        terminal.sendline(PASSWORD)
        assert terminal.expect([QUESTION, pexpect.EOF]) == 1
        assert finish(terminal) == 0


def test_a_step_that_ends_the_ticket_makes_the_next_one_ask(tmp_path: Path) -> None:
    place = SudoWorld(tmp_path / "world")
    place.plugin("alpha", ONE, {"name": "mine", "cmd": ["sudo", "-k"]}, TWO)
    assert run(place) == (0, 2)
    assert codes(place) == {"one": None, "mine": None, "two": None}


def test_the_ticket_is_given_back_behind_the_last_step_as_root(tmp_path: Path) -> None:
    place = SudoWorld(tmp_path / "world")
    place.tool("late", "sleep 1; exec sudo -n true")
    place.plugin("alpha", ONE, {"name": "late", "cmd": ["late"]})
    assert run(place) == (1, 1)
    assert codes(place) == {"one": None, "late": "step-failed"}


def test_rules_for_some_commands_need_no_question_and_no_person(tmp_path: Path) -> None:
    place = world(tmp_path, "ann ALL=(root) NOPASSWD: /usr/local/bin/note first")
    assert place.without_terminal("run", "--yes").returncode == 4
    assert codes(place)["one"] is None
    assert codes(place)["two"] == "needs-privilege"


def test_rules_for_everything_need_no_question(tmp_path: Path) -> None:
    place = world(tmp_path, "ann ALL=(root) NOPASSWD: ALL")
    assert run(place) == (0, 0)
    everything_ran(place)
    assert place.without_terminal("run", "--yes").returncode == 0
    everything_ran(place)


@pytest.mark.skipif(shutil.which("doas") is None, reason="doas is not installed")
@pytest.mark.parametrize(("rule", "questions"), [("permit persist ann", 2), ("permit ann", 3)])
def test_doas_asks_before_and_once_or_for_each_step(tmp_path: Path, rule: str, questions: int) -> None:
    """What doas remembers counts for children of one process only: what was typed up front, for ours."""
    place = SudoWorld(tmp_path / "world", doas=rule)
    place.plugin("alpha", ONE, MINE, TWO, settings='sudo.command = "doas"')
    assert run(place, question=r"doas \(ann@.*\) password: ") == (0, questions)
    everything_ran(place)


def test_the_wrong_password_three_times_blocks_what_needs_root_and_nothing_else(tmp_path: Path) -> None:
    place = world(tmp_path, tries=3)
    place.plugin("beta", {"name": "own", "cmd": ["note", "beta"]})
    assert run(place, "wrong", "worse", "worst") == (4, 3)
    assert codes(place) == {"one": "needs-privilege", "own": None}


def test_a_wrong_password_in_the_middle_is_asked_for_no_further(tmp_path: Path) -> None:
    place = world(tmp_path, f"Defaults timestamp_timeout=0\n{ALL}", tries=2)
    place.plugin("beta", {**ONE, "name": "other"}, settings="jobs = 1")
    assert run(place, PASSWORD, "wrong", "worse") == (4, 3)
    assert set(codes(place).values()) == {"needs-privilege"}


def test_that_nobody_knew_the_password_is_known_before_the_next_one_may_ask(tmp_path: Path) -> None:
    """Here the end of sudo is seen at once, so before the shim has told of it."""
    place = world(tmp_path, f"Defaults timestamp_timeout=0\n{ALL}", tries=2)
    place.plugin("beta", {**ONE, "name": "other"}, settings="jobs = 1")
    hasty = "import update_all.core.foreground as module; module.POLL_SECONDS = 0"
    (place.home / "usercustomize.py").write_text(hasty)
    assert run(place, PASSWORD, "wrong", "worse", before=CUSTOM) == (4, 3)


def test_no_right_at_all(tmp_path: Path) -> None:
    place = world(tmp_path, "root ALL=(ALL) ALL")
    place.plugin("beta", {"name": "own", "cmd": ["note", "beta"]})
    assert run(place)[0] == 4
    assert codes(place) == {"one": "needs-privilege", "own": None}


def test_nobody_there_is_a_reason_and_no_hang(tmp_path: Path) -> None:
    place = world(tmp_path)
    assert place.without_terminal("run", "--yes").returncode == 4
    assert codes(place) == {"one": "needs-privilege"}
    with place.terminal("run", "--yes", "--no-input") as terminal:
        assert terminal.expect([QUESTION, pexpect.EOF]) == 1
        assert finish(terminal) == 4


STRANGER = """#!/bin/sh
hello='{"type": "hello", "protocol": 1}'
steps='[{"name": "ride", "description": "x"}]'
plugin='{"type": "plugin", "name": "stranger", "description": "x", "steps": '"$steps}"
case "$1" in
describe) printf '%s\\n' "$hello" "$plugin" '{"type": "end"}' ;;
check) printf '%s\\n' "$hello" '{"type": "update", "item": "x"}' '{"type": "end", "status": "updates"}' ;;
run) echo "$hello"
    sleep 1
    sudo -n touch /srv/home/ridden && echo RODE
    sudo -n touch /srv/home/ridden </dev/tty && echo RODE
    echo '{"type": "end", "status": "done"}' ;;
esac
"""


def test_a_stranger_does_not_ride_on_the_ticket(tmp_path: Path) -> None:
    place = SudoWorld(tmp_path / "world")
    place.plugin("alpha", ONE, {"name": "mine", "cmd": ["sleep", "2"]}, TWO)
    place.executable("stranger", STRANGER)
    assert run(place)[1] == 1
    assert codes(place) == {"one": None, "mine": None, "two": None, "ride": None}
    assert not (place.home / "ridden").exists()
    assert "RODE" not in place.logs()


def test_a_question_outlasts_the_end_of_the_run_and_none_follows_it(tmp_path: Path) -> None:
    """TERM while sudo asks: the one question is still answered, the next step is not begun."""
    place = SudoWorld(tmp_path / "world", f"Defaults timestamp_timeout=0\n{ALL}")
    place.plugin("alpha", {**ONE, "uninterruptible": True}, TWO)
    place.plugin("beta", {**TWO, "name": "other", "uninterruptible": True})
    with place.terminal("run", "--yes") as terminal:
        terminal.expect(QUESTION)
        terminal.sendline(PASSWORD)
        terminal.expect(QUESTION)
        terminal.kill(signal.SIGTERM)
        terminal.expect(pexpect.TIMEOUT, timeout=0.5)
        terminal.sendline(PASSWORD)
        assert terminal.expect([QUESTION, pexpect.EOF]) == 1
        assert finish(terminal) == 130
    ended = codes(place)
    assert set(ended) == {"one", "other"}
    assert set(ended.values()) == {None, "interrupted"}


def test_ctrl_c_at_a_question_is_a_refusal(tmp_path: Path) -> None:
    place = world(tmp_path, f"Defaults timestamp_timeout=0\n{ALL}")
    place.plugin("beta", {"name": "own", "cmd": ["note", "beta"]})
    with place.terminal("run", "--yes") as terminal:
        terminal.expect(QUESTION)
        terminal.sendline(PASSWORD)
        terminal.expect(QUESTION)
        terminal.sendintr()
        # sudo loses a Ctrl-C that comes between its question and its read(2).
        while terminal.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=3) == 1:
            terminal.sendintr()
        assert finish(terminal) == 4
    assert codes(place) == {"one": "needs-privilege", "own": None}
