"""A machine of a test's own: a home, a PATH with tools that are shell scripts, and the real program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pexpect

from update_all.core.models import JsonValue

SECONDS = 60

Table = Mapping[str, object]


@dataclass(frozen=True)
class Ended:
    """What a run of the program left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, JsonValue]:
        """Standard output, which must be one JSON object and nothing else."""
        data = json.loads(self.out)
        assert isinstance(data, dict)
        return data


@dataclass
class Machine:
    """Plugins are TOML files whose tools are shell scripts; each script can note that it was run."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    plugins: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        for name in ("bin", "home", "site"):
            (self.root / name).mkdir()
        (self.root / "config/update-all/plugins.d").mkdir(parents=True)
        self.env = {
            "HOME": str(self.root / "home"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin",
            "PYTHONPATH": str(self.root / "site"),
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm",
        }
        self.tool("note", f'echo "$@" >> {self.root}/ledger\necho "did $*"')

    @property
    def state(self) -> Path:
        return self.root / "state/update-all"

    @property
    def config_file(self) -> Path:
        return self.root / "config/update-all/config.toml"

    @property
    def ledger(self) -> list[str]:
        """The arguments of each run of the tool `note`, in their order."""
        path = self.root / "ledger"
        return path.read_text().splitlines() if path.exists() else []

    def tool(self, name: str, script: str) -> Path:
        """Put a shell script on PATH."""
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def config(self, text: str = "") -> None:
        """Write the configuration; without a text, one that enables the plugins of the test only."""
        self.config_file.write_text(
            text or f"[plugins]\nenabled = {json.dumps(self.plugins)}\ntrusted = {json.dumps(self.trusted)}\n"
        )

    def plugin(self, name: str, *steps: Table, text: str = "", detect: str = "note", **top: object) -> Path:
        """Define a plugin of these steps; each runs `note NAME STEP` unless it says something else."""
        self.plugins.append(name)
        self.config()
        tables = {key: value for key, value in top.items() if isinstance(value, dict)}
        lines = ["schema = 1", f"name = {json.dumps(name)}", f"description = {json.dumps(f'The {name}')}"]
        lines += [f"{key} = {_toml(value)}" for key, value in top.items() if key not in tables]
        lines += ["[detect]", f"command = {json.dumps(detect)}"]
        for key, table in tables.items():
            lines += [f"[{key}]", *_lines(table)]
        for step in steps:
            defaults = {"description": f"Do {step['name']}", "cmd": ["note", name, step["name"]]}
            lines += ["[[step]]", *_lines({**defaults, **step})]
        path = self.config_file.parent / "plugins.d" / f"{name}.toml"
        path.write_text(text or "\n".join(lines) + "\n")
        return path

    def python_plugin(self, name: str, source: str) -> None:
        """Install a distribution with one plugin, class `Plugin` of the module `name`, and trust it."""
        self.plugins.append(name)
        self.trusted.append(f"{name}-dist")
        site = self.root / "site"
        (site / f"{name}.py").write_text(source)
        info = site / f"{name}_dist-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[update_all.plugins]\n{name} = {name}:Plugin\n")
        self.config()

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
        """Run the program to its end, without a terminal."""
        ended = subprocess.run(
            self.argv(arguments),
            env={**self.env, **(env or {})},
            input=stdin.encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the program in the background; it is ended with the test."""
        process = subprocess.Popen(
            self.argv(arguments),
            env=self.env,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.stack.callback(_end, process)
        return process

    def terminal(
        self, *arguments: str, columns: int = 100, env: Mapping[str, str] | None = None
    ) -> pexpect.spawn[str]:
        """Start the program on a pseudo-terminal."""
        command, *rest = self.argv(arguments)
        child = pexpect.spawn(
            command,
            rest,
            env={**self.env, **(env or {})},
            encoding="utf-8",
            timeout=SECONDS,
            dimensions=(30, columns),
        )
        self.stack.callback(child.close, force=True)
        return child

    @staticmethod
    def argv(arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "update_all", *arguments]

    def gate(self, name: str) -> Path:
        """A tool `name` that says that it is there and waits until the returned file is gone."""
        path = self.root / f"{name}.closed"
        path.touch()
        self.tool(
            name,
            f"echo {name} waits; echo $$ > {self.root}/pid; mv {self.root}/pid {self.root}/{name}.pid\n"
            f'while [ -e {path} ]; do sleep 0.05; done; echo "$@" >> {self.root}/ledger',
        )
        return path

    def tree(self) -> set[str]:
        """Every file and directory below the state and home directories."""
        found: set[str] = set()
        for place in ("state", "home"):
            found |= {str(path.relative_to(self.root)) for path in (self.root / place).rglob("*")}
        return found


def until(done: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finish(child: pexpect.spawn[str]) -> int:
    """The exit code of a program on a terminal, once it has ended."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus is not None, child.signalstatus
    return int(child.exitstatus)


def mount_namespace(command: Sequence[str], place: Path, options: str) -> list[str]:
    """The command that runs `command` with a tmpfs at `place`, which is gone with it. Needs root."""
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh", options, str(place), *command]


def can_mount() -> bool:
    """Whether this process may mount."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    probe = mount_namespace(["true"], Path("/mnt"), "size=64k")
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


@contextmanager
def machine_at(root: Path) -> Iterator[Machine]:
    """A machine whose processes end with the block."""
    machine = Machine(root)
    with machine.stack:
        yield machine


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


def _lines(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
