"""Privilege with real sudo, a real password and a real terminal, for a user of a private mount namespace."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import geteuid
from pathlib import Path

import pexpect
import pytest

import update_all

pytestmark = pytest.mark.skipif(
    geteuid() != 0 or not all(map(shutil.which, ("sudo", "unshare", "setpriv"))),
    reason="needs root, sudo, unshare and setpriv for a user of its own in a mount namespace",
)

UID = 54321
HASH = "$6$updateall$c3vE2M78r05.ACVdAFLJsmj7jaechHWuplPxuPThiObm6fRF8q/PqAxo6oO9xDA8jfVrqEqW8EGtMDhpos/lf/"
"""crypt(3) of "secret"."""

DRIVER = """
import asyncio, sys
from update_all.core.privilege import Privilege

async def run(privilege, argv, env=None):
    process = await asyncio.create_subprocess_exec(
        *privilege.wrap(argv, env), stdin=-3, stdout=-1, stderr=-2, process_group=0)
    text = (await process.communicate())[0].decode()
    outcome = privilege.classify(process.returncode, text)
    print("RUN", process.returncode, outcome, text.strip().replace("\\n", " | "), flush=True)

async def main():
    async with Privilege.find("sudo") as privilege:
        print("TICKET", await privilege.authenticate(), flush=True)
        for command in sys.argv[1:]:
            words = command.split()
            env = {"FOO": "bar"} if words[0] == "env" else None
            await run(privilege, words, env)
    async with Privilege.find("sudo", terminal=False) as privilege:
        print("AFTER", end=" ")
        await run(privilege, ["id", "-u"])

asyncio.run(main())
"""

INSIDE = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /srv
for name in passwd group shadow sudoers; do mount --bind "$1/$name" "/etc/$name"; done
mkdir /srv/python /srv/update_all
mount --bind "$2" /srv/python
mount --bind "$3" /srv/update_all
cp "$1/driver.py" /srv/driver.py
python="/srv/python/bin/$4"; before="$5"; shift 5
export PYTHONHOME=/srv/python PYTHONPATH=/srv PYTHONDONTWRITEBYTECODE=1
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
set -- sh "$python" /srv/driver.py "$@"
exec setpriv --reuid 54321 --regid 54321 --clear-groups sh -c "$before"' "$@"' "$@"
"""


class World:
    """A user `ann` with the password "secret" and the given rules, and nothing of it outside."""

    def __init__(self, directory: Path, rules: str) -> None:
        self.directory = directory
        files = {
            "passwd": f"root:x:0:0::/:/bin/sh\nann:x:{UID}:{UID}::/:/bin/sh\n",
            "group": f"root:x:0:\nann:x:{UID}:\n",
            "shadow": f"root:*:19000::::::\nann:{HASH}:19000::::::\n",
            "sudoers": f"Defaults env_reset, passwd_tries=1, !lecture\n{rules}\n",
            "driver.py": DRIVER,
        }
        for name, text in files.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o440 if name == "sudoers" else 0o644)

    def argv(self, *commands: str, before: str = "") -> list[str]:
        package = str(Path(update_all.__file__).parent)
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        paths = [str(self.directory), sys.base_prefix, package, python]
        return ["unshare", "--mount", "sh", "-c", INSIDE, "sh", *paths, before, *commands]

    def without_terminal(self, *commands: str) -> list[str]:
        """The lines of the driver, started as by cron: no terminal, a session of its own."""
        done = subprocess.run(
            self.argv(*commands),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    @contextmanager
    def on_terminal(self, *commands: str, before: str = "") -> Iterator[pexpect.spawn[str]]:
        argv = self.argv(*commands, before=before)
        child = pexpect.spawn(argv[0], argv[1:], encoding="utf-8", timeout=30)
        try:
            yield child
            child.expect(pexpect.EOF)
        finally:
            child.close(force=True)


ALL = "ann ALL=(ALL) ALL"


def test_one_question_up_front_then_none_and_the_ticket_is_given_back(tmp_path: Path) -> None:
    with World(tmp_path, ALL).on_terminal("id -u", "env", "sleep 0") as terminal:
        terminal.expect("password for ann: ")
        terminal.sendline("secret")
        terminal.expect("TICKET held")
        terminal.expect("RUN 0 command 0\r")
        terminal.expect("RUN 0 command .*FOO=bar.*\r")
        terminal.expect("RUN 0 command")
        terminal.expect("AFTER RUN 1 password-required")


def test_a_ticket_that_was_there_before_is_used_and_left(tmp_path: Path) -> None:
    with World(tmp_path, ALL).on_terminal("id -u", before="sudo -v;") as terminal:
        terminal.expect("password for ann: ")
        terminal.sendline("secret")
        terminal.expect("TICKET held")
        terminal.expect("RUN 0 command 0\r")
        terminal.expect("AFTER RUN 0 command 0\r")


def test_a_wrong_password_is_a_refusal(tmp_path: Path) -> None:
    with World(tmp_path, ALL).on_terminal("id -u") as terminal:
        terminal.expect("password for ann: ")
        terminal.sendline("wrong")
        terminal.expect("TICKET refused")
        terminal.expect("RUN 1 password-required")


def test_a_ticket_that_lasts_for_no_time_means_a_question_for_each_step(tmp_path: Path) -> None:
    with World(tmp_path, f"Defaults timestamp_timeout=0\n{ALL}").on_terminal() as terminal:
        terminal.expect("password for ann: ")
        terminal.sendline("secret")
        terminal.expect("TICKET per-step")


def test_without_a_terminal_a_rule_without_password_is_found_by_trying(tmp_path: Path) -> None:
    lines = World(
        tmp_path, f'{ALL}\nann ALL=(root) NOPASSWD: /usr/bin/id -u, /usr/bin/env ""'
    ).without_terminal("id -u", "id -g", "env")
    assert lines[0] == "TICKET untried"
    assert lines[1] == "RUN 0 command 0"
    assert lines[2].startswith("RUN 1 password-required")


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ("ALL", True),
        ("NOSETENV: ALL", False),
        ("/usr/bin/env", False),
        ("SETENV: /usr/bin/true, /usr/bin/env", True),
    ],
)
def test_variables_are_passed_where_the_rules_allow_them(tmp_path: Path, rule: str, passed: bool) -> None:
    lines = World(tmp_path, f"ann ALL=(root) NOPASSWD: {rule}").without_terminal("env")
    assert lines[1].startswith("RUN 0 command ")
    assert ("FOO=bar" in lines[1]) is passed


def test_a_rule_without_variables_is_told_apart(tmp_path: Path) -> None:
    rules = "ann ALL=(root) NOPASSWD: SETENV: /usr/bin/true, NOSETENV: /usr/bin/env"
    lines = World(tmp_path, rules).without_terminal("env")
    assert lines[1].startswith("RUN 1 environment-refused")


def test_the_codes_of_a_command_are_its_own(tmp_path: Path) -> None:
    lines = World(tmp_path, "ann ALL=(root) NOPASSWD: ALL").without_terminal("false", "ls /nonexistent")
    assert lines[1].startswith("RUN 1 command")
    assert lines[2].startswith("RUN 2 command")


@pytest.mark.parametrize(
    "rules", ["root ALL=(ALL) ALL", "ann ALL=(root) NOPASSWD: /usr/bin/true", "ann ALL=(root) /usr/bin/true"]
)
def test_what_no_rule_allows_is_not_run(tmp_path: Path, rules: str) -> None:
    lines = World(tmp_path, rules).without_terminal("id -u")
    assert lines[1].split()[1:3] in (["1", "not-allowed"], ["1", "password-required"])
