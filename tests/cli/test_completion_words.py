"""Names that only this machine knows, completed by the real shells; nothing is started or changed by it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest
from cli_machine import Machine

from update_all.cli.completion import FILES, words

SCRIPTS = Path(__file__).parents[2] / "src/update_all/completions"
ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>()][0-9A-Za-z]?)")

RESUME = ("run", "alpha", "--resume-from", "")
"""What is completed in most tests: a step of the plugin alpha."""


@pytest.fixture
def failed(machine: Machine) -> Machine:
    """A machine on which a run has failed, with the program on PATH."""
    machine.plugin("alpha", {"name": "fetch"}, {"name": "install", "cmd": ["false"]}, {"name": "tidy"})
    machine.plugin("beta", {"name": "polish"})
    machine.tool("update-all", f'exec "{machine.argv([])[0]}" -m update_all "$@"')
    assert machine.run("run", "--yes").code == 1
    return machine


def offered(machine: Machine, shell: str, *typed: str) -> set[str]:
    """What a shell offers for the last of the words."""
    ask = {"bash": by_bash, "zsh": by_zsh, "fish": by_fish}
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    return ask[shell](machine, typed)


def by_bash(machine: Machine, typed: tuple[str, ...]) -> set[str]:
    program = """
    source "$1"; shift
    COMP_WORDS=(update-all "$@"); COMP_CWORD=$#; COMPREPLY=()
    _shtab_update_all; printf '%s\\n' "${COMPREPLY[@]}"
    """
    return output(machine, "bash", "-c", program, "bash", str(SCRIPTS / FILES["bash"]), *typed)


def by_fish(machine: Machine, typed: tuple[str, ...]) -> set[str]:
    program = f'source {SCRIPTS / FILES["fish"]}; complete -C "update-all {" ".join(typed)}"'
    found = output(machine, "fish", "--no-config", "-c", program)
    return {line.partition("\t")[0] for line in found}


def output(machine: Machine, *command: str) -> set[str]:
    done = subprocess.run(command, env=machine.env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return set(filter(None, done.stdout.splitlines()))


def by_zsh(machine: Machine, typed: tuple[str, ...]) -> set[str]:
    """zsh completes for a person only: a person types, and the list is read off the terminal."""
    child = machine.stack.enter_context(
        pexpect.spawn(
            "zsh", ["-f", "-i"], env=machine.env, encoding="utf-8", timeout=60, dimensions=(60, 200)
        )
    )
    child.sendline(f"PS1=; unsetopt zle_bracketed_paste; fpath=({SCRIPTS} $fpath); LISTMAX=0")
    child.sendline(f"autoload -U compinit; compinit -u -d {machine.root}/zcompdump; echo rea''dy")
    child.expect_exact("ready")
    child.send(f"update-all {' '.join(typed)}\x04")  # Ctrl-D at the end of a line lists what is possible.
    child.send("\x15echo do''ne\n")
    child.expect_exact("done")
    return set(ESCAPE.sub(" ", child.before or "").split())


@pytest.mark.parametrize("shell", FILES)
def test_steps_are_those_of_the_plugin_that_was_typed(failed: Machine, shell: str) -> None:
    assert {"fetch", "install", "tidy"} <= offered(failed, shell, *RESUME)
    assert "polish" not in offered(failed, shell, *RESUME)


@pytest.mark.parametrize("shell", FILES)
def test_plugins_of_the_user_and_shipped_ones(failed: Machine, shell: str) -> None:
    assert {"alpha"} <= offered(failed, shell, "rollback", "al")
    assert {"apt"} <= offered(failed, shell, "run", "ap")
    assert {"beta"} <= offered(failed, shell, "run", "alpha", "-x", "bet")


@pytest.mark.parametrize("shell", FILES)
def test_runs_codes_and_keys(failed: Machine, shell: str) -> None:
    (run,) = (failed.state / "runs").iterdir()
    assert {run.name} <= offered(failed, shell, "report", "2")
    assert {run.name} <= offered(failed, shell, "history", "2")
    assert {"step-failed"} <= offered(failed, shell, "explain", "step")
    assert {"fail_fast"} <= offered(failed, shell, "config", "set", "fail")


def test_what_cannot_be_read_offers_nothing_and_says_nothing(failed: Machine) -> None:
    failed.config("jobs = 'many'")
    (failed.state / "steps/alpha.json").write_text("{")
    (failed.state / "runs/$(touch broken)").mkdir()
    for kind in ("plugins", "steps", "runs", "nonsense"):
        ended = failed.run("completion", "--words", kind, "run", "alpha")
        assert (ended.code, ended.err) == (0, "")
    assert "alpha" in failed.run("completion", "--words", "plugins").out.split()
    assert "$" not in failed.run("completion", "--words", "runs").out


def test_asking_changes_nothing(failed: Machine) -> None:
    shutil.rmtree(failed.root / "cache", ignore_errors=True)
    ledger, tree = failed.ledger, failed.tree()
    for kind in ("plugins", "steps", "runs", "runs-plugins", "plugins-codes", "keys"):
        assert failed.run("completion", "--words", kind).out
    assert (failed.ledger, failed.tree()) == (ledger, tree)
    assert not (failed.root / "cache").exists()


def test_words_are_sorted_and_plain(private_environment: Path) -> None:
    assert private_environment.is_dir()
    found = words("plugins-codes")
    assert found == sorted(set(found))
    assert {"apt", "usage"} <= set(found)


def test_a_script_is_for_the_shell_of_the_user(machine: Machine) -> None:
    assert machine.run("completion", env={"SHELL": "/usr/bin/fish"}).out.count("complete -c update-all")
    unknown = machine.run("completion", env={"SHELL": "/bin/tcsh"})
    assert unknown.code == 2
    assert "update-all completion bash" in unknown.err
