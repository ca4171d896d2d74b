"""List, show, check, write, enable and disable plugins."""

from __future__ import annotations

import sys
from pathlib import Path

from update_all.core.cleaning import clean_line
from update_all.core.errors import StateWriteError, UsageError, unknown_name
from update_all.core.paths import secure_directory

TYPE_CHECKING = False  # What `typing` says; a listing waits for nothing that it does not need.
if TYPE_CHECKING:
    import argparse

    from update_all.cli.workspace import Workspace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="every plugin: here or not and why, where it is defined")
    listing.add_argument("--json", action="store_true", help="one JSON document on standard output")
    checking = actions.add_parser("check", help="what is wrong with plugins, or doubtful")
    checking.add_argument("names", nargs="*", metavar="FILE", help="files, or names; default: all plugins")
    checking.add_argument("--live", action="store_true", help="also run the read-only queries here")
    checking.add_argument("--json", action="store_true", help="one JSON document on standard output")
    writing = actions.add_parser("new", help="write a plugin to begin with")
    writing.add_argument("name", metavar="NAME")
    writing.add_argument("--kind", choices=("toml", "executable"), default="toml", help="default: toml")
    for name, text in (
        ("show", "one plugin: options, steps, commands, locks, privileges"),
        ("enable", "let a plugin take part again"),
        ("disable", "leave a plugin out of runs that do not name it"),
    ):
        actions.add_parser(name, help=text).add_argument("name", metavar="PLUGIN")


def run(options: argparse.Namespace) -> int:
    if options.action in (None, "list"):
        from update_all.cli.plugins_list import list_plugins

        return list_plugins(as_json=getattr(options, "json", False))
    from update_all.cli.stray_names import warn_of_strays
    from update_all.cli.workspace import Workspace

    workspace = Workspace.open()
    warn_of_strays(workspace)
    match options.action:
        case "show":
            return _show(workspace, options.name)
        case "check":
            from update_all.cli.plugins_check import check_plugins

            return check_plugins(workspace, options.names, live=options.live, as_json=options.json)
        case "new":
            return _new(workspace, options.name, executable=options.kind == "executable")
        case _:
            return _switch(workspace, options.name, enable=options.action == "enable")


def _show(workspace: Workspace, name: str) -> int:
    from update_all.cli.plugin_options import option_lines
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
    lines += [f"  option {line}" for line in option_lines(plugin)]
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
    from update_all.core.config import config_file, config_set

    if name not in workspace.registry.names():
        raise unknown_name("plugin", name, workspace.registry.names())
    path = config_file(workspace.directories)
    secure_directory(path.parent)
    config_set(path, f"plugin.{name}.enabled", "true" if enable else "false")
    sys.stdout.write(f"{name} is {'enabled' if enable else 'disabled'} ({path})\n")
    return 0
