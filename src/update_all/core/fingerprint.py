"""Fingerprints: whether the plan that a state belongs to is still the plan. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from update_all.core.models import UpdateCommand, UpdateStep


def step_fingerprint(step: UpdateStep) -> str:
    """SHA-256 of what a step would do: its commands (as templates), its function's name, its edges."""
    function = step.execute_fn
    what: object
    if step.commands:
        what = [_command(command) for command in step.commands]
    else:
        what = getattr(function, "__qualname__", type(function).__name__)
    data = [step.name, what, sorted(step.depends_on), step.idempotent, step.sudo]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _command(command: UpdateCommand) -> list[object]:
    return [command.cmd, command.sudo, command.env, command.cwd, sorted(command.ignore_exit_codes)]


def plan_fingerprint(steps: Mapping[str, str]) -> str:
    """SHA-256 over the fingerprints of all steps, by name."""
    return hashlib.sha256(json.dumps(sorted(steps.items())).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PlanDifference:
    """How a plan differs from the one that a state was written for: names of steps."""

    vanished: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.vanished or self.changed or self.added)

    def describe(self) -> str:
        """One line for a person."""
        parts = [
            f"{what}: {', '.join(names)}"
            for what, names in (("gone", self.vanished), ("changed", self.changed), ("new", self.added))
            if names
        ]
        return "; ".join(parts)


def compare(old: Mapping[str, str], new: Mapping[str, str]) -> PlanDifference:
    """Compare the step fingerprints of a state with those of the plan of today."""

    def ordered(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(names))

    return PlanDifference(
        vanished=ordered(old.keys() - new.keys()),
        changed=ordered(name for name in old.keys() & new.keys() if old[name] != new[name]),
        added=ordered(new.keys() - old.keys()),
    )
