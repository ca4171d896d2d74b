"""`update-all sudoers`: what is granted, what is left out, and that an install is checked and whole."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cli_machine import Machine

from update_all.cli.sudoers import Granted, install
from update_all.core.errors import NeedsInputError, StateWriteError
from update_all.core.sudoers import DROP_IN

VISUDO = shutil.which("visudo", path="/usr/sbin:/sbin:/usr/bin")
needs_root = pytest.mark.skipif(os.geteuid() != 0 or VISUDO is None, reason="needs root and visudo")

TRUE = "/usr/bin/true"


def rules(machine: Machine, *arguments: str) -> tuple[list[str], str]:
    ended = machine.run("sudoers", "--user", "ann", *arguments)
    assert ended.code == 0, ended.err
    return [line for line in ended.out.splitlines() if not line.startswith("#")], ended.err


def test_commands_of_steps_that_run_as_root_are_granted_exactly(machine: Machine) -> None:
    machine.plugin(
        "alpha",
        {"name": "one", "cmd": ["true", "--flag", "a=b"], "sudo": True},
        {"name": "two", "cmd": ["true", "--mine"]},
        {"name": "three", "cmd": ["true", "--flag", "a=b"], "sudo": True},
    )
    granted, _ = rules(machine)
    assert granted == [f"ann ALL=(root) NOPASSWD: {TRUE} --flag a\\=b"]


def test_what_must_not_be_granted_is_left_out_and_said(machine: Machine) -> None:
    mine = machine.tool("mine", "true")
    machine.plugin(
        "alpha",
        {"name": "one", "cmd": ["sh", "-c", "true"], "sudo": True},
        {"name": "three", "cmd": [str(mine)], "sudo": True},
        {"name": "four", "cmd": ["rm", "-f", "/x"], "sudo": True},
        {"name": "five", "cmd": ["no-such-program"], "sudo": True},
        {"name": "six", "cmd": ["true"], "sudo": True},
    )
    granted, said = rules(machine)
    assert granted == [f'ann ALL=(root) NOPASSWD: {TRUE} ""'], said
    for part in ("is a shell", str(mine), "changes any file"):
        assert part in said, part


def test_only_the_plugins_that_were_named(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["true", "a"], "sudo": True})
    machine.plugin("beta", {"name": "one", "cmd": ["true", "b"], "sudo": True})
    assert rules(machine, "beta")[0] == [f"ann ALL=(root) NOPASSWD: {TRUE} b"]
    assert len(rules(machine)[0]) == 2


def test_strangers_get_no_rights(machine: Machine) -> None:
    machine.python_plugin(
        "cloud",
        "from update_all.api import BasePlugin, UpdateCommand\n"
        "class Plugin(BasePlugin):\n"
        "    name = 'cloud'\n"
        "    command = 'note'\n"
        "    sudo_commands = ('true',)\n"
        "    def get_update_commands(self, dry_run=False):\n"
        "        return [UpdateCommand(['true'], sudo=True)]\n",
    )
    granted, said = rules(machine)
    assert granted == []
    assert "cloud" in said


def test_a_doubled_brace_is_a_plain_one() -> None:
    granted = Granted()
    granted.add("alpha", ["true", "{{x}}"])
    assert granted.commands == [[TRUE, "{x}"]]
    granted.add("alpha", ["true", "{x}"])
    assert len(granted.commands) == 1
    assert "different in each run" in granted.left_out[0]


def test_a_plugin_that_is_broken_is_named(machine: Machine) -> None:
    machine.plugin("alpha", text="schema = 1\nname = 7\n")
    granted, said = rules(machine)
    assert granted == []
    assert "alpha is broken" in said


def test_names_that_are_none_of_a_user_are_wrong_use(machine: Machine) -> None:
    for name in ("ALL", "a b", "x\ny ALL=(ALL) ALL", "#0", "%wheel"):
        assert machine.run("sudoers", "--user", name).code == 2


@needs_root
def test_visudo_accepts_what_is_printed(machine: Machine, tmp_path: Path) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["true", "a:b=c,d", "*", "\\"], "sudo": True})
    path = tmp_path / "drop-in"
    path.write_text(machine.run("sudoers", "--user", "ann").out)
    path.chmod(0o440)
    subprocess.run([str(VISUDO), "-cf", str(path)], check=True, capture_output=True)


@needs_root
def test_an_install_is_whole_and_readable_by_root_only(tmp_path: Path) -> None:
    path = tmp_path / "update-all"
    install("ann ALL=(root) NOPASSWD: /usr/bin/true a\n", path)
    assert path.read_text() == "ann ALL=(root) NOPASSWD: /usr/bin/true a\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert [item.name for item in tmp_path.iterdir()] == ["update-all"]


@needs_root
def test_what_visudo_refuses_is_not_installed(tmp_path: Path) -> None:
    path = tmp_path / "update-all"
    path.write_text("before\n")
    with pytest.raises(StateWriteError, match="visudo refuses"):
        install("ann ALL=(root NOPASSWD: /usr/bin/true\n", path)
    assert path.read_text() == "before\n"
    assert [item.name for item in tmp_path.iterdir()] == ["update-all"]


@needs_root
def test_root_must_say_whom_the_rules_are_for(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["true"], "sudo": True})
    ended = machine.run("sudoers", "--install")
    assert (ended.code, "--user NAME" in ended.err) == (2, True)
    assert machine.run("sudoers", env={"SUDO_USER": "ann"}).out.splitlines()[1].startswith("ann ")


def test_others_than_root_are_told_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NeedsInputError) as caught:
        install("", tmp_path / "update-all")
    assert caught.value.hint.startswith("sudo ")
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_needs_root_is_nothing_to_install(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    existed = Path(DROP_IN).exists()
    ended = machine.run("sudoers", "--install", "--user", "ann")
    assert ended.code == 2
    assert Path(DROP_IN).exists() == existed
