"""What a run would do, in the words in which it would do it: exact argument lists. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from update_all.core.errors import MissingFactError
from update_all.core.facts import fill_command
from update_all.core.models import UpdateCommand, UpdateStep
from update_all.core.planning import Updater


def command_line(command: UpdateCommand, facts: Mapping[str, object], *, prefix: str = "") -> str:
    """One command as a person would type it. A fact that is not known yet stays as `{fact}`."""
    filled = fill_command(command, known_facts(command, facts))
    words = [shlex.quote(part) for part in filled.cmd]
    env = [f"{name}={shlex.quote(value)}" for name, value in (filled.env or {}).items()]
    where = [] if filled.cwd is None else [f"cd {shlex.quote(filled.cwd)} &&"]
    return " ".join([*where, *([prefix] if prefix else []), *env, *words])


def known_facts(command: UpdateCommand, facts: Mapping[str, object]) -> dict[str, str | int | float | bool]:
    """The facts of a command, with `{name}` standing for one that an earlier step will find."""
    known: dict[str, str | int | float | bool] = {
        name: value for name, value in facts.items() if isinstance(value, str | int | float | bool)
    }
    while True:
        try:
            fill_command(command, known)
        except MissingFactError as error:
            name = error.message.split("'")[1]
            known[name] = f"{{{name}}}"
        else:
            return known


def describe_step(plugin: Updater, step: UpdateStep, *, root: str) -> Sequence[str]:
    """The lines that a dry run shows of a step. `root` goes before what runs as root; empty for root."""
    if not step.commands:
        return [f"{step.description} (built in)"]
    return [
        command_line(command, plugin.facts, prefix=root if command.sudo or step.sudo else "")
        for command in step.commands
    ]
