"""`{fact}` templates: what one step found, filled into the commands of a later one (system.md section 2)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from update_all.core.errors import MissingFactError
from update_all.core.models import JsonValue, UpdateCommand

_TEMPLATE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_.-]*)\}")


def fill(text: str, facts: Mapping[str, JsonValue]) -> str:
    """Replace each `{name}` by its fact; `{{` and `}}` stand for one brace, any other brace for itself.

    A fact fills part of one argument and never becomes several. Raises MissingFactError naming the fact.
    """

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group()[0]
        if name not in facts or facts[name] is None:
            raise MissingFactError(
                f"the fact {name!r} is missing, which {text!r} needs",
                hint="an earlier step of the plugin must set it, or '{{' and '}}' stand for plain braces",
            )
        value = facts[name]
        if isinstance(value, list | dict):
            raise MissingFactError(
                f"the fact {name!r} is a {type(value).__name__}, and {text!r} needs a text"
            )
        return str(value)

    return _TEMPLATE.sub(replacement, text)


def names(text: str) -> set[str]:
    """The facts that a template needs."""
    return {match.group(1) for match in _TEMPLATE.finditer(text) if match.group(1) is not None}


def fill_command(command: UpdateCommand, facts: Mapping[str, JsonValue]) -> UpdateCommand:
    """The command with its arguments, environment and directory filled. Raises MissingFactError."""
    env = command.env
    texts = (*command.cmd, command.cwd or "", *(env or {}).values())
    if not any("{" in text or "}" in text for text in texts):
        return command
    return dataclasses.replace(
        command,
        cmd=[fill(part, facts) for part in command.cmd],
        env=None if env is None else {key: fill(value, facts) for key, value in env.items()},
        cwd=None if command.cwd is None else fill(command.cwd, facts),
    )
