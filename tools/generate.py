"""Generate what is shipped and derives from the command line's parsers: completions and the manual page.

Run it after a change of the command line: `python tools/generate.py`. Needs shtab.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import shtab

from update_all import __version__
from update_all.cli.completion import FILES
from update_all.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
COMPLETIONS = Path("src/update_all/completions")
MANUAL = Path("docs/man/update-all.1")


def build_parser() -> argparse.ArgumentParser:
    """One parser with every command, as `update_all.cli.main` makes them one by one."""
    parser = argparse.ArgumentParser(
        prog="update-all", description="One command that brings everything on this machine up to date."
    )
    parser.add_argument("-V", "--version", action="store_true", help="show the version")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, text in COMMANDS.items():
        module = import_module(f"update_all.cli.{name}")
        command = commands.add_parser(name, help=text, description=module.__doc__, allow_abbrev=False)
        module.add_arguments(command)
    _complete_words(parser)
    return parser


def _complete_words(parser: argparse.ArgumentParser) -> None:
    """Say for every argument, by the name of its value, what may be typed there."""
    for action in parser._actions:
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif kind := _kind(action):
            action.complete = _asked(kind)  # type: ignore[attr-defined]
        for child in children(action).values():
            _complete_words(child)


def _kind(action: argparse.Action) -> str:
    """The kind of `completion.WORDS` that an argument takes, or nothing."""
    if action.dest in ("plugin", "exclude"):
        return "plugins"
    kinds = {"PLUGIN": "plugins", "STEP": "steps", "RUN": "runs", "RUN|PLUGIN": "runs-plugins",
             "WHAT": "plugins-codes", "KEY": "keys"}  # fmt: skip
    return kinds.get(str(action.metavar), "")


def _asked(kind: str) -> dict[str, object]:
    """How each shell asks the program for words of a kind (the attribute `complete` of shtab).

    The program may be missing, or older than the script: then nothing is offered, and nothing is said.
    """
    function = f"_update_all_words_{kind.replace('-', '_')}"
    asking = f"command update-all completion --words {kind}"
    return {
        "bash": function,
        "zsh": function,
        "fish": f"({function})",
        "preamble": {
            "bash": f"{function}() {{\n"
            f'  compgen -W "$({asking} "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" 2>/dev/null)" -- "$1"\n}}\n',
            "zsh": f"{function}() {{\n"
            f'  local -a found=(${{(f)"$({asking} "${{(@)words[2,CURRENT-1]}}" 2>/dev/null)"}})\n'
            "  compadd -a found\n}\n",
            "fish": f"function {function}\n"
            "    set -l typed (commandline -opc)\n"
            f"    {asking} $typed[2..-1] 2>/dev/null\nend\n",
        },
    }


def children(action: argparse.Action) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands or actions that an argument chooses from; none for any other argument."""
    return dict(action.choices) if isinstance(action, argparse._SubParsersAction) else {}


def completion(shell: str) -> str:
    """The completion script of a shell."""
    text = str(shtab.complete(build_parser(), shell))
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def manual() -> str:
    """The manual page, in the man(7) macros."""
    return "\n".join(_manual(build_parser())) + "\n"


def _manual(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f'.TH UPDATE\\-ALL 1 "" "update\\-all {__version__}" "User Commands"'
    yield from (".SH NAME", "update\\-all \\- bring everything on a Linux machine up to date")
    yield from (".SH SYNOPSIS", ".B update\\-all", "[\\fICOMMAND\\fR] [\\fIOPTIONS\\fR] [\\fIPLUGIN\\fR ...]")
    yield from (".SH DESCRIPTION", *map(_escaped, _DESCRIPTION))
    yield ".SH COMMANDS"
    commands = next(filter(None, map(children, parser._actions)))
    for name, text in COMMANDS.items():
        command = commands[name]
        yield from (
            f".SS update\\-all {_escaped(name + usage(command))}",
            _escaped(text[0].upper() + text[1:] + "."),
        )
        yield from _arguments(command)
    for title, rows in (
        ("EXIT STATUS", EXIT_CODES),
        ("ENVIRONMENT", ENVIRONMENT),
        ("FILES", FILES_OF_A_USER),
    ):
        yield f".SH {title}"
        for term, text in rows:
            yield from (".TP", f".B {_escaped(term)}", _escaped(text))
    yield from (".SH SEE ALSO", ".BR systemd.timer (5),", ".BR sudoers (5),", ".BR needrestart (1)")


def usage(command: argparse.ArgumentParser) -> str:
    """The arguments of a command that are no options, each after a space."""
    words = []
    for action in command._actions:
        if not action.option_strings and not children(action):
            name = metavar(action)
            name = f"{name} ..." if action.nargs == "*" else name
            words.append(f"[{name}]" if action.nargs in ("?", "*") else name)
        elif children(action):
            words.append(f"[{action.metavar}]")
    return "".join(f" {word}" for word in words)


def _arguments(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        helps = {choice.dest: choice.help for choice in getattr(action, "_choices_actions", ())}
        for name, child in children(action).items():
            yield from (".TP", f".B {_escaped(name + usage(child))}", _escaped(helps.get(name) or ""), ".RS")
            yield from (*_arguments(child), ".RE")
        if not children(action) and (text := _escaped(help_of(action))):
            yield from (".TP", _term(action), text)


def _term(action: argparse.Action) -> str:
    if not action.option_strings:
        return f".I {_escaped(metavar(action))}"
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in action.option_strings)
    return names if action.nargs == 0 else f"{names} \\fI{_escaped(metavar(action))}\\fR"


def metavar(action: argparse.Action) -> str:
    """What stands for the value of an argument."""
    if action.metavar is not None:
        return str(action.metavar)
    return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()


def help_of(action: argparse.Action) -> str:
    """What an argument means; empty where nobody says so, or where it is no business of people."""
    if action.help == argparse.SUPPRESS:
        return ""
    return str((action.help or _COMMON.get(action.dest, "")) % vars(action))


_COMMON = {"color": "whether to use colours", "progress": "how the run is shown"}


def _escaped(text: str) -> str:
    """Text for roff(7): backslashes, hyphens that are to be typed, and signs that begin a macro."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("→", "\\(->")
    return "\\&" + text if text.startswith((".", "'")) else text


_DESCRIPTION = (
    "Finds the package managers and tools of this machine, asks each what could be updated, shows the plan,"
    " and carries it out as one graph of steps,"
    " side by side where that is safe and one after another where it is not.",
    "What is done is recorded step by step, so that a run that was interrupted, or failed in part, goes on"
    " with update-all resume where it stopped.",
    "Without a command it is update-all run.",
)
EXIT_CODES = (
    ("0", "done, or nothing to do"),
    ("1", "a step failed; others may have succeeded"),
    ("2", "wrong use or configuration; nothing was run"),
    ("3", "a bug of update-all; a report file is named"),
    ("4", "an answer or a privilege is needed, and nobody is there to give it"),
    ("75", "another run holds the lock"),
    ("100", "check, plan --exit-code: updates exist"),
    ("130", "interrupted"),
)
ENVIRONMENT = (
    ("NO_COLOR", "if set, no colours"),
    ("FORCE_COLOR", "if set, colours also where the output is no terminal"),
    ("CI", "if set, plain lines instead of the live view"),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME", "where the files below are looked for"),
)
FILES_OF_A_USER = (
    ("~/.config/update-all/config.toml", "the configuration; update-all config show lists its keys"),
    ("~/.config/update-all/plugins.d/", "plugins of your own"),
    ("/etc/update-all/", "configuration and plugins of the machine"),
    ("~/.local/state/update-all/", "state, history and logs; for root /var/lib/update-all"),
)


def generated() -> dict[Path, str]:
    """All generated files, relative to the root of the repository."""
    files = {COMPLETIONS / FILES[shell]: completion(shell) for shell in FILES}
    return {**files, MANUAL: manual()}


if __name__ == "__main__":
    for path, text in generated().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, "utf-8")
