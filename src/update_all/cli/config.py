"""Show, set and edit the configuration."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys

from update_all.core.config import config_file, config_set, load_config
from update_all.core.errors import UsageError
from update_all.core.paths import directories, secure_directory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    show = actions.add_parser("show", help="every key with its value and where that was set")
    show.add_argument("--json", action="store_true", help="one JSON document on standard output")
    actions.add_parser("path", help="the file that set and edit change")
    actions.add_parser("edit", help="open it in $EDITOR")
    change = actions.add_parser("set", help="set one key")
    change.add_argument("key", metavar="KEY")
    change.add_argument("value", metavar="VALUE")


def run(options: argparse.Namespace) -> int:
    match options.action:
        case "path":
            sys.stdout.write(f"{config_file(directories())}\n")
            return 0
        case "set":
            return _set(options.key, options.value)
        case "edit":
            return _edit()
        case _:
            return _show(as_json=getattr(options, "json", False))


def _show(*, as_json: bool) -> int:
    settings = load_config(directories()).settings()
    if as_json:
        rows = [{"key": item.key, "value": item.value, "origin": item.origin} for item in settings]
        sys.stdout.write(json.dumps({"schema": "update-all.config/1", "settings": rows}, indent=2) + "\n")
        return 0
    for item in settings:
        sys.stdout.write(f"{item.key} = {json.dumps(item.value)}  # {item.origin}\n")
    return 0


def _set(key: str, value: str) -> int:
    path = config_file(directories())
    secure_directory(path.parent)
    config_set(path, key, value)
    sys.stdout.write(f"{key} is set in {path}\n")
    return 0


def _edit() -> int:
    path = config_file(directories())
    secure_directory(path.parent)
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        code = subprocess.run([*editor, str(path)], check=False).returncode
    except OSError as error:
        raise UsageError(
            f"cannot run the editor {editor[0]!r}: {error.strerror}", hint="set EDITOR"
        ) from None
    load_config(directories())
    return code
