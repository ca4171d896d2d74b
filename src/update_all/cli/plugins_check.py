"""`plugins check`: schema, lint and samples of plugins; where asked, their read-only queries as well."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from update_all.cli import interruptible
from update_all.cli.envelope import Document
from update_all.cli.json_output import write_json
from update_all.cli.workspace import Workspace
from update_all.core.cleaning import clean_line
from update_all.core.errors import StepError, UpdateAllError, UsageError, unknown_name
from update_all.core.models import PluginConfig
from update_all.plugins.base import BasePlugin
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.definition import Definition
from update_all.plugins.lint import (
    Finding,
    Severity,
    check_definition,
    check_live,
    check_steps,
    check_together,
)
from update_all.plugins.registry import Entry, Registry
from update_all.plugins.sources import Candidate, Kind, Origin, scan, stamp_of

LIVE_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Target:
    """A plugin to look at, and the registry that loads it."""

    registry: Registry
    entry: Entry
    config: PluginConfig | None = None

    def load(self) -> BasePlugin:
        return self.registry.load(self.entry.name, self.config)


def check_plugins(workspace: Workspace, wanted: Sequence[str], *, live: bool, as_json: bool) -> int:
    """Print what is wrong with the plugins named, or given as files, or with all; 1 where it is an error.

    Raises UsageError for a name or file that does not exist.
    """
    known = {entry.name: _known(workspace, entry) for entry in workspace.registry.entries()}
    targets = [_target(known, word) for word in wanted] or list(known.values())
    findings: list[Finding] = []
    for target in targets:
        findings += _still(target)
    findings += _overlaps(targets, list(known.values()))
    if live:
        answers = interruptible.run(_all_live(targets))
        # Of all plugins, most are for tools that are not here.
        findings += [one for one in answers if wanted or one.path != "detect"]
    if as_json:
        write_json(findings_document(findings, len(targets)))
    else:
        _show(findings, len(targets))
    return 1 if any(finding.severity is Severity.ERROR for finding in findings) else 0


def _known(workspace: Workspace, entry: Entry) -> Target:
    return Target(workspace.registry, entry, workspace.plugin_config(entry.name))


def _target(known: dict[str, Target], word: str) -> Target:
    if word in known:
        return known[word]
    path = Path(word).absolute()
    if not path.exists() and "/" not in word and not word.endswith(".toml"):
        raise unknown_name("plugin", word, list(known))
    registry = Registry([_candidate(path)], None)
    return Target(registry, registry.entries()[0])


def _candidate(path: Path) -> Candidate:
    """A file as a plugin. An executable must be as trusted as in its place, since it is run."""
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if path.suffix == ".toml":
        return Candidate(path.stem, Origin.USER, Kind.TOML, str(path), stamp_of(status))
    found = next((one for one in scan(path.parent, Origin.USER) if one.place == str(path)), None)
    if found is None:
        raise UsageError(
            f"{path} is no plugin: neither NAME.toml nor an executable", hint=f"chmod 700 {path}"
        )
    return found


def _still(target: Target) -> list[Finding]:
    """What can be said without asking the tool."""
    entry = target.entry
    found = check_definition(Path(entry.place), entry.origin) if entry.kind is Kind.TOML else _coded(target)
    if entry.broken_reason and not any(one.severity is Severity.ERROR for one in found):
        found.append(Finding(Severity.ERROR, "refused", entry.place, "$", entry.broken_reason))
    return found


def _coded(target: Target) -> list[Finding]:
    entry = target.entry
    try:
        plugin = target.load()
        here = plugin.detect().present
        try:
            return check_steps(entry.place, plugin.lowered_steps())
        except StepError:
            # Without the tool, or before it is configured, the steps may not be known.
            if here:
                raise
            return []
    except UpdateAllError as error:
        return [Finding(Severity.ERROR, "load", entry.place, "$", error.message, error.hint)]
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; it is reported, the rest goes on
        return [_crashed("load", entry, error)]


def _overlaps(targets: Sequence[Target], known: Sequence[Target]) -> list[Finding]:
    """The definitions that share a tool and no mutex, of those to look at and all others."""
    definitions = {target.entry.place: _definition(target) for target in (*known, *targets)}
    present = {place: one for place, one in definitions.items() if one is not None}
    asked = {target.entry.place for target in targets}
    if asked >= {target.entry.place for target in known}:
        return check_together(list(present.values()))
    found: list[Finding] = []
    seen: set[str] = set()
    for place in sorted(asked & present.keys()):
        seen.add(place)
        for other, definition in present.items():
            if other not in seen:
                found += check_together([present[place], definition])
    return found


def _definition(target: Target) -> Definition | None:
    if target.entry.kind is not Kind.TOML or target.entry.broken_reason:
        return None
    plugin = target.load()
    return plugin.definition if isinstance(plugin, DeclarativePlugin) else None


async def _all_live(targets: Sequence[Target]) -> list[Finding]:
    limit = asyncio.Semaphore(LIVE_AT_ONCE)

    async def one(target: Target) -> list[Finding]:
        async with limit:
            return await _live(target)

    found = await asyncio.gather(*(one(target) for target in targets if not target.entry.broken_reason))
    return [finding for findings in found for finding in findings]


async def _live(target: Target) -> list[Finding]:
    place = target.entry.place
    try:
        return await check_live(target.load(), place)
    except UpdateAllError as error:
        return [Finding(Severity.ERROR, "live", place, "check", error.message, error.hint)]
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; it is reported, the rest goes on
        return [_crashed("live", target.entry, error)]


def _crashed(rule: str, entry: Entry, error: Exception) -> Finding:
    return Finding(Severity.ERROR, rule, entry.place, "$", f"{type(error).__name__}: {error}")


def findings_document(findings: Sequence[Finding], count: int) -> Document:
    """`update-all.plugins-check/1`. `count`: how many plugins were looked at."""
    return {
        "schema": "update-all.plugins-check/1",
        "checked": count,
        "findings": [
            {
                "severity": one.severity.value,
                "rule": one.rule,
                "file": one.file,
                "path": one.path,
                "message": one.message,
                "hint": one.hint,
            }
            for one in findings
        ],
    }


def _show(findings: Sequence[Finding], count: int) -> None:
    lines: list[str] = []
    for one in findings:
        lines.append(clean_line(f"{one.file}: {one.path}: {one.severity}: {one.message} [{one.rule}]"))
        if one.hint:
            lines.append(f"  {clean_line(one.hint)}")
    errors = sum(one.severity is Severity.ERROR for one in findings)
    lines.append(
        f"{_counted(count, 'plugin')} checked: {_counted(errors, 'error')},"
        f" {_counted(len(findings) - errors, 'warning')}"
    )
    sys.stdout.write("\n".join(lines) + "\n")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
