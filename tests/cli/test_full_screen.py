"""The full screen of the real program in real terminals (tmux, a pseudo-terminal): there, back, and lost."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from cli_machine import SECONDS, Machine, finish, until

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

ONE, TWO = {"name": "one"}, {"name": "two"}
WITHOUT_TEXTUAL = (
    "import sys; sys.modules['textual'] = None; from update_all.cli.main import main; sys.exit(main())"
)
QUESTION = """
import asyncio, sys
from pathlib import Path
from update_all.cli.aside import Screen
from update_all.cli.full_screen import FullScreens
from update_all.ui.printers import make_printer
from update_all.ui.text import Style
from update_all.ui.view import RunView

async def main():
    printer = make_printer("live", sys.stdout)
    screen = Screen(printer)
    screens = FullScreens(RunView(), None, Path("."), Style(), screen, print)
    async with screen.ticking():
        visit = asyncio.ensure_future(screens.show())
        while not Path(sys.argv[1], "ask").exists():
            await asyncio.sleep(0.02)
        with screen.step_aside("alpha: one runs as root"):
            answer = await asyncio.to_thread(lambda: __import__("builtins").input("Password: "))
        Path(sys.argv[1], "answer").write_text(answer)
        print(await visit)

asyncio.run(main())
"""


class Terminal:
    """A tmux server of its own with one window; what runs in it says its exit code at the end."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._socket = str(machine.root / "tmux")

    def run(self, *arguments: str, width: int = 80, height: int = 24, **env: str) -> None:
        """Start the program in the window."""
        self.start(self._machine.argv(arguments), width, height, env)

    def start(
        self, argv: list[str], width: int = 80, height: int = 24, env: dict[str, str] | None = None
    ) -> None:
        values = {**self._machine.env, "TERM": "screen", **(env or {})}
        words = ["env", *(f"{name}={value}" for name, value in values.items()), *argv]
        script = f"{shlex.join(words)}; echo EXIT $?; while :; do sleep 1; done"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), script)

    def tmux(self, *arguments: str) -> str:
        argv = ["tmux", "-u", "-S", self._socket, *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=SECONDS).stdout

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def text(self, *arguments: str) -> str:
        return self.tmux("capture-pane", "-p", *arguments)

    def wait(self, *wanted: str, gone: str = "") -> str:
        """What the screen shows once it holds all that is wanted, and not what is to be gone."""
        deadline = time.monotonic() + SECONDS
        while True:
            text = self.text()
            if all(each in text for each in wanted) and not (gone and gone in text):
                return text
            assert "EXIT" in "".join(wanted) or "EXIT" not in text, text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def terminal(machine: Machine) -> Iterator[Terminal]:
    opened = Terminal(machine)
    yield opened
    opened.close()


@pytest.fixture
def gate(machine: Machine) -> Path:
    """A run of two steps that waits in its first one until this file is gone."""
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]}, TWO)
    return gate


def test_there_and_back_during_a_run_loses_nothing(machine: Machine, terminal: Terminal, gate: Path) -> None:
    machine.plugin("beta", ONE)
    terminal.run("run", "--yes")
    terminal.wait("t full screen")
    for _ in range(2):
        terminal.press("t")
        shown = terminal.wait("[1 Log]", "slow waits")
        assert "✔ one" in shown
        assert "1/3 steps" in shown.splitlines()[0].replace("2/3", "1/3")
        terminal.press("t")
        terminal.wait("t full screen", gone="[1 Log]")
    terminal.press("t")
    terminal.wait("[1 Log]")
    terminal.press("Escape")
    terminal.wait("t full screen", gone="[1 Log]")
    gate.unlink()
    terminal.wait("EXIT 0")
    text = terminal.text("-S", "-")
    assert sum(line.startswith("✔ alpha") for line in text.splitlines()) == 1
    assert sum(line.startswith("✔ beta") for line in text.splitlines()) == 1
    assert sorted(machine.ledger) == ["alpha two", "beta one", "through"]
    flags = terminal.tmux("display-message", "-p", "#{cursor_flag} #{wrap_flag} #{alternate_on}")
    assert flags.split() == ["1", "1", "0"]


def test_a_run_that_ends_on_the_full_screen_waits_until_it_was_seen(
    machine: Machine, terminal: Terminal, gate: Path
) -> None:
    terminal.run("run", "--yes", "--tui")
    terminal.wait("[1 Log]", "slow waits")
    for width, height in [(40, 10), (120, 30), (80, 24)]:
        terminal.resize(width, height)
        shown = terminal.wait(*(["Steps", "│[1 Log]"] if width > 40 else ["Steps"]))
        assert len(shown.splitlines()) == height
    gate.unlink()
    shown = terminal.wait("The run has ended well. q or esc")
    assert "EXIT" not in shown
    assert "Done in" not in shown
    assert len(machine.run("history", "--json").json["runs"]) == 1, "it is on record before it is seen"  # type: ignore[arg-type]
    terminal.press("q")
    text = terminal.wait("EXIT 0")
    assert "Done in" in text
    assert "[1 Log]" not in text


def test_ctrl_c_on_the_full_screen_is_the_ladder(machine: Machine, terminal: Terminal, gate: Path) -> None:
    terminal.run("run", "--yes", "--tui")
    terminal.wait("slow waits")
    terminal.press("C-c")
    terminal.wait("The run was interrupted.")
    terminal.press("q")
    terminal.wait("update-all resume", "EXIT 130")
    gate.unlink()
    assert machine.run("resume").code == 0
    assert machine.ledger == ["through", "alpha two"]


def test_pausing_on_the_full_screen_holds_the_next_step(
    machine: Machine, terminal: Terminal, gate: Path
) -> None:
    terminal.run("run", "--yes", "--tui")
    terminal.wait("slow waits")
    terminal.press("p")
    terminal.wait("paused: nothing new starts")
    gate.unlink()
    terminal.wait("✔ one")
    assert machine.ledger == ["through"]
    terminal.press("p")
    terminal.wait("The run has ended well.")
    assert machine.ledger == ["through", "alpha two"]


def test_the_pager_has_its_own_ctrl_c(machine: Machine, terminal: Terminal, gate: Path) -> None:
    pager = machine.tool("pager", 'cat "$1"; echo PAGER; while :; do sleep 0.1; done')
    terminal.run("run", "--yes", "--tui", PAGER=str(pager))
    terminal.wait("slow waits")
    terminal.press("o")
    terminal.wait("PAGER", "slow waits", gone="[1 Log]")
    terminal.press("C-c")
    shown = terminal.wait("[1 Log]")
    assert "Interrupted" not in shown
    gate.unlink()
    terminal.wait("The run has ended well.")


def test_a_question_gets_the_terminal_and_the_screen_comes_back(machine: Machine, terminal: Terminal) -> None:
    script = machine.root / "question.py"
    script.write_text(QUESTION)
    terminal.start([sys.executable, str(script), str(machine.root)])
    terminal.wait("[1 Log]")
    (machine.root / "ask").touch()
    terminal.wait("alpha: one runs as root", "Password:", gone="[1 Log]")
    terminal.press("qt", "Enter")
    terminal.wait("[1 Log]")
    assert (machine.root / "answer").read_text() == "qt", "the screen took none of it"
    terminal.press("q")
    terminal.wait("Reason.LEFT", "EXIT 0")


def test_a_run_of_another_terminal_is_watched_not_steered(
    machine: Machine, terminal: Terminal, gate: Path
) -> None:
    process = machine.start("run", "--yes")
    until((machine.root / "slow.pid").exists)
    terminal.run("attach", "--tui")
    terminal.wait("[1 Log]", "slow waits")
    terminal.press("s")
    terminal.wait("this run belongs to another terminal")
    terminal.press("q")
    terminal.wait("EXIT 0")
    assert process.poll() is None
    gate.unlink()
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_an_attached_screen_sees_the_end(machine: Machine, terminal: Terminal, gate: Path) -> None:
    process = machine.start("run", "--yes")
    until((machine.root / "slow.pid").exists)
    terminal.run("attach", "--tui")
    terminal.wait("slow waits")
    terminal.press("t")
    terminal.wait("steps", gone="[1 Log]")
    gate.unlink()
    terminal.wait("EXIT 0")
    process.communicate(timeout=SECONDS)


def test_a_run_without_the_optional_part_says_what_to_install(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    child = pexpect.spawn(
        sys.executable,
        ["-c", WITHOUT_TEXTUAL, "run", "--yes", "--tui"],
        env=machine.env,
        encoding="utf-8",
        timeout=SECONDS,
        dimensions=(30, 160),
    )
    child.expect_exact("update-all[tui]")
    assert finish(child) == 0
    assert machine.ledger == ["alpha one"]


def test_a_lost_terminal_ends_the_screen_and_not_the_record(machine: Machine, gate: Path) -> None:
    child = machine.terminal("run", "--yes", "--tui")
    child.expect_exact("slow waits")
    child.ptyproc.fileobj.close()
    child.ptyproc.closed = child.closed = True
    until(lambda: not child.isalive())
    (journal,) = machine.state.glob("runs/*/events.jsonl")
    last = json.loads(journal.read_text().splitlines()[-1])
    assert (last["event_type"], last["exit_code"]) == ("run_end", 130)
    gate.unlink()
    assert machine.run("resume").code == 0
    assert machine.ledger == ["through", "alpha two"]


def test_who_asks_it_to_end_does_not_wait_for_the_person(
    machine: Machine, terminal: Terminal, gate: Path
) -> None:
    terminal.run("run", "--yes", "--tui")
    terminal.wait("slow waits")
    gate.unlink()
    terminal.wait("The run has ended well.")
    holder = json.loads((machine.state / "lock").read_text())
    os.kill(holder["pid"], signal.SIGTERM)
    terminal.wait("EXIT 0")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--yes", "--tui", "--json"),
        ("run", "--yes", "--tui", "--progress", "plain"),
        ("attach", "--tui", "--progress", "jsonl"),
    ],
)
def test_a_screen_does_not_go_with_other_output(machine: Machine, arguments: tuple[str, ...]) -> None:
    machine.plugin("alpha", ONE)
    assert machine.run("run", "--yes").code == 0
    ended = machine.run(*arguments)
    assert ended.code == 2
    assert "--tui" in ended.out + ended.err
    assert machine.ledger == ["alpha one"]


def test_without_a_terminal_the_run_goes_on_and_says_so(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    ended = machine.run("run", "--yes", "--tui")
    assert ended.code == 0
    assert "the full screen needs a terminal" in ended.out + ended.err
    assert machine.ledger == ["alpha one"]
