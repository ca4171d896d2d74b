"""Twelve ways to ask: on stdin, which is /dev/null, and on the terminal, where nobody answers a background
process. Each ends, and is reported.

The run has a terminal of its own (a pty), as when a person has started it and has gone away.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pexpect
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import PATIENCE, Plugin, Scenario, Step, cleaning_up

from update_all.core.streaming import StepEndEvent

NEEDS_INPUT = 4


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def shell(code: str) -> list[str]:
    return ["bash", "-c", code]


APT = 'printf "Do you want to continue? [Y/n] "; read -r answer || { echo Abort.; exit 1; }'
STDIN = {
    "read": shell('read -r -p "Proceed? " answer'),
    "input": python('input("Password: ")'),
    "apt": shell(APT),
    "one-key": shell('read -r -n 1 -s -p "Press any key" key'),
    "menu": shell('select choice in keep replace; do test -n "$choice" && exit; done; exit 3'),
    "insists": shell('until read -r -p "yes or no? " answer; do sleep 0.1; done'),
}
TERMINAL = {
    "tty": shell('read -r -p "Conffile? [N/y] " answer < /dev/tty'),
    "getpass": python("import getpass; getpass.getpass()"),
    "echo-off": shell("stty -echo < /dev/tty; read -r password < /dev/tty"),
    "grandchild": shell("python3 -c 'open(\"/dev/tty\").readline()' & wait; false"),
    "pipeline": shell("head -c 1 < /dev/tty | cat; exit ${PIPESTATUS[0]}"),
}
DEAF = {"catches": shell("trap '' TTIN; read -r -p 'Answer? ' answer < /dev/tty")}


def run_in_terminal(scenario: Scenario, *options: str) -> int:
    """The exit code of a run with a controlling terminal on which nobody types."""
    argv = scenario.argv(*options)
    child = pexpect.spawn(argv[0], argv[1:], env=scenario.environment(), timeout=PATIENCE, encoding="utf-8")
    try:
        child.expect(pexpect.EOF)
        child.wait()
        return int(child.exitstatus or 0)
    finally:
        child.close(force=True)


def one(
    directory: Path,
    command: list[str],
    *,
    uninterruptible: bool = False,
    third_party: bool = False,
    timeout: int | None = None,
) -> Scenario:
    step = Step("step", [command], timeout=timeout, uninterruptible=uninterruptible)
    return Scenario(directory, Plugin("plugin", [step], third_party=third_party))


def end_in_terminal(scenario: Scenario, *options: str) -> tuple[int, StepEndEvent]:
    with cleaning_up(scenario):
        code = run_in_terminal(scenario, *options)
        assert scenario.living() == {}
    return code, scenario.ends()["step"]


@pytest.mark.parametrize("kind", STDIN)
def test_question_on_stdin_ends_and_is_reported(tmp_path: Path, kind: str) -> None:
    limit = 2 if kind == "insists" else None
    code, end = end_in_terminal(one(tmp_path / "run", STDIN[kind], timeout=limit))

    assert code == 1
    assert not end.success
    assert end.error_code == ("timed-out" if kind == "insists" else "step-failed")


@pytest.mark.parametrize("kind", TERMINAL)
def test_question_on_the_terminal_ends_and_is_reported_as_a_question(tmp_path: Path, kind: str) -> None:
    code, end = end_in_terminal(one(tmp_path / "run", TERMINAL[kind]))

    assert code == NEEDS_INPUT
    assert end.error_code == "needs-input"
    assert "asked for an answer on the terminal" in str(end.error_message)


def test_without_notice_of_the_stop_only_a_time_limit_would_help(tmp_path: Path) -> None:
    scenario = one(tmp_path / "run", TERMINAL["tty"], timeout=2)
    _, end = end_in_terminal(scenario, "--off", "asks")

    assert end.error_code == "timed-out"


@pytest.mark.parametrize("kind", DEAF)
def test_question_of_a_program_that_cannot_be_stopped_fails_by_itself(tmp_path: Path, kind: str) -> None:
    code, end = end_in_terminal(one(tmp_path / "run", DEAF[kind]))

    assert (code, end.error_code) == (1, "step-failed")


@pytest.mark.parametrize("kind", TERMINAL)
def test_third_party_has_no_terminal_to_ask_on(tmp_path: Path, kind: str) -> None:
    code, end = end_in_terminal(one(tmp_path / "run", TERMINAL[kind], third_party=True))

    assert (code, end.error_code) == (1, "step-failed")


def test_transaction_that_asks_gets_an_int(tmp_path: Path) -> None:
    note = shlex.quote(str(tmp_path / "signals"))
    traps = f"trap 'echo INT >> {note}; exit 9' INT; trap 'echo TERM >> {note}' TERM; "
    asks = shell(traps + TERMINAL["tty"][2])
    code, end = end_in_terminal(one(tmp_path / "run", asks, uninterruptible=True))

    assert (code, end.error_code) == (NEEDS_INPUT, "needs-input")
    assert (tmp_path / "signals").read_text() == "INT\n"


def test_re_attached_command_that_asks_is_ended_too(tmp_path: Path) -> None:
    asks = shell("read -r -t 0.5 < <(sleep 5); read -r answer < /dev/tty")
    scenario = one(tmp_path / "run", asks)
    with cleaning_up(scenario):
        resume = " ".join(map(shlex.quote, scenario.argv("--resume")))
        first = " ".join(map(shlex.quote, scenario.argv()))
        script = f"{first} & sleep 1; kill -9 $!; wait; sleep 1; {resume}; echo ended with $?."
        child = pexpect.spawn("sh", ["-c", script], env=scenario.environment(), timeout=PATIENCE)
        try:
            child.expect_exact(b"ended with 4.")
        finally:
            child.close(force=True)

    assert scenario.ends()["step"].error_code == "needs-input"
