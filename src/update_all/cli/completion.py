"""Print the completion script of a shell."""

from __future__ import annotations

import argparse
import sys
from importlib import resources

FILES = {"bash": "update-all.bash", "zsh": "_update-all", "fish": "update-all.fish"}

_INSTALL = {
    "bash": "~/.local/share/bash-completion/completions/update-all",
    "zsh": "a folder of $fpath, as _update-all",
    "fish": "~/.config/fish/completions/update-all.fish",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell",
        choices=tuple(FILES),
        metavar="SHELL",
        help="bash, zsh or fish; write it to " + "; ".join(f"{name}: {_INSTALL[name]}" for name in FILES),
    )


def run(options: argparse.Namespace) -> int:
    sys.stdout.write(script(options.shell))
    return 0


def script(shell: str) -> str:
    """The script for one of FILES, as it was generated from the command line's own parsers."""
    return resources.files("update_all").joinpath("completions", FILES[shell]).read_text("utf-8")
