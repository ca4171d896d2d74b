"""A machine of the test's own: this one's files, with everything that is written kept apart and forgotten.

A private mount namespace (mount_namespaces(7)) lays an overlay in memory over the directories of the system,
so that real tools run with their usual paths. The network is the one of the process that opens the room.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from types import TracebackType

DIRECTORIES = ("/etc", "/opt", "/root", "/usr", "/var")
"""What the tools of a system write to. /run and /tmp of the room are empty at first."""

PROGRAMS = "/usr/local/bin"
"""Where `link` puts programs: on PATH, and trusted by what runs as root."""

_SET_UP = """
set -eu
layers=$1; shift
mount -t tmpfs tmpfs "$layers"
for place in "$@"; do
    mkdir -p "$layers$place/upper" "$layers$place/work"
    options="lowerdir=$place,upperdir=$layers$place/upper,workdir=$layers$place/work"
    mount -t overlay overlay -o "$options" "$place"
done
mount -t tmpfs tmpfs /run
mkdir /run/lock
echo ready
exec sleep infinity
"""


@functools.cache
def why_not() -> str:
    """Why no room can be opened here; empty where one can."""
    if os.geteuid() != 0:
        return "needs root, for mounts of its own"
    missing = [name for name in ("unshare", "nsenter", "mount") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"needs a mount namespace of its own: {tried.stderr.strip()}" if tried.returncode else ""


class Room:
    """Open with `with`; all processes in it are ended at the end. `folder` is seen from both sides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.environment: dict[str, str] = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/.local/bin:{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "XDG_STATE_HOME": f"{self.home}/.local/state",
            "XDG_CONFIG_HOME": f"{self.home}/.config",
            "XDG_CACHE_HOME": f"{self.home}/.cache",
            "XDG_DATA_HOME": f"{self.home}/.local/share",
        }

    def __enter__(self) -> Room:
        self.home.mkdir()
        layers = self.folder / "layers"
        layers.mkdir()
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _SET_UP, "sh", str(layers), *DIRECTORIES],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", "the room could not be set up"
        self._namespace = Path(f"/proc/{self._holder.pid}/ns/mnt").readlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._holder.kill()
        self._holder.communicate()

    def inside(self, path: str | Path) -> Path:
        """A path of the room as it is reached from outside."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def write(self, path: str | Path, text: str) -> None:
        """Write a file of the room, with the directories above it."""
        file = self.inside(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def link(self, name: str, program: str | Path) -> None:
        """Make a program of this machine one that the room has installed."""
        self.inside(f"{PROGRAMS}/{name}").symlink_to(program)

    def start(self, *command: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command; its output is one stream."""
        return subprocess.Popen(
            ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--wd={self.home}", *map(str, command)],
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def run(
        self,
        *command: str | Path,
        codes: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        seconds: float = 100,
    ) -> str:
        """The output of a command. Fails when it ends with another code, or not in time."""
        process = self.start(*command, env=env)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"{command} did not end within {seconds} s:\n{output[-3000:]}") from None
        assert process.returncode in codes, f"{command} ended with {process.returncode}:\n{output[-3000:]}"
        return output

    def finding(self, *command: str | Path) -> str:
        """What a check says: nothing when it ends with 0, else its output."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=100)
        return "" if process.returncode == 0 else output.strip() or f"ended with {process.returncode}"

    def processes(self) -> set[int]:
        """All that run in the room but its holder, and all below them.

        Some tools make a mount namespace of their own; their environment tells where they come from.
        """
        home = f"HOME={self.home}".encode()
        parents: dict[int, int] = {}
        found: set[int] = set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) in (self._holder.pid, os.getpid()):
                continue
            with suppress(OSError):
                # proc_pid_stat(5): the name in brackets may hold anything.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                in_namespace = (entry / "ns/mnt").readlink() == self._namespace
                if in_namespace or home in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
        while below := {child for child, parent in parents.items() if parent in found} - found:
            found |= below
        return found

    def kill(self) -> None:
        """Kill -9 everything in the room, until nothing is left, in an order that is another one each time.

        The order is printed: who sees whom die may make the difference.
        """
        deadline = time.monotonic() + 20
        while found := list(self.processes()):
            assert time.monotonic() < deadline, f"cannot be killed: {sorted(found)}"
            SystemRandom().shuffle(found)
            names = [_name(process) for process in found]
            for process in found:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            print("killed:", *names)
            time.sleep(0.02)


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return "gone"


UPDATE_ALL = (sys.executable, "-m", "update_all")
