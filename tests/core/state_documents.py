"""The JSON form of a state, made at once: what the store puts together of parts must be equal to it."""

from __future__ import annotations

from update_all.core.models import JsonValue
from update_all.core.result_json import check_to, result_to
from update_all.core.state_json import changing_to
from update_all.core.transitions import PluginState


def state_to(state: PluginState) -> dict[str, JsonValue]:
    results = state.execution.step_results
    return {
        **changing_to(state),
        "check": None if state.check is None else check_to(state.check),
        "step_results": {name: result_to(result) for name, result in results.items()},
    }
