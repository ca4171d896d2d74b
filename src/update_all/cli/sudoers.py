"""Print, or install, the rules by which sudo lets the commands of a run through without a password."""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from update_all.cli import interruptible
from update_all.cli.checking import check_one
from update_all.cli.stray_names import warn_of_strays
from update_all.cli.workspace import Workspace
from update_all.core import facts
from update_all.core.cleaning import clean, clean_line
from update_all.core.errors import (
    CommandNotFoundError,
    NeedsInputError,
    StateWriteError,
    UpdateAllError,
    UsageError,
)
from update_all.core.models import UpdateStep
from update_all.core.sudoers import DROP_IN, refusal, sudoers_lines
from update_all.core.trusted_paths import resolve_program
from update_all.plugins.base import BasePlugin

SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
VISUDO_SECONDS = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="PLUGIN", help="plugins, or @tags; default: all enabled")
    parser.add_argument("--user", metavar="NAME", help="whom the rules are for (default: you)")
    parser.add_argument("--install", action="store_true", help=f"check them and write {DROP_IN}, as root")


def run(options: argparse.Namespace) -> int:
    user = _user(options.user, install=options.install)
    workspace = Workspace.open()
    selection = workspace.select(options.names)
    warn_of_strays(workspace)
    granted = interruptible.run(_granted(selection.plugins))
    granted.left_out += [f"{item.name} is broken: {item.reason}" for item in selection.broken]
    text = sudoers_lines(user, granted.commands)
    for reason in granted.left_out:
        sys.stderr.write(f"update-all: {clean_line(reason)}\n")
    if not options.install:
        sys.stdout.write(clean(text))
        if not granted.commands:
            sys.stderr.write("update-all: there is nothing to allow: no command of a run needs root\n")
        elif user == "root":
            sys.stderr.write("update-all: root needs no rules; for somebody else: --user NAME\n")
        return 0
    if not granted.commands:
        raise UsageError("there is nothing to install: no command of a run needs root")
    install(text, Path(DROP_IN))
    sys.stdout.write(
        f"{DROP_IN} is written: {user} may run {len(granted.commands)} commands as root without a password\n"
        f"  all of them: sudo -l -U {user}; to take it back: sudo rm {DROP_IN}\n"
    )
    return 0


def _user(wanted: str | None, *, install: bool) -> str:
    if wanted:
        return wanted
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    caller = os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER") or ""
    if caller and caller != "root":
        return caller
    if install:
        raise UsageError(
            "root needs no rules, so it must be said whom they are for",
            hint="update-all sudoers --install --user NAME",
        )
    return "root"


@dataclass(slots=True)
class Granted:
    """Commands to allow, and why others are not among them."""

    commands: list[list[str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, plugin: str, argv: Sequence[str]) -> None:
        """Take a command in its resolved form, or note why it cannot be allowed."""
        shown = " ".join(argv)
        if any(facts.names(word) for word in argv):
            self.left_out.append(f"{plugin}: {shown!r} is different in each run, so it still asks")
            return
        # What the engine fills before it runs: a doubled brace is a plain one.
        plain = [facts.fill(word, {}) for word in argv]
        try:
            command = [str(resolve_program(plain[0])), *plain[1:]]
        except CommandNotFoundError:
            return
        except UpdateAllError as error:
            self.left_out.append(f"{plugin}: {error.message}")
            return
        if reason := refusal(command):
            self.left_out.append(f"{plugin}: {shown!r} {reason}, so it still asks")
        elif command not in self.commands:
            self.commands.append(command)


async def _granted(plugins: Sequence[BasePlugin]) -> Granted:
    granted = Granted()
    for plugin in plugins:
        if plugin.third_party:
            if plugin.sudo_commands:
                granted.left_out.append(f"{plugin.name}: comes from elsewhere, so it gets no rights")
            continue
        for step in await _steps(plugin, granted):
            for command in step.commands or ():
                if command.sudo or step.sudo:
                    granted.add(plugin.name, command.cmd)
    return granted


async def _steps(plugin: BasePlugin, granted: Granted) -> Sequence[UpdateStep]:
    """The steps as declared; for a plugin that declares them only when it knows what is outdated, as planned
    now.
    """
    try:
        steps = plugin.lowered_steps()
        if not any(step.commands for step in steps) and plugin.sudo_commands:
            steps = await plugin.plan_steps(await check_one(plugin))
            if any(step.needs_root for step in steps):
                granted.left_out.append(
                    f"{plugin.name}: its commands name versions, so the rules hold for these updates only"
                )
    except UpdateAllError as error:
        granted.left_out.append(f"{plugin.name}: {error.message}")
        return ()
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; it is reported, the rest goes on
        granted.left_out.append(f"{plugin.name}: {type(error).__name__}: {error}")
        return ()
    return steps


def install(text: str, path: Path) -> None:
    """Write a drop-in that visudo has accepted, by renaming a checked file.

    sudo reads no file of that folder whose name holds a dot, sudoers(5), so the file that is being checked
    never counts. Raises NeedsInputError for others than root, StateWriteError, UsageError without visudo.
    """
    if os.geteuid() != 0:
        raise NeedsInputError(
            f"only root may write {path}",
            hint=f"sudo {shutil.which('update-all') or 'update-all'} sudoers --install",
        )
    visudo = shutil.which("visudo", path=SYSTEM_PATH)
    if visudo is None:
        raise UsageError("visudo is not installed, so the rules cannot be checked", hint="install sudo")
    try:
        handle, name = tempfile.mkstemp(prefix=".update-all.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise StateWriteError(f"{path} cannot be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o440)
            file.flush()
            os.fsync(file.fileno())
        _check(visudo, temporary)
        temporary.rename(path)
    except OSError as error:
        raise StateWriteError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _check(visudo: str, path: Path) -> None:
    answer = subprocess.run(
        [visudo, "-c", "-f", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=VISUDO_SECONDS,
        env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    if answer.returncode != 0:
        said = (answer.stdout + answer.stderr).decode("utf-8", "replace")
        raise StateWriteError(f"visudo refuses the rules, so nothing was written: {clean_line(said, 500)}")
