"""The JSON form of a plugin's state: `steps/<plugin>.json`. Pure."""

from __future__ import annotations

from datetime import datetime

from update_all.core.json_reading import Reader
from update_all.core.models import JsonValue, StepExecutionState
from update_all.core.result_json import check_from, result_from
from update_all.core.state_summary import STATE_SCHEMA
from update_all.core.transitions import Active, Outcome, PluginState


class NewerSchemaError(ValueError):
    """The state was written by a newer update-all."""


def changing_to(state: PluginState) -> dict[str, JsonValue]:
    """The JSON form of a state without its check and results, which `state_text` adds."""
    execution = state.execution
    return {
        "schema": STATE_SCHEMA,
        "plugin_name": execution.plugin_name,
        "run_id": state.run_id,
        "outcome": state.outcome.value,
        "completed_steps": list(execution.completed_steps),
        "current_step": execution.current_step,
        "started_at": _time(execution.started_at),
        "last_updated": _time(execution.last_updated),
        "fingerprint": state.fingerprint,
        "step_fingerprints": dict(state.step_fingerprints),
        "facts": dict(state.facts),
        "active": {
            name: {"attempt": item.attempt, "commands": item.commands} for name, item in state.active.items()
        },
        "attempts": dict(state.attempts),
        "commands_done": {step: list(done) for step, done in state.commands_done.items()},
        "boot_id": state.boot_id,
        "versions_before": None if state.versions_before is None else dict(state.versions_before),
        "fruitless_resumes": state.fruitless_resumes,
        "sequence": state.sequence,
    }


def state_from(value: JsonValue) -> PluginState:
    """Rebuild a state. Raises NewerSchemaError, or ValueError naming the field that is wrong."""
    reader = Reader(value, "state")
    schema = reader.get("schema", int)
    if schema > STATE_SCHEMA:
        raise NewerSchemaError(f"state schema {schema} is newer than {STATE_SCHEMA}")
    if schema < 1:
        raise ValueError(f"state.schema must be at least 1, got {schema}")
    results = {
        name: result_from(Reader(item, f"state.step_results.{name}"))
        for name, item in reader.table("step_results").items()
    }
    check = reader.data.get("check")
    state = PluginState(
        run_id=reader.get("run_id", str),
        execution=StepExecutionState(
            plugin_name=reader.get("plugin_name", str),
            completed_steps=list(reader.strings("completed_steps")),
            current_step=reader.optional("current_step", str),
            step_results=results,
            started_at=reader.time("started_at"),
            last_updated=reader.time("last_updated"),
        ),
        fingerprint=reader.get("fingerprint", str),
        step_fingerprints=dict(reader.table_of("step_fingerprints", str)),
        facts=dict(reader.table("facts")),
        active={name: _active_from(name, item) for name, item in reader.table("active").items()},
        attempts=dict(reader.table_of("attempts", int)),
        commands_done={step: _indices(step, done) for step, done in reader.table("commands_done").items()},
        boot_id=reader.get("boot_id", str),
        outcome=Outcome(reader.get("outcome", str)),
        check=None if check is None else check_from(Reader(check, "state.check")),
        versions_before=_versions(reader),
        fruitless_resumes=reader.get("fruitless_resumes", int),
        sequence=reader.get("sequence", int),
    )
    state.completed = set(state.execution.completed_steps)
    return state


def _versions(reader: Reader) -> dict[str, str] | None:
    if reader.data.get("versions_before") is None:
        return None
    return dict(reader.table_of("versions_before", str))


def _indices(step: str, value: JsonValue) -> list[int]:
    if not isinstance(value, list):
        raise ValueError(f"state.commands_done.{step} must be a list")
    return [Reader({"index": item}, f"state.commands_done.{step}").get("index", int) for item in value]


def _active_from(name: str, value: JsonValue) -> Active:
    reader = Reader(value, f"state.active.{name}")
    return Active(reader.get("attempt", int), reader.get("commands", int))


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
