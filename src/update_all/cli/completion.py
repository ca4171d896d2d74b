"""Print the completion script of a shell."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from pathlib import PurePath

FILES = {"bash": "update-all.bash", "zsh": "_update-all", "fish": "update-all.fish"}

_INSTALL = {
    "bash": "~/.local/share/bash-completion/completions/update-all",
    "zsh": "a folder of $fpath, as _update-all",
    "fish": "~/.config/fish/completions/update-all.fish",
}

_PLAIN = re.compile(r"[\w.:@+-]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell",
        choices=tuple(FILES),
        nargs="?",
        metavar="SHELL",
        help="bash, zsh or fish (default: yours); write it to "
        + "; ".join(f"{name}: {_INSTALL[name]}" for name in FILES),
    )
    # What the scripts ask: a kind of WORDS, then the words before the one to be completed.
    parser.add_argument("--words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    if options.words:
        kind, *typed = options.words
        sys.stdout.write("".join(f"{word}\n" for word in words(kind, typed)))
        return 0
    sys.stdout.write(script(options.shell or _own_shell()))
    return 0


def script(shell: str) -> str:
    """The script for one of FILES, as it was generated from the command line's own parsers."""
    return resources.files("update_all").joinpath("completions", FILES[shell]).read_text("utf-8")


def _own_shell() -> str:
    from update_all.core.errors import UsageError

    shell = PurePath(os.environ.get("SHELL", "")).name
    if shell not in FILES:
        raise UsageError(
            f"which shell is meant? $SHELL names none of {', '.join(FILES)}",
            hint="update-all completion bash",
        )
    return shell


def words(kind: str, typed: Sequence[str] = ()) -> list[str]:
    """What may be typed where a word of that kind is wanted, sorted; nothing for an unknown kind.

    Reads names and states only: nothing is started, changed or written, and what cannot be read offers
    nothing. `typed` are the words before: with plugins among them, steps are of those plugins only.
    """
    found = WORDS[kind](typed) if kind in WORDS else ()
    # Bash expands what it is offered: a directory named `$(...)` must not become a command.
    return sorted({word for word in found if _PLAIN.fullmatch(word)})


def _plugins(_: Sequence[str] = ()) -> Iterable[str]:
    from update_all.core.config import load_config
    from update_all.core.errors import UpdateAllError
    from update_all.core.paths import directories
    from update_all.plugins.registry import discover
    from update_all.plugins.sources import SearchPaths

    try:
        trusted = frozenset(load_config(directories()).config.plugins.trusted)
    except UpdateAllError:
        trusted = frozenset()
    return discover(SearchPaths.default(trusted=trusted)).names()


def _steps(typed: Sequence[str]) -> Iterable[str]:
    from update_all.core.errors import StateError
    from update_all.core.paths import directories
    from update_all.core.state import StateStore

    store = StateStore(directories().state)
    known = store.plugins()
    for name in [name for name in known if name in typed] or known:
        try:
            yield from store.peek(name).step_fingerprints
        except (StateError, ValueError, OSError):
            continue


def _runs(_: Sequence[str] = ()) -> Iterable[str]:
    from update_all.core.paths import directories
    from update_all.core.session import run_ids

    return run_ids(directories().state)


def _codes(_: Sequence[str] = ()) -> Iterable[str]:
    pages = resources.files("update_all").joinpath("error_pages").iterdir()
    return (page.name.removesuffix(".md") for page in pages if page.name.endswith(".md"))


def _keys(_: Sequence[str] = ()) -> Iterable[str]:
    from update_all.core.config_schema import keys

    return (key.name for key in keys().values())


WORDS: Mapping[str, Callable[[Sequence[str]], Iterable[str]]] = {
    "plugins": _plugins,
    "steps": _steps,
    "runs": _runs,
    "runs-plugins": lambda typed: [*_runs(typed), *_plugins(typed)],
    "plugins-codes": lambda typed: [*_plugins(typed), *_codes(typed)],
    "keys": _keys,
}
"""Kinds of words that are known only when they are asked for."""
