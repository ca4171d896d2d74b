"""Whatever API a plugin uses, the engine sees steps (system.md section 2). Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from update_all.core.errors import InvalidDefinitionError
from update_all.core.models import ExecuteFn, Phase, UpdateCommand, UpdateStep

UNNAMED_STEP = "update"


def lower_commands(commands: Sequence[UpdateCommand]) -> list[UpdateStep]:
    """Each named command its own step, a run of unnamed ones a single step; one after another."""
    groups: list[tuple[str | None, list[UpdateCommand]]] = []
    for command in commands:
        if command.step_name is None and groups and groups[-1][0] is None:
            groups[-1][1].append(command)
        else:
            groups.append((command.step_name, [command]))
    taken = {name for name, _ in groups if name is not None}
    steps: list[UpdateStep] = []
    for name, members in groups:
        step_name = name or _free(taken)
        taken.add(step_name)
        described = next((command.description for command in members if command.description), "")
        steps.append(
            UpdateStep(
                name=step_name,
                description=described or " ".join(members[0].cmd),
                commands=members,
                depends_on=[steps[-1].name] if steps else [],
            )
        )
    return steps


def _free(taken: set[str]) -> str:
    numbered = (f"{UNNAMED_STEP}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (UNNAMED_STEP, *numbered) if name not in taken)


def lower_legacy(name: str, execute: ExecuteFn) -> list[UpdateStep]:
    """A legacy update becomes one step."""
    return [UpdateStep(name=UNNAMED_STEP, description=f"Update {name}", execute_fn=execute)]


def with_plugin_mutexes(
    steps: Sequence[UpdateStep], mutexes: Mapping[Phase, Sequence[str]]
) -> list[UpdateStep]:
    """Add a plugin's mutexes of each phase to its steps; a name twice counts once."""
    return [
        dataclasses.replace(
            step, mutexes=list(dict.fromkeys([*step.mutexes, *mutexes.get(step.effective_phase, ())]))
        )
        for step in steps
    ]


def checked_steps(plugin: str, steps: object) -> list[UpdateStep]:
    """What a plugin's `get_update_steps` returned, if it is a list of steps; else InvalidDefinitionError."""
    if not isinstance(steps, list) or not all(isinstance(step, UpdateStep) for step in steps):
        raise InvalidDefinitionError(f"plugin {plugin!r}: get_update_steps must return a list of UpdateStep")
    return steps
