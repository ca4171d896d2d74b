"""The keys of the live view, in the real program on a real pseudo-terminal."""

from __future__ import annotations

import shlex
import signal
import termios

import pexpect
from cli_machine import SECONDS, Machine, finish, until

KEYS = "q stop after running steps"


def tall(machine: Machine, *arguments: str) -> pexpect.spawn[str]:
    """The program on a terminal with room for the footer."""
    child = machine.terminal(*arguments)
    child.setwinsize(40, 100)
    return child


def echoes(child: pexpect.spawn[str]) -> bool:
    """Whether the terminal is as a shell leaves it to a program."""
    flags = termios.tcgetattr(child.fileno())[3]
    return bool(flags & termios.ECHO and flags & termios.ICANON)


def test_the_live_view_says_which_keys_there_are_and_leaves_the_terminal_as_it_was(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]})
    child = tall(machine, "run", "--yes")
    child.expect_exact(KEYS)
    until(lambda: not echoes(child))
    gate.unlink()
    assert finish(child) == 0


def test_without_input_there_are_no_keys(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]})
    child = tall(machine, "run", "--yes", "--no-input")
    child.expect_exact("slow waits")
    assert echoes(child)
    gate.unlink()
    child.expect(pexpect.EOF)
    assert KEYS not in (child.before or "")


def test_p_pauses_and_goes_on(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]}, {"name": "two"})
    child = tall(machine, "run", "--yes")
    child.expect_exact(KEYS)
    child.send("p")
    child.expect_exact("paused: nothing new starts")
    gate.unlink()
    child.expect_exact("1/2 steps")
    child.expect_exact("p go on")
    assert machine.ledger == ["through"]
    child.send("p")
    assert finish(child) == 0
    assert machine.ledger == ["through", "alpha two"]


def test_q_ends_the_run_after_what_runs(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]}, {"name": "two"})
    child = tall(machine, "run", "--yes")
    child.expect_exact(KEYS)
    child.send("q")
    child.expect_exact("Nothing new starts")
    gate.unlink()
    child.expect_exact("Go on with: update-all resume")
    assert finish(child) == 130
    assert machine.ledger == ["through"]
    assert machine.run("resume").code == 0
    assert machine.ledger == ["through", "alpha two"]


def test_s_asks_before_it_skips_the_step(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]}, {"name": "two"})
    child = tall(machine, "run", "--yes")
    child.expect_exact(KEYS)
    child.send("s")
    child.expect_exact("Skip alpha:one?  [y/N]")
    child.send("n")
    child.expect_exact(KEYS)
    child.send("s")
    child.expect_exact("Skip alpha:one?  [y/N]")
    child.send("y")
    child.expect_exact("⊘ skipped while it ran: alpha one")
    child.expect_exact("Go on with: update-all resume")
    assert finish(child) == 1
    gate.unlink()
    assert machine.run("resume").code == 0
    assert machine.ledger == ["through", "alpha two"]


def test_s_asks_which_one_of_several(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.tool("endless", "echo no end; sleep 600")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]})
    machine.plugin("beta", {"name": "two", "cmd": ["endless"]})
    child = tall(machine, "run", "--yes")
    child.expect_exact("no end")
    child.send("s")
    child.expect_exact("1 alpha:one  2 beta:two")
    child.send("2")
    child.expect_exact("beta:two is skipped")
    gate.unlink()
    assert finish(child) == 1
    assert machine.ledger == ["through"]


def test_ctrl_z_stops_it_like_any_program_and_it_comes_back(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow", "through"]})
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noediting", "-i"],
        env={**machine.env, "PS1": "shell> "},
        encoding="utf-8",
        timeout=SECONDS,
        dimensions=(40, 100),
    )
    machine.stack.callback(shell.close, force=True)
    shell.expect_exact("shell> ")
    shell.sendline(f"{shlex.join(machine.argv(['run', '--yes']))}; echo code $?")
    shell.expect_exact(KEYS)
    until(lambda: not echoes(shell))
    shell.sendcontrol("z")
    shell.expect_exact("Stopped")
    shell.expect_exact("shell> ")
    assert echoes(shell)
    shell.sendline("fg")
    shell.expect_exact(KEYS)
    until(lambda: not echoes(shell))
    shell.send("p")
    shell.expect_exact("paused")
    shell.send("p")
    gate.unlink()
    shell.expect_exact("Done in")
    shell.expect_exact("shell> ")
    assert echoes(shell)
    assert machine.ledger == ["through"]


ASK = 'printf "name? "; read name; printf "word? "; stty -echo; read word; stty echo; echo "$name ${#word}"'


def test_i_lets_a_person_answer_and_what_is_typed_unseen_is_nowhere(machine: Machine) -> None:
    machine.tool("ask", f"{ASK}; echo $name >> {machine.root}/ledger")
    machine.plugin("alpha", {"name": "one", "cmd": ["ask"], "interactive": True}, {"name": "two"})
    child = tall(machine, "run", "--yes")
    child.expect_exact("needs an answer: name?")
    child.expect_exact("1 step needs an answer: i")
    child.send("i")
    child.expect_exact("ctrl-] comes back")
    child.expect_exact("name? ")
    child.send("Ada\r")
    child.expect_exact("word? ")
    child.send("\x1d")
    child.expect_exact("needs an answer: word?")
    child.send("i")
    child.expect_exact("ctrl-] comes back")
    child.send("correct horse\r")
    assert finish(child) == 0
    assert machine.ledger == ["Ada", "alpha two"]
    kept = [path for path in machine.state.rglob("*") if path.is_file()]
    assert any(b"Ada 13" in path.read_bytes() for path in kept)
    assert [path for path in kept if b"correct horse" in path.read_bytes()] == []


def test_i_reaches_a_question_on_the_terminal_itself(machine: Machine) -> None:
    machine.tool(
        "ask", f"printf 'name? ' >/dev/tty; read name </dev/tty; echo $name >> {machine.root}/ledger"
    )
    machine.plugin("alpha", {"name": "one", "cmd": ["ask"], "interactive": True})
    child = tall(machine, "run", "--yes")
    child.expect_exact("needs an answer: name?")
    child.send("i")
    child.expect_exact("comes back")
    child.send("Ada\r")
    assert finish(child) == 0
    assert machine.ledger == ["Ada"]


def test_ctrl_c_while_answering_is_the_steps(machine: Machine) -> None:
    machine.tool(
        "ask", f"trap 'echo trapped >> {machine.root}/ledger; exit 0' INT; printf 'name? '; read name"
    )
    machine.plugin("alpha", {"name": "one", "cmd": ["ask"], "interactive": True}, {"name": "two"})
    child = tall(machine, "run", "--yes")
    child.expect_exact("needs an answer: name?")
    child.send("i")
    child.expect_exact("comes back")
    child.send("\x03")
    assert finish(child) == 0
    assert machine.ledger == ["trapped", "alpha two"]


def test_a_killed_program_leaves_the_question_to_the_next_one(machine: Machine) -> None:
    machine.tool("ask", f"printf 'name? '; read name; echo $name >> {machine.root}/ledger")
    machine.plugin("alpha", {"name": "one", "cmd": ["ask"], "interactive": True}, {"name": "two"})
    child = tall(machine, "run", "--yes")
    child.expect_exact("needs an answer: name?")
    child.kill(signal.SIGKILL)
    child.expect(pexpect.EOF)
    child = tall(machine, "resume")
    child.expect_exact("needs an answer: name?")
    child.send("i")
    child.expect_exact("comes back")
    child.send("Ada\r")
    assert finish(child) == 0
    assert machine.ledger == ["Ada", "alpha two"]


def test_a_question_that_was_left_open_ends_where_nobody_answers(machine: Machine) -> None:
    machine.tool("ask", f"printf 'name? '; read name; echo $name >> {machine.root}/ledger")
    machine.plugin("alpha", {"name": "one", "cmd": ["ask"], "interactive": True})
    child = tall(machine, "run", "--yes")
    child.expect_exact("needs an answer: name?")
    child.kill(signal.SIGKILL)
    child.expect(pexpect.EOF)
    assert machine.run("resume").code == 4
    assert machine.ledger == []


READS_THE_TERMINAL = "printf 'name? ' >/dev/tty; read name </dev/tty; echo $name >> {0}/ledger; echo thanks"


def test_a_step_that_reads_the_persons_terminal_gets_it_with_i(machine: Machine) -> None:
    machine.tool("ask", READS_THE_TERMINAL.format(machine.root))
    machine.plugin("alpha", {"name": "one", "cmd": ["ask"]}, {"name": "two"})
    child = tall(machine, "run", "--yes")
    child.expect_exact("1 step needs an answer: i")
    child.send("i")
    child.expect_exact("alpha:one reads this terminal")
    child.send("Ada\r")
    assert finish(child) == 0
    assert machine.ledger == ["Ada", "alpha two"]


def test_ctrl_z_takes_the_terminal_back_from_a_step(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.tool("ask", READS_THE_TERMINAL.format(machine.root))
    machine.plugin("alpha", {"name": "one", "cmd": ["ask"]})
    machine.plugin("beta", {"name": "one", "cmd": ["slow", "through"]})
    child = tall(machine, "run", "--yes")
    child.expect_exact("1 step needs an answer: i")
    child.send("i")
    child.expect_exact("alpha:one reads this terminal")
    child.sendcontrol("z")
    child.expect_exact("1 step needs an answer: i")
    child.send("p")
    child.expect_exact("paused")
    child.send("p")
    child.send("i")
    child.expect_exact("alpha:one reads this terminal")
    child.send("Ada\r")
    child.expect_exact("alpha")
    gate.unlink()
    assert finish(child) == 0
    assert sorted(machine.ledger) == ["Ada", "through"]


def test_a_step_that_reads_the_terminal_can_be_skipped(machine: Machine) -> None:
    machine.tool("ask", READS_THE_TERMINAL.format(machine.root))
    machine.plugin("alpha", {"name": "one", "cmd": ["ask"]})
    child = tall(machine, "run", "--yes")
    child.expect_exact("1 step needs an answer: i")
    child.send("s")
    child.expect_exact("Skip alpha:one?")
    child.send("y")
    assert finish(child) == 1
    assert machine.ledger == []
