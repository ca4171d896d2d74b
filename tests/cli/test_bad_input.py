"""Bad input gets a clear error: nothing is run that was not meant, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from cli_machine import Ended, Machine, can_mount, mount_namespace, until

ONE, TWO = {"name": "one"}, {"name": "two", "depends-on": ["one"]}
CODE = (
    "from update_all.api import BasePlugin, UpdateCommand, UpdateStep\n"
    "class Plugin(BasePlugin):\n"
    "    name, command = 'python', 'note'\n"
)
STEP = "UpdateStep(name='{0}', description='x', commands=[UpdateCommand(cmd=['note', '{0}'])]{1})"


def steps(*members: str) -> str:
    """The source of a Python plugin with these steps."""
    return CODE + f"    def get_update_steps(self): return [{', '.join(members)}]\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jobs = 4\n\njosb = 2\n", ("config.toml:3", "josb", "jobs")),
        ("[network]\ndownload = 2\n", ("config.toml:2", "network.download", "downloads")),
        ("jobs = 'many'\n", ("config.toml:1", "jobs")),
        ("jobs = 0\n", ("config.toml:1", "jobs")),
        ("jobs = \n", ("config.toml",)),
        ("confirm = 'sometimes'\n", ("config.toml:1", "confirm")),
    ],
)
@pytest.mark.parametrize("command", [("run", "--yes"), ("check",), ("config", "show")])
def test_a_wrong_configuration_stops_everything(
    machine: Machine, text: str, told: tuple[str, ...], command: tuple[str, ...]
) -> None:
    machine.plugin("alpha", ONE)
    machine.config(text)
    ended = machine.run(*command)
    assert (ended.code, ended.out) == (2, "")
    assert [word for word in told if word not in ended.err] == []
    assert "[bad-config]" in ended.err
    assert machine.ledger == []
    assert machine.tree() == set()


BROKEN_TOML = {
    "duplicate": '[[step]]\nname = "one"\ndescription = "x"\ncmd = ["note"]\n' * 2,
    "cycle": "".join(
        f'[[step]]\nname = "{name}"\ndescription = "x"\ncmd = ["note"]\ndepends-on = ["{other}"]\n'
        for name, other in (("one", "two"), ("two", "one"))
    ),
    "unknown": '[[step]]\nname = "one"\ndescription = "x"\ncmd = ["note"]\ndepends-on = ["tow"]\n',
    "key": '[[step]]\nname = "one"\ndescription = "x"\ncomand = ["note"]\n',
    "syntax": "[[step]\n",
}
TOLD = {
    "duplicate": "Duplicate step name: 'one'",
    "cycle": "one → two → one",
    "unknown": "'tow'",
    "key": "'cmd'",
    "syntax": "is not TOML",
}


@pytest.mark.parametrize("kind", BROKEN_TOML)
def test_a_broken_definition_is_reported_and_the_rest_runs(machine: Machine, kind: str) -> None:
    machine.plugin("alpha", ONE)
    head = 'schema = 1\nname = "bad"\ndescription = "x"\n[detect]\ncommand = "note"\n'
    machine.plugin("bad", text=head + BROKEN_TOML[kind])
    named = machine.run("run", "alpha", "bad", "--yes")
    assert (named.code, named.out) == (2, "")
    assert TOLD[kind] in named.err
    assert machine.ledger == [], "who names a broken plugin gets nothing else run"
    whole = machine.run("run", "--yes")
    assert whole.code == 2
    assert TOLD[kind] in whole.err
    assert machine.ledger == ["alpha one"]
    assert "bad" in machine.run("plugins", "list").out
    assert machine.run("check").code == 2


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise RuntimeError('cannot be imported')\n", "cannot be imported"),
        ("import no_such_module\n", "no_such_module"),
        ("def f(:\n", "SyntaxError"),
        (CODE + "    def get_update_steps(self): raise KeyError('no steps')\n", "no steps"),
        (CODE + "    def get_update_steps(self): return 'steps'\n", "must return a list of UpdateStep"),
        (CODE + "    def detect(self): raise OSError('no detection')\n", "no detection"),
        (CODE + "    def __init__(self, config=None): raise ValueError('no plugin')\n", "no plugin"),
        (steps(STEP.format("a", ""), STEP.format("a", "")), "Duplicate step name: 'a'"),
        (steps(STEP.format("a", ", depends_on=['b']"), STEP.format("b", ", depends_on=['a']")), "a → b → a"),
        (steps(STEP.format("a", ", depends_on=['a']")), "a"),
        (steps(STEP.format("a", ", depends_on=['nosuch']")), "nosuch"),
    ],
)
def test_a_plugin_that_raises_is_reported_and_the_rest_runs(machine: Machine, source: str, told: str) -> None:
    machine.python_plugin("python", source)
    machine.plugin("alpha", ONE)
    named = machine.run("run", "python", "--yes")
    assert (named.code, named.out, machine.ledger) == (2, "", [])
    assert told in named.err
    ended = machine.run("run", "--yes")
    assert ended.code == 2
    assert "python is broken" in ended.err
    assert told in ended.err
    assert "Traceback" not in ended.err
    assert machine.ledger == ["alpha one"]


def test_a_check_that_raises_is_no_answer(machine: Machine) -> None:
    machine.python_plugin("python", CODE + "    async def check(self): raise KeyError('oops')\n")
    ended = machine.run("check")
    assert ended.code == 1
    assert "cannot know, because its check failed: KeyError: 'oops'" in ended.out


def test_plugins_that_wait_for_each_other(machine: Machine) -> None:
    machine.plugin("gamma", ONE)
    machine.plugin("alpha", ONE, after=["beta"])
    machine.plugin("beta", ONE, {"name": "two", "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]})
    assert machine.run("run", "beta", "--yes").code == 1
    before = machine.run("status").out
    machine.plugin("beta", ONE, after=["alpha"])
    for command in (("run", "--yes"), ("run", "--dry-run"), ("plan",)):
        ended = machine.run(*command)
        assert (ended.code, ended.out) == (2, "")
        assert "alpha → beta → alpha" in ended.err
    assert machine.ledger == ["beta one"]
    assert machine.run("status").out == before, "the unfinished run is not lost"


def test_a_missing_fact_fails_its_step_by_name(machine: Machine) -> None:
    source = CODE + "    def get_update_commands(self, dry_run=False):\n"
    machine.python_plugin("python", source + "        return [UpdateCommand(cmd=['note', '{version}'])]\n")
    machine.plugin("alpha", ONE)
    ended = machine.run("run", "--yes", "--progress", "plain")
    assert ended.code == 1
    assert "the fact 'version' is missing" in ended.out
    assert machine.ledger == ["alpha one"]
    assert "note {version}" in machine.run("run", "--dry-run").out.replace("'", "")


def test_a_command_that_does_not_exist_is_named(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["no-such-tool", "--update"]}, TWO)
    machine.tool("unreadable", "exit 0").chmod(0o644)
    machine.plugin("beta", {"name": "one", "cmd": ["unreadable"]})
    machine.plugin("gamma", ONE)
    ended = machine.run("run", "--yes", "--progress", "plain")
    assert ended.code == 1
    assert "no-such-tool" in ended.out
    assert "unreadable" in ended.out
    assert machine.ledger == ["gamma one"]
    document = machine.run("run", "alpha", "--yes", "--json").json
    assert "command-not-found" in str(document["plugins"])


def test_a_step_that_may_have_happened_is_not_repeated_without_a_word(machine: Machine) -> None:
    gate = machine.gate("once")
    step = {"name": "one", "cmd": ["once", "happened"], "idempotent": False, "reason": "it counts"}
    machine.plugin("alpha", step)
    machine.plugin("beta", ONE)
    process = machine.start("run", "alpha", "--yes")
    until((machine.root / "once.pid").exists)
    tool = int((machine.root / "once.pid").read_text())
    # The parent of the tool is the shim, which would otherwise record how it ended.
    shim = int(Path(f"/proc/{tool}/stat").read_text().split()[3])
    for pid in (process.pid, shim, tool):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    gate.unlink()
    for command, code in ((("resume",), 4), (("run", "alpha", "--yes"), 4), (("run", "--yes"), 4)):
        ended = machine.run(*command)
        assert ended.code == code, ended
        assert "--redo" in ended.out + ended.err
    assert machine.ledger == ["beta one"]
    assert machine.run("resume", "--redo", "nosuch").code == 2
    assert machine.run("resume", "--redo", "alpha:one").code == 0
    assert machine.ledger == ["beta one", "happened"]


def in_place(machine: Machine, options: str, *arguments: str) -> Ended:
    """Run the program with its state directory on a file system of its own."""
    place = machine.root / "state"
    place.mkdir(exist_ok=True)
    argv = mount_namespace(machine.argv(arguments), place, options)
    ended = subprocess.run(argv, env=machine.env, capture_output=True, text=True, timeout=60, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.skipif(not can_mount(), reason="only root can mount a file system that is read-only or small")
@pytest.mark.parametrize(
    ("options", "told"), [("size=1m,ro", "Read-only file system"), ("size=8k,nr_inodes=200", "No space left")]
)
def test_a_state_directory_that_takes_nothing(machine: Machine, options: str, told: str) -> None:
    machine.plugin("alpha", ONE, TWO)
    ended = in_place(machine, options, "run", "--yes")
    assert ended.code == 1
    assert told in ended.err + ended.out
    assert "Traceback" not in ended.err
    assert machine.ledger == [], "what cannot be recorded is not run"


@pytest.mark.skipif(not can_mount(), reason="only root can mount a file system that is small")
def test_a_state_directory_that_fills_up(machine: Machine) -> None:
    machine.tool("noisy", f"echo noisy >> {machine.root}/ledger; head -c 300000 /dev/zero | tr '\\0' x")
    machine.plugin("alpha", {"name": "one", "cmd": ["noisy"]}, TWO, {"name": "three"})
    ended = in_place(machine, "size=160k", "run", "--yes")
    assert ended.code in (0, 1)
    assert "Traceback" not in ended.err
    assert "[bug]" not in ended.err
    if ended.code == 1:
        assert "No space left" in ended.out + ended.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_state_directory_without_permission(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    (machine.root / "state").mkdir(mode=0o500)
    ended = machine.run("run", "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert "Permission denied" in ended.err
    assert machine.ledger == []


@pytest.mark.parametrize("command", [("run", "--yes"), ("resume",), ("status",), ("history",), ("check",)])
def test_a_state_directory_that_is_a_file(machine: Machine, command: tuple[str, ...]) -> None:
    machine.plugin("alpha", ONE)
    (machine.root / "state").write_text("")
    ended = machine.run(*command)
    assert "[bug]" not in ended.err
    assert "Traceback" not in ended.err
    assert machine.ledger == []
    assert ended.code in ((1,) if command[0] in ("run", "resume") else (0, 1))


def test_no_home_directory_is_an_error_and_no_bug(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    assert machine.run("run", "--yes", env={"HOME": ""}).code in (0, 1)


def test_damaged_state_is_named_and_set_aside(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {"name": "two", "cmd": ["false"]})
    assert machine.run("run", "--yes").code == 1
    state = machine.state / "steps/alpha.json"
    state.write_text("{")
    status = machine.run("status")
    assert status.code == 1
    assert "unreadable" in status.out
    assert state.read_text() == "{", "looking changes nothing"
    resumed = machine.run("resume", "--progress", "plain")
    assert "corrupt-1" in resumed.out + resumed.err
    assert Path(f"{state}.corrupt-1").read_text() == "{"
