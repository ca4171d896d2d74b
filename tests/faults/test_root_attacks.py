"""Set-ups by which a user could make root run or read something else: each is refused, or has no sting.

Who owns what is told by a stand-in for lstat(2), since only root could really give files away: below the
test's directory all belongs to root, but for what an attack says is the user's. test_trusted_to_the_kernel
does it with real owners, as root.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_machine import machine_at

from update_all.core.errors import CommandNotFoundError, StepError
from update_all.core.privilege import Backend, Privilege
from update_all.core.trusted_paths import UntrustedPathError

USER = 1000
ROOT = 0


@dataclass
class Trap:
    """A small file system: `root/bin/tool` is root's program, `home` is the user's directory."""

    base: Path
    owners: dict[Path, int] = field(default_factory=dict)
    modes: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin = self.base / "root/bin"
        self.home = self.base / "home"
        self.bin.mkdir(parents=True)
        self.home.mkdir()
        self.owners[self.home] = USER
        self.tool = self.program(self.bin / "tool")
        self.config = self.base / "root/config"
        self.config.write_text("")

    def program(self, path: Path, owner: int = ROOT) -> Path:
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        self.owners[path] = owner
        return path

    def mine(self, name: str = "evil") -> Path:
        return self.program(self.home / name, USER)

    def link(self, path: Path, target: str | Path, owner: int = ROOT) -> Path:
        path.symlink_to(target)
        self.owners[path] = owner
        return path

    def lstat(self, path: Path) -> os.stat_result:
        real = path.lstat()
        permissions = self.modes.get(path, 0o755)
        return os.stat_result(
            (stat.S_IFMT(real.st_mode) | permissions, *real[1:4], self.owners.get(path, ROOT), *real[5:10])
        )

    def wrap(self, argv: Sequence[str], *, trusting: bool = False) -> list[str]:
        if trusting:
            self.owners.clear()
            self.modes.clear()
        return Privilege(
            Backend.SUDO, Path("/usr/bin/sudo"), terminal=False, directories=[str(self.bin)], lstat=self.lstat
        ).wrap(argv)


Attack = Callable[[Trap], list[str]]


def mode(path: Callable[[Trap], Path], permissions: int) -> Attack:
    def attack(trap: Trap) -> list[str]:
        trap.modes[path(trap)] = permissions
        return ["tool"]

    return attack


def owner(path: Callable[[Trap], Path]) -> Attack:
    def attack(trap: Trap) -> list[str]:
        trap.owners[path(trap)] = USER
        return ["tool"]

    return attack


def replaced_by_link(target: Callable[[Trap], Path], link_owner: int = ROOT) -> Attack:
    def attack(trap: Trap) -> list[str]:
        trap.tool.unlink()
        trap.link(trap.tool, target(trap), link_owner)
        return ["tool"]

    return attack


def argument(form: str) -> Attack:
    return lambda trap: ["tool", form.format(trap.mine())]


def through_home(trap: Trap) -> list[str]:
    trap.link(trap.home / "back", trap.bin / "tool", USER)
    return [str(trap.link(trap.bin / "name", trap.home / "back"))]


def linked_directory(trap: Trap) -> list[str]:
    trap.mine("tool")
    return [str(trap.link(trap.base / "root/sbin", trap.home) / "tool")]


def upwards(trap: Trap) -> list[str]:
    trap.mine()
    return [f"{trap.bin}/../../home/evil"]


def argument_upwards(trap: Trap) -> list[str]:
    trap.mine()
    return ["tool", f"--config={trap.bin}/../../home/evil"]


def linked_argument(trap: Trap) -> list[str]:
    return ["tool", str(trap.link(trap.base / "root/linked", trap.mine()))]


def writable_argument(trap: Trap) -> list[str]:
    trap.modes[trap.config] = 0o664
    return ["tool", f"-c{trap.config}"]


def argument_in_writable_directory(trap: Trap) -> list[str]:
    trap.modes[trap.base / "root"] = 0o1777
    trap.modes[trap.bin] = 0o755
    return ["tool", str(trap.config)]


def many_links(trap: Trap) -> list[str]:
    trap.link(trap.bin / "l0", trap.tool)
    for number in range(1, 39):
        trap.link(trap.bin / f"l{number}", f"l{number - 1}")
    trap.link(trap.base / "root/a", trap.bin)
    trap.link(trap.base / "root/b", "a")
    trap.link(trap.base / "root/c", "b")
    return [str(trap.base / "root/c/l38")]


ATTACKS: dict[str, Attack] = {
    "program writable by all": mode(lambda trap: trap.tool, 0o757),
    "program writable by a group": mode(lambda trap: trap.tool, 0o775),
    "program of the user": owner(lambda trap: trap.tool),
    "directory writable by all": mode(lambda trap: trap.bin, 0o777),
    "directory writable by a group": mode(lambda trap: trap.bin, 0o775),
    "sticky directory": mode(lambda trap: trap.bin, 0o1777),
    "directory of the user": owner(lambda trap: trap.bin),
    "directory above writable": mode(lambda trap: trap.bin.parent, 0o777),
    "directory above of the user": owner(lambda trap: trap.bin.parent),
    "two directories above writable": mode(lambda trap: trap.base, 0o1777),
    "link to a program of the user": replaced_by_link(lambda trap: trap.mine()),
    "link of the user": replaced_by_link(lambda trap: trap.program(trap.bin / "real"), USER),
    "link through the home": through_home,
    "directory that is a link": linked_directory,
    "up and down again": upwards,
    "too many links": many_links,
    "program in the home": lambda trap: [str(trap.mine())],
    "relative path": lambda trap: ["./tool"],
    "relative path upwards": lambda trap: ["../tool"],
    "relative path downwards": lambda trap: ["bin/tool"],
    "argument": argument("{}"),
    "long option": argument("--config={}"),
    "short option": argument("-c{}"),
    "setting": argument("Dir::Etc={}"),
    "hook": argument("DPkg::Pre-Invoke::={}"),
    "address": argument("file:{}"),
    "second of a list": argument("a=/nonexistent,b={}"),
    "directory as an argument": lambda trap: ["tool", f"--root={trap.home}"],
    "argument that is a link": linked_argument,
    "argument upwards": argument_upwards,
    "argument writable by a group": writable_argument,
    "argument in a sticky directory": argument_in_writable_directory,
}


def test_there_are_thirty() -> None:
    assert len(ATTACKS) >= 30


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused(tmp_path: Path, name: str) -> None:
    trap = Trap(tmp_path)
    argv = ATTACKS[name](trap)

    # The kernel itself finds no program behind too many links.
    with pytest.raises(CommandNotFoundError if name == "too many links" else UntrustedPathError):
        trap.wrap(argv)


@pytest.mark.parametrize("name", [name for name in ATTACKS if not name.startswith(("relative", "too many"))])
def test_without_owners_and_modes_it_would_be_run(tmp_path: Path, name: str) -> None:
    trap = Trap(tmp_path)
    argv = ATTACKS[name](trap)

    assert trap.wrap(argv, trusting=True)[-len(argv) + 1 :] == argv[1:] or len(argv) == 1


def test_what_is_roots_alone_is_run(tmp_path: Path) -> None:
    trap = Trap(tmp_path)

    assert trap.wrap(["tool", f"--config={trap.config}", "plain"])[-3:] == [
        str(trap.tool),
        f"--config={trap.config}",
        "plain",
    ]


def test_path_of_the_user_finds_no_program_for_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = Trap(tmp_path)
    trap.mine("tool")
    trap.mine("other")
    monkeypatch.setenv("PATH", f"{trap.home}::.:{os.environ['PATH']}")
    monkeypatch.chdir(trap.home)

    assert trap.wrap(["tool"])[-1] == str(trap.tool)
    with pytest.raises(StepError, match="no program 'other'"):
        trap.wrap(["other"])


VARIABLES = [
    "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PATH", "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV", "ENV",
    "IFS", "PERL5OPT", "PERL5LIB", "RUBYOPT", "NODE_OPTIONS", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL",
    "EDITOR", "APT_CONFIG", "HOME", "TMPDIR", "BASH_FUNC_ls%%", "A=B", "", "X\nLD_PRELOAD",
]  # fmt: skip


@pytest.mark.parametrize("name", VARIABLES)
def test_variable_does_not_reach_root(name: str) -> None:
    privilege = Privilege(Backend.RUN0, Path("/usr/bin/run0"), terminal=False)

    argv = privilege.wrap(["true"], {name: "evil", "LC_ALL": "C.UTF-8"})

    assert not any("evil" in word for word in argv)
    assert "--setenv=LC_ALL=C.UTF-8" in argv


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to become a user")
def test_trusted_to_the_kernel(tmp_path: Path) -> None:
    """What passes the check, the kernel lets no user change: not written, swapped, moved or removed."""
    checked = Path("/usr/bin/env")
    assert Privilege(Backend.SUDO, Path("/usr/bin/sudo"), terminal=False).wrap([str(checked)])
    before = checked.stat()
    user = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    for attempt in (["mv", checked, "/tmp/env"], ["ln", "-sf", "/bin/sh", checked], ["tee", "-a", checked]):
        done = subprocess.run([*user, *map(str, attempt)], stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode != 0
    assert checked.stat() == before or checked.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_all_files_of_a_run_are_the_owners_alone(tmp_path: Path, umask: str) -> None:
    with machine_at(tmp_path) as machine:
        machine.plugin("good", {"name": "one"}, {"name": "two"})
        machine.plugin("bad", {"name": "fails", "cmd": ["false"]})
        commands = (["run", "--yes"], ["resume"], ["check"], ["report"], ["status"], ["doctor"])
        for command in commands:
            argv = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", *machine.argv(command)]
            subprocess.run(argv, env=machine.env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        places = [machine.state, Path(machine.env["XDG_CACHE_HOME"]) / "update-all"]
        found = [path for place in places for path in (place, *place.rglob("*")) if path.exists()]
        assert {"events.jsonl", "history.db", "lock", "good.json"} <= {path.name for path in found}
        modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in found}
        wrong = {
            str(path.relative_to(tmp_path)): oct(mode)
            for path, mode in modes.items()
            if mode != (0o700 if path.is_dir() else 0o600)
        }
    assert wrong == {}
