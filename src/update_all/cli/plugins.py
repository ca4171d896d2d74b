"""List, show, check, write, enable and disable plugins."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from update_all.cli.json_output import write_json
from update_all.cli.workspace import Workspace
from update_all.core.cleaning import clean_line
from update_all.core.config import config_file, config_set
from update_all.core.errors import StateError, StateWriteError, UpdateAllError, UsageError, unknown_name
from update_all.core.models import JsonValue
from update_all.core.paths import secure_directory
from update_all.plugins.registry import Entry, entry_points
from update_all.ui.terminal import Sink, style_of
from update_all.ui.text import columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="every plugin: here or not and why, where it is defined")
    listing.add_argument("--json", action="store_true", help="one JSON document on standard output")
    checking = actions.add_parser("check", help="what is wrong with plugins, or doubtful")
    checking.add_argument("names", nargs="*", metavar="FILE", help="files, or names; default: all plugins")
    checking.add_argument("--live", action="store_true", help="also run the read-only queries here")
    writing = actions.add_parser("new", help="write a plugin to begin with")
    writing.add_argument("name", metavar="NAME")
    writing.add_argument("--kind", choices=("toml", "executable"), default="toml", help="default: toml")
    for name, text in (
        ("show", "one plugin: steps, commands, locks, privileges"),
        ("enable", "let a plugin take part again"),
        ("disable", "leave a plugin out of runs that do not name it"),
    ):
        actions.add_parser(name, help=text).add_argument("name", metavar="PLUGIN")


def run(options: argparse.Namespace) -> int:
    workspace = Workspace.open()
    match options.action:
        case "show":
            return _show(workspace, options.name)
        case "check":
            from update_all.cli.plugins_check import check_plugins

            return check_plugins(workspace, options.names, live=options.live)
        case "new":
            return _new(workspace, options.name, executable=options.kind == "executable")
        case "enable" | "disable":
            return _switch(workspace, options.name, enable=options.action == "enable")
        case _:
            return _list(workspace, as_json=getattr(options, "json", False))


def _list(workspace: Workspace, *, as_json: bool) -> int:
    rows = [_row(workspace, entry) for entry in workspace.registry.entries()]
    rows += _untrusted(workspace.config.plugins.trusted)
    rows.sort(key=lambda row: str(row["name"]))
    last = _last_results(workspace)
    for row in rows:
        row["last"] = last.get(str(row["name"]), "")
    if as_json:
        write_json({"schema": "update-all.plugins/1", "plugins": rows})
        return 0
    style = style_of(sys.stdout, os.environ)
    table = [
        [str(row[key] or "") for key in ("name", "status", "defined", "root", "last", "why")] for row in rows
    ]
    lines = columns([["PLUGIN", "STATUS", "DEFINED", "ROOT", "LAST", "WHY"], *table], 160, indent="")
    Sink(sys.stdout).write("\n".join(style.text(line.rstrip()) for line in lines) + "\n")
    return 0


def _row(workspace: Workspace, entry: Entry) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {
        "name": entry.name,
        "status": "broken",
        "defined": f"{entry.origin} {entry.kind}",
        "place": entry.place,
        "overrides": list(entry.overrides),
        "root": "",
        "why": clean_line(entry.broken_reason),
    }
    if entry.broken_reason:
        return row
    try:
        plugin = workspace.load(entry.name)
        found = plugin.detect()
    except UpdateAllError as error:
        row["why"] = clean_line(error.message)
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; it is shown as broken
        row["why"] = clean_line(f"{type(error).__name__}: {error}")
    else:
        present = "present" if found.present else "not here"
        row["status"] = present if workspace.enabled(entry.name) else "disabled"
        row["root"] = "root" if plugin.sudo_commands else ""
        row["why"] = clean_line(found.reason)
        if entry.overrides:
            row["why"] = f"overrides {', '.join(entry.overrides)}; {row['why']}"
    return row


def _untrusted(trusted: Sequence[str]) -> list[dict[str, JsonValue]]:
    """The plugins of installed packages that are not loaded, with the command that trusts the package."""
    return [
        {
            "name": clean_line(found.name),
            "status": "not trusted",
            "defined": f"{found.origin} {found.kind}",
            "place": found.place,
            "overrides": [],
            "root": "",
            "why": clean_line(
                "its code runs as you after: update-all config set plugins.trusted "
                + shlex.quote(",".join([*trusted, found.distribution]))
            ),
        }
        for found in entry_points(frozenset(trusted))
        if found.refused
    ]


def _last_results(workspace: Workspace) -> dict[str, str]:
    try:
        with workspace.history(read_only=True) as history:
            return {
                name: ("failed" if result.failure else "done")
                + result.ended.astimezone().strftime(" %Y-%m-%d")
                for name, result in history.last_results().items()
            }
    except StateError:
        return {}


def _show(workspace: Workspace, name: str) -> int:
    from update_all.core.dry_run import describe_step
    from update_all.core.planning import plan_plugin

    plugin = workspace.load(name)
    found = plugin.detect()
    lines = [
        f"{plugin.name}: {plugin.description}",
        f"  {'here' if found.present else 'not here'}: {found.reason}",
        f"  defined: {workspace.registry.origin(name)}",
    ]
    for key, values in (
        ("after", plugin.dependencies),
        ("tags", plugin.tags),
        ("as root", plugin.sudo_commands),
    ):
        if values:
            lines.append(f"  {key}: {', '.join(values)}")
    for step in plan_plugin(plugin, plugin.lowered_steps()).steps:
        holds = f"  holds {', '.join(step.mutexes)}" if step.mutexes else ""
        lines.append(f"  {step.name}: {step.description}{holds}")
        if step.commands:
            lines += [f"      {line}" for line in describe_step(plugin, step, root=workspace.root_prefix)]
    sys.stdout.write("\n".join(clean_line(line) for line in lines) + "\n")
    return 0


def _new(workspace: Workspace, name: str, *, executable: bool) -> int:
    from update_all.plugins.sources import Origin, scan
    from update_all.plugins.template import new_definition, new_executable

    text = new_executable(name) if executable else new_definition(name)
    directory = secure_directory(workspace.directories.config / "plugins.d")
    path = directory / (name if executable else f"{name}.toml")
    there = next((found.place for found in scan(directory, Origin.USER) if found.name == name), "")
    if there or path.exists():
        raise UsageError(f"{there or path} is there already", hint=f"update-all plugins check {name}")
    replaced = workspace.registry.origin(name) if name in workspace.registry.names() else ""
    _write(path, text, 0o700 if executable else 0o600)
    sys.stdout.write(f"{path} is written\n")
    if replaced:
        sys.stdout.write(f"  it takes the place of the {replaced} plugin {name}\n")
    sys.stdout.write(f"  next: edit it, then update-all plugins check {name}\n")
    return 0


def _write(path: Path, text: str, mode: int) -> None:
    try:
        path.touch(mode, exist_ok=False)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise StateWriteError(f"{path} cannot be written: {error.strerror}") from error


def _switch(workspace: Workspace, name: str, *, enable: bool) -> int:
    if name not in workspace.registry.names():
        raise unknown_name("plugin", name, workspace.registry.names())
    path = config_file(workspace.directories)
    secure_directory(path.parent)
    config_set(path, f"plugin.{name}.enabled", "true" if enable else "false")
    sys.stdout.write(f"{name} is {'enabled' if enable else 'disabled'} ({path})\n")
    return 0
