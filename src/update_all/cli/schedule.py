"""Run update-all regularly: a systemd timer of yours or of the system, or a line for cron."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from update_all.core.cleaning import clean, clean_line
from update_all.core.errors import NeedsInputError, StateError, UsageError
from update_all.core.paths import write_atomic
from update_all.core.timer_units import MARK, SERVICE, TIMER, cron_lines, service_unit, timer_unit

SYSTEM_UNITS = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""Exists where systemd runs the machine, sd_booted(3)."""

TOOL_SECONDS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    enable = actions.add_parser("enable", help="write the timer and start it")
    enable.add_argument(
        "calendar",
        nargs="?",
        default="weekly",
        metavar="WHEN",
        help="weekly (default), daily, or an expression as of systemd.time(7)",
    )
    status = actions.add_parser("status", help="whether it is enabled, and when it runs next")
    disable = actions.add_parser("disable", help="stop the timer and remove it")
    for action in (enable, status, disable):
        action.add_argument("--system", action="store_true", help="for the whole machine, as root")


def run(options: argparse.Namespace) -> int:
    place = Place.of(system=getattr(options, "system", False))
    match options.action:
        case "enable":
            return enable(place, options.calendar)
        case "disable":
            return disable(place)
        case _:
            return status(place)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the units of a manager are, and how it is called."""

    units: Path
    system: bool

    @classmethod
    def of(cls, *, system: bool) -> Place:
        if system:
            return cls(SYSTEM_UNITS, True)
        base = os.environ.get("XDG_CONFIG_HOME", "")
        config = Path(base) if base.startswith("/") else Path.home() / ".config"
        return cls(config / "systemd/user", False)

    @property
    def manager(self) -> list[str]:
        return ["systemctl"] if self.system else ["systemctl", "--user"]

    @property
    def files(self) -> tuple[Path, Path]:
        return self.units / SERVICE, self.units / TIMER


def program() -> list[str]:
    """How this update-all is started by something that does not know PATH."""
    started = Path(sys.argv[0])
    if started.name == "update-all" and started.is_file():
        return [str(started.absolute())]
    found = shutil.which("update-all")
    return [found] if found else [sys.executable, "-m", "update_all"]


def enable(place: Place, calendar: str) -> int:
    """Write and start the timer; print the line for cron where systemd does not run."""
    command = [*program(), "run", "--yes", "--no-input", "--progress", "plain"]
    if not BOOTED.is_dir():
        lines = cron_lines(command, calendar, os.environ.get("PATH", os.defpath))
        sys.stdout.write(f"systemd does not run here. With cron: crontab -e, and add at the end:\n{lines}\n")
        return 0
    _need_root(place)
    environment = {} if place.system else {"PATH": os.environ.get("PATH", os.defpath)}
    texts = service_unit(command, environment, system=place.system), timer_unit(calendar)
    check_calendar(calendar)
    verify(texts, system=place.system)
    for path in place.files:
        _refuse_foreign(path)
    place.units.mkdir(parents=True, exist_ok=True)
    for path, text in zip(place.files, texts, strict=True):
        write_atomic(path, text.encode(), keep_previous=False, mode=0o644)
    _manage(place, "daemon-reload")
    _manage(place, "enable", "--now", TIMER)
    sys.stdout.write(f"{place.units / TIMER} is enabled: {calendar}\n")
    if not place.system:
        sys.stdout.write("It runs while you are logged in; for always: loginctl enable-linger\n")
    return status(place)


def disable(place: Place) -> int:
    """Stop and remove the timer; files that are not ours are left alone."""
    present = [path for path in place.files if path.exists()]
    if not present:
        sys.stdout.write("No timer is enabled.\n")
        return 0
    _need_root(place)
    for path in present:
        _refuse_foreign(path)
    if BOOTED.is_dir():
        _manage(place, "disable", "--now", TIMER)
    for path in present:
        path.unlink()
    if BOOTED.is_dir():
        _manage(place, "daemon-reload")
    sys.stdout.write("The timer is disabled.\n")
    return 0


def status(place: Place) -> int:
    """Say whether the timer is enabled, and when it runs next."""
    timer = place.units / TIMER
    if not timer.exists():
        other = "" if place.system else " of yours (of the system: update-all schedule status --system)"
        sys.stdout.write(f"No timer{other} is enabled. Enable one: update-all schedule enable weekly\n")
        return 0
    calendar = next(
        (
            line.partition("=")[2]
            for line in timer.read_text("utf-8").splitlines()
            if line.startswith("OnCal")
        ),
        "?",
    )
    sys.stdout.write(clean(f"{timer}: {calendar.replace('%%', '%')}\n"))
    if BOOTED.is_dir():
        shown = _tool([*place.manager, "list-timers", "--all", "--no-pager", TIMER]).stdout.splitlines()
        sys.stdout.write(clean("\n".join(line for line in shown if line.strip())) + "\n")
    return 0


def check_calendar(calendar: str) -> None:
    """Ask systemd-analyze whether it is a time. Raises UsageError; says nothing where the tool is missing."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    answer = _tool([analyze, "calendar", "--", calendar])
    if answer.returncode != 0:
        said = answer.stderr.strip().splitlines()[:1]
        raise UsageError(
            f"{calendar!r} is no time: {clean_line(said[0] if said else 'not understood', 200)}",
            hint="weekly, daily, or an expression as of systemd.time(7): Sun 04:00",
        )


def verify(texts: Sequence[str], *, system: bool) -> None:
    """Let systemd-analyze read the units. Raises StateError with what it says.

    Its exit code is 0 for some faults that it prints, so it must print nothing. The manual page may be
    missing. It needs XDG_RUNTIME_DIR for units of a user.
    """
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    with tempfile.TemporaryDirectory(prefix="update-all-") as name:
        paths = [Path(name) / SERVICE, Path(name) / TIMER]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, "utf-8")
        runtime = os.environ.get("XDG_RUNTIME_DIR") or name
        which = [] if system else ["--user"]
        argv = [analyze, *which, "--man=no", "verify", *map(str, paths)]
        answer = _tool(argv, {"XDG_RUNTIME_DIR": runtime})
    if answer.returncode != 0 or answer.stderr.strip():
        raise StateError(f"systemd refuses the timer: {clean_line(answer.stderr, 500)}")


def _need_root(place: Place) -> None:
    if place.system and os.geteuid() != 0:
        raise NeedsInputError(
            "only root may change timers of the system",
            hint=f"sudo {program()[0]} schedule … --system, or without --system for a timer of yours",
        )


def _refuse_foreign(path: Path) -> None:
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return
    if not text.startswith(MARK):
        raise StateError(f"{path} was not written by update-all", hint=f"rm {path}")


def _manage(place: Place, *words: str) -> None:
    answer = _tool([*place.manager, *words])
    if answer.returncode != 0:
        said = clean_line(answer.stderr.strip() or f"exited with {answer.returncode}", 300)
        hint = "" if place.system else "log in to the machine as this user, or: loginctl enable-linger"
        raise StateError(f"{' '.join([*place.manager, *words])}: {said}", hint=hint)


def _tool(argv: Sequence[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TOOL_SECONDS,
            env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", **(env or {})},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StateError(f"{argv[0]} cannot be run: {error}") from error
