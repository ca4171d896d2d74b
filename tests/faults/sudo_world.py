"""The whole program with real sudo: a user `ann`, her password, her rules, in a private mount namespace.

Nothing of it is seen outside, but for her processes and her home, which lies in the test's own directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import pexpect

import update_all
from update_all.core.journal import JOURNAL, read_events
from update_all.core.streaming import StepEndEvent, StreamEvent

UID = 54321
PASSWORD = "secret"
HASH = "$6$updateall$c3vE2M78r05.ACVdAFLJsmj7jaechHWuplPxuPThiObm6fRF8q/PqAxo6oO9xDA8jfVrqEqW8EGtMDhpos/lf/"
"""crypt(3) of the password."""

ALL = "ann ALL=(ALL) ALL"
QUESTION = "password for ann: "
SECONDS = 60

CAN = os.geteuid() == 0 and all(map(shutil.which, ("sudo", "unshare", "setpriv")))
REASON = "needs root, sudo, unshare and setpriv for a user of its own in a mount namespace"

INSIDE = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 1777 /run/lock
mount -t tmpfs -o mode=755 tmpfs /srv
mount -t overlay -o "lowerdir=$1/etc:/etc" overlay /etc
mount --bind "$1/bin" /usr/local/bin
mkdir /srv/python /srv/update_all /srv/site /srv/home
mount --bind "$2" /srv/python
mount --bind "$3" /srv/update_all
mount --bind "$4" /srv/site
mount --bind "$1/home" /srv/home
python="/srv/python/bin/$5"; before="$6"; shift 6
export PYTHONHOME=/srv/python PYTHONPATH=/srv:/srv/site PYTHONDONTWRITEBYTECODE=1
cd /srv/home
set -- sh "$python" -m update_all "$@"
exec setpriv --reuid 54321 --regid 54321 --clear-groups sh -c "$before"' exec "$@"' "$@"
"""


class SudoWorld:
    """A user `ann` with these rules. Tools and plugins are what the test puts there."""

    def __init__(self, directory: Path, rules: str = ALL, *, tries: int = 1, doas: str = "") -> None:
        self.directory = directory
        for name in ("etc", "bin", "home"):
            (directory / name).mkdir(parents=True)
        self.home = directory / "home"
        files = {
            "passwd": f"root:x:0:0::/:/bin/sh\nann:x:{UID}:{UID}::/srv/home:/bin/sh\n",
            "group": f"root:x:0:\nann:x:{UID}:\n",
            "shadow": f"root:*:19000::::::\nann:{HASH}:19000::::::\n",
            "sudoers": f"Defaults env_reset, passwd_tries={tries}, !lecture\n{rules}\n",
            "doas.conf": doas + "\n",
        }
        (directory / "etc").chmod(0o755)
        for name, text in files.items():
            (directory / "etc" / name).write_text(text)
            (directory / "etc" / name).chmod(0o440 if name == "sudoers" else 0o644)
        self.config = self.home / ".config/update-all"
        (self.config / "plugins.d").mkdir(parents=True)
        self.plugins: list[str] = []
        self.screen = ""
        """What a test has read of the terminal."""
        self.tool("note", 'echo "$@ as $(id -u)"')

    def tool(self, name: str, script: str) -> None:
        """Put a shell script of root's where everybody finds it."""
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def plugin(self, name: str, *steps: Mapping[str, object], settings: str = "") -> None:
        """Define a plugin of these steps, and enable nothing else."""
        self.plugins.append(name)
        lines = ["schema = 1", f"name = {json.dumps(name)}", f"description = {json.dumps(name)}"]
        lines += ["[detect]", 'command = "note"']
        for step in steps:
            plain = {"description": str(step["name"]), **step}
            lines += ["[[step]]", *(f"{key} = {json.dumps(value)}" for key, value in plain.items())]
        (self.config / "plugins.d" / f"{name}.toml").write_text("\n".join(lines) + "\n")
        (self.config / "config.toml").write_text(
            f"{settings}\n[plugins]\nenabled = {json.dumps(self.plugins)}\n"
        )

    def executable(self, name: str, script: str) -> None:
        """Add a plugin that is an executable of somebody else."""
        self.plugins.append(name)
        path = self.config / "plugins.d" / name
        path.write_text(script)
        path.chmod(0o755)
        (self.config / "config.toml").write_text(f"[plugins]\nenabled = {json.dumps(self.plugins)}\n")

    def argv(self, *arguments: str, before: str = "") -> list[str]:
        """The command line that runs `update-all` as ann; `before` is shell text that runs first."""
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, UID, UID, follow_symlinks=False)
        package = str(Path(update_all.__file__).parent)
        python = f"python{sys.version_info.major}.{sys.version_info.minor}"
        places = [str(self.directory), sys.base_prefix, package, sysconfig.get_paths()["purelib"], python]
        return ["unshare", "--mount", "sh", "-c", INSIDE, "sh", *places, before, *arguments]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/srv/home",
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
            **(more or {}),
        }

    @contextlib.contextmanager
    def terminal(
        self, *arguments: str, before: str = "", env: Mapping[str, str] | None = None
    ) -> Iterator[pexpect.spawn[str]]:
        """`update-all` on a terminal of its own."""
        argv = self.argv(*arguments, before=before)
        child = pexpect.spawn(
            argv[0],
            argv[1:],
            env=self.environment(env),
            encoding="utf-8",
            timeout=SECONDS,
            dimensions=(30, 100),
        )
        try:
            yield child
        finally:
            child.close(force=True)

    def without_terminal(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`update-all` as by a timer: no terminal, a session of its own."""
        return subprocess.run(
            self.argv(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=SECONDS,
            check=False,
        )

    @property
    def run_directory(self) -> Path:
        return max((self.home / ".local/state/update-all/runs").iterdir())

    def events(self) -> list[StreamEvent]:
        return [event for event, _ in read_events(self.run_directory / JOURNAL)]

    def ends(self) -> dict[str, StepEndEvent]:
        """The last end of each step, by its name."""
        return {event.step_name: event for event in self.events() if isinstance(event, StepEndEvent)}

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.run_directory.glob("*.log")))


def finish(child: pexpect.spawn[str]) -> int:
    """The exit code of a program on a terminal, once it has ended."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus is not None, child.signalstatus
    return int(child.exitstatus)
