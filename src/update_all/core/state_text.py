"""The text of a state that changes bit by bit: what cannot change any more is encoded once. Pure."""

from __future__ import annotations

import json

from update_all.core.models import CheckResult, StepResult
from update_all.core.result_json import check_to, result_to
from update_all.core.state_json import changing_to
from update_all.core.transitions import PluginState

encode = json.JSONEncoder(separators=(",", ":")).encode


class StateText:
    """The JSON text of one plugin's state, again and again; `state_json.state_from` reads it."""

    def __init__(self) -> None:
        self._results: dict[str, tuple[StepResult, str]] = {}
        self._check: tuple[CheckResult | None, str] = (None, "null")

    def of(self, state: PluginState) -> str:
        """Raises ValueError for what JSON cannot hold."""
        changing = encode(changing_to(state)).removesuffix("}")
        results = ",".join(self._result(*item) for item in state.execution.step_results.items())
        return f'{changing},"check":{self._check_of(state.check)},"step_results":{{{results}}}}}'

    def _result(self, name: str, result: StepResult) -> str:
        known = self._results.get(name)
        if known is None or known[0] is not result:
            known = self._results[name] = result, f"{encode(name)}:{encode(result_to(result))}"
        return known[1]

    def _check_of(self, check: CheckResult | None) -> str:
        if self._check[0] is not check:
            self._check = check, "null" if check is None else encode(check_to(check))
        return self._check[1]
