"""Look for what is wrong with the set-up, and say what mends it. Exit code 1 if anything is."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import update_all
from update_all.cli import interruptible
from update_all.cli.json_output import write_json
from update_all.cli.running import ROOT_LOCK
from update_all.cli.stray_names import stray_names
from update_all.cli.workspace import Selection, Workspace
from update_all.core import host_checks
from update_all.core.config_schema import SudoCommand
from update_all.core.errors import ConfigError, StateError
from update_all.core.guards import HINTS, is_metered, power
from update_all.core.history import History
from update_all.core.host_checks import Finding, Level
from update_all.core.inhibit import inhibitor
from update_all.core.models import CheckStatus
from update_all.core.paths import Directories, directories
from update_all.core.privilege import Backend, Privilege
from update_all.ui.terminal import Sink, style_of
from update_all.ui.text import Style

PROXY_SECONDS = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--network", action="store_true", help="also ask every tool's server")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")


def run(options: argparse.Namespace) -> int:
    findings = list(examine(directories(), network=options.network))
    code = 1 if any(finding.level is Level.BAD for finding in findings) else 0
    if options.json:
        write_json(document(findings, code))
    else:
        style = style_of(sys.stdout, os.environ, options.color)
        Sink(sys.stdout).write("\n".join(lines(findings, style)) + "\n")
    return code


def lines(findings: Sequence[Finding], style: Style) -> list[str]:
    """One line a finding, and below it what mends it. Pure."""
    marks = {
        Level.OK: style.paint(style.marks.done, "green"),
        Level.WARNING: style.paint(style.marks.warning, "yellow"),
        Level.BAD: style.paint(style.marks.failed, "red"),
    }
    width = max(len(finding.check) for finding in findings)
    found: list[str] = []
    for finding in findings:
        found.append(f"{marks[finding.level]} {finding.check:<{width}}  {style.text(finding.text)}")
        if finding.mend and finding.level is not Level.OK:
            found.append(f"  {'':<{width}}  {style.marks.arrow} {style.text(finding.mend)}")
    return [*found, "", verdict(findings)]


def verdict(findings: Sequence[Finding]) -> str:
    """The last line: how much is wrong."""
    bad = sum(finding.level is Level.BAD for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if not bad and not warnings:
        return "Nothing is wrong."
    parts = [f"{bad} must be mended"] if bad else ["Nothing must be mended"]
    parts += [f"{warnings} to know of"] if warnings else []
    return ", ".join(parts) + "."


def document(findings: Sequence[Finding], code: int) -> dict[str, object]:
    """`update-all.doctor/1`."""
    return {
        "schema": "update-all.doctor/1",
        "exit_code": code,
        "findings": [
            {"check": item.check, "level": item.level.value, "text": item.text, "mend": item.mend or None}
            for item in findings
        ],
    }


def examine(found: Directories, *, network: bool = False) -> Iterator[Finding]:
    """All checks, in the order in which they are shown."""
    selection, sudo = Selection(), SudoCommand.AUTO
    try:
        workspace = Workspace.open()
        selection = workspace.select()
    except ConfigError as error:
        yield Finding("configuration", Level.BAD, error.message, error.hint or "update-all config edit")
    else:
        yield from check_sections(workspace)
        sudo = workspace.config.sudo.command
        yield from check_plugins(workspace, selection)
    yield from host_checks.check_dpkg()
    yield from host_checks.check_package_locks()
    yield from host_checks.check_pacman_lock()
    yield from host_checks.check_run_locks(found.state, ROOT_LOCK)
    yield from host_checks.check_permissions(*_places(found))
    yield from host_checks.check_state_place(found.state)
    yield from host_checks.check_state(found.state)
    yield from check_history(found)
    yield from check_privilege(selection, sudo)
    yield from host_checks.check_disks([found.state, found.cache, Path("/"), Path("/var"), Path("/boot")])
    package = Path(update_all.__file__)
    yield from host_checks.check_clock(
        [package, Path("/var/lib/dpkg/status"), *_children(found.state), *_children(found.state / "runs")],
        package.stat().st_mtime,
    )
    yield from check_circumstances()
    if network:
        yield from interruptible.run(check_network(selection))


def _places(found: Directories) -> tuple[list[Path], list[Path]]:
    """What must be closed to others, and what they must not change."""
    private = [found.state, found.history, *_children(found.state / "steps")]
    own = [found.config, found.config / "plugins.d", found.config / "config.d"]
    return private, [*own, *(path for place in own for path in _children(place) if path.is_file())]


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def check_sections(workspace: Workspace) -> list[Finding]:
    """The configuration, which can be read: whether each of its sections has an effect."""
    strays = [
        Finding("configuration", Level.WARNING, stray.message, stray.hint) for stray in stray_names(workspace)
    ]
    fine = Finding("configuration", Level.OK, "every key is known and has a value that it may have")
    return strays or [fine]


def check_plugins(workspace: Workspace, selection: Selection) -> list[Finding]:
    """Definitions that cannot be used, and those that stand in for another of the same name."""
    problems = [
        Finding("plugins", Level.BAD, f"{item.name}: {item.reason}", f"update-all explain {item.name}")
        for item in selection.broken
    ]
    for entry in workspace.registry.entries():
        if entry.overrides:
            text = f"{entry.name} from {entry.place} is used in place of {', '.join(entry.overrides)}"
            problems.append(Finding("plugins", Level.WARNING, text, "if that is not meant, rename it"))
    count = len(selection.plugins)
    fine = f"{count} {'finds its tool' if count == 1 else 'find their tools'} here, none is broken"
    return problems or [Finding("plugins", Level.OK, fine)]


def check_history(found: Directories) -> list[Finding]:
    """Whether the database of past runs can be read."""
    if not found.history.exists():
        return [Finding("history", Level.OK, "there is none yet")]
    try:
        with History(found.history, read_only=True) as history:
            history.runs(1)
            warnings = history.warnings
    except StateError as error:
        return [Finding("history", Level.BAD, error.message, error.hint)]
    mend = "the next run sets it aside and begins a new one"
    problems = [Finding("history", Level.WARNING, text, mend) for text in warnings]
    return problems or [Finding("history", Level.OK, "it can be read")]


def check_privilege(
    selection: Selection,
    command: str = SudoCommand.AUTO,
    *,
    euid: int | None = None,
    status: Path = Path("/proc/self/status"),
) -> list[Finding]:
    """Whether there is a way to root, where a plugin needs one, and whether it can work."""
    wanted = [plugin.name for plugin in selection.plugins if plugin.sudo_commands]
    if (os.geteuid() if euid is None else euid) == 0:
        return [Finding("privilege", Level.OK, "you are root; nothing is asked for")]
    if not wanted:
        return [Finding("privilege", Level.OK, "no plugin needs root")]
    need = f"{', '.join(wanted)} {'needs' if len(wanted) == 1 else 'need'} root"
    program = Privilege.find(command, euid=euid).program
    if program is None:
        which = "neither sudo, doas nor run0 is" if command == SudoCommand.AUTO else f"{command} is not"
        return [
            Finding("privilege", Level.BAD, f"{need}, and {which} installed", "install it, or work as root")
        ]
    if _cannot_gain(status):
        text = f"{need}, and nothing started here can become root (no_new_privs)"
        return [
            Finding("privilege", Level.BAD, text, "start update-all outside of this container or service")
        ]
    if program.name != Backend.RUN0 and not program.stat().st_mode & stat.S_ISUID:
        text = f"{need}, and {program} cannot become root: its set-user-ID bit is missing"
        return [Finding("privilege", Level.BAD, text, f"as root: chmod u+s {program}")]
    return [Finding("privilege", Level.OK, f"{need}, by way of {program}")]


def _cannot_gain(status: Path) -> bool:
    """proc(5), NoNewPrivs: execve(2) ignores set-user-ID bits from then on."""
    try:
        return "NoNewPrivs:\t1\n" in status.read_text("ascii", "replace")
    except OSError:
        return False


def check_circumstances(machine: Path = Path("/")) -> list[Finding]:
    """What a run is warned of, and what it does against sleep; nothing where the machine has none of it."""
    found: list[Finding] = []
    supply = power(machine / "sys")
    if supply is not None:
        found.append(_circumstance("power", supply.text, "battery", troubles=supply.on_battery))
    metered = interruptible.run(is_metered(machine / "run"))
    if metered is not None:
        text = "this network is paid for by volume" if metered else "this network is not paid for by volume"
        found.append(_circumstance("metered", text, "metered", troubles=metered))
    if inhibitor(machine / "run") is not None:
        found.append(Finding("sleep", Level.OK, "a run keeps this machine from sleeping"))
    return found


def _circumstance(check: str, text: str, guard: str, *, troubles: bool) -> Finding:
    return Finding(check, Level.WARNING, text, HINTS[guard]) if troubles else Finding(check, Level.OK, text)


async def check_network(selection: Selection) -> list[Finding]:
    """Whether the proxies and the servers of the present tools answer: their own checks are asked."""
    from update_all.cli.checking import check_all

    problems = [problem for address in sorted(_proxies()) for problem in await _proxy(address)]
    checked = await check_all(selection.plugins, lambda event: None)
    for item in checked:
        if item.result.status is CheckStatus.CANNOT_KNOW and not item.result.runnable:
            text = f"{item.plugin.name}: {item.result.reason}"
            problems.append(Finding("network", Level.BAD, text, f"update-all explain {item.plugin.name}"))
    return problems or [Finding("network", Level.OK, "every tool has had an answer")]


def _proxies() -> set[str]:
    names = ("http_proxy", "https_proxy", "all_proxy")
    return {
        value for name in names for value in (os.environ.get(name), os.environ.get(name.upper())) if value
    }


async def _proxy(address: str) -> list[Finding]:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname or "", parts.port or {"https": 443, "socks5": 1080}.get(parts.scheme, 80)
        async with asyncio.timeout(PROXY_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except (OSError, ValueError) as error:
        where = address.rpartition("@")[2]
        text = f"the proxy {where} does not answer: {str(error) or 'no connection'}"
        return [Finding("network", Level.BAD, text, "env | grep -i _proxy")]
    return []
